"""AnyMo-Bench, in files with the schema of the source that exports it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comodo.data.imu import ImuError
from comodo.data.readers.anymo_bench import AnymoBenchDataset, AnymoBenchReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("session_id", pa.string()),
        ("subject_id", pa.string()),
        ("body_position", pa.string()),
        ("device_id", pa.string()),
        ("start_time_sec", pa.float64()),
        ("end_time_sec", pa.float64()),
        ("start_t_ns_global", pa.int64()),
        ("end_t_ns_global", pa.int64()),
        ("label", pa.string()),
        ("label_id", pa.int32()),
        ("imu", pa.list_(pa.list_(pa.float32(), list_size=18))),
    ]
)


def write(folder: Path, split: str, *counts: int) -> None:
    """A shard with a window for each count of samples: channel c is (c + 1) times a ramp."""
    rows = []
    for number, count in enumerate(counts):
        ramp_N18 = np.linspace(0.1, 0.2, count)[:, None] * np.arange(1, 19)
        about = {"session_id": "s", "subject_id": f"{split}-{number}", "label_id": 0}
        place = {"body_position": "head+left_wrist+right_wrist", "device_id": "imu_1202_1"}
        times = dict.fromkeys(("start_time_sec", "end_time_sec"), 0.0)
        clock = dict.fromkeys(("start_t_ns_global", "end_t_ns_global"), 0)
        id = f"AnyMo-Bench-150-US:{split}:{number:06d}:0123456789"
        own = {"sample_id": id, "label": "walk forward", "imu": ramp_N18.tolist()}
        rows.append({**about, **place, **times, **clock, **own})
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{split}-00000.parquet")


def make(folder: Path, **settings: object) -> AnymoBenchDataset:
    write(folder, "train", 300, 120)
    write(folder, "test", 300)
    return AnymoBenchDataset(kind="anymo-bench", path=str(folder), **settings)


def test_rows_are_recordings_in_the_authors_splits(tmp_path: Path) -> None:
    rows = AnymoBenchReader(make(tmp_path)).recordings()
    assert [(r.id[-18:], r.split, r.group, r.label) for r in rows] == [
        (":000000:0123456789", "train", "train-0", "walk forward"),
        (":000001:0123456789", "train", "train-1", "walk forward"),
        (":000000:0123456789", "test", "test-0", "walk forward"),
    ]


def test_three_imus_in_g_and_degrees(tmp_path: Path) -> None:
    reader = AnymoBenchReader(make(tmp_path))
    streams = reader.read_imu(reader.recordings()[0])
    assert [stream.channels[0] for stream in streams] == [
        "head.acc_x",
        "left_wrist.acc_x",
        "right_wrist.acc_x",
    ]
    for place, stream in enumerate(streams):
        assert stream.rate == pytest.approx(60)
        first_6 = 0.1 * (np.arange(6) + 1 + 6 * place)
        np.testing.assert_allclose(stream.imu_NC[0, :3], first_6[:3] / 9.80665, rtol=1e-5)
        np.testing.assert_allclose(stream.imu_NC[0, 3:], np.rad2deg(first_6[3:]), rtol=1e-5)


def test_windows_of_chosen_channels(tmp_path: Path) -> None:
    windows, rejected = sliced(make(tmp_path / "a"))
    assert not rejected
    assert {imu_CT.shape for imu_CT in windows.values()} == {(18, 300), (18, 120)}
    wrist = {"channels": ("left_wrist.acc",), "window_seconds": 5.0}
    windows, rejected = sliced(make(tmp_path / "b", **wrist))
    assert {imu_CT.shape for imu_CT in windows.values()} == {(3, 300)}
    assert len(rejected) == 1  # of 2 s


def test_other_files_are_refused(tmp_path: Path) -> None:
    reader = AnymoBenchReader(make(tmp_path))
    recording = reader.recordings()[0]
    with raises(DatasetError, "dataset.no-files", "path is the folder of one configuration"):
        AnymoBenchReader(make(tmp_path / "x").model_copy(update={"path": "/"})).recordings()
    file = Path(recording.imu)
    table = pq.read_table(file)
    short = pa.array([[[1.0] * 6]] * len(table))
    pq.write_table(table.set_column(11, "imu", short), file)
    with raises(ImuError, "imu.wrong-shape", recording.id, "[samples, 18]"):
        reader.read_imu(recording)
    file.write_bytes(b"PAR1")
    with raises(ImuError, "imu.unreadable", file.name):
        reader.read_imu(recording)
    with raises(DatasetError, "dataset.unreadable", file.name):
        reader.recordings()
