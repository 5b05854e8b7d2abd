"""The search space: ranges, conditions, and the points that follow from them."""

from pathlib import Path
from typing import Any

from comodo.config import ConfigError, read_sweep_file
from tests.config.test_load import CONDITIONAL, sweep_file
from tests.errors import raises


def test_a_grid_has_distinct_points_without_inactive_keys(tmp_path: Path) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=CONDITIONAL))
    assert list(sweep.grid()) == [
        {"method.name": "comodo", "method.queue_size": 8},
        {"method.name": "comodo", "method.queue_size": 16, "warmup": 0.0},
        {"method.name": "comodo", "method.queue_size": 16, "warmup": 0.5},
        {"method.temperature": 0.1, "method.name": "infonce"},
        {"method.temperature": 0.2, "method.name": "infonce"},
        {"method.name": "l2"},
    ]
    trials = [sweep.with_values(point) for point in sweep.grid()]
    assert [trial.method.name for trial in trials] == ["comodo"] * 3 + ["infonce"] * 2 + ["l2"]
    assert sweep.trial.method.model_fields_set == {"name", "queue_size"}
    twice = read_sweep_file(sweep_file(tmp_path, search__space={"epochs": [1, 2, 1]}))
    assert len(list(twice.grid())) == 2


def test_conditions_on_the_trial_and_on_what_is_swept_whole(tmp_path: Path) -> None:
    space = {
        "method": [{"name": "comodo", "queue_size": 8}, "infonce"],
        "method.queue_size": {"values": [16, 32], "when": {"method.name": "comodo"}},
        "epochs": {"values": [1, 2], "when": {"dataset": "other"}},
        "warmup": {"values": [0.0], "when": {"protocol": "corrected"}},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    points = list(sweep.grid())
    assert [point.get("method.queue_size") for point in points] == [16, 32, None]
    assert all(point.keys() & {"epochs", "warmup"} == {"warmup"} for point in points)
    trials = [sweep.with_values(point) for point in points]
    assert [getattr(trial.method, "queue_size", None) for trial in trials] == [16, 32, None]
    assert list(sweep.grid()) == points  # nothing was written into the space


def test_a_range_of_fractions_is_no_range_of_a_whole_number(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__sampler": "random", "budget": {"trials": 9}}
    span: dict[str, Any] = {"min": 8, "max": 64, "log": True}
    where = {"method.queue_size": {**span, "when": {"method.name": "comodo"}}}
    spaces: list[dict[str, Any]] = [
        {"method.queue_size": span},
        {"method.name": ["l2", "comodo"], **where},
    ]
    for space in spaces:
        with raises(ConfigError, "search.space.method.queue_size", "integer: true"):
            read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
        space["method.queue_size"] |= {"integer": True}
        read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
    rates = {"learning_rate": {"min": 1, "max": 2}}
    read_sweep_file(sweep_file(tmp_path, search__space=rates, **changes))
