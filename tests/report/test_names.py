"""How figures and papers name keys, values and metrics."""

from pathlib import Path

import pytest

from comodo.config import CHANNELS
from comodo.config.metric import PARAMETERS
from comodo.report.names import key_name, metric_axis, metric_name, scale_of, value_name
from tests.config.test_measures import LOSSES, NEAREST, OWN, sweep


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
        ("test/zero_shot_text/acc1", "test zero-shot-text Acc@1"),
        ("val/retrieval/imu_to_video_r10", "validation retrieval IMU to video R@10"),
    ],
)
def test_metrics(metric: str, name: str) -> None:
    assert metric_name(metric) == name
    assert metric_axis(metric) == f"{name} (%)"


def test_a_number_of_parameters_is_no_share() -> None:
    assert metric_axis(PARAMETERS, 1) == "parameters of the student"


def test_shares_are_shown_in_percent_and_numbers_as_they_are(tmp_path: Path) -> None:
    own = OWN | {"class": "Losses", "name": "losses"}
    scales = {
        "val/acc1": 100,
        "on/watch/test/calibration/ece": 100,
        "test/nearest/precision": 100,
        "test/losses/error": 1,
        "val/retrieval/imu_to_video_r5": 100,
        "val/retrieval/imu_to_video_median_rank": 1,
        PARAMETERS: 1,
    }
    found = sweep(tmp_path, "probe", OWN, own, text=NEAREST + LOSSES)
    assert {name: scale_of(name, found) for name in scales} == scales


def test_a_median_rank_says_of_what() -> None:
    name = metric_name("test/retrieval/video_to_imu_median_rank")
    assert name == "test retrieval video to IMU median rank"


def test_values() -> None:
    assert value_name("student.channels", list(CHANNELS)) == "acc_xyz+gyro_xyz"
    assert value_name("learning_rate", 0.0212469702) == "0.0212"
    assert [value_name("epochs", value) for value in (65536, None, "mlp")] == [
        "65536",
        "None",
        "mlp",
    ]
