"""Keys and folders of a data set's artifacts: what each depends on."""

from collections.abc import Iterable
from pathlib import Path

from comodo.config import DatasetConfig
from comodo.core.store import Store, key_of

LAYOUT_VERSION = 3  # of the packed arrays; raise it when it changes


def packed_windows_key(windows: str, rejected: Iterable[str]) -> str:
    """Names the packed arrays of a window set, of which some recordings were rejected: they may be
    mended one day, and are not in these arrays."""
    return key_of([LAYOUT_VERSION, windows, *sorted(rejected)])


def packed_features_key(windows: str, features: str, rejected: Iterable[str]) -> str:
    """Names the packed features of a window set; `rejected`: recordings, and windows without a
    feature."""
    return key_of([LAYOUT_VERSION, windows, features, *sorted(rejected)])


def resized_key(windows: str, samples: int) -> str:
    """Names packed windows that were resized; they lie beside those."""
    return f"{windows}/resized-{samples}"


def simulated_folder(settings: DatasetConfig, store: Store) -> Path:
    """Folder of the files of a simulated data set; other kinds have theirs elsewhere."""
    read_by = {"window_seconds", "imu_rate", "max_rejected", "split_by_group", "videos"}
    return store.folder("simulated", key_of(settings.model_dump(mode="json", exclude=read_by)))
