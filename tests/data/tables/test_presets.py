"""Presets, on the samples and on real recordings of a Movella DOT."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from comodo.config import CHANNELS
from comodo.data.imu import ImuError, ImuStream
from comodo.data.imu_tables import read_csv
from comodo.data.readers.imu_files import Preset
from comodo.data.tables.presets import PRESETS, Layout, of_sensor
from tests.errors import raises
from tests.paths import SHARED

SAMPLES = {"shimmer": "shimmer", "xsens-dot": "xsens_dot", "empatica-e4": "e4_ACC",
           "android-events": "android_events"}  # fmt: skip


def test_the_sweep_file_knows_them_all() -> None:
    assert set(get_args(Preset)) == set(PRESETS)


def foreign(name: str) -> Path:
    path = SHARED / "faults/foreign" / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


def read(path: Path, layout: Layout | None) -> ImuStream:
    (stream,) = read_csv(path, CHANNELS, layout)
    return stream


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_with_its_preset_and_names_it_without(name: str) -> None:
    path = foreign(f"{SAMPLES[name]}.csv")
    with raises(ImuError, "imu.missing-unit" if name == "xsens-dot" else "imu.missing-column",
                f"preset: {name}"):  # fmt: skip
        read(path, None)
    stream = read(path, PRESETS[name])
    assert stream.rate == pytest.approx(32 if name == "empatica-e4" else 100, rel=1e-3)
    # The signal that the samples were made from: 1 + 0.25 sin 2pi 2.1t g on z.
    time_N = stream.time_N - stream.time_N[0] + (0.0002 if name == "android-events" else 0)
    z_N = 1 + 0.25 * np.sin(2 * np.pi * 2.1 * time_N)
    if name != "empatica-e4":
        np.testing.assert_allclose(stream.imu_NC[1:-1, 2], z_N[1:-1], atol=0.06)
    assert np.median(np.linalg.norm(stream.values("acc"), axis=1)) == pytest.approx(1, abs=0.06)


def test_recordings_of_a_movella_dot(shared_data: Path) -> None:
    path = shared_data / "sevivi/joint_synchronization_walking_LF.csv.gz"
    stream = read(path, PRESETS["xsens-dot"])
    assert stream.rate == pytest.approx(120, rel=1e-3)
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()[2].split(",")[1:]
    wanted = np.array(rows, float) * [*[1 / 9.80665] * 3, 1, 1, 1]
    np.testing.assert_allclose(stream.imu_NC[0], wanted, rtol=1e-6)


def test_phyphox_and_sensor_logger_as_they_are_described(tmp_path: Path) -> None:
    """Headers as in their documentation; the values are made."""
    rows = np.random.default_rng(0).normal(size=(30, 3))
    lines = [f"{i / 50:.3f},{x},{y},{z}" for i, (x, y, z) in enumerate(rows)]
    header = '"Time (s)",' + ",".join(f'"Acceleration {axis} (m/s^2)"' for axis in "xyz")
    path = tmp_path / "Raw Data.csv"
    path.write_text("\n".join([header, *lines]))
    for layout in (None, PRESETS["phyphox"]):
        np.testing.assert_allclose(read(path, layout).imu_NC * 9.80665, rows, rtol=1e-5)

    path = tmp_path / "TotalAcceleration.csv"
    lines = [f"{10**18 + 10**7 * i},{i / 100},{z},{y},{x}" for i, (x, y, z) in enumerate(rows)]
    path.write_text("\n".join(["time,seconds_elapsed,z,y,x", *lines]))
    with raises(ImuError, "imu.missing-column", "preset: sensor-logger"):
        read(path, None)
    preset = PRESETS["sensor-logger"]
    layout = replace(preset, columns=of_sensor(preset.columns, "", "acc"))
    found = read(path, layout)
    np.testing.assert_allclose(found.imu_NC * 9.80665, rows, rtol=1e-5)
    assert found.rate == pytest.approx(100, rel=1e-6)
