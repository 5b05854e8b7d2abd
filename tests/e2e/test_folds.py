"""Leave one group out as a user runs it, on simulated people."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import comodo
from comodo.core.parts import read_parts
from tests.e2e.test_sweep import children, sweep_file
from tests.e2e.test_sweep import comodo as command

PEOPLE = 4


@pytest.mark.slow
def test_everybody_is_tested_once_and_nothing_is_encoded_twice(
    tmp_path: Path, new_records: Callable[[Path], None]
) -> None:
    store = tmp_path / "store"
    new_records(store / "mlflow/mlflow.db")
    simulated = {"kind": "simulated", "subjects": PEOPLE, "seconds": 8.0, "recordings": 2}
    simulated |= {"window_seconds": 2.0, "labelled": 1.0, "imu_rate": 32.0}
    simulated |= {"split_by_group": {"folds": "all"}}
    changes = {"datasets": {"mine": simulated}, "seeds": [0], "search": {"space": {"epochs": [2]}}}
    file = sweep_file(tmp_path, tmp_path, **changes)
    planned = " ".join(command("plan", file, "--store", store).stdout.split())
    assert "each with 1 seeds in 4 folds of mine" in planned
    first = command("sweep", file, "--store", store)
    assert first.returncode == 0, first.stdout + first.stderr
    for fold in range(1, PEOPLE + 1):
        assert f"seed 0 fold {fold}: finished" in first.stdout

    frames = comodo.load_sweep("small", store)
    assert frames.trials.state.tolist() == ["finished"] * 2 * PEOPLE
    assert Counter(frames.trials.fold) == dict.fromkeys(range(1, PEOPLE + 1), 2)
    (windows,) = (store / "windows").glob("*")
    table = read_parts(windows, ["window", "group", "split", "video"])
    assert set(table["split"].to_pylist()) == {"all"}
    encoded = [
        window
        for part in store.glob("features/*/part-*.parquet")
        for window in pq.read_table(part, columns=["window"])["window"].to_pylist()
    ]
    assert sorted(encoded) == sorted(table["window"].to_pylist())
    assert len(list(store.glob("arrays/*/*.safetensors"))) == 2
    own = frames.predictions[frames.predictions.split == "test"]
    for _, of_configuration in own.groupby("configuration"):
        assert Counter(of_configuration.group) == Counter(table["group"].to_pylist())
        assert (of_configuration.groupby("fold").group.nunique() == 1).all()
    assert frames.results.test_groups == {"mine": PEOPLE}
    page = (store / "sweeps/small/report/report.md").read_text()
    assert "The predictions of all folds of a seed" in page and "0 fold 3" in page
    tags = [run.data.tags for run in children(store, "small")]
    assert Counter(tag["fold"] for tag in tags) == dict.fromkeys("1234", 2)
    assert len({tag["test groups"] for tag in tags}) == PEOPLE

    again = command("sweep", file, "--store", store)
    assert "all 8 trials are done already" in again.stdout
    halves = {**changes, "datasets": {"mine": {**simulated, "split_by_group": {"folds": 2}}}}
    stamps = {path: path.stat().st_mtime_ns for path in store.glob("[wfa][ire]*/*/*.[ps]*")}
    other = sweep_file(tmp_path, tmp_path, **halves, name="halves", references=[])
    second = command("sweep", other, "--store", store)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(comodo.load_sweep("halves", store).trials) == 2
    now = {path: path.stat().st_mtime_ns for path in store.glob("[wfa][ire]*/*/*.[ps]*")}
    assert now == stamps and len(stamps) > 3
