"""The search space: ranges, conditions, and the points that follow from them."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.config.space import Choices, canonical
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
        "epochs": {"values": [1], "when": {"dataset": ["demo", "other"]}},
        "warmup": {"values": [0.0], "when": {"protocol": "corrected"}},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    points = list(sweep.grid())
    assert [point.get("method.queue_size") for point in points] == [16, 32, None]
    assert all((point["epochs"], point["warmup"]) == (1, 0.0) for point in points)
    trials = [sweep.with_values(point) for point in points]
    assert [getattr(trial.method, "queue_size", None) for trial in trials] == [16, 32, None]
    assert list(sweep.grid()) == points  # nothing was written into the space


@pytest.mark.parametrize(
    ("key", "values", "kept"),
    [
        ("epochs", [5, 5.0, 6], [5, 6]),
        ("learning_rate", [0.1, 1e-1, 1, 1.0], [0.1, 1]),
        ("method.queue_size", [16, 16.0], [16]),
        ("student.size.hidden_dim", [8, 8.0, 16], [8, 16]),
        ("student.size", [{"hidden_dim": 8}, {"hidden_dim": 8.0}], [{"hidden_dim": 8}]),
        ("method", ["comodo", {"name": "comodo"}, "infonce"], ["comodo", "infonce"]),
        ("student", ["mantis-8m", {"name": "mantis", "weights": "paris-noah/Mantis-8M"}], None),
        ("teacher", ["efficientnet-lite0", {"name": "efficientnet-lite0"}], None),
        ("protocol", ["corrected", "published"], ["corrected", "published"]),
        # As published, infonce has a linear head by default: equal under one protocol only.
        ("method", ["infonce", {"name": "infonce", "head": {"kind": "linear"}}], "both"),
    ],
)
def test_two_spellings_of_a_value_are_one_configuration(
    tmp_path: Path, key: str, values: list[Any], kept: Any
) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={key: values}))
    expected = values if kept == "both" else kept or values[:1]
    assert [point[key] for point in sweep.grid()] == expected


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, 1.0, 2], [1, 2]),
        ([1.0, 1], [1.0]),
        ([[5], [5.0], [6]], [[5], [6]]),
        ([{"a": [5, 2]}, {"a": [5.0, 2.0]}], [{"a": [5, 2]}]),
        ([1, True, "1"], [1, True, "1"]),
        ([0.5, 0.25], [0.5, 0.25]),
    ],
)
def test_a_list_has_each_value_once_however_it_is_written(
    values: list[Any], kept: list[Any]
) -> None:
    found = Choices.model_validate({"values": values}).values
    assert [(type(v), v) for v in found] == [(type(v), v) for v in kept]


def test_a_configuration_keeps_its_name_in_another_spelling() -> None:
    assert canonical({"epochs": 5, "b": [1]}) == canonical({"b": [1.0], "epochs": 5.0})
    assert canonical({"method": "l2"}) == canonical({"method": {"name": "l2"}})
    assert canonical({"x": True}) != canonical({"x": 1})
    assert canonical({"dataset": "l2"}) != canonical({"dataset": {"name": "l2"}})


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
