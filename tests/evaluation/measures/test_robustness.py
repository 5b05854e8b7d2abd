"""Accuracy on changed windows: against a data set that was changed before it was stored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from comodo.config import CHANNELS
from comodo.core.store import Store
from comodo.data.arrays import WindowArrays
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measures.probe import measure_probe
from comodo.evaluation.measures.robustness import (
    MAX_TILT_DEGREES,
    NOISE,
    ChangedWindows,
    changes,
    measure_robustness,
)
from comodo.models.students import Student, build_student
from tests.helpers import make_arrays, trial_config
from tests.tiny_students import FAMILIES, make

RATE = 20.0  # of the windows of `make_arrays`
ACC, GYRO = slice(0, 3), slice(3, 6)  # of the channels
ALL = {"clean", "rotated", "half_rate", "shifted", "noisy", "without_acc", "without_gyro"}


def frozen_on(store: Store, student: Student, seed: int = 0) -> FrozenStudent:
    arrays = WindowArrays.load(store.folder("arrays", "w"))
    return FrozenStudent(student, arrays, seed, rate=RATE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    make_arrays(store)
    return store


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return build_student(trial_config().student)


def test_clean_windows_are_those_of_the_probe(store: Store, student: Student) -> None:
    measured = measure_robustness(frozen := frozen_on(store, student))
    probed = measure_probe(frozen).metrics
    names = {f"{split}/robustness/{name}" for split in ("val", "test") for name in ALL}
    assert measured.metrics.keys() == names
    for split in ("val", "test"):
        assert measured.metrics[f"{split}/robustness/clean"] == probed[f"{split}/acc1"]
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for metric, value in measured.metrics.items():
        split, name = metric.split("/", 1)
        assert value == rows[rows.split == split][name].mean()
    assert measured.metrics == measure_robustness(frozen_on(store, student)).metrics


@pytest.mark.parametrize("name", ["without_gyro", "without_acc", "shifted", "half_rate"])
def test_it_is_the_probe_on_windows_stored_with_the_change(
    store: Store, student: Student, name: str
) -> None:
    robust = measure_robustness(frozen_on(store, student)).metrics
    path = store.folder("arrays", "w") / "test-00000.safetensors"
    content = load_file(path)
    imu_NCT = content["imu"].astype(np.float64)
    if name == "shifted":  # ten samples of 20 Hz, mirrored
        imu_NCT = np.concatenate([imu_NCT[..., 10:0:-1], imu_NCT[..., :-10]], axis=-1)
    elif name == "half_rate":
        half_NCT = imu_NCT.reshape(*imu_NCT.shape[:2], -1, 2).mean(axis=-1)
        own, every = np.arange(64), np.arange(32) * 2 + 0.5  # places of samples and of pairs
        imu_NCT = np.apply_along_axis(lambda x: np.interp(own, every, x), -1, half_NCT)
    else:
        imu_NCT[:, GYRO if name == "without_gyro" else ACC] = 0
    save_file(content | {"imu": imu_NCT.astype(np.float32)}, path)
    changed = measure_probe(frozen_on(store, student)).metrics
    assert robust[f"test/robustness/{name}"] == changed["test/acc1"]


def test_random_changes_follow_the_seed_and_have_the_stated_size(store: Store) -> None:
    split = WindowArrays.load(store.folder("arrays", "w")).splits["test"]
    index_N = torch.arange(len(split))
    before_NCT, _ = split.imu(index_N)

    def of(name: str, seed: int, index_N: torch.Tensor = index_N) -> torch.Tensor:
        change = changes(["acc_x", "gyro_x"], CHANNELS, RATE, seed)[name]
        return ChangedWindows(split, change).imu(index_N)[0]

    for name in ("rotated", "noisy"):
        assert torch.equal(of(name, 0), of(name, 0))
        assert not torch.equal(of(name, 0), of(name, 1))
        assert torch.equal(of(name, 0, index_N[7:9]), of(name, 0)[7:9])  # whatever the batch
    noise_NCT = of("noisy", 0) - before_NCT
    assert noise_NCT[:, ACC].std().item() == pytest.approx(NOISE["acc"], rel=0.05)
    assert noise_NCT[:, GYRO].std().item() == pytest.approx(NOISE["gyro"], rel=0.05)
    after_NCT = of("rotated", 0)
    for sensor in (ACC, GYRO):  # lengths stay, directions turn by no more than the tilt
        one, other = before_NCT[:, sensor], after_NCT[:, sensor]
        torch.testing.assert_close(one.norm(dim=1), other.norm(dim=1))
        cosine_NT = torch.nn.functional.cosine_similarity(one, other, dim=1)
        assert cosine_NT.min() > np.cos(np.radians(MAX_TILT_DEGREES)) - 1e-4
        assert cosine_NT.min() < 0.95


def test_a_student_with_one_sensor_cannot_miss_it() -> None:
    assert ALL - changes(["acc_x", "acc_y"], CHANNELS, RATE, 0).keys() == {
        "clean",
        "without_acc",
        "without_gyro",
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_every_student_takes_a_dead_sensor(store: Store, name: str) -> None:
    torch.manual_seed(0)
    metrics = measure_robustness(frozen_on(store, make(name))).metrics
    assert metrics.keys() == {f"{s}/robustness/{name}" for s in ("val", "test") for name in ALL}
