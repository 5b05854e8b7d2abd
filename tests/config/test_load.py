"""Sweep files: what is read, what is refused, and how the refusal reads."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from comodo.config import ConfigError, read_sweep_file
from comodo.config.load import _Loader
from tests.errors import raises

CONDITIONAL: dict[str, Any] = {
    "method.temperature": {"values": [0.1, 0.2], "when": {"method.name": "infonce"}},
    "method.name": ["comodo", "infonce", "l2"],
    "method.queue_size": {"values": [8, 16], "when": {"method.name": ["comodo"]}},
    "warmup": {"values": [0.0, 0.5], "when": {"method.queue_size": 16}},
}
"""Conditions on conditional keys, in no order."""


def sweep_file(tmp_path: Path, **changes: Any) -> Path:
    """A sweep file with these changes, dotted keys with `__` for a dot. Its references are the
    untrained student, and with `evaluate_on` the supervised one, unless `changes` say otherwise.
    """
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
    also = ["supervised"] if changes.get("evaluate_on") else []
    content.setdefault("references", ["none", *also])
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"trial__epoks": 3}, "trial.epoks", ["'epochs'"]),
        (
            {"trial__method": {"name": "comodo", "queue_sise": 3}},
            "trial.method.queue_sise",
            ["'queue_size'"],
        ),
        (
            {"trial__method__teacher_temperature": -0.1},
            "trial.method.teacher_temperature",
            ["greater than 0, not -0.1"],
        ),
        (
            {"trial__student": {"name": "hand-crafted"}, "trial__method": "none"},
            "trial.student",
            ["references: [features]"],
        ),
        ({"trial__teacher": "timesformer"}, "trial.teacher", ["write timesformer-base-k400"]),
        ({"trial__dataset": "dmo"}, "trial.dataset", ["'dmo'", "'demo'"]),
        (
            {"datasets__mine": {"kind": "folder", "path": "absent/manifest.csv"}},
            "datasets.mine.path",
            ["absent/manifest.csv"],
        ),
        (
            {"search__space": {"method.queue_sise": [1]}},
            "search.space.method.queue_sise",
            ["trial.method.queue_sise with method.queue_sise=1"],
        ),
        ({"search__space": {"learning_rate": {"min": 1, "max": 2}}}, "search", ["learning_rate"]),
        ({"search__sampler": "tpe"}, "budget.trials", ["tpe"]),
        ({"seeds": [1, 1]}, "seeds", []),
        ({"seeds": [0, -1]}, "seeds.1", ["-1"]),
        ({"seeds": [2**32]}, "seeds.0", [str(2**32)]),
        ({"search__seed": -1}, "search.seed", ["-1"]),
        ({"datasets__demo__seed": 2**32}, "datasets.demo.seed", [str(2**32)]),
        (
            {"datasets__demo__split_by_group": {"seed": -1}},
            "datasets.demo.split_by_group.seed",
            ["-1"],
        ),
        (
            {"trial__student": {"name": "mantis", "weights": "./absent"}},
            "trial.student.weights",
            ["absent"],
        ),
        ({"trial__student__channels": []}, "trial.student.channels", []),
        ({"trial__student__channels": ["acc_x", "acc_x"]}, "trial.student.channels", ["once"]),
        (
            {"trial__student__size": {"hiden_dim": 8}},
            "trial.student",
            ["size.hiden_dim", "'hidden_dim'"],
        ),
        ({"trial__student__return_transf_layer": 6}, "trial.student", ["0..5"]),
        ({"trial__student__return_transf_layer": -1}, "trial.student.return_transf_layer", ["-1"]),
        (
            {"trial__student": {"name": "moment", "output_token": "combined"}},
            "trial.student",
            ["output_token", "mantis-v2"],
        ),
        (
            {"trial__method__student_temperature": float("inf")},
            "trial.method.student_temperature",
            [],
        ),
        (
            {"search__space": {"method.queue_size": [8], "method.name": ["comodo", "l2"]}},
            "search.space.method.queue_size",
            ["method.queue_size=8, method.name=l2", "when: {method.name: [comodo]}"],
        ),
        ({"search__space": {"learning_rate": 0.1}}, "search.space.learning_rate", []),
        (
            {"search__space": {"epochs": {"values": [1], "wehn": {}}}},
            "search.space.epochs.wehn",
            ["'when'"],
        ),
        (
            {"search__space": {"epochs": {"min": 2, "max": 1}}},
            "search.space.epochs",
            ["min", "max"],
        ),
        ({"search__space": {"epochs": []}}, "search.space.epochs.values", []),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"metod.name": "l2"}}}},
            "search.space.epochs.when.metod.name",
            ["'method.name'"],
        ),
        (
            {
                "search__space": {
                    "method.name": ["comodo", "l2"],
                    "epochs": {"values": [1], "when": {"method.name": "infonce"}},
                }
            },
            "search.space.epochs.when.method.name",
            ["'infonce'", "comodo, l2"],
        ),
        (
            {
                "search__space": {
                    "method.name": ["comodo", "l2"],
                    "epochs": {"values": [1], "when": {"method.name": ["l2", "comdo"]}},
                }
            },
            "search.space.epochs.when.method.name",
            ["'comdo'", "'comodo'"],
        ),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"method.name": "comdo"}}}},
            "search.space.epochs.when.method.name",
            ["'comdo'", "'comodo'"],
        ),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"batch_size": 7}}}},
            "search.space.epochs.when.batch_size",
            ["7"],
        ),
        (
            {
                "search__space": {
                    "method.name": ["comodo", "l2"],
                    "method.queue_size": {"values": [8], "when": {"method.name": "comodo"}},
                    "epochs": {
                        "values": [1, 2],
                        "when": {"method.name": "l2", "method.queue_size": 8},
                    },
                }
            },
            "search.space.epochs.when",
            ["'l2'", "8"],
        ),
        (
            {
                "search__space": {
                    "epochs": {"values": [1], "when": {"warmup": 0.1}},
                    "batch_size": {"values": [8], "when": {"epochs": 1}},
                    "warmup": {"values": [0.1], "when": {"batch_size": 8}},
                }
            },
            "search.space.epochs.when",
            ["epochs -> warmup -> batch_size -> epochs"],
        ),
        (
            {"search": {"space": {"epochs": [1, 2]}, "start_with": [{"epochs": 3}]}},
            "search.start_with",
            ["epochs: 3", "[1, 2]"],
        ),
        (
            {"search": {"space": {"epochs": [1, 2]}, "start_with": [{"epoks": 1}]}},
            "search.start_with",
            ["epoks", "'epochs'"],
        ),
        (
            {"search": {"space": CONDITIONAL, "start_with": [{"method.queue_size": 8}]}},
            "search.start_with",
            ["method.queue_size: depends on method.name"],
        ),
        (
            {
                "search": {
                    "space": CONDITIONAL,
                    "start_with": [{"method.queue_size": 8, "method.name": "infonce"}],
                }
            },
            "search.start_with",
            ["method.queue_size", "{'method.name': ['comodo']}"],
        ),
        ({"search": {"warm_start": ["other"]}}, "search", ["warm_start", "tpe"]),
        (
            {
                "search": {"sampler": "tpe", "warm_start": ["small"], "space": {"epochs": [1]}},
                "budget": {"trials": 1},
            },
            "search.warm_start",
            [],
        ),
        (
            {"objective": {"metric": "val/acc11"}},
            "objective.metric",
            ["'val/acc11'", "'val/acc1'"],
        ),
        (
            {"objective": {"metric": "test/few_shot/5"}},
            "objective.metric",
            ["test/few_shot/5", "'few-shot'"],
        ),
        (
            {"objective": {"metric": "on/demo/test/acc1"}, "evaluate_on": ["demo"]},
            "objective.metric",
            ["'on/demo/test/acc1'"],  # of the data set that it is trained on
        ),
        ({"objective": [{"metric": "val/acc1"}] * 2}, "objective.metric", ["val/acc1", "twice"]),
        ({"objective": {"metric": "val/acc1", "mode": "most"}}, "objective.mode", ["'most'"]),
        (
            {
                "search": {"hopeless_below": 0.1},
                "objective": [{"metric": "val/acc1"}, {"metric": "student/parameters"}],
            },
            "search.hopeless_below",
            [],
        ),
        (
            {
                "search": {"sampler": "random", "space": {"teacher.frames": {"min": 1, "max": 2}}},
                "budget": {"trials": 2},
            },
            "search.space.teacher.frames",
            [],
        ),
        ({"budget": {"trials": 1}, "seeds": [0, 1]}, "budget.trials", ["2 trials", "1"]),
        ({"name": "../up"}, "name", ["'../up'"]),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, changes: dict[str, Any], code: str, names: list[str]
) -> None:
    path = sweep_file(tmp_path, **changes)
    with raises(ConfigError, code, f": {code}: ", *names) as error:
        read_sweep_file(path)
    assert len(str(error.value).splitlines()) == 1
    line = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert 1 <= line <= len(path.read_text().splitlines())


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with raises(ConfigError, "file.not-found", "absent.yaml"):
        read_sweep_file(tmp_path / "absent.yaml")
    broken = {
        b"a: [": "file.not-yaml",
        b"just words": "file.not-a-mapping",
        b"": "file.not-a-mapping",
        b"name: caf\xe9": "file.not-yaml",
    }
    for text, code in broken.items():
        path = tmp_path / "broken.yaml"
        path.write_bytes(text)
        with raises(ConfigError, code, "broken.yaml"):
            read_sweep_file(path)


def test_a_key_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    path = sweep_file(tmp_path)
    text = path.read_text()
    for key, again in (
        ("name", "name: other"),
        ("search.space.epochs", "search: {space: {epochs: [1], epochs: [2]}}"),
    ):
        path.write_text(f"{text}\n{again}\n")
        with raises(ConfigError, key, "sweep.yaml:", "listed twice, first in line"):
            read_sweep_file(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1e3", 1000.0), ("+1.5E+2", 150.0), ("010", 10), ("0o17", 15),
        ("0x1f", 31), ("1:30", "1:30"), ("1_000", "1_000"), ("no", "no"), ("true", True),
        ("2026-11-30", "2026-11-30"), ("~", None), ("", None), (".5", 0.5), ("-7", -7), ("1.", 1.0),
        ("0x1F", 31), ("0b1", "0b1"), ("on", "on"), ("null", None), ("!!float 1", 1.0),
        ("!!str 010", "010"), ("!!int '010'", 10), ("-.inf", -math.inf), ("12:30:45", "12:30:45"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """Compared with the examples of the specification's core schema; PyYAML's are of 1.1."""
    found = _Loader(f"key: {text}").get_single_data()["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "!!int 1_000",
        "!!float 1:30",
        "!!bool yes",
        "!!timestamp 2026-11-30",
        "!!set {a}",
        "!!null no",
    ],
)
def test_tags_do_not_bring_the_scalars_of_yaml_1_1_back(tmp_path: Path, text: str) -> None:
    path = sweep_file(tmp_path)
    path.write_text(f"{path.read_text()}\nsearch: {{space: {{epochs: [{text}]}}}}\n")
    with raises(ConfigError, "file.not-yaml", "sweep.yaml"):
        read_sweep_file(path)


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"trial__epochs": "010"}, "trial.epochs", ["'010'"]),
        ({"trial__epochs": "1_000"}, "trial.epochs", ["'1_000'"]),
        ({"trial__epochs": True}, "trial.epochs", ["True"]),
        ({"trial__learning_rate": "0.1"}, "trial.learning_rate", ["'0.1'"]),
        ({"trial__method__hold_out_queue": "no"}, "trial.method.hold_out_queue", ["'no'"]),
        ({"trial__method__hold_out_queue": 0}, "trial.method.hold_out_queue", ["0"]),
        ({"trial__student__size": {"hidden_dim": "8"}}, "trial.student.size", ["'8'"]),
        ({"seeds": [0, True]}, "seeds", ["True"]),
        ({"search__space": {"epochs": [20, "30"]}}, "search.space.epochs", ["'30'"]),
        (
            {"search__space": {"method": [{"name": "comodo", "hold_out_queue": "off"}]}},
            "search.space.method",
            ["'off'"],
        ),
        (
            {"search": {"sampler": "random", "space": {"warmup": {"min": "0", "max": 0.5}}}},
            "search.space.warmup.min",
            ["'0'"],
        ),
        (
            {"search": {"space": {"epochs": [1, 2]}, "start_with": [{"epochs": "1"}]}},
            "search.start_with",
            ["'1'"],
        ),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"probe_mask": "no"}}}},
            "search.space.epochs.when.probe_mask",
            ["'no'", "True"],
        ),
        (
            {"search__space": {"epochs": {"values": [1], "when": {"batch_size": "128"}}}},
            "search.space.epochs.when.batch_size",
            ["'128'"],
        ),
        (
            {
                "recipes": [{"when": {"dataset": "demo"}, "set": {"batch_size": "8"}}],
            },
            "recipes.0.set.batch_size",
            ["'8'"],
        ),
    ],
)
def test_text_is_no_number_and_no_number_is_true(
    tmp_path: Path, changes: dict[str, Any], code: str, names: list[str]
) -> None:
    """Pydantic would convert it, but a condition or a list of values would compare it as it is."""
    with raises(ConfigError, code, *names):
        read_sweep_file(sweep_file(tmp_path, **changes))


def test_hours_of_a_clock_are_no_number(tmp_path: Path) -> None:
    path = sweep_file(tmp_path)
    path.write_text(f"{path.read_text()}\nbudget: {{hours: 1:30}}\n")
    with raises(ConfigError, "budget.hours", "1:30"):
        read_sweep_file(path)
