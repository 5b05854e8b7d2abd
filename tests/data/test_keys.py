"""Keys of artifacts: what they depend on, and that they stay as they are."""

from pathlib import Path
from typing import Any

import pytest

from comodo.core.store import Store
from comodo.data.keys import (
    packed_features_key,
    packed_windows_key,
    resized_key,
    simulated_folder,
)
from comodo.data.readers.simulated import SimulatedDataset


def test_packed_arrays_are_named_by_windows_features_and_what_was_rejected() -> None:
    assert packed_windows_key("w", ["a", "b"]) == packed_windows_key("w", ["b", "a"])
    assert packed_features_key("w", "f", ["a", "b"]) == packed_features_key("w", "f", ["b", "a"])
    others = {
        packed_windows_key("w", []),
        packed_windows_key("v", []),
        packed_windows_key("w", ["a"]),
        packed_features_key("w", "f", []),
        packed_features_key("w", "g", []),
        packed_features_key("w", "f", ["a"]),
    }
    assert len(others) == 6


def test_keys_of_stores_that_exist_do_not_change() -> None:
    """With other keys everything in a user's store would be made again."""
    assert packed_windows_key("w", ["b", "a"]) == "d493a6679adccdb0"
    assert packed_features_key("w", "f", ["b", "a"]) == "75b6f0dd9dae8fbb"
    assert resized_key("w", 512) == "w/resized-512"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"window_seconds": 2.0}, True),
        ({"imu_rate": 25.0}, True),
        ({"max_rejected": 0.5}, True),
        ({"videos": "shrink"}, True),
        ({"seed": 1}, False),
        ({"seconds": 9.0}, False),
        ({"subjects": 4}, False),
        ({"pause_seconds": 2.0}, False),
        ({"pause_seconds": None}, True),
    ],
)
def test_simulated_recordings_depend_on_what_is_simulated_and_not_on_how_it_is_read(
    tmp_path: Path, change: dict[str, Any], same: bool
) -> None:
    settings = SimulatedDataset(kind="simulated")
    changed = settings.model_copy(update=change)
    store = Store(tmp_path)
    assert (simulated_folder(changed, store) == simulated_folder(settings, store)) is same
