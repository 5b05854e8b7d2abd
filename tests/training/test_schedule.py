"""The schedule of a trial: steps and learning rates."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comodo.core.store import read_json
from comodo.training.schedule import learning_rate, schedule_of, steps_in
from tests.helpers import trial_config
from tests.paths import GOLDEN

SCHEDULES = read_json(GOLDEN / "lr_schedule.json")


def test_schedule_rises_and_falls_over_the_real_steps() -> None:
    rates = [learning_rate(step, 100, 0.1, 3e-4) for step in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(1.5e-4)
    assert max(rates) == rates[10] == 3e-4
    assert rates[55] == pytest.approx(1.5e-4)
    assert rates[100] == 0
    assert learning_rate(0, 10, 0.0, 1.0) == 1


def test_half_a_cosine_falls_slowly_at_both_ends() -> None:
    """As the trainer of Mantis: 10 of 40 epochs of 7 steps warm up, its steps count from 1."""
    steps, warmup, peak = 280, 0.25, 1e-4
    rates = [learning_rate(step, steps, warmup, peak, cosine=True) for step in range(steps + 1)]
    theirs = [
        peak * (step / 70 if step < 70 else 0.5 * (1 + math.cos(math.pi * (step - 70) / 210)))
        for step in range(steps + 1)
    ]
    assert rates == pytest.approx(theirs, rel=0, abs=1e-18)
    assert rates[:70] == [learning_rate(step, steps, warmup, peak) for step in range(70)]
    assert rates[-1] == 0
    config = trial_config(schedule="cosine", method="supervised", epochs=3, warmup=0.5)
    linear = trial_config(schedule="steps", method="supervised", epochs=3, warmup=0.5)
    assert schedule_of(config, 40) == schedule_of(linear, 40)  # its peak is at the same step


@given(windows=st.integers(2, 500), batch=st.integers(2, 64))
def test_no_step_has_a_single_window(windows: int, batch: int) -> None:
    sizes = [len(b) for b in torch.arange(windows).split(batch)[: steps_in(windows, batch)]]
    assert min(sizes) > 1
    assert sum(sizes) >= windows - 1


@pytest.mark.parametrize("golden", SCHEDULES, ids=lambda golden: f"queue {golden['queue']}")
def test_published_schedule_is_the_golden_one(golden: dict[str, Any]) -> None:
    found = schedule_of(
        trial_config(
            schedule="published",
            method={"name": "comodo", "queue_size": golden["queue"]},
            batch_size=golden["batch"],
            epochs=golden["epochs"],
            warmup=0.1,
            learning_rate=3e-4,
        ),
        golden["n_train"],
    )
    assert (found.planned, found.real) == (golden["planned"], golden["actual"])
    assert found.warmup_steps == golden["warmup"]
    rates = [learning_rate(step, found.planned, 0.1, 3e-4) for step in range(found.real)]
    assert rates[:10] == pytest.approx(golden["first10"], rel=0, abs=1e-12)
    assert max(rates) == found.peak == pytest.approx(golden["peak_lr"], rel=0, abs=1e-12)
    assert rates[-1] == pytest.approx(golden["last_lr"], rel=0, abs=1e-12)


@pytest.mark.parametrize("method", ["infonce", "l2", "supervised"])
def test_without_a_queue_the_published_schedule_is_that_of_the_real_steps(method: str) -> None:
    changes: dict[str, Any] = {"method": method, "epochs": 3, "warmup": 0.5}
    published = schedule_of(trial_config(schedule="published", **changes), 40)
    assert published == schedule_of(trial_config(schedule="steps", **changes), 40)
    assert (published.real, published.planned, published.warmup_steps) == (
        18,
        18,
        9,
    )  # 6 in each epoch
    assert (published.peak, published.windows) == (1e-2, 120)


def test_a_queue_sits_out_the_first_epoch_and_makes_the_published_schedule_longer() -> None:
    method = {"name": "comodo", "queue_size": 10}
    changes: dict[str, Any] = {"method": method, "epochs": 3, "warmup": 0.5}
    steps = schedule_of(trial_config(schedule="steps", **changes), 40)
    assert (steps.first_epoch_steps, steps.later_epoch_steps, steps.real, steps.planned) == (
        5,
        6,
        17,
        17,
    )
    assert (steps.warmup_steps, steps.peak, steps.windows) == (8, 1e-2, 30 + 40 + 40)
    published = schedule_of(trial_config(schedule="published", **changes), 40)
    assert (published.real, published.planned, published.warmup_steps) == (17, 5 + 2 * (5 + 10), 17)
    assert published.peak == pytest.approx(1e-2 * 16 / 17)  # the top is never reached
    held_in = schedule_of(
        trial_config(**{**changes, "method": {**method, "hold_out_queue": False}}), 40
    )
    assert (held_in.first_epoch_steps, held_in.real, held_in.windows) == (6, 18, 120)
