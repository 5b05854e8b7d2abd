"""Values of a point or a recipe put into a trial's settings, and which recipes are refused."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.report.plan.confounds import confounds
from comodo.search.labels import Labels
from comodo.search.ledger import references
from comodo.search.trial import Trial
from comodo.search.warm_start import locate
from tests.config.test_load import sweep_file
from tests.errors import raises


def test_grid_replaces_dotted_keys_and_whole_objects(tmp_path: Path) -> None:
    space = {"method": ["none", {"name": "comodo", "queue_size": 8}], "learning_rate": [0.1, 0.2]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    trials = [sweep.with_values(values) for values in sweep.grid()]
    assert [(t.method.name, t.learning_rate) for t in trials] == [
        ("none", 0.1),
        ("none", 0.2),
        ("comodo", 0.1),
        ("comodo", 0.2),
    ]


def test_models_of_another_name_leave_out_what_they_do_not_have(tmp_path: Path) -> None:
    student = {"name": "mantis", "size": {"hidden_dim": 8, "seq_len": 32}, "pooling": "mean"}
    teachers = ["efficientnet-lite0", "timesformer"]
    space = {
        "student.name": ["mantis", "moment"],
        "teacher.name": teachers,
        "teacher.weights": {"values": ["a/b"], "when": {"teacher.name": "timesformer"}},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, trial__student=student))
    trials = [sweep.with_values(point) for point in sweep.grid()]
    sizes = {trial.student.name: trial.student.size for trial in trials}
    assert sizes == {"mantis": {"hidden_dim": 8, "seq_len": 32}, "moment": {"seq_len": 32}}
    assert {trial.student.pooling for trial in trials} == {"mean"}
    asked = [(teacher.name, teacher.weights) for _, teacher in sweep.trained_on()]
    assert asked == [("efficientnet-lite0", None), ("timesformer", "a/b")]


def test_other_encoders_leave_out_the_options_of_mantis(tmp_path: Path) -> None:
    space = {"student.name": ["mantis-v2", "mantis", "chronos-bolt", "dlinear"]}
    student = {"name": "mantis-v2", "return_transf_layer": 2, "output_token": "combined"}
    changes = {"trial__student": student, "trial__method": "supervised"}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
    outputs = [sweep.with_values(point).student.options for point in sweep.grid()]
    assert outputs == [{"return_transf_layer": 2, "output_token": "combined"}] * 2 + [{}] * 2


def test_recipes_set_what_goes_with_a_method_or_a_data_set(tmp_path: Path) -> None:
    recipes = [
        {"when": {"method.name": "comodo"}, "set": {"method.queue_size": 32}},
        {"when": {"dataset": "other", "method.name": ["comodo"]}, "set": {"method.queue_size": 64}},
        {"when": {"method.name": "supervised"}, "set": {"epochs": 7, "learning_rate": 1e-4}},
    ]
    changes: dict[str, Any] = {
        "datasets": {name: {"kind": "simulated"} for name in ("demo", "other")},
        "search__space": {"dataset": ["demo", "other"], "method": ["comodo", "supervised"]},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, recipes=recipes, **changes))
    found = [sweep.with_values(point) for point in sweep.grid()]
    assert [getattr(c.method, "queue_size", None) for c in found] == [32, None, 64, None]
    assert [c.epochs == 7 for c in found] == [False, True, False, True]
    assert sweep.supervised_like(found[0]).epochs == 7
    assert Labels(sweep).keys == ["dataset"]  # what follows is not said again


def test_a_recipe_of_one_method_is_not_applied_to_others(tmp_path: Path) -> None:
    """The recipe would not fit the reference `supervised`, which is not used here."""
    recipes = [{"when": {"dataset": "demo"}, "set": {"method.queue_size": 32}}]
    sweep = read_sweep_file(sweep_file(tmp_path, recipes=recipes, trial__method="comodo"))
    trial = Trial(sweep.with_values({}), 0, "w", "f")
    assert [found.config.method.name for found in references(sweep, [trial])] == ["none"]


def test_what_follows_is_a_confound_and_no_hindrance_to_warm_start(tmp_path: Path) -> None:
    recipes = [
        {"when": {"dataset": d, "method.name": "comodo"}, "set": {"method.queue_size": q}}
        for d, q in (("demo", 32), ("other", 64))
    ]
    changes: dict[str, Any] = {
        "datasets": {name: {"kind": "simulated"} for name in ("demo", "other")},
        "search__space": {"method": ["infonce", "comodo"], "dataset": ["demo", "other"]},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, recipes=recipes, **changes))
    moved = {(found.key, found.quantity) for found in confounds(sweep, {})}
    assert ("dataset", "method.queue_size") in moved
    for point in sweep.grid():  # whichever key comes first
        assert locate(sweep.with_values(point), sweep) == point


@pytest.mark.parametrize(
    ("recipe", "code", "name"),
    [
        ({"when": {"epochs": "2"}, "set": {"batch_size": 8}}, "when.epochs", "'method.name'"),
        ({"when": {"dataset": "dema"}, "set": {"epochs": 2}}, "when.dataset", "'demo'"),
        ({"when": {"method.name": "l2"}, "set": {"epochs": 2}}, "when", ""),
        ({"when": {"dataset": "demo"}, "set": {"epoch": 2}}, "set", "'epoch'"),
        (
            {"when": {"dataset": "demo"}, "set": {"student.pooling": "mean"}},
            "set",
            "'student.pooling'",
        ),
        ({"when": {"dataset": "demo"}, "set": {"method.name": "l2"}}, "set", "'method.name'"),
        ({"when": {"dataset": "demo"}, "set": {"epochs": 0}}, "set.epochs", "not 0"),
        ({"when": {"dataset": "demo"}, "set": {"learning_rate": 1}}, "set.learning_rate", ""),
        (
            {"when": {"dataset": "demo"}, "set": {"method.queue_size": 9}},
            "set.method.queue_size",
            "",
        ),
        ({"when": {}, "set": {"epochs": 1}}, "when", ""),
    ],
)
def test_recipes_that_cannot_be(
    tmp_path: Path, recipe: dict[str, Any], code: str, name: str
) -> None:
    space = {"learning_rate": [1e-3, 1e-2], "method": [{"name": "comodo", "queue_size": 8}]}
    with raises(ConfigError, f"recipes.0.{code}", name):
        read_sweep_file(sweep_file(tmp_path, recipes=[recipe], search__space=space))


@pytest.mark.parametrize(
    ("swept", "value", "key", "fixed"),
    [
        ("method.head", {"hidden_dim": 8}, "method.head.hidden_dim", 16),
        ("method.head.hidden_dim", 8, "method.head", {"hidden_dim": 16}),
    ],
)
def test_recipes_that_overrule_part_of_a_swept_key(
    tmp_path: Path, swept: str, value: Any, key: str, fixed: Any
) -> None:
    recipe = {"when": {"dataset": "demo"}, "set": {key: fixed}}
    with raises(ConfigError, f"recipes.0.set.{key}"):
        read_sweep_file(sweep_file(tmp_path, recipes=[recipe], search__space={swept: [value]}))
