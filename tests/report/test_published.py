"""Which published accuracy a configuration is compared with."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.report.published import find
from tests.config.test_load import sweep_file

SIMULATED = {"kind": "simulated"}
TABLE: list[tuple[dict[str, Any], str, str, float]] = [
    # Typed from the paper: tables 1, 3, 4, 5 and figure 4.
    ({"method": "none"}, "ego4d", "ego4d", 47.49),
    ({"method": "none", "student": "moment-small"}, "mmea", "mmea", 83.66),
    ({"method": "supervised"}, "egoexo4d", "egoexo4d", 84.22),
    ({"method": "supervised"}, "egoexo4d", "ego4d", 52.58),
    ({"method": "infonce"}, "mmea", "mmea", 91.41),
    ({"method": "infonce", "teacher": "videomae-base-k400"}, "mmea", "mmea", 90.88),
    ({"method": "infonce"}, "ego4d", "egoexo4d", 79.7),
    ({"method": "l2"}, "ego4d", "ego4d", 49.32),
    ({"method.queue_size": 2048}, "mmea", "mmea", 92.48),
    ({"method.queue_size": 512}, "mmea", "mmea", 92.17),
    ({"method.queue_size": 16384}, "ego4d", "ego4d", 59.13),
    ({"method.queue_size": 16384, "batch_size": 48}, "ego4d", "ego4d", 59.08),
    ({"method.queue_size": 16384}, "ego4d", "mmea", 94.22),
    ({"method.queue_size": 1024, "student": "moment-small", "student.pooling": "mean"},
     "egoexo4d", "egoexo4d", 80.86),
]  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    trial = {
        "dataset": "mmea",
        "teacher": "timesformer-base-k400",
        "student": "mantis-8m",
        "method": {"name": "comodo", "queue_size": 2048},
    }
    names = ("ego4d", "egoexo4d", "mmea", "mine")
    changes: dict[str, Any] = {"datasets": dict.fromkeys(names, SIMULATED), "trial": trial}
    return read_sweep_file(sweep_file(tmp_path, **changes, search__space={}))


@pytest.mark.parametrize(("values", "trained_on", "tested_on", "acc1"), TABLE)
def test_the_tables(
    sweep: Sweep, values: dict[str, Any], trained_on: str, tested_on: str, acc1: float
) -> None:
    run = find(sweep, sweep.with_values({"dataset": trained_on, **values}), tested_on)
    assert run is not None
    assert run.accuracy[1] == pytest.approx(acc1 / 100)
    assert run.accuracy[1] < run.accuracy[3] < run.accuracy[5]


def test_what_was_not_published(sweep: Sweep) -> None:
    for values, tested_on in (
        ({"dataset": "mine"}, "mine"),
        ({"dataset": "mmea"}, "ego4d"),  # no published student was trained on MMEA for it
        ({"teacher": "efficientnet-lite0"}, "mmea"),
        ({"student": "moment-small", "method": "l2"}, "mmea"),
    ):
        assert find(sweep, sweep.with_values(values), tested_on) is None


def test_another_queue_is_the_one_of_the_tables(sweep: Sweep) -> None:
    run = find(sweep, sweep.with_values({"method.queue_size": 999}), "mmea")
    assert run is not None
    assert run.queue_size == 2048


def test_real_data_needs_the_published_weights(tmp_path: Path) -> None:
    for name in ("release", "splits", "Mantis-8M"):
        (tmp_path / name).mkdir()
    trial = {
        "dataset": "any",
        "teacher": "timesformer-base-k400",
        "student": {"name": "mantis", "weights": "./Mantis-8M"},
        "method": "infonce",
    }
    datasets = {"any": {"kind": "egoexo4d", "path": "release", "splits": "splits"}}
    changes: dict[str, Any] = {"datasets": datasets, "trial": trial}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes, search__space={}))
    run = find(sweep, sweep.trial, "any")  # the kind says what it is, and a copy is a copy
    assert run is not None
    assert run.accuracy[1] == pytest.approx(0.7946)
    assert find(sweep, sweep.with_values({"student": {"name": "mantis"}}), "any") is None
