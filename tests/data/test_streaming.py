"""Windows read in pieces, and safetensors files written in pieces, against the libraries."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from comodo.core.parts import write_table
from comodo.data import slicing, streaming
from comodo.data.streaming import described_windows, streamed, window_values


@given(rows=st.integers(0, 9), width=st.integers(1, 5), seed=st.integers(0, 99), cut=st.integers())
def test_a_file_written_in_pieces_is_what_the_library_reads(
    rows: int, width: int, seed: int, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = {"last": rng.random(rows) < 0.5, "label": rng.integers(-1, 9, rows)}
    imu_NT = rng.normal(size=(rows, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        with streamed(path, arrays, "imu", imu_NT.shape) as write:
            for piece in np.split(imu_NT.ravel(), [cut % (imu_NT.size + 1)]):
                write(piece)
        found = load_file(path)
    assert found.keys() == {"last", "label", "imu"}
    np.testing.assert_array_equal(found["imu"], imu_NT)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_an_interrupted_file_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), streamed(tmp_path / "a", {}, "imu", (2,)) as write:
        write(np.zeros(1, np.float32))
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_windows_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Whatever their number at once, all windows come, in order, without the rejected."""
    monkeypatch.setattr(streaming, "READ_VALUES", at_once)
    rng = np.random.default_rng(0)
    imu = [rng.normal(size=6 * n).astype(np.float32) for n in (3, 50, 1, 7)]
    rows: list[dict[str, Any]] = [
        {"window": f"w{i}", "recording": "r", "split": "train", "group": "g", "imu": values}
        for i, values in enumerate(imu)
    ]
    rows.insert(2, {"window": None, "recording": "bad", "rejected": "empty"})
    for number, chunk in enumerate((rows[:3], rows[3:])):
        table = pa.Table.from_pylist(chunk, schema=slicing.WINDOW_SCHEMA)
        write_table(tmp_path / f"part-{number}.parquet", table)
    frame = described_windows(tmp_path, 6)
    assert frame.window.tolist() == ["w0", "w1", "w2", "w3"]
    assert frame.length.tolist() == [3, 50, 1, 7]
    rows_of_batches = itertools.chain.from_iterable(window_values(tmp_path))
    for found, wanted in zip(rows_of_batches, imu, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_no_windows(tmp_path: Path) -> None:
    assert len(described_windows(tmp_path, 6)) == 0
