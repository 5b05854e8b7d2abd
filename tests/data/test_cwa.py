"""Axivity's files, on a real one."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from comodo.config import CHANNELS
from comodo.data.cwa import read_cwa
from comodo.data.imu import ImuError
from tests.errors import raises
from tests.paths import SHARED

SAMPLE = SHARED / "faults/foreign/ax6_testfile.cwa"


def test_a_recording_of_an_ax6(tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip(f"needs {SAMPLE}")
    if find_spec("cwa_reader_rs") is None:
        with raises(ImuError, "imu.missing-library", "pip install cwa-reader-rs", "OmGui"):
            read_cwa(SAMPLE)
        pytest.skip("needs pip install cwa-reader-rs")
    stream = read_cwa(SAMPLE)
    assert stream.channels == CHANNELS
    assert len(stream.time_N) == 11_320 and stream.rate == pytest.approx(99, abs=0.1)
    assert stream.time_N[0] == pytest.approx(1_577_135_046.69)
    (tmp_path / "a.cwa").write_bytes(b"MD" + bytes(3000))
    with raises(ImuError, "imu.unreadable", "a.cwa"):
        read_cwa(tmp_path / "a.cwa")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with raises(ImuError, "imu.missing-file", "a.cwa"):
        read_cwa(tmp_path / "a.cwa")
