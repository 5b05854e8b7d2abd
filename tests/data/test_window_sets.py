"""Window sets: their key, their parts, and files that change under them."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import CHANNELS
from comodo.core.errors import ChangedError
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.recordings import IN_FOLDS, Recording
from comodo.data.slicing import quality_file
from comodo.data.window_sets import (
    FileFingerprints,
    fingerprints_of,
    leakage_notes,
    leaks_of,
    missing_parts,
    part_chunks,
    read_window_set,
    refuse_changed,
    window_key,
)
from tests.errors import raises

SIMULATED = SimulatedDataset(kind="simulated")


def recordings(count: int) -> list[Recording]:
    return [Recording(f"r{i}", f"r{i}.mp4", f"r{i}.csv", "train", "g") for i in range(count)]


@given(st.integers(1, 40_000))
def test_every_recording_is_in_one_part_and_parts_are_of_a_good_number(count: int) -> None:
    listed = recordings(count)
    chunks = list(part_chunks(listed).values())
    assert [recording for chunk in chunks for recording in chunk] == listed
    assert len(chunks) <= 1100 or count <= 64 * 16
    assert len(chunks) >= min(count, 64)
    assert len({len(chunk) for chunk in chunks[:-1]}) <= 1


def test_a_part_without_its_quality_is_made_again(tmp_path: Path) -> None:
    store, listed = Store(tmp_path), recordings(3)
    names = list(part_chunks(listed))
    table = pa.table({"x": [1]})
    for name in (names[0], quality_file(names[0]), names[1]):
        write_table(store.folder("windows", "w") / name, table)
    assert missing_parts(listed, store, "w") == {names[1]: listed[1:2], names[2]: listed[2:]}
    os.truncate(store.folder("windows", "w") / names[0], 20)
    assert missing_parts(listed, store, "w").keys() == {*names}


def test_a_set_is_there_once_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert read_window_set("w", store) is None
    about: dict[str, Any] = {
        "channels": list(CHANNELS),
        "window_seconds": 5.0,
        "windows": {"train": 3},
        "classes": {"train": {"walking": 3}},
        "rejected": {"r1": "empty"},
        "leaks": {"test": "1 of 3"},
    }
    write_json(store.folder("windows", "w") / "meta.json", about)
    found = read_window_set("w", store)
    assert found is not None
    assert (found.counts, found.classes) == (about["windows"], about["classes"])
    assert (found.rejected, found.leaks) == (about["rejected"], about["leaks"])
    (note,) = leakage_notes(found.leaks)
    assert "1 of 3 groups of test" in note and "split_by_group" in note


def test_groups_in_two_splits_are_counted_however_they_are_written() -> None:
    def leaks(**groups: list[str]) -> dict[str, str]:
        return leaks_of(
            Recording(f"{split}{i}", "", f"{split}{i}.csv", split, group)
            for split, names in groups.items()
            for i, group in enumerate(names)
        )

    assert leaks(train=["anna", "ben"], test=["carla"]) == {}
    assert leaks(train=["anna"], val=["ben"], test=["Anna", "ANNA ", "carla"]) == {"test": "1 of 2"}
    assert leaks(train=["user 01"], val=["user_01"]) == {"val": "1 of 1"}
    assert leaks(test=["anna"], val=["anna"]) == {}


def test_files_in_two_splits_are_counted_through_links(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").hardlink_to(tmp_path / "a.csv")
    (tmp_path / "c.csv").symlink_to(tmp_path / "a.csv")
    (tmp_path / "d.csv").write_text("a")
    imu = {"x": "a.csv", "y": "b.csv", "z": "c.csv", "u": "d.csv"}
    splits = {"x": "train", "y": "val", "z": "test", "u": "test"}
    leaks = leaks_of(Recording(i, "", str(tmp_path / imu[i]), splits[i], i) for i in imu)
    assert leaks == {"files of val": "1 of 1", "files of test": "1 of 2"}
    val, test = leakage_notes(leaks)
    assert "1 of 1 files of val are also in train" in val
    assert "1 of 2 files of test are also in train" in test
    missing = [Recording(s, "gone.mp4", f"{s}.csv", s, s) for s in ("train", "test")]
    assert leaks_of(missing) == {"files of test": "1 of 2"}


def parts(*spans: tuple[float | None, float | None, str]) -> list[Recording]:
    """Recordings of one file: start, end and split of each."""
    return [
        Recording(f"r{i}", "", "a.csv", split, f"g{i}", start=start, end=end)
        for i, (start, end, split) in enumerate(spans)
    ]


def test_parts_of_a_file_in_two_splits_are_a_caution() -> None:
    leaks = leaks_of(parts((0, 5, "train"), (5, 9, "val"), (9, None, "test")))
    assert leaks == {"spans of val": "1 of 1", "spans of test": "1 of 1"}
    for split, note in zip(("val", "test"), leakage_notes(leaks), strict=True):
        assert note.startswith(f"caution: other parts of 1 of 1 files of {split} are in train")
        assert "no sample is in both" in note
    folds = leaks_of(parts((0, 5, IN_FOLDS), (5, 9, IN_FOLDS)))
    assert folds == {"spans of all": "1 of 1"}
    (note,) = leakage_notes(folds)
    assert note.startswith("caution: parts of 1 of 1 files are of several groups")


def test_parts_of_a_file_are_written_together() -> None:
    listed = recordings(3)
    cut = [replace(r, start=i, end=i + 1) for r in listed for i in range(4)]
    mixed = [cut[i] for i in (0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)]
    chunks = part_chunks(mixed)
    assert [*chunks] == ["part-000000.parquet", "part-000004.parquet", "part-000008.parquet"]
    assert [*chunks.values()] == [cut[:4], cut[4:8], cut[8:]]


def test_what_recordings_need_not_say_changes_no_key() -> None:
    """The key of this set is as it was before recordings could be parts of files."""
    config = FolderDataset.model_construct(kind="folder", path="m.csv", imu_rate=50.0)
    listed = [Recording("a", "", "a.csv", "train", "g", "walking", beside=("b.csv",))]
    files: FileFingerprints = {name: {"size": 1, "modified_ns": 2} for name in ("a.csv", "b.csv")}
    key = window_key(config, listed, files)
    assert key == "da443475baeb8989"
    spans = ((0.0, 1.0, "a"),)
    changes: list[dict[str, Any]] = [{"start": 0.0}, {"end": 1.0}, {"intervals": spans}]
    changes.append({"intervals": ()})
    others = {window_key(config, [replace(listed[0], **change)], files) for change in changes}
    assert len(others | {key}) == 5
    for recording in (listed[0], replace(listed[0], start=0.5, intervals=spans)):
        assert Recording.of(json.loads(json.dumps(vars(recording)))) == recording


def test_a_file_that_was_replaced_is_named(tmp_path: Path) -> None:
    imu = tmp_path / "r.csv"
    imu.write_text("1")
    files = fingerprints_of(SIMULATED, [])
    assert files == {}
    files = {str(imu): {"size": 1, "modified_ns": imu.stat().st_mtime_ns}}
    refuse_changed(files)
    os.utime(imu, ns=(1, 1))
    with raises(ChangedError, "dataset.file-changed", "r.csv"):
        refuse_changed(files)
    imu.unlink()  # a file that is gone is the reader's to report
    refuse_changed(files)


def test_simulated_windows_are_named_by_their_settings_alone() -> None:
    key = window_key(SIMULATED, recordings(2))
    assert key == window_key(SIMULATED, recordings(3)) == "59ab7478dd3cb718"
    assert key == window_key(SIMULATED.model_copy(update={"max_rejected": 0.9}), [])
    changes: list[dict[str, Any]] = [{"seed": 1}, {"window_seconds": 3.0}, {"videos": "shrink"}]
    others = {window_key(SIMULATED.model_copy(update=change), []) for change in changes}
    assert len(others | {key}) == 4
