"""What `comodo plan` can measure; what it says of a sweep is in test_sweep."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_sweep import comodo, sweep_file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


@pytest.mark.slow
def test_measure_gives_a_speed_where_there_is_none(tmp_path: Path, data: Path) -> None:
    file = sweep_file(tmp_path, data)
    told = comodo("plan", file, "--store", tmp_path / "store", "--measure").stdout
    assert "passes over a few batches just now: mantis from scratch" in " ".join(told.split())
