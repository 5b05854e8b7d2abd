"""Budgets, and failures in a row, against a clock that the test moves."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep
from comodo.core.store import read_json
from comodo.search.budget import BudgetTracker
from tests.helpers import trial_config


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("comodo.search.budget.time.monotonic", lambda: now[0])
    return now


def sweep(resources: dict[str, Any] | None = None, **budget: Any) -> Sweep:
    trial = trial_config().model_dump(mode="json")
    return Sweep.model_validate(
        {
            "name": "s",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial,
            "budget": budget,
            "resources": resources or {},
        }
    )


def test_hours_count_from_the_first_trial(tmp_path: Path, clock: list[float]) -> None:
    found = BudgetTracker(sweep(hours=2), tmp_path)
    found.spend(0)
    clock[0] += 3 * 3600  # preparing
    found.spend(0)
    assert (found.hours, found.reason) == (0, None)
    found.spend(1)
    clock[0] += 1.9 * 3600
    found.spend(0)  # between two trials
    assert found.reason is None
    clock[0] += 0.2 * 3600
    found.spend(1)
    assert found.reason is not None
    assert found.reason.startswith("budget.hours: 2 is reached; with a higher limit")


def test_gpu_hours_are_those_of_all_runs(tmp_path: Path, clock: list[float]) -> None:
    resources = {"workers": 2, "gpus_per_worker": 0.5}
    first = BudgetTracker(sweep(resources, gpu_hours=5), tmp_path)
    first.gpus_per_trial = 1.0
    first.spend(3)
    clock[0] += 3600
    first.spend(3)
    first.save()
    assert first.gpu_hours == pytest.approx(3)
    assert first.hours == pytest.approx(1)
    later = BudgetTracker(sweep(resources, gpu_hours=5), tmp_path)
    later.gpus_per_trial = 1.0
    later.spend(1)
    clock[0] += 2 * 3600
    assert later.reason is None
    later.spend(1)
    assert later.reason is not None
    later.save()
    spent = read_json(tmp_path / "spent.json")
    assert spent == pytest.approx({"hours": 3, "gpu_hours": 3 + 2})
    assert BudgetTracker(sweep(resources, gpu_hours=5), tmp_path).reason is not None
    assert BudgetTracker(sweep(resources, gpu_hours=6), tmp_path).reason is None


def test_only_failures_of_one_kind_in_a_row_stop_a_sweep(tmp_path: Path) -> None:
    found = BudgetTracker(sweep(failures=3), tmp_path)
    nan = "TrainingError: the loss became nan in epoch {}, step {}"
    for ends in (
        [nan.format(1, 2), nan.format(3, 44), None, nan.format(1, 2)],
        [nan.format(1, 2), "ValueError: 3", nan.format(1, 2), nan.format(1, 7)],
    ):
        for end in ends:
            found.ended(end)
        assert found.reason is None
        found.ended(None)
    for epoch in range(3):
        found.ended(nan.format(epoch, 10 * epoch))
    assert found.reason is not None
    assert "3 trials in a row failed in the same way (TrainingError: the loss" in found.reason
