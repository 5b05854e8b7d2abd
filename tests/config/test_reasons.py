"""A wrong value is answered with what is allowed and an example, and with no type of pydantic."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from tests.config.test_load import sweep_file
from tests.errors import raises


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"name": "my sweep"}, "name", "letters, digits, dots, dashes and underscores only, "
         "such as my-sweep, not 'my sweep'"),
        ({"datasets": {"demo": {"kind": "simulated"}, "my data": {"kind": "simulated"}}},
         "datasets.my data", "such as my-data"),
        ({"datasets__demo__sensor": "Left Wrist"}, "datasets.demo.sensor", "such as left_wrist"),
        ({"datasets__demo__kind": "foldr"}, "datasets.demo", "unknown kind 'foldr'; did you mean "
         "'folder'?"),
        ({"datasets__demo": {"seconds": 5}}, "datasets.demo", "needs its kind, such as kind: "),
        ({"datasets__demo__window_seconds": "long"}, "datasets.demo.window_seconds",
         "needs a number or whole, not 'long'"),
        ({"objective": 3}, "objective", "needs keys (metric, mode), such as val/macro_f1, not 3"),
        ({"objective": {"metric": "test/f1"}}, "objective.metric", "did you mean 'test/macro_f1'?"),
        ({"objective": "F1"}, "objective.metric", "did you mean 'val/macro_f1'?"),
        ({"objective": "accuracy"}, "objective.metric", "did you mean 'val/acc1'?"),
        ({"objective": "test/top-5"}, "objective.metric", "did you mean 'test/acc5'?"),
        ({"trial__student": "mantis"}, "trial.student", "{name: mantis}, which starts from "
         "scratch, or mantis-8m, with its weights"),
        ({"trial__student": "moment"}, "trial.student", "moment-small or moment-base or "),
        ({"trial__student": "hand-crafted"}, "trial.student", "{name: hand-crafted, ...}"),
        ({"trial__teacher": "image"}, "trial.teacher", "write dinov2-base or clip-vit-base or "),
        ({"trial__student": {"name": "cnn", "width": 8}}, "trial.student.width", "unknown key; "
         "known: averaged_patches, channels, class, file, from, name, "),
        ({"trial__method": "SimCLR"}, "trial.method", "unknown name 'SimCLR'; did you mean "
         "'infonce'?"),
        ({"trial__method": {"queue_size": 8}}, "trial.method", "needs its name, such as name: "),
        ({"trial": {"dataset": "demo", "student": "mantis-8m"}}, "trial.method",
         "is missing; write method: comodo"),
        ({"trial__epochs": "many"}, "trial.epochs", "needs a whole number, not 'many'"),
        ({"trial__epochs": 0}, "trial.epochs", "needs a number at least 1, not 0"),
        ({"trial__augment": "yes"}, "trial.augment", "such as {rotation: 15}, not 'yes'"),
        ({"seeds": 3}, "seeds", "needs a list, such as [3], not 3"),
        ({"seeds": []}, "seeds", "needs at least 1 of them, not []"),
        ({"measures": ["prob"]}, "measures.0", "did you mean 'probe'?"),
        ({"budget": 5}, "budget", "such as {trials: 60}, not 5"),
        ({"search": {"sampler": "bayesian"}}, "search.sampler", "did you mean 'tpe'?"),
        ({"trial__method__hold_out_queue": [1]}, "trial.method.hold_out_queue",
         "needs true or false, not [1]"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_answered_with_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], key: str, said: str
) -> None:
    with raises(ConfigError, key, f": {key}: ", said) as error:
        read_sweep_file(sweep_file(tmp_path, **changes))
    (line,) = str(error.value).splitlines()
    for word in ("Input", "Field", "tag", "pattern", "instance", "valid "):
        assert word not in line.removeprefix(str(tmp_path))


def test_an_objective_may_be_a_metric_alone(tmp_path: Path) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, objective="val/macro_f1"))
    assert [(o.metric, o.mode) for o in sweep.objectives] == [("val/macro_f1", "max")]
    several = ["val/acc1", {"metric": "val/acc5"}, "student/parameters"]
    sweep = read_sweep_file(sweep_file(tmp_path, objective=several))
    assert [o.mode for o in sweep.objectives] == ["max", "max", "min"]
