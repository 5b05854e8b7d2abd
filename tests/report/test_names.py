"""How figures and papers name keys, values and metrics."""

import pytest

from comodo.config import CHANNELS
from comodo.config.metric import PARAMETERS
from comodo.report.names import key_name, metric_axis, metric_name, value_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("method.queue_size", "queue size"),
        ("learning_rate", "learning rate"),
        ("method.name", "method"),
        ("teacher.name", "teacher"),
        ("method.head.kind", "head"),
        ("method.terms.supervised.weight", "supervised weight"),
        ("student.channels", "student channels"),
        ("dataset", "data set"),
        ("augment.rotation", "augment rotation"),
    ],
)
def test_keys(key: str, name: str) -> None:
    assert key_name(key) == name


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("val/acc1", "validation Acc@1"),
        ("test/macro_f1", "test macro F1"),
        ("test/balanced_accuracy", "test balanced accuracy"),
        ("on/watch/test/acc3", "test Acc@3 on watch"),
        ("test/few_shot/10", "test few-shot 10"),
        ("direct/test/acc1", "test direct Acc@1"),
    ],
)
def test_metrics(metric: str, name: str) -> None:
    assert metric_name(metric) == name
    assert metric_axis(metric) == f"{name} (%)"


def test_a_number_of_parameters_is_no_share() -> None:
    assert metric_axis(PARAMETERS, 1) == "parameters of the student"


def test_values() -> None:
    assert value_name("student.channels", list(CHANNELS)) == "acc_xyz+gyro_xyz"
    assert value_name("learning_rate", 0.0212469702) == "0.0212"
    assert [value_name("epochs", value) for value in (65536, None, "mlp")] == [
        "65536",
        "None",
        "mlp",
    ]
