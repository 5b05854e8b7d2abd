"""How many bytes a sweep will still write, by kind; None where that is not known.

Arrays are counted uncompressed. Does not know how much space there is.
"""

import os

from comodo.config import CHANNELS
from comodo.core.store import Store
from comodo.data.keys import resized_key
from comodo.report.plan.estimates import Estimate, folder_sizes
from comodo.report.plan.inventory import DatasetPlan, FeaturesPlan, Inventory
from comodo.report.plan.trial_states import TrialStates

FLOAT_BYTES = 4
CHECKPOINT_COPIES = 3  # weights and both moments of the optimizer


def bytes_to_write(
    sweep: str,
    inventory: Inventory,
    trials: TrialStates,
    estimates: list[Estimate],
    concurrent: int,
    store: Store,
) -> dict[str, int | None]:
    """By kind of file. `estimates` are those of `trials.to_estimate`."""
    resized = {trial.config.student.samples for trial in trials.to_estimate} - {None}
    windows = [_window_bytes(d, resized, store) for d in inventory.datasets.values()]
    features = [_feature_bytes(features, store) for features in inventory.features]
    kept = _sum([estimate.kept for estimate in estimates])
    student = _sum([estimate.student for estimate in estimates])
    count, left = max(1, len(estimates)), trials.to_train
    copies = left + CHECKPOINT_COPIES * concurrent * (left > 0)
    found: dict[str, int | None] = {
        "windows": _sum(windows),
        "features": _sum(features),
        "students and checkpoints": None if kept is None else round(copies * (kept / count)),
    }
    if (os.environ.get("MLFLOW_TRACKING_URI") or "sqlite").startswith("sqlite"):
        trained = _trained_bytes(sweep, trials, store)
        size = None if student is None else round(left * (student / count)) + trained
        found["MLflow's copies of students"] = size
    return found


def _window_bytes(dataset: DatasetPlan, lengths: set[int | None], store: Store) -> int | None:
    """Prepared, packed, and resized to the lengths that students take."""
    copies = (dataset.ready is None) + (store.meta("arrays", dataset.packed) is None)
    resized = [
        samples
        for samples in lengths - {dataset.samples}
        if samples and store.meta("arrays", resized_key(dataset.packed, samples)) is None
    ]
    if not copies and not resized:
        return 0
    if dataset.total is None or dataset.samples is None:
        return None
    samples = copies * dataset.samples + sum(resized)
    return dataset.total * len(CHANNELS) * samples * FLOAT_BYTES


def _feature_bytes(features: FeaturesPlan, store: Store) -> int | None:
    """Encoded and packed."""
    packed = store.meta("arrays", features.packed) is not None
    if features.complete and packed:
        return 0
    if features.left is None or features.total is None or features.dim is None:
        return None
    return (features.left + features.total * (not packed)) * features.dim * FLOAT_BYTES


def _trained_bytes(sweep: str, trials: TrialStates, store: Store) -> int:
    """Students that are trained already, perhaps by another sweep, but have no copy in MLflow."""
    recorded = (store.folder("mlflow", "artifacts") / sweep).exists()
    copied = trials.to_measure if recorded else [*trials.planned, *trials.to_measure]
    sizes = folder_sizes(store)
    return sum(sizes[store.folder("trials", key) / "student"] for key in {t.key for t in copied})


def _sum(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)
