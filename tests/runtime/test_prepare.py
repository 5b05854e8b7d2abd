"""prepare: slicing, rejection, keys, resuming; on real files, through a real Ray."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from comodo.config.dataset_base import GroupSplit
from comodo.core.errors import ChangedError
from comodo.core.lease import LeaseError
from comodo.core.parts import parts, read_parts
from comodo.core.provenance import made_by
from comodo.core.store import Store, fingerprint, read_json, write_json
from comodo.data.keys import simulated_folder
from comodo.data.readers import list_recordings
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.gopro import GoproDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.recordings import Recording
from comodo.data.records import QualityNote, WindowsMeta
from comodo.data.slicing import PrepareError, Sliced, write_part
from comodo.data.window_sets import read_quality, window_key
from comodo.report.plan.splits import train_split
from comodo.report.quality.inspection import inspect_dataset, write_inspection
from comodo.runtime.prepare import _checked, _rejected_lines, prepare_windows
from comodo.search.train_split import TrainSplit
from tests.conftest import write_imu, write_video
from tests.data.readers import test_uestc_mmea as mmea
from tests.errors import raises


def folder(manifest: Path, **settings: object) -> FolderDataset:
    values = {"window_seconds": 2.0, "imu_rate": 25.0, **settings}
    return FolderDataset(kind="folder", path=str(manifest), **values)


@pytest.mark.usefixtures("ray_cluster")
class TestPrepare:
    def test_windows_of_a_folder(self, tmp_path: Path, make_folder: Callable[..., Path]) -> None:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=4.0)
        windows = prepare_windows("mine", folder(manifest), Store(tmp_path / "store"))
        assert windows.counts == {"train": 12, "val": 4, "test": 4}
        assert windows.rejected == {}
        table = read_parts(windows.folder, ["window", "start", "end", "imu", "label"])
        rows = table.to_pylist()
        assert [row["window"] for row in rows[:3]] == ["r000:0", "r000:1", "r001:0"]
        assert (rows[1]["start"], rows[1]["end"]) == (2.0, 4.0)
        imu_CT = np.array(rows[0]["imu"]).reshape(6, -1)
        assert imu_CT.shape == (6, 50)
        assert imu_CT[2].mean() == pytest.approx(1, abs=0.1)  # gravity, in g

    def test_whole_recordings(self, tmp_path: Path, make_folder: Callable[..., Path]) -> None:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=3.0)
        settings = folder(manifest, window_seconds="whole")
        windows = prepare_windows("mine", settings, Store(tmp_path / "store"))
        rows = read_parts(windows.folder, ["start", "end", "imu"]).to_pylist()
        assert len(rows) == 10
        assert rows[0]["end"] == pytest.approx(3.0, abs=0.03)
        assert len(rows[0]["imu"]) == 6 * 75

    def test_parts_of_files_with_label_files(
        self, tmp_path: Path, make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """From the manifest to what `inspect` and packing need of it."""
        data, store = tmp_path / "data", Store(tmp_path / "store")
        make_folder(data, recordings=2, seconds=20.0)
        (data / "l.csv").write_text("start,end,label\n0,9,walking\n9,18,running\n")
        (data / "m.csv").write_text(
            "video,imu,start,end,labels,split\n"
            "videos/r000.mp4,imu/r000.csv,0,12,l.csv,train\n"
            "videos/r000.mp4,imu/r000.csv,12,20,l.csv,test\n"
            "videos/r001.mp4,imu/r001.csv,,,l.csv,train\n"
        )
        settings = folder(data / "m.csv", stride_seconds=1.0)
        windows = prepare_windows("mine", settings, store)
        assert windows.counts == {"train": 11 + 19, "test": 7}
        train = {"walking": 9 + 9, "running": 2 + 9}
        assert windows.classes == {"train": train, "test": {"running": 6}}
        table = read_parts(windows.folder, ["window", "start", "label"]).to_pylist()
        (last,) = (row for row in table if row["window"] == "r000_12_20:6")
        assert (last["start"], last["label"]) == (18.0, None)
        assert train_split(windows) == TrainSplit(30, 29, last=2, labelled_last=1)
        printed = " ".join(capsys.readouterr().out.split())
        assert "caution: other parts of 2 of 2 files of test are in train" in printed
        assert "1 of 1 groups of test are also in train" in printed
        found = inspect_dataset("mine", store, offsets=0)
        page = (write_inspection(found, store) / "quality.md").read_text()
        assert "| running | 11 | 6 |" in page and "| walking | 18 | 0 |" in page
        assert "| all | 3 | 0 | 0 | 2 | 0.01 | 0.01 | 37 |" in page

    def test_damaged_recordings_are_rejected_with_reasons(
        self, tmp_path: Path, make_folder: Callable[..., Path]
    ) -> None:
        data = tmp_path / "data"
        manifest = make_folder(data, recordings=20, seconds=2.0)
        (data / "videos/r000.mp4").write_bytes(b"")
        (data / "videos/r001.mp4").unlink()
        (data / "imu/r002.csv").unlink()
        lines = (data / "imu/r003.csv").read_text().splitlines()
        (data / "imu/r003.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
        write_imu(data / "imu/r004.csv", 0.5)
        settings, store = folder(manifest, max_rejected=0.5), Store(tmp_path / "store")
        windows = prepare_windows("mine", settings, store)
        reasons = {
            "r000": "empty",
            "r001": "r001.mp4",
            "r002": "no such file",
            "r003": "backwards",
            "r004": "shorter than one window",
        }
        assert windows.rejected.keys() == reasons.keys()
        for id, reason in reasons.items():
            assert reason in windows.rejected[id]
        assert sum(windows.counts.values()) == 15
        strict = folder(manifest, max_rejected=0.1)
        with raises(PrepareError, "windows.too-many-rejected", "datasets.mine.max_rejected"):
            prepare_windows("mine", strict, store)
        # What was rejected is tried again, for the reason may have gone; the rest stays.
        assert len(parts(windows.folder)) == 15
        with raises(PrepareError, "windows.too-many-rejected", "5 of 20"):
            prepare_windows("mine", strict, store)

    def test_one_unit_is_found_for_all_parts(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = mmea.make(tmp_path, [mmea.clip(i) for i in range(6)])
        vigorous, weak = (tmp_path / "sensor" / f"{mmea.clip(i)}.csv" for i in (1, 4))
        mmea.write_sensor(vigorous, mmea.raw(counts=24576))
        mmea.write_sensor(weak, mmea.raw(counts=8192))
        windows = prepare_windows("mmea", settings, Store(tmp_path / "store"))
        table = read_parts(windows.folder, ["window", "imu"]).sort_by("window")
        found = [np.array(row["imu"]).reshape(6, 50)[1].max() for row in table.to_pylist()]
        assert found == pytest.approx([1, 1.5, 1, 1, 0.5, 1], abs=1e-4)
        (decided,) = WindowsMeta.read(windows.folder).decided
        assert decided.startswith("accelerometer in 1/16384 g, found from all recordings together")
        assert decided in QualityNote.read(windows.folder).notes
        assert "1 g in 4 of 6 recordings" in " ".join(capsys.readouterr().out.split())

    def test_shared_groups_are_counted(
        self, tmp_path: Path, make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
        windows = prepare_windows("mine", folder(manifest), Store(tmp_path / "store"))
        assert windows.leaks == {}
        assert read_json(windows.folder / "meta.json")["made_by"] == made_by()
        assert windows.classes["train"] == {"running": 3, "walking": 3}
        manifest.write_text(manifest.read_text().replace("test,s4", "test,s1"))
        windows = prepare_windows("mine", folder(manifest), Store(tmp_path / "store"))
        assert windows.leaks == {"test": "1 of 1"}
        assert "leakage: 1 of 1 groups of test are also in train" in capsys.readouterr().out

    def test_what_is_in_doubt_is_told_and_noted(
        self, tmp_path: Path, make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
        text = manifest.read_text().replace("r001.csv,running", "r001.csv, Running ")
        manifest.write_text(text.replace("imu/r009.csv", "imu/r001.csv").replace("s4", "S0"))
        windows = prepare_windows("mine", folder(manifest), Store(tmp_path / "store"))
        assert windows.leaks == {"test": "1 of 1", "files of test": "1 of 4"}
        (note,) = QualityNote.read(windows.folder).notes[:1]
        told = " ".join(capsys.readouterr().out.split())
        assert note in told and "'Running' and 'running'" in told
        assert "1 of 4 files of test are also in train" in told

    def test_no_overlap(self, tmp_path: Path) -> None:
        write_video(tmp_path / "v/a.mp4", 3)
        write_imu(tmp_path / "i/a.csv", 3)
        (tmp_path / "m.csv").write_text("video,imu,split,imu_offset\nv/a.mp4,i/a.csv,train,60\n")
        windows = prepare_windows(
            "mine", folder(tmp_path / "m.csv", max_rejected=1), Store(tmp_path / "s")
        )
        assert "do not overlap" in windows.rejected["a"]

    def test_a_second_run_reads_and_an_interrupted_one_goes_on(
        self, tmp_path: Path, make_folder: Callable[..., Path]
    ) -> None:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
        store = Store(tmp_path / "store")
        windows = prepare_windows("mine", folder(manifest), store)
        before = {part: part.stat().st_mtime_ns for part in parts(windows.folder)}
        assert prepare_windows("mine", folder(manifest), store) == windows
        lost = parts(windows.folder)[3]
        (windows.folder / "meta.json").unlink()
        lost.unlink()
        assert prepare_windows("mine", folder(manifest), store) == windows
        changed = {part for part in before if part.stat().st_mtime_ns != before[part]}
        assert changed == {lost}

    def test_real_gopro_recording(self, tmp_path: Path, shared_data: Path) -> None:
        settings = GoproDataset(
            kind="gopro", path=str(shared_data / "gopro"), window_seconds=1.0, imu_rate=100
        )
        windows = prepare_windows("gopro", settings, Store(tmp_path))
        assert windows.counts == {"train": 10}
        imu = read_parts(windows.folder, ["imu"])["imu"].to_pylist()
        acc_NT = np.linalg.norm(np.array(imu).reshape(10, 6, 100)[:, :3], axis=1)
        assert acc_NT.mean() == pytest.approx(1, abs=0.05)


def test_key_follows_files_and_settings(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    manifest = make_folder(tmp_path, recordings=4, seconds=0.5)
    settings = folder(manifest)
    recordings = list_recordings(settings, tmp_path)
    key = window_key(settings, recordings)
    assert key == window_key(folder(manifest, max_rejected=0.9), recordings)
    assert key != window_key(folder(manifest, imu_rate=50.0), recordings)
    write_video(tmp_path / "videos/r000.mp4", 0.7)
    assert key != window_key(settings, recordings)


def test_key_follows_other_files_and_splits(tmp_path: Path) -> None:
    beside = tmp_path / "gyro.txt"
    recordings = [Recording("a", "", "nowhere.csv", "train", "g", beside=(str(beside),))]
    demo = SimulatedDataset(kind="simulated")
    phone = FolderDataset.model_construct(kind="folder", path="/m.csv")
    key = window_key(phone, recordings)
    beside.write_text("0 0 0")
    assert window_key(phone, recordings) != key
    split = SimulatedDataset(kind="simulated", split_by_group=GroupSplit(seed=3))
    assert simulated_folder(split, Store("/x")) == simulated_folder(
        demo, Store("/x")
    )  # the same files
    recordings = [Recording(name, "", "", "train", name) for name in "abcdefghij"]
    assert window_key(split, recordings) != window_key(demo, recordings)


@pytest.mark.usefixtures("ray_cluster")
def test_windows_with_small_copies(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    manifest = make_folder(tmp_path / "data", recordings=4, seconds=2.0)
    store = Store(tmp_path / "store")
    settings = folder(manifest, videos="shrink")
    windows = prepare_windows("mine", settings, store)
    copies = {str(path): path.stat().st_mtime_ns for path in store.videos.iterdir()}
    videos = set(read_parts(windows.folder, ["video"])["video"].to_pylist())
    assert {store.local(video) for video in videos} == copies.keys()
    assert len(copies) == 4
    shutil.rmtree(windows.folder)
    assert prepare_windows("mine", settings, store) == windows
    assert {str(path): path.stat().st_mtime_ns for path in store.videos.iterdir()} == copies
    original = window_key(folder(manifest), list_recordings(settings, tmp_path))
    assert windows.key != original


@pytest.mark.usefixtures("ray_cluster")
def test_windows_of_an_earlier_version_get_their_quality(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=4, seconds=2.0)
    store = Store(tmp_path / "store")
    windows = prepare_windows("mine", folder(manifest), store)
    before = [pq.read_table(part) for part in parts(windows.folder)]
    for path in windows.folder.glob("quality*"):
        path.unlink()
    assert prepare_windows("mine", folder(manifest), store) == windows
    assert [pq.read_table(part) for part in parts(windows.folder)] == before
    assert sum(map(len, read_quality(windows.folder))) == 4


@pytest.mark.chaos
def test_a_part_of_a_file_that_was_replaced_meanwhile_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "imu.csv"
    file.write_text("1")
    files = {str(file): fingerprint(file), str(tmp_path / "gone.mp4"): fingerprint("gone.mp4")}
    folder, store = tmp_path / "windows", Store(tmp_path / "store")
    about = {"recording": "r"}

    def sliced() -> Iterator[Sliced]:
        yield [], about
        file.write_text("another")

    with raises(ChangedError, "dataset.file-changed", str(file)):
        write_part(folder, "part-000000.parquet", _checked(sliced(), store, files, {"r": "key"}))
    assert not list(folder.iterdir())
    files[str(file)] = fingerprint(file)
    unchanged = _checked(iter([([], about)]), store, files, {"r": "key"})
    write_part(folder, "part-000000.parquet", unchanged)
    assert (folder / "part-000000.parquet").exists()


def test_flagged_recordings_are_in_the_last_lines(
    tmp_path: Path,
    make_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    ray_cluster: None,
) -> None:
    """How many, by which check, and the worst; also where nothing is left to prepare."""
    data = tmp_path / "data"
    manifest = make_folder(data, recordings=10, seconds=4.0)
    for name, factor in (("r002", 1500), ("r003", 2000)):
        lines = (data / f"imu/{name}.csv").read_text().splitlines()
        rows = [line.split(",") for line in lines[1:]]
        turned = [
            [*row[:4], *(str(factor * (float(cell) + 1)) for cell in row[4:])] for row in rows
        ]
        (data / f"imu/{name}.csv").write_text("\n".join([lines[0], *map(",".join, turned)]))
    store = Store(tmp_path / "store")
    for _ in range(2):
        prepare_windows("mine", folder(manifest), store)
        shown = " ".join(capsys.readouterr().out.split())
        assert "2 of 10 recordings flagged: largest rotation (deg/s)" in shown
        assert "in r003: over what a wearable's sensor measures" in shown


def test_a_reason_that_passes_is_tried_again(
    tmp_path: Path, make_folder: Callable[..., Path], ray_cluster: None
) -> None:
    """Too little memory for one file, which may be more at the next try; what is wrong with a file
    itself stays rejected."""
    manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
    (tmp_path / "data/videos/r001.mp4").write_bytes(b"no video")
    large = tmp_path / "data/imu/r002.npy"
    with large.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (10**13, 6), "fortran_order": False, "descr": "<f8"}
        )
    lines = manifest.read_text().replace("imu/r002.csv", "imu/r002.npy").splitlines()
    about = ["acc_unit,gyro_unit,imu_rate", *["g,dps,50"] * 10]
    manifest.write_text("\n".join(map(",".join, zip(lines, about, strict=True))))
    settings, store = folder(manifest, max_rejected=0.5), Store(tmp_path / "store")
    windows = prepare_windows("mine", settings, store)
    assert windows.rejected.keys() == {"r001", "r002"}
    before = {part.name: part.stat().st_mtime_ns for part in parts(windows.folder)}
    prepare_windows("mine", settings, store)
    after = {part.name: part.stat().st_mtime_ns for part in parts(windows.folder)}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"part-000001.parquet", "part-000002.parquet"}


def test_who_lost_the_lease_meanwhile_does_not_complete_the_windows(
    tmp_path: Path, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")

    def taken_over(settings: object, store: Store, key: str, *_: object) -> Iterator[object]:
        write_json(store.folder("windows", key) / "lease.json", {"id": "theirs"})
        yield from ()

    monkeypatch.setattr("comodo.runtime.prepare._run", taken_over)
    monkeypatch.setattr("comodo.core.lease.STALE_SECONDS", 0.0)
    manifest = make_folder(tmp_path / "data", recordings=1, seconds=1.0)
    with raises(LeaseError, "lease.lost", "windows/"):
        prepare_windows("mine", folder(manifest), store)
    assert not list(store.root.glob("windows/*/meta.json"))


def test_equal_reasons_are_one_line() -> None:
    short = {
        f"r{i:02d}": f"PrepareError: /d/r{i:02d}.csv: {i}.5 s are too short" for i in range(12)
    }
    lines = _rejected_lines({"cut": "VideoError: /d/cut.mp4: no frames"} | short, "mine")
    assert lines == [
        "rejected r00 and 11 more like it: PrepareError: /d/r00.csv: 0.5 s are too short",
        "rejected cut: VideoError: /d/cut.mp4: no frames",
        "all of them: comodo inspect mine",
    ]
    several = {letter: f"Error: {letter} has no {letter * 3}" for letter in "abcdefghijkl"}
    lines = _rejected_lines(several, "mine")
    assert lines[0] == "rejected a: Error: a has no aaa" and len(lines) == 12
    assert lines[-2:] == ["and 2 more reasons", "all of them: comodo inspect mine"]
    assert _rejected_lines({"a": "Error: no a"}, "mine") == ["rejected a: Error: no a"]
