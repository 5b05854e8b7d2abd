"""GPMF packets: as telemetry-parser reads real ones, and entries of every kind."""

import struct
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.gpmf import imu_samples
from comodo.data.imu import STANDARD_GRAVITY, ImuError
from tests.errors import raises
from tests.gopro_files import container, entry, packet, sensor

SAMPLES_53 = np.arange(1, 16).reshape(5, 3) / 20


def matrix(*rows: list[float]) -> bytes:
    return entry("MTRX", "f", 4, struct.pack(">9f", *chain(*rows)))


def axes(inner: bytes, outer: bytes) -> tuple[bytes, bytes]:
    return entry("ORIN", "c", 1, inner), entry("ORIO", "c", 1, outer)


@pytest.mark.parametrize("type", ["s", "l", "f", "d"])
def test_samples_of_any_type_in_g_and_degrees(type: str) -> None:
    streams = [sensor(key, SAMPLES_53, type=type) for key in ("ACCL", "GYRO")]
    found = imu_samples(packet(*streams), "f")
    np.testing.assert_allclose(found["ACCL"], SAMPLES_53 / STANDARD_GRAVITY, rtol=1e-6)
    np.testing.assert_allclose(found["GYRO"], np.rad2deg(SAMPLES_53), rtol=1e-6)


@pytest.mark.parametrize(
    ("properties", "model", "expected"),
    [
        ([], b"Camera", [0, 1, 2]),
        ([matrix([0, -1, 0], [1, 0, 0], [0, 0, 1])], b"GoPro Max", [-1.0, 0, 2]),
        ([*axes(b"XzY", b"ZXY")], b"GoPro Max", [-1.0, 0, 2]),
        ([*axes(b"YxZ", b"ZXY")], b"Hero6 Black", [2, -1.0, 0]),
        ([], b"Hero6 Black", [2, -1.0, 0]),
        ([], b"Hero7 Silver", [1, 0, -2.0]),
    ],
)
def test_axes_are_rotated_to_one_orientation(
    properties: list[bytes], model: bytes, expected: list[float]
) -> None:
    found = imu_samples(packet(sensor("GYRO", SAMPLES_53, *properties), model=model), "f")
    columns = [int(abs(axis)) for axis in expected]
    signs = [-1 if np.signbit(axis) else 1 for axis in expected]
    np.testing.assert_allclose(found["GYRO"], np.rad2deg(SAMPLES_53[:, columns] * signs))


def test_a_divisor_for_each_axis() -> None:
    scale = entry("SCAL", "l", 4, struct.pack(">3i", 30_000, 60_000, 120_000))
    found = imu_samples(packet(sensor("GYRO", SAMPLES_53, scale)), "f")["GYRO"]
    np.testing.assert_allclose(found, np.rad2deg(SAMPLES_53 / [1, 2, 4]), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        (sensor("ACCL", SAMPLES_53) * 2, "imu.two-sensors", "ACCL"),
        (sensor("ACCL", SAMPLES_53, entry("SIUN", "c", 2, b"mg")), "imu.unknown-unit", "mg"),
        (sensor("ACCL", SAMPLES_53, entry("SCAL", "s", 2, bytes(2))), "imu.unreadable", "SCAL"),
        (sensor("ACCL", SAMPLES_53, matrix([0] * 3, [0] * 3, [0] * 3)), "imu.unreadable", "MTRX"),
        (sensor("ACCL", SAMPLES_53, *axes(b"XY", b"YX")), "imu.unreadable", "ORIN"),
        (container("STRM", entry("GYRO", "s", 6, bytes(6))), "imu.unknown-unit", "GYRO"),
    ],
)
def test_what_is_not_known_is_refused(content: bytes, code: str, name: str) -> None:
    with raises(ImuError, code, "f", name):
        imu_samples(packet(content), "f")


def test_samples_that_are_not_three_numbers_are_refused() -> None:
    unit = entry("SIUN", "c", 5, b"rad/s")
    for type, size in (("s", 4), ("?", 6), ("c", 6)):
        samples = container("STRM", unit, entry("GYRO", type, size, bytes(6 * size)))
        with raises(ImuError, "imu.unreadable", "f", "GYRO"):
            imu_samples(packet(samples), "f")


@given(cut=st.integers(0, 400), junk=st.binary(max_size=40))
def test_a_damaged_packet_has_no_samples_or_all(cut: int, junk: bytes) -> None:
    whole = packet(*(sensor(key, SAMPLES_53) for key in ("ACCL", "GYRO")))
    found = imu_samples(whole[:cut] + (junk if cut >= len(whole) else b""), "f")
    assert len(found) == (2 if cut >= len(whole) else 0)
    assert imu_samples(b"NONE" + whole[4:], "f") == {}
