"""The epochs that a trial has come to."""

from pathlib import Path

import torch

from comodo.core.store import write_json
from comodo.search.history import epochs_in

EPOCHS = [{"epoch": 1, "train/loss": 2.0}, {"epoch": 2, "train/loss": 1.5}]


def test_a_trial_that_has_not_begun_has_none(tmp_path: Path) -> None:
    assert epochs_in(tmp_path) == []
    assert epochs_in(tmp_path / "absent") == []


def test_while_it_runs_they_are_those_of_the_checkpoint_and_then_of_the_result(
    tmp_path: Path,
) -> None:
    torch.save({"student": torch.zeros(3), "history": EPOCHS[:1]}, tmp_path / "checkpoint.pt")
    assert epochs_in(tmp_path) == EPOCHS[:1]
    write_json(tmp_path / "trained.json", {"history": EPOCHS, "seconds": 1.0})
    assert epochs_in(tmp_path) == EPOCHS
    write_json(tmp_path / "trained.json", {"seconds": 1.0})  # an untrained student
    assert epochs_in(tmp_path) == []
