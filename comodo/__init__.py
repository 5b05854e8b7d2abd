"""Sweeps and ablations of cross-modal video-to-IMU distillation, on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comodo.evaluation.dataframes import SweepFrames

__all__ = ["load_sweep"]


def load_sweep(name: str, store: str | Path | None = None) -> "SweepFrames":
    """A sweep of the store as pandas frames: `.trials`, `.curves`, `.predictions`; for notebooks.

    Needs the store alone: no sweep file, recordings or Ray. A sweep that still runs is read as far
    as it is.

    Args:
        name: the sweep's.
        store: folder of all artifacts, or s3://BUCKET/PREFIX; by default $COMODO_STORE, else
            ./.comodo.

    Raises:
        StatusError: the store has no such sweep, or it has not come to its trials.

    Example:
        >>> sweep = comodo.load_sweep("demo")
        >>> sweep.trials.groupby("configuration")["test/acc1"].mean()
    """
    from comodo.core.store import Store  # `import comodo` stays light
    from comodo.evaluation.dataframes import SweepFrames

    return SweepFrames(name, Store(store))
