"""A sweep's points: which are checked, and in which order they come."""

from pathlib import Path
from typing import Any

import yaml

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.overrides import Recipe
from tests.config.test_load import CONDITIONAL, sweep_file
from tests.errors import raises


def test_each_key_of_a_search_is_checked_where_it_is_active(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__sampler": "random", "budget": {"trials": 9}}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=CONDITIONAL, **changes))
    points = list(sweep.points())
    for key, span in sweep.search.space.items():
        assert {p[key] for p in points if key in p} == set(span.ends())
    assert all(point in sweep.space for point in points)
    wrong = {
        **CONDITIONAL,
        "method.temperature": {"min": -1, "max": 1, "when": {"method.name": "infonce"}},
    }
    with raises(ConfigError, "search.space.method.temperature", "greater than 0"):
        read_sweep_file(sweep_file(tmp_path, search__space=wrong, **changes))


def test_students_are_compared_with_hand_crafted_features_by_default(tmp_path: Path) -> None:
    content = yaml.safe_load(sweep_file(tmp_path).read_text())
    del content["references"]
    assert Sweep.model_validate(content).references == ["none", "features"]
    transfer = Sweep.model_validate({**content, "evaluate_on": ["demo"]})
    assert transfer.references == ["none", "features", "supervised"]


def test_a_grid_begins_with_the_points_it_is_given(tmp_path: Path) -> None:
    search = {
        "space": {"epochs": [1, 2, 3], "batch_size": [8, 16]},
        "start_with": [{"epochs": 3, "batch_size": 16}, {"batch_size": 16}],
    }
    points = list(read_sweep_file(sweep_file(tmp_path, search=search)).grid())
    plain = {"space": search["space"]}
    assert [(p["epochs"], p["batch_size"]) for p in points[:4]] == [
        (3, 16),
        (1, 16),
        (2, 16),
        (1, 8),
    ]
    every = list(read_sweep_file(sweep_file(tmp_path, search=plain)).grid())
    assert sorted(points, key=str) == sorted(every, key=str)


def test_a_trial_is_made_once_for_its_values_and_settings(tmp_path: Path) -> None:
    space = {"epochs": [1, 2], "learning_rate": [0.001, 0.002]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    first, *others = map(sweep.with_values, sweep.points())
    assert next(map(sweep.with_values, sweep.grid())) is first
    assert first not in others
    recipe = Recipe(when={"dataset": first.dataset}, set={"batch_size": 3})
    for deep in (False, True):
        changed = sweep.model_copy(update={"recipes": [recipe]}, deep=deep)
        assert changed.with_values(next(sweep.points())).batch_size == 3
    assert sweep.with_values(next(sweep.points())) is first
