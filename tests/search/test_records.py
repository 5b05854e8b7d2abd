"""JSON files of trials and sweeps, also as earlier versions wrote them."""

from pathlib import Path
from typing import Any

import pytest

from comodo.core.store import read_json, write_json
from comodo.search.records import (
    AskedConfiguration,
    BestConfiguration,
    EndedTrial,
    ProgressRecord,
    RunningTrial,
    StageRecord,
    TrainedRecord,
    read_asked,
    read_ended,
    write_asked,
    write_ended,
)

TRAINED: dict[str, Any] = {
    "key": "k", "trial": {"epochs": 2}, "seed": 1, "windows": "w", "features": "f",
    "history": [{"epoch": e, "train/windows_per_second": 90.0 + e} for e in (1, 2, 3)],
    "parameters": 9,
}  # fmt: skip


def test_an_earlier_version_noted_less_of_training(tmp_path: Path) -> None:
    write_json(tmp_path / "trained.json", TRAINED)
    trained = TrainedRecord.read(tmp_path)
    assert (trained.parameters, trained.seconds, trained.device) == (9, 0.0, None)
    assert trained.made_by is None
    assert (trained.speeds, trained.windows_per_second) == ([91.0, 92.0, 93.0], 92.0)
    assert TrainedRecord.from_json(TRAINED | {"history": []}).windows_per_second is None


def test_configurations_asked_for(tmp_path: Path) -> None:
    assert read_asked(tmp_path) == []
    asked = [AskedConfiguration({"epochs": e}, [f"k{e}"]) for e in (1, 2)]
    write_asked(tmp_path, asked)
    assert read_asked(tmp_path) == asked
    first = {"values": {"epochs": 1}, "trials": ["k1"], "references": None}
    assert read_json(tmp_path / "asked.json")[0] == first
    first["references"] = ["r"]
    write_json(tmp_path / "asked.json", [first])
    assert read_asked(tmp_path) == [AskedConfiguration({"epochs": 1}, ["k1"], ["r"])]


def test_the_first_versions_stored_values_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "asked.json", [{"epochs": 1}])
    assert read_asked(tmp_path) == [AskedConfiguration({"epochs": 1}, [])]


def test_ends_of_trials(tmp_path: Path) -> None:
    assert read_ended(tmp_path) == {}
    ended = {
        "a": EndedTrial("pruned", "stopped after epoch 3", (3, 0.5)),
        "b": EndedTrial("failed", "the loss became nan"),
    }
    write_ended(tmp_path, ended)
    assert read_ended(tmp_path) == ended
    content = read_json(tmp_path / "ended.json")
    nothing = {"reached": None, "rule": None}
    assert content["b"] == {"state": "failed", "reason": "the loss became nan", **nothing}
    write_json(tmp_path / "ended.json", {"b": {"state": "failed", "reason": "lost"}})
    assert read_ended(tmp_path) == {"b": EndedTrial("failed", "lost")}


@pytest.mark.parametrize("best", [None, BestConfiguration("comodo", "val/acc1", 0.5)])
def test_progress_comes_back_as_it_was(tmp_path: Path, best: BestConfiguration | None) -> None:
    progress = ProgressRecord(
        updated="2026-01-01T00:00:00+00:00",
        pid=7,
        host="here",
        running=[RunningTrial("k", "comodo seed 0", 1, 3, None)],
        done=2,
        planned=4,
        best=best,
        budget={"trials": [2, None]},
        stage=None if best else StageRecord("prepare demo", 1, 3, None),
    )
    progress.write(tmp_path)
    assert ProgressRecord.find(tmp_path) == progress
