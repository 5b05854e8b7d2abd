"""Keys and folders of a data set's artifacts: what each depends on."""

from collections.abc import Iterable
from pathlib import Path

from comodo.config import DatasetConfig
from comodo.core.store import Store, key_of
from comodo.core.versions import LAYOUT_VERSION


def packed_windows_key(windows: str, rejected: Iterable[str]) -> str:
    """Key of the packed arrays of a window set. It depends on the rejected recordings, which the
    arrays leave out: once their files are fixed, the arrays are packed again."""
    return key_of([LAYOUT_VERSION, windows, *sorted(rejected)])


def packed_features_key(windows: str, features: str, rejected: Iterable[str]) -> str:
    """Key of the packed features of a window set; `rejected`: recordings, and windows without a
    feature."""
    return key_of([LAYOUT_VERSION, windows, features, *sorted(rejected)])


def resized_key(windows: str, samples: int) -> str:
    """Key of packed windows that were resized; their folder is inside that of the arrays."""
    return f"{windows}/resized-{samples}"


def simulated_folder(settings: DatasetConfig, store: Store) -> Path:
    """Folder of a simulated data set's files; not used by other kinds."""
    excluded = {
        "window_seconds", "imu_rate", "max_rejected", "split_by_group", "videos",
        "windows_per_recording", "sensor", "missing", "stride_seconds", "boundary", "null_class",
    }  # fmt: skip
    return store.folder("simulated", key_of(settings.for_key(excluded)))
