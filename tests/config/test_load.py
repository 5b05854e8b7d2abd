"""Sweep files: what is read, what is refused, and how the refusal reads."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from comodo.config import ConfigError, FolderDataset, Sweep, read_sweep_file
from comodo.report.plan.confounds import confounds
from comodo.search.labels import Labels
from comodo.search.ledger import references
from comodo.search.trial import Trial
from comodo.search.warm_start import locate
from tests.paths import ROOT

CONDITIONAL: dict[str, Any] = {
    "method.temperature": {"values": [0.1, 0.2], "when": {"method.name": "infonce"}},
    "method.name": ["comodo", "infonce", "l2"],
    "method.queue_size": {"values": [8, 16], "when": {"method.name": ["comodo"]}},
    "warmup": {"values": [0.0, 0.5], "when": {"method.queue_size": 16}},
}
"""Conditions on conditional keys, in no order."""


def sweep_file(tmp_path: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "name": "small",
        "datasets": {"demo": {"kind": "simulated"}},
        "trial": {
            "dataset": "demo",
            "teacher": "efficientnet-lite0",
            "student": {"name": "mantis"},
            "method": {"name": "comodo", "queue_size": 64},
        },
    }
    for key, value in changes.items():
        place = content
        *parents, last = key.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_defaults_are_the_published_ones(tmp_path: Path) -> None:
    trial = read_sweep_file(sweep_file(tmp_path)).trial
    assert (trial.epochs, trial.batch_size, trial.learning_rate) == (20, 128, 3e-4)
    assert trial.method.name == "comodo"
    assert (trial.method.teacher_temperature, trial.method.student_temperature) == (0.1, 0.05)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trial__epoks": 3}, "trial.epoks: unknown key; did you mean 'epochs'?"),
        (
            {"trial__method": {"name": "comodo", "queue_sise": 3}},
            "trial.method.queue_sise: unknown key; did you mean 'queue_size'?",
        ),
        (
            {"trial__method__teacher_temperature": -0.1},
            "trial.method.teacher_temperature: Input should be greater than 0, not -0.1",
        ),
        ({"trial__teacher": "timesformer"}, "did you mean 'timesformer-base-k400'?"),
        ({"trial__dataset": "dmo"}, "'dmo' is not under datasets; did you mean 'demo'?"),
        (
            {"datasets__mine": {"kind": "folder", "path": "absent/manifest.csv"}},
            "datasets.mine.path: ",
        ),
        (
            {"search__space": {"method.queue_sise": [1]}},
            "search.space.method.queue_sise: trial.method.queue_sise with",
        ),
        ({"search__space": {"learning_rate": {"min": 1, "max": 2}}}, "a grid needs a list"),
        ({"search__sampler": "tpe"}, "budget.trials: the sampler tpe needs it"),
        ({"seeds": [1, 1]}, "seeds: list each seed once"),
        ({"trial__student": {"name": "mantis", "weights": "./absent"}}, "absent does not exist"),
        ({"trial__student__channels": []}, "trial.student.channels"),
        ({"trial__student__channels": ["acc_x", "acc_x"]}, "each channel once"),
        (
            {"trial__student__size": {"hiden_dim": 8}},
            "trial.student: size.hiden_dim: unknown; did you mean 'hidden_dim'?",
        ),
        ({"trial__method__student_temperature": float("inf")}, "student_temperature"),
        (
            {"search__space": {"method.queue_size": [8], "method.name": ["comodo", "l2"]}},
            "trial.method.queue_size with method.queue_size=8, method.name=l2: l2 has no such key; "
            "give it a condition, when: {method.name: [comodo]}",
        ),
        ({"search__space": {"learning_rate": 0.1}}, "search.space.learning_rate: needs a list"),
        (
            {"search__space": {"epochs": {"values": [1], "wehn": {}}}},
            "search.space.epochs.wehn: unknown key; did you mean 'when'?",
        ),
        (
            {"search__space": {"epochs": {"min": 2, "max": 1}}},
            "search.space.epochs: min must be below max",
        ),
        ({"search__space": {"epochs": []}}, "search.space.epochs"),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"metod.name": "l2"}}}},
            "search.space.epochs.when.metod.name: not a key of the space or of trial; did you "
            "mean 'method.name'?",
        ),
        (
            {
                "search__space": {
                    "method.name": ["comodo", "l2"],
                    "epochs": {"values": [1], "when": {"method.name": "infonce"}},
                }
            },
            "search.space.epochs.when.method.name: 'infonce' is not one of its values:",
        ),
        (
            {
                "search__space": {
                    "epochs": {"values": [1], "when": {"warmup": 0.1}},
                    "batch_size": {"values": [8], "when": {"epochs": 1}},
                    "warmup": {"values": [0.1], "when": {"batch_size": 8}},
                }
            },
            "depends on itself: epochs -> warmup -> batch_size -> epochs",
        ),
        (
            {"search": {"space": {"epochs": [1, 2]}, "start_with": [{"epochs": 3}]}},
            "search.start_with: epochs: 3 is not in the space, which has [1, 2]",
        ),
        (
            {"search": {"space": {"epochs": [1, 2]}, "start_with": [{"epoks": 1}]}},
            "search.start_with: epoks: not a key of the space; did you mean 'epochs'?",
        ),
        (
            {"search": {"space": CONDITIONAL, "start_with": [{"method.queue_size": 8}]}},
            "search.start_with: method.queue_size: depends on method.name",
        ),
        (
            {
                "search": {
                    "space": CONDITIONAL,
                    "start_with": [{"method.queue_size": 8, "method.name": "infonce"}],
                }
            },
            "search.start_with: method.queue_size: exists only where",
        ),
        ({"search": {"warm_start": ["other"]}}, "the sampler grid does not learn; use tpe"),
        (
            {
                "search": {"sampler": "tpe", "warm_start": ["small"], "space": {"epochs": [1]}},
                "budget": {"trials": 1},
            },
            "search.warm_start: a sweep learns from its own trials anyway",
        ),
        (
            {"objective": {"metric": "val/acc11"}},
            "objective.metric: unknown 'val/acc11'; did you mean 'val/acc1'?",
        ),
        (
            {"objective": {"metric": "test/few_shot/5"}},
            "objective.metric: test/few_shot/5 needs 'few-shot' in measures",
        ),
        (
            {"objective": {"metric": "on/demo/test/acc1"}, "evaluate_on": ["demo"]},
            "objective.metric: unknown 'on/demo/test/acc1'",  # which it is trained on
        ),
        ({"objective": [{"metric": "val/acc1"}] * 2}, "val/acc1 is listed twice"),
        ({"objective": {"metric": "val/acc1", "mode": "most"}}, "objective.mode: Input should"),
        (
            {
                "search": {"hopeless_below": 0.1},
                "objective": [{"metric": "val/acc1"}, {"metric": "student/parameters"}],
            },
            "search.hopeless_below: needs a single objective",
        ),
        (
            {
                "search": {"sampler": "random", "space": {"teacher.frames": {"min": 1, "max": 2}}},
                "budget": {"trials": 2},
            },
            "search.space.teacher.frames: needs a list",
        ),
        ({"budget": {"trials": 1}, "seeds": [0, 1]}, "the grid has 2 trials, more than 1"),
        ({"name": "../up"}, "name: String should match"),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = sweep_file(tmp_path, **changes)
    with pytest.raises(ConfigError) as error:
        read_sweep_file(path)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    line = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert 1 <= line <= len(path.read_text().splitlines())


def test_line_is_that_of_the_key(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__learning_rate=-1)
    with pytest.raises(ConfigError) as error:
        read_sweep_file(path)
    number = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert "learning_rate" in path.read_text().splitlines()[number - 1]


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_sweep_file(tmp_path / "absent.yaml")
    for text in (b"a: [", b"just words", b"", b"name: caf\xe9"):
        path = tmp_path / "broken.yaml"
        path.write_bytes(text)
        with pytest.raises(ConfigError):
            read_sweep_file(path)


def test_paths_are_relative_to_the_file_and_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.csv").write_text("video,imu\n")
    monkeypatch.setenv("MY_DATA", "data")
    for written in ("data/manifest.csv", "$MY_DATA/manifest.csv"):
        path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": written})
        mine = read_sweep_file(path).datasets["mine"]
        assert isinstance(mine, FolderDataset)
        assert mine.path == str(tmp_path / "data/manifest.csv")
    path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": "$ABSENT_VARIABLE/x"})
    with pytest.raises(ConfigError, match="export ABSENT_VARIABLE"):
        read_sweep_file(path)


def test_paths_in_the_space_are_relative_to_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    (tmp_path / "weights").mkdir()
    space = {
        "teacher": [{"name": "precomputed", "path": "features.npz"}],
        "student": [{"name": "mantis", "weights": "weights"}],
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    (trial,) = map(sweep.with_values, sweep.grid())
    assert trial.teacher.path == str(tmp_path / "features.npz")
    assert trial.student.weights == str(tmp_path / "weights")


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
    with pytest.raises(ConfigError, match="trial.method.temperature with .*greater than 0"):
        read_sweep_file(sweep_file(tmp_path, search__space=wrong, **changes))


def test_a_range_of_fractions_is_no_range_of_a_whole_number(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__sampler": "random", "budget": {"trials": 9}}
    span: dict[str, Any] = {"min": 8, "max": 64, "log": True}
    where = {"method.queue_size": {**span, "when": {"method.name": "comodo"}}}
    spaces: list[dict[str, Any]] = [
        {"method.queue_size": span},
        {"method.name": ["l2", "comodo"], **where},
    ]
    for space in spaces:
        with pytest.raises(ConfigError, match=r"search.space.method.queue_size.*integer: true$"):
            read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
        space["method.queue_size"] |= {"integer": True}
        read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
    rates = {"learning_rate": {"min": 1, "max": 2}}
    read_sweep_file(sweep_file(tmp_path, search__space=rates, **changes))


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


def test_one_objective_or_several(tmp_path: Path) -> None:
    one = read_sweep_file(sweep_file(tmp_path, objective={"metric": "val/macro_f1"}))
    assert (one.objective.metric, one.objective.mode) == ("val/macro_f1", "max")
    assert one.objective.splits == {"val"}
    several = read_sweep_file(
        sweep_file(
            tmp_path,
            datasets__other={"kind": "simulated"},
            evaluate_on=["other"],
            measures=["probe", "direct"],
            objective=[
                {"metric": "on/other/direct/test/acc1"},
                {"metric": "student/parameters"},
            ],
        )
    )
    assert several.objective.metric == "on/other/direct/test/acc1"
    assert [objective.mode for objective in several.objectives] == ["max", "min"]
    assert several.objective.splits == set()


def test_the_schema_has_every_form_of_an_entry_and_of_an_objective() -> None:
    schema = Sweep.model_json_schema()
    entry = schema["$defs"]["Search"]["properties"]["space"]["additionalProperties"]
    assert {"type": "array", "items": {}} in entry["oneOf"][0]["anyOf"]
    assert "when" in schema["$defs"]["Choices"]["properties"]
    assert "when" in schema["$defs"]["Range"]["properties"]
    objective = schema["$defs"]["Objectives"]["anyOf"]
    assert [form.get("type", "object") for form in objective] == ["object", "array"]


def test_every_sweep_of_the_page_on_cameras_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOPRO", "ARIA"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "manifest.csv").touch()
    page = (ROOT / "docs" / "cameras.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = []
    for block in blocks:
        (tmp_path / "sweep.yaml").write_text(block)
        kinds += [
            dataset.kind for dataset in read_sweep_file(tmp_path / "sweep.yaml").datasets.values()
        ]
    assert kinds == ["gopro", "aria", "folder"]


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


def test_a_recipe_of_one_method_leaves_what_is_not_asked_alone(tmp_path: Path) -> None:
    """Nothing supervised is asked for, so nothing supervised is resolved."""
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
    ("recipe", "reason"),
    [
        ({"when": {"epochs": "2"}, "set": {"batch_size": 8}}, "when.epochs.*'method.name'"),
        ({"when": {"dataset": "dema"}, "set": {"epochs": 2}}, "when.dataset: unknown.*'demo'"),
        ({"when": {"method.name": "l2"}, "set": {"epochs": 2}}, "when: no configuration"),
        ({"when": {"dataset": "demo"}, "set": {"epoch": 2}}, "set: 'epoch' cannot be set"),
        ({"when": {"dataset": "demo"}, "set": {"student.pooling": "mean"}}, "set: .*cannot be set"),
        ({"when": {"dataset": "demo"}, "set": {"method.name": "l2"}}, "set: .*cannot be set"),
        ({"when": {"dataset": "demo"}, "set": {"epochs": 0}}, "set.epochs:.*greater than or equal"),
        (
            {"when": {"dataset": "demo"}, "set": {"learning_rate": 1}},
            "set.learning_rate: is also swept",
        ),
        (
            {"when": {"dataset": "demo"}, "set": {"method.queue_size": 9}},
            "queue_size: is also swept",
        ),
        ({"when": {}, "set": {"epochs": 1}}, "when: "),
    ],
)
def test_recipes_that_cannot_be(tmp_path: Path, recipe: dict[str, Any], reason: str) -> None:
    space = {"learning_rate": [1e-3, 1e-2], "method": [{"name": "comodo", "queue_size": 8}]}
    with pytest.raises(ConfigError, match=f"recipes.0.*{reason}"):
        read_sweep_file(sweep_file(tmp_path, recipes=[recipe], search__space=space))
