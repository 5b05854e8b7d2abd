"""Recordings that end the process that reads them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray.cloudpickle

from comodo.config import DatasetConfig
from comodo.core.store import Store
from comodo.data import window_sets
from comodo.data.imu import ImuError, ImuStream
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.recordings import Reader, Recording
from comodo.runtime import prepare
from comodo.runtime.crash_guard import CrashGuard
from tests.conftest import write_imu
from tests.errors import raises


class Deadly(FolderReader):
    """A reader whose native parts crash at one of the recordings."""

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        if recording.id == "r003":
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().read_imu(recording)


def deadly(settings: DatasetConfig, data_folder: Path) -> Reader:
    assert isinstance(settings, FolderDataset)
    return Deadly(settings)


@pytest.fixture
def by_value() -> Iterator[None]:
    """Ray's processes get these modules as they are here."""
    modules = (prepare, sys.modules[__name__])
    for module in modules:
        ray.cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster", "by_value")
def test_what_crashes_its_process_is_left_out_alone(
    tmp_path: Path, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "open_dataset", deadly)
    monkeypatch.setattr(window_sets, "part_chunks", lambda all: {"part-000000.parquet": all})
    manifest = make_folder(tmp_path / "data", recordings=12, seconds=2.0)
    settings = FolderDataset(kind="folder", path=str(manifest), window_seconds=2.0, imu_rate=25)
    found = prepare.prepare_windows("mine", settings, Store(tmp_path / "store"))
    assert found.rejected.keys() == {"r003"}
    assert "2 processes that read it or its video crashed" in found.rejected["r003"]
    assert sum(found.counts.values()) == 11


def test_only_what_was_read_when_a_process_ended_is_left_out(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=3, seconds=1.0)
    reader = FolderReader(FolderDataset(kind="folder", path=str(manifest), split_by_group=None))
    first, second, third = reader.recordings()
    notes = tmp_path / "run" / "reading.json"
    for _ in range(2):  # two processes that end at the second
        guarded = CrashGuard(reader, notes)
        guarded.read_imu(first)
        guarded.read_imu(second)
    guarded = CrashGuard(reader, notes)
    guarded.read_imu(first)
    with raises(ImuError, "imu.crashes", "r001.csv"):
        guarded.read_imu(second)
    guarded.read_imu(third)
    guarded.done()
    assert not notes.parent.exists()


def test_parts_of_one_file_count_together(tmp_path: Path) -> None:
    """The file is read for all of them at once, so it is the file that is at fault."""
    write_imu(tmp_path / "a.csv", 4.0)
    (tmp_path / "m.csv").write_text("imu,split,start,end\na.csv,train,0,2\na.csv,train,2,4\n")
    reader = FolderReader(FolderDataset(kind="folder", path=str(tmp_path / "m.csv")))
    first, second = reader.recordings()
    notes = tmp_path / "notes" / "reading.json"
    CrashGuard(reader, notes).read_imu(first)  # and then the process dies
    CrashGuard(reader, notes).read_imu(second)
    for part in (first, second):
        with raises(ImuError, "imu.crashes", "a.csv"):
            CrashGuard(reader, notes).read_imu(part)
