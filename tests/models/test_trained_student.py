"""A trained student in Python: the folder of an export in, features of raw windows out."""

import copy
import json
import pickle
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from comodo.config import CHANNELS, StudentConfig
from comodo.core import members
from comodo.core.members import Code
from comodo.data.imu import STANDARD_GRAVITY, ImuStream, resample
from comodo.models.students import CODE_FILE, Student, StudentError, build_student, save_student
from comodo.models.trained_student import (
    EXPORT_FILE,
    TrainedOn,
    TrainedStudent,
    has_gravity,
    load_student,
)
from tests import tiny_students
from tests.errors import raises

TRAINED_ON = TrainedOn(rate=20, seconds=3.2, mask=True, gravity=True)
G = ("g", "deg/s")
TO_SI = np.array([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3, np.float32)[:, None]
OWN = """
from torch import nn
class Net(nn.Module):
    SAMPLES = 16
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Linear(channels, 3)
    def forward(self, imu_BCT):
        return self.layer(imu_BCT.mean(dim=2))
"""


def worn(count: int = 5, samples: int = 64) -> np.ndarray:
    """Windows [N, 6, R] in g and deg/s, whose acceleration is about 1 g long."""
    imu = np.random.default_rng(0).normal(0, 0.1, (count, 6, samples)).astype(np.float32)
    imu[:, 2] += 1
    return imu


@pytest.fixture(scope="module")
def network() -> Student:
    return tiny_students.make("mantis")


@pytest.fixture(scope="module")
def student(network: Student) -> TrainedStudent:
    return TrainedStudent(network, TRAINED_ON)


def write_export(student: Student, folder: Path, **changes: Any) -> Path:
    """What `load_student` reads of an export."""
    folder.mkdir()
    save_student(student, folder)
    about = {"student": asdict(TRAINED_ON) | changes}
    (folder / EXPORT_FILE).write_text(json.dumps(about))
    return folder


def test_features_are_the_networks(network: Student, student: TrainedStudent) -> None:
    """Also in other units, in another order of channels, and of a tensor."""
    imu = worn()
    with torch.inference_mode():
        wanted = network(torch.tensor(imu)).numpy()
    assert student.dim == wanted.shape[1] and student.channels == CHANNELS
    found = student.embed(imu, 20, G)
    assert found.dtype == np.float32
    assert_array_equal(found, wanted)
    assert_array_equal(student.embed(torch.tensor(imu, requires_grad=True), 20, G), wanted)
    in_si = student.embed(imu * TO_SI, 20, ("m/s^2", "rad/s"))
    assert_allclose(in_si, wanted, rtol=1e-4, atol=1e-5)
    turned = student.embed(imu[:, ::-1], 20, G, channels=CHANNELS[::-1])
    assert_array_equal(turned, wanted)
    with_more = np.concatenate([imu[:, :1], imu], axis=1)
    assert_array_equal(student.embed(with_more, 20, G, ["ecg.acc_x", *CHANNELS]), wanted)
    assert_array_equal(student(torch.tensor(imu)).numpy(), wanted)
    assert student.embed(imu[:0], 20, G).shape == (0, student.dim)


def test_another_rate_is_resampled_as_recordings_are(student: TrainedStudent) -> None:
    imu = worn(2, 160)
    streams = [ImuStream(np.arange(160) / 50, window.T) for window in imu]
    at_20 = np.stack([resample(stream, 0, 3.2, 20).T for stream in streams])
    assert_allclose(student.embed(imu, 50, G), student.embed(at_20, 20, G), rtol=1e-4, atol=1e-5)


def test_it_is_frozen(student: TrainedStudent) -> None:
    assert not student.training
    assert not any(parameter.requires_grad for parameter in student.parameters())
    shown = "TrainedStudent(mantis: windows of 3.2 s at 20 Hz of acc_x, acc_y, acc_z, gyro_x, "
    assert repr(student) == f"{shown}gyro_y, gyro_z -> 96 features)"


@pytest.mark.parametrize(
    ("code", "names", "changes"),
    [
        ("student.wrong-shape", ["(6, 64)", "acc_x"], {"imu": worn()[0]}),
        ("student.wrong-shape", ["(5, 3, 64)", "name them"], {"imu": worn()[:, :3]}),
        ("student.wrong-shape", ["(5, 6, 0)"], {"imu": worn()[..., :0]}),
        ("student.wrong-shape", ["one name for each"], {"channels": CHANNELS[:5]}),
        (
            "student.wrong-channels",
            ["lacks gyro_z"],
            {"channels": [*CHANNELS[:5], "left_wrist.gyro_z"]},
        ),
        ("student.wrong-length", ["50 Hz 1.28 s", "3.2 s, 160 samples"], {"rate": 50}),
        ("student.wrong-length", ["60 samples"], {"imu": worn(samples=60)}),
        ("student.wrong-rate", ["not 0.02"], {"rate": 0.02}),
        ("student.wrong-rate", ["not nan"], {"rate": float("nan")}),
        ("student.wrong-units", ["not g"], {"units": "g"}),
        ("student.wrong-units", ["deg/s, g"], {"units": ("deg/s", "g")}),
        ("student.wrong-units", ["turns"], {"units": ("g", "turns")}),
        ("student.other-unit", ["in g", "9.8", "m/s^2"], {"imu": worn() * TO_SI}),
        ("student.other-unit", ["in m/s^2", "in g"], {"units": ("m/s^2", "rad/s")}),
        ("student.not-finite", ["window 3"], {"imu": np.where(
            np.arange(5)[:, None, None] == 3, np.nan, worn())}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    student: TrainedStudent, code: str, names: list[str], changes: dict[str, Any]
) -> None:
    with raises(StudentError, code, *names):
        student.embed(**{"imu": worn(), "rate": 20, "units": G, **changes})


def test_acceleration_without_gravity_may_be_small(network: Student) -> None:
    """0.1 g is refused only of a student that knows gravity."""
    without = TrainedStudent(network, TrainedOn(20, 3.2, True))
    assert without.embed(worn(), 20, ("m/s^2", "rad/s")).shape == (5, 96)
    imu = torch.tensor(worn())
    assert has_gravity(imu, CHANNELS)
    assert not has_gravity(imu - imu.mean(dim=2, keepdim=True), CHANNELS)
    assert not has_gravity(imu[:, :2], CHANNELS[:2])


def test_accelerometers_alone_have_one_unit_and_windows_may_be_of_any_length() -> None:
    network = tiny_students.make("mantis", channels=CHANNELS[:3])
    student = TrainedStudent(network, TrainedOn(20, None, True))
    imu = worn(samples=100)[:, :3]
    assert student.embed(imu, 50, "g").shape == student.embed(imu, 20, ("g",)).shape == (5, 48)
    with raises(StudentError, "student.wrong-units", "accelerometer (g or m/s^2"):
        student.embed(imu, 20, G)


def test_a_folder_is_read(network: Student, student: TrainedStudent, tmp_path: Path) -> None:
    folder = write_export(network, tmp_path / "out")
    for found in (load_student(folder), TrainedStudent.from_pretrained(folder)):
        assert found.trained_on == TRAINED_ON and not found.training
        assert_array_equal(found.embed(worn(), 20, G), student.embed(worn(), 20, G))


def test_folders_without_a_student(network: Student, tmp_path: Path) -> None:
    folder = write_export(network, tmp_path / "out")
    for damaged in ("{}", '{"student": {"rate": 20}}', "[]", "{"):
        (folder / EXPORT_FILE).write_text(damaged)
        code = "student.earlier-export" if damaged in ("{}", "[]") else "student.damaged"
        with raises(StudentError, code, str(folder)):
            load_student(folder)
    (tmp_path / "empty").mkdir()
    with raises(StudentError, "student.damaged", "model.json"):
        load_student(tmp_path / "empty")
    cut = write_export(network, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:100])
    with raises(StudentError, "student.damaged"):
        load_student(cut)
    other = write_export(network, tmp_path / "other")
    (other / "student.json").write_text(json.dumps({**network.description, "more": 1}))
    with raises(StudentError, "student.damaged", "more"):
        load_student(other)


def test_code_runs_only_if_allowed(tmp_path: Path) -> None:
    """And goes along in a pickle, which can be read where no such module was made."""
    own = Code("mine.py", "Net", OWN, may_run=True)
    settings = StudentConfig.model_validate(
        {"name": "custom", "file": "mine.py", "class": "Net"}, context={"code": {"mine.py": OWN}}
    )
    network = build_student(settings)
    folder = write_export(network, tmp_path / "out", seconds=None)
    with raises(StudentError, "student.own-code", CODE_FILE, "allow_code=True"):
        load_student(folder)
    student = load_student(folder, allow_code=True)
    assert network.own_code == own
    wanted, pickled = student.embed(worn(), 20, G), pickle.dumps(student)
    members._module.cache_clear()
    for name in [name for name in sys.modules if name.startswith("comodo_own_")]:
        del sys.modules[name]  # as in another process
    assert_array_equal(pickle.loads(pickled).embed(worn(), 20, G), wanted)


def test_copies(student: TrainedStudent) -> None:
    wanted = student.embed(worn(), 20, G)
    for other in (copy.deepcopy(student), pickle.loads(pickle.dumps(student))):
        assert_array_equal(other.embed(worn(), 20, G), wanted)
        assert not any(parameter.requires_grad for parameter in other.parameters())
