"""What `comodo plan` and `comodo status` tell before, while and after a sweep is run."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_sweep import comodo, sweep_file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_before_and_after_a_sweep(tmp_path: Path, data: Path) -> None:
    store = tmp_path / "store"
    file = sweep_file(tmp_path, data)
    began = time.monotonic()
    before = comodo("plan", file, "--store", store)
    assert time.monotonic() - began < 60  # of a busy machine; it starts nothing
    assert before.returncode == 0, before.stdout + before.stderr
    assert "2 configurations x 2 seeds and 2 references, 6 trials: 0 done" in before.stdout
    assert "20 of 20" in before.stdout
    assert "--measure makes a short run" in " ".join(before.stdout.split())
    assert not store.exists()
    assert comodo("status", "--store", store).stdout.strip() == "no sweeps in this store yet"

    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = files(store)
    after = comodo("plan", file, "--store", store)
    assert "6 trials: 6 done, 0 half done, 0 to do" in after.stdout, after.stdout + after.stderr
    assert "to write: nothing" in after.stdout
    assert kept == files(store)
    next((store / "trials").rglob("measures/*/probe-*.json")).unlink()
    again = " ".join(comodo("plan", file, "--store", store).stdout.split())
    assert "5 done, 0 half done, 1 to measure only, 0 to do" in again
    assert comodo("sweep", file, "--store", store).returncode == 0
    kept = files(store)
    assert "prepared" in after.stdout
    assert "encoded" in after.stdout
    wider = sweep_file(tmp_path, data, search={"space": {"method.queue_size": [8, 16, 24]}})
    more = " ".join(comodo("plan", wider, "--store", store).stdout.split())
    assert "8 trials: 6 done, 0 half done, 2 to do" in more
    assert "windows/s, the median of 8 epochs in this store: mantis from scratch" in more
    assert kept == files(store)

    status = comodo("status", "small", "--store", store)
    assert "small: 6 of 6 trials done" in status.stdout, status.stdout + status.stderr
    assert "best so far: " in status.stdout
    assert "small" in comodo("status", "--store", store).stdout
    unknown = comodo("status", "smal", "--store", store)
    assert unknown.returncode == 1
    assert "no sweep 'smal'" in unknown.stdout
    assert "did you mean 'small'?" in unknown.stdout


@pytest.mark.slow
def test_measure_gives_a_speed_where_there_is_none(tmp_path: Path, data: Path) -> None:
    file = sweep_file(tmp_path, data)
    told = comodo("plan", file, "--store", tmp_path / "store", "--measure").stdout
    assert "passes over a few batches just now: mantis from scratch" in " ".join(told.split())


def test_help_has_examples() -> None:
    for verb in ("plan", "status", "schema"):
        assert f"Example: comodo {verb}" in comodo(verb, "--help").stdout
