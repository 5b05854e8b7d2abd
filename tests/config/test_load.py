"""Sweep files: what is read, what is refused, and how the refusal reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from comodo.config import ConfigError, read_sweep_file

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


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_sweep_file(tmp_path / "absent.yaml")
    for text in (b"a: [", b"just words", b"", b"name: caf\xe9"):
        path = tmp_path / "broken.yaml"
        path.write_bytes(text)
        with pytest.raises(ConfigError):
            read_sweep_file(path)
