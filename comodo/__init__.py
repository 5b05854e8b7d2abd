"""Sweeps and ablations of cross-modal video-to-IMU distillation, on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comodo.evaluation.dataframes import SweepFrames

__all__ = ["__version__", "load_sweep"]
__version__ = "0.2.0"


def load_sweep(name: str, store: str | Path | None = None) -> "SweepFrames":
    """A sweep of the store as pandas frames: `.trials`, `.curves`, `.predictions`; for notebooks.

    Needs only the store: no sweep file, recordings or Ray. Of a sweep that is still running, the
    frames have what is finished.

    Args:
        name: the sweep's name.
        store: folder of all artifacts, or s3://BUCKET/PREFIX; by default $COMODO_STORE, else
            ./.comodo.

    Raises:
        StatusError: the store has no such sweep, or none of its trials has started.

    Example:
        >>> sweep = comodo.load_sweep("demo")
        >>> sweep.trials.groupby("configuration")["test/acc1"].mean()
    """
    from comodo.core.store import Store  # `import comodo` stays light
    from comodo.evaluation.dataframes import SweepFrames
    from comodo.evaluation.sweep_record import read_sweep_record

    opened = Store(store)
    return SweepFrames(read_sweep_record(name, opened).results(opened), opened)
