"""A trial's settings: their defaults."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from tests.config.test_load import sweep_file
from tests.errors import raises


def test_defaults_are_the_published_ones(tmp_path: Path) -> None:
    trial = read_sweep_file(sweep_file(tmp_path)).trial
    assert (trial.epochs, trial.batch_size, trial.learning_rate) == (20, 128, 3e-4)
    assert trial.method.name == "comodo"
    assert (trial.method.teacher_temperature, trial.method.student_temperature) == (0.1, 0.05)


@pytest.mark.parametrize("method", ["supervised", "none"])
def test_a_method_that_does_not_distil_needs_no_teacher(tmp_path: Path, method: str) -> None:
    for changes in ({}, {"protocol": "published"}):
        path = sweep_file(tmp_path, trial__teacher=None, trial__method=method, **changes)
        sweep = read_sweep_file(path)
        assert sweep.trial.teacher is None
        assert sweep.trained_on() == [("demo", None)]
        assert sweep.encoded() == {}


@pytest.mark.parametrize("method", ["comodo", "infonce", "l2"])
def test_a_method_that_distils_needs_a_teacher(tmp_path: Path, method: str) -> None:
    without = {"trial__teacher": None}
    with raises(ConfigError, "trial.teacher", f"method {method} learns from", "efficientnet-lite0"):
        read_sweep_file(sweep_file(tmp_path, trial__method=method, **without))
    space = {"method": ["supervised", method]}
    path = sweep_file(tmp_path, trial__method="none", **without, search__space=space)
    with raises(ConfigError, "search.space.method", f"trial.teacher with method={method}"):
        read_sweep_file(path)


def test_features_are_encoded_where_something_reads_them(tmp_path: Path) -> None:
    """A teacher that makes no difference is not run."""
    datasets = {"demo": {"kind": "simulated"}, "watch": {"kind": "simulated", "seed": 1}}
    when = {"values": ["l2"], "when": {"dataset": "demo"}}
    changes: dict[str, Any] = {"datasets": datasets, "trial__method": "supervised"}
    changes |= {"search__space": {"dataset": ["demo", "watch"], "method": when}}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes))
    teacher = sweep.trial.teacher
    assert sweep.trained_on() == [("demo", teacher), ("watch", teacher)]
    assert sweep.encoded() == {("demo", teacher): "the method l2"}
    measures = {"measures": ["probe", "alignment"]}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes, **measures))
    assert sweep.encoded() == {
        ("demo", teacher): "the method l2",
        ("watch", teacher): "the measure alignment",
    }
