"""Values of a point or a recipe put into a trial's settings, and which recipes are refused."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.overrides import shown_overrides
from comodo.report.plan.confounds import confounds
from comodo.search.configuration import references
from comodo.search.labels import Labels
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
    asked = [(teacher.name, teacher.weights) for _, teacher in sweep.encoded()]
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
        ({"when": {"epochs": "2"}, "set": {"batch_size": 8}}, "when.epochs", "method.name"),
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


SWEPT: dict[str, Any] = {"search__space": {"method.queue_size": [8, 16], "student": ["mantis-8m"]}}


def overridden(folder: Path, *overrides: str, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(folder, **changes), overrides=overrides)


def test_an_override_is_read_as_if_the_file_had_it(tmp_path: Path) -> None:
    sweep = overridden(
        tmp_path,
        "trial.learning_rate=1e-3",
        "trial.teacher.frames = 3",  # of a preset
        "search.space.method.queue_size=[4]",
        "search.space.method.student_temperature={values: [0.5], when: {method.queue_size: 4}}",
        "seeds=[0, 1]",
        "budget.trials=9",
        "recipes.0.set.method.hold_out_queue=false",
        "name=other",
        recipes=[{"when": {"method.name": "comodo"}, "set": {"method.hold_out_queue": True}}],
        **SWEPT,
    )
    (trial,) = [sweep.with_values(point) for point in sweep.grid()]
    assert trial.teacher is not None
    assert (trial.learning_rate, trial.teacher.frames, sweep.seeds) == (1e-3, 3, [0, 1])
    method = trial.method.model_dump()
    assert (method["queue_size"], method["student_temperature"]) == (4, 0.5)
    assert method["hold_out_queue"] is False
    assert (sweep.name, sweep.budget.trials) == ("other", 9)
    assert sweep.overrides["seeds"] == [0, 1]
    assert shown_overrides({"a": "b", "seeds": [0, 1]}) == "a=b, seeds=[0, 1]"


def test_another_method_leaves_out_what_it_does_not_have(tmp_path: Path) -> None:
    assert overridden(tmp_path, "trial.method.name=infonce").trial.method.name == "infonce"


@pytest.mark.parametrize("override", ["protocol=published", "trial.protocol=published"])
@pytest.mark.parametrize(
    "written", [{}, {"protocol": "corrected"}, {"trial__protocol": "corrected"}]
)
def test_the_protocol_is_one_key_at_two_places(
    tmp_path: Path, override: str, written: dict[str, str]
) -> None:
    sweep = overridden(tmp_path, override, **written)
    assert (sweep.protocol, sweep.trial.protocol) == ("published", "published")
    assert sweep.trial.schedule == "published"
    assert sweep.objective.metric == "test/acc1"


def test_two_protocols_in_one_file_are_refused(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, protocol="published", trial__protocol="corrected")
    with raises(ConfigError, "protocol", "'corrected'; keep one"):
        read_sweep_file(file)


def test_parts_that_yaml_shares_are_set_once(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    text = (
        file.read_text()
        .replace("demo:", "demo: &demo")
        .replace("\ntrial:", "\n  two: *demo\ntrial:")
    )
    file.write_text(text)
    sweep = read_sweep_file(file, overrides=["datasets.two.subjects=7"])
    assert [getattr(settings, "subjects") for settings in sweep.datasets.values()][1] == 7  # noqa: B009
    assert sweep.datasets["demo"] != sweep.datasets["two"]


@pytest.mark.parametrize(
    ("override", "code", "names"),
    [
        ("trial.epoks=3", "trial.epoks", ["--set trial.epoks: ", "'epochs'"]),
        ("tral.epochs=3", "tral", ["--set tral.epochs: ", "'trial'"]),
        ("trial.epochs=many", "trial.epochs", ["--set trial.epochs: ", "'many'"]),
        ("trial.epochs=010x", "trial.epochs", []),
        ("trial.epochs.deep=3", "trial.epochs", ["with --set trial.epochs.deep: "]),
        ("trial.student.size.hiden_dim=8", "trial.student", ["size.hiden_dim", "'hidden_dim'"]),
        ("trial.method.queue_sise=8", "trial.method.queue_sise", ["'queue_size'"]),
        ("seeds.4=3", "seeds.4", ["list of 1"]),
        ("name.first=a", "name.first", ["'small', which has no keys"]),
        ("datasets.dmo.subjects=3", "datasets.dmo", ["--set datasets.dmo.subjects: "]),
        ("trial.epochs", "trial.epochs", ["KEY=VALUE"]),
        ("trial.epochs=", "trial.epochs", ["KEY=VALUE"]),
        ("=3", "file.override", ["KEY=VALUE"]),
        ("trial.epochs=[", "file.not-yaml", ["--set trial.epochs: "]),
        ("trial.size={a: 1, a: 2}", "a", ["listed twice"]),
        ("trial.teacher.revision=hunter2-secret", "trial.teacher.revision", ["secret"]),
    ],
)
def test_overrides_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, code: str, names: list[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2-secret")
    with raises(ConfigError, code, "--set", *names):
        overridden(tmp_path, override, seeds=[0])


@pytest.mark.parametrize(
    ("override", "swept"),
    [
        ("trial.method.queue_size=4", "method.queue_size"),
        ("trial.student.pooling=mean", "student"),
    ],
)
def test_an_override_of_what_is_swept_would_do_nothing(
    tmp_path: Path, override: str, swept: str
) -> None:
    with raises(ConfigError, override.split("=")[0], f"override search.space.{swept} instead"):
        overridden(tmp_path, override, **SWEPT)


def test_the_same_key_twice_is_refused(tmp_path: Path) -> None:
    with raises(ConfigError, "trial.epochs", "twice"):
        overridden(tmp_path, "trial.epochs=1", "trial.epochs=2")
