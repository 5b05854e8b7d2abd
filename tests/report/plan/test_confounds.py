"""Which quantities change with a swept key."""

import json
from pathlib import Path

import pytest

from comodo.config import Sweep
from comodo.report.plan.confounds import Confound, confounds
from comodo.report.plan.view import confound_lines
from comodo.search.train_split import TrainSplit
from tests.paths import GOLDEN
from tests.report.plan.test_plan import sweep_of

SCHEDULES = json.loads((GOLDEN / "lr_schedule.json").read_text())
TRAIN = {"demo": TrainSplit(4553)}


def moved(sweep: Sweep, train: dict[str, TrainSplit] = TRAIN) -> dict[str, dict[str, Confound]]:
    found: dict[str, dict[str, Confound]] = {}
    for confound in confounds(sweep, train):
        found.setdefault(confound.key, {})[confound.quantity] = confound
    return found


def test_a_published_queue_sweep_names_the_learning_rate(tmp_path: Path) -> None:
    queues = [case["queue"] for case in SCHEDULES]
    sweep = sweep_of(tmp_path, protocol="published", search__space={"method.queue_size": queues})
    found = moved(sweep)["method.queue_size"]
    for quantity, golden in (
        ("planned steps", "planned"),
        ("warm-up steps", "warmup"),
        ("real steps", "actual"),
        ("peak learning rate", "peak_lr"),
    ):
        expected = [(case["queue"], pytest.approx(case[golden])) for case in SCHEDULES]
        assert found[quantity].values == expected, quantity
    (line,) = confound_lines(list(found.values()))
    assert line.startswith("method.queue_size: planned steps 5544→39312, ")
    assert "peak learning rate 3.0e-4→5.4e-5" in line


def test_as_corrected_only_held_out_windows_change_the_steps(tmp_path: Path) -> None:
    space = {"method.queue_size": [256, 1024]}
    found = moved(sweep_of(tmp_path, search__space=space))["method.queue_size"]
    assert found.keys() == {"planned steps", "real steps", "steps of the first epoch"}
    assert found["real steps"].values == [(256, 718), (1024, 712)]
    kept = sweep_of(tmp_path, trial__method__hold_out_queue=False, search__space=space)
    assert not moved(kept)


def test_a_key_is_no_confound_of_itself(tmp_path: Path) -> None:
    space = {"learning_rate": [1e-3, 1e-4], "method.teacher_temperature": [0.1, 0.2]}
    assert not moved(sweep_of(tmp_path, search__space=space))
    batches = moved(sweep_of(tmp_path, search__space={"batch_size": [64, 128]}))
    assert "batch size" not in batches["batch_size"]
    assert batches["batch_size"]["real steps"].values[0][0] == 64


def test_methods_change_the_head(tmp_path: Path) -> None:
    space = {"method": [{"name": "comodo", "queue_size": 64}, "infonce", "none"]}
    found = moved(sweep_of(tmp_path, protocol="published", search__space=space))["method"]
    heads = [head for _, head in found["head"].values]
    assert heads[0].startswith("mlp with a teacher's projector")
    assert heads[1] == "linear without a teacher's projector"
    assert len(heads) == 2  # what is not trained has none
    assert "head" not in moved(sweep_of(tmp_path, search__space=space)).get("method", {})


def test_other_keys_are_held_fixed(tmp_path: Path) -> None:
    space = {"epochs": [5, 10], "method.student_temperature": [0.05, 0.1]}
    assert moved(sweep_of(tmp_path, search__space=space)).keys() == {"epochs"}
    search = {
        "sampler": "tpe",
        "space": {"warmup": {"min": 0.0, "max": 0.5}, "learning_rate": [1e-3, 1e-4]},
    }
    sweep = sweep_of(tmp_path, search=search, budget={"trials": 4})
    assert not moved(sweep)


def test_conditional_keys_are_compared_where_they_are(tmp_path: Path) -> None:
    space = {
        "method": ["comodo", "infonce"],
        "method.queue_size": {"values": [512, 64], "when": {"method": "comodo"}},
    }
    found = moved(sweep_of(tmp_path, search__space=space))
    assert [value for value, _ in found["method.queue_size"]["real steps"].values] == [512, 64]
    assert [value for value, _ in found["method"]["real steps"].values] == ["comodo", "infonce"]


def test_windows_that_a_trial_trains_on(tmp_path: Path) -> None:
    split = TrainSplit(1000, labelled=200, last=50, labelled_last=10)
    space = {"last_window": ["keep", "drop"], "method": ["supervised", "infonce"]}
    sweep = sweep_of(tmp_path, search__space=space)
    windows = [split.of(sweep.with_values(point)) for point in sweep.grid()]
    assert windows == [200, 1000, 190, 950]
    assert "windows trained on" in moved(sweep, {"demo": split})["last_window"]
    assert "windows trained on" not in moved(sweep, {}).get("last_window", {})
