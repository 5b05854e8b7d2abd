"""The teacher features of a window set: their key, and which of them are there. Knows no Ray.

A feature depends on its teacher and on a span of a video, mirrored or not, alone. So a window set
whose labels, groups, splits or IMU samples differ from an earlier one has another key, but its
features are copied from those of the earlier one, window by window, and only new spans are encoded.
Of a set only the splits are encoded that training and measures read; others can follow.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comodo.config import DatasetConfig, TeacherConfig
from comodo.core.hub import known_commit
from comodo.core.parts import is_whole, parts, read_parts, write_table
from comodo.core.store import Store, fetched, fingerprint, is_present, key_of
from comodo.core.versions import FEATURE_VERSION
from comodo.data.precomputed import FEATURE_SCHEMA, EncodeError
from comodo.data.recordings import Recording
from comodo.data.records import FeaturesMeta
from comodo.data.transcode import copy_of
from comodo.data.window_sets import FileFingerprints, WindowSet

FLIPPED = " flipped"  # ends the spans of windows that are mirrored
PARTS_TOGETHER = 16  # of copied features; as small as they are encoded they are slow to upload


@dataclass(frozen=True)
class FeatureSet:
    """The teacher's features of one window set."""

    key: str
    folder: Path
    rejected: int  # windows without a feature


def feature_key(teacher: TeacherConfig, windows: WindowSet) -> str:
    """Hash of everything that the features depend on. `teacher`: by `config.teacher.teacher_on`."""
    return key_of(_identity(teacher) | {"windows": windows.key})


def _identity(teacher: TeacherConfig) -> dict[str, Any]:
    """What a teacher's features depend on besides the windows: of a folder of weights the content,
    wherever the folder is."""
    if teacher.several is not None:
        return {"version": FEATURE_VERSION, "several": [_identity(one) for one in teacher.several]}
    settings, files = teacher.for_key(), teacher_files(teacher)
    if teacher.frame == "crop":  # as before there was a choice
        settings.pop("frame")
    if teacher.weights is not None and teacher.weights in files:
        settings["weights"] = files.pop(teacher.weights)
        settings["allow_remote_code"] = teacher.allow_remote_code is not None
    return {"version": FEATURE_VERSION, "teacher": settings, **files}


def teacher_files(teacher: TeacherConfig) -> FileFingerprints:
    """Fingerprints of the files on this machine that the teacher is read from."""
    paths = [path for one in teacher.encoders for path in (one.weights, one.path)]
    return {path: fingerprint(path) for path in paths if path and Path(path).exists()}


def count_encoded(folder: Path) -> int:
    """How many windows of a folder the teacher has processed, with or without a feature."""
    return sum(pq.read_metadata(part).num_rows for part in parts(folder))


def count_left(
    teacher: TeacherConfig, windows: WindowSet, store: Store, unread: Collection[str] = ()
) -> int:
    """How many windows, except of `unread` splits, have to be encoded, as their spans are in no
    set."""
    folder = fetched(store.folder("features", feature_key(teacher, windows)))
    wanted = that_are_read(wanted_windows(windows, store, teacher), unread)
    missing = in_no_part(wanted, folder)
    known = encoded_elsewhere(teacher, missing, store).values()
    return len(missing) - sum(len(ids) for of_set in known for ids in of_set.values())


def is_drawn(window: str) -> bool:
    """Whether a training window is one of those that `flips` mirrors: half of them, by the hash of
    the window's id, so the same ones in every encoding."""
    return hashlib.sha256(f"flip {window}".encode()).digest()[0] % 2 == 1


def that_are_read(wanted: pa.Table, unread: Collection[str]) -> pa.Table:
    """The `wanted_windows` without those of `unread` splits."""
    unread_N = pc.is_in(wanted["split"], value_set=pa.array(unread, pa.string()))
    return wanted.filter(pc.invert(unread_N))


def wanted_windows(windows: WindowSet, store: Store, teacher: TeacherConfig) -> pa.Table:
    """The windows to encode, in the order of the recordings: those with a video, for precomputed
    features all. Columns: `window`, `recording`, `split`, `video`, `start` and `end`; as `flipped`
    whether they are mirrored; as `file` the fingerprint of their video in JSON; as `span` what a
    teacher sees of them, null where nothing identifies the video's version."""
    columns = ["window", "recording", "split", "video", "start", "end", "rejected"]
    table = read_parts(fetched(windows.folder), columns)
    table = table.filter(pc.is_null(table["rejected"])).drop_columns(["rejected"])
    if teacher.sees_video:
        table = table.filter(pc.greater(pc.binary_length(pc.fill_null(table["video"], "")), 0))
    names = table["video"].to_pylist()
    paths = {name: store.local(name or "") for name in set(names)}
    files = {n: {p: windows.files[p]} if p in windows.files else {} for n, p in paths.items()}
    known = {name: json.dumps(file) for name, file in files.items()}
    versions = {name: _version(path, windows.files, store) for name, path in paths.items()}
    training = zip(table["window"].to_pylist(), table["split"].to_pylist(), strict=True)
    flipped = [
        teacher.flips and split == "train" and is_drawn(window) for window, split in training
    ]
    times = zip(names, table["start"].to_pylist(), table["end"].to_pylist(), flipped, strict=True)
    spans = [
        f"{versions[name]} {start!r} {end!r}{FLIPPED * flip}" if versions[name] else None
        for name, start, end, flip in times
    ]
    for name, values in (("file", [known[name] for name in names]), ("span", spans)):
        table = table.append_column(name, pa.array(values, pa.string()))
    return table.append_column("flipped", pa.array(flipped, pa.bool_()))


def _version(video: str, files: FileFingerprints, store: Store) -> str | None:
    """Identifies a video and its version; None where nothing does. What the store itself makes is
    named by its content."""
    name, known = store.portable(video), [files[video]] if video in files else []
    return key_of([name, *known]) if known or name != video else None


VideoPart = tuple[str, float, float]
"""A video's version, with which the spans of its windows begin, and where in it a recording begins
and ends."""


def video_parts(
    settings: DatasetConfig, recordings: list[Recording], files: FileFingerprints, store: Store
) -> tuple[VideoPart, ...]:
    """The parts of videos that the recordings show."""
    found = []
    for recording in recordings:
        video = recording.video
        if video and settings.videos == "shrink":
            video = str(copy_of(video, files.get(video) or fingerprint(video), store.videos))
        if video and (version := _version(video, files, store)) is not None:
            found.append((version, *recording.span))
    return tuple(found)


def in_no_part(wanted: pa.Table, folder: Path) -> pa.Table:
    """Those of the windows that no part in the folder has."""
    if not parts(folder):
        return wanted
    done = read_parts(folder, ["window"])["window"].combine_chunks()
    return wanted.filter(pc.invert(pc.is_in(wanted["window"], value_set=done)))


def list_spans(teacher: TeacherConfig, wanted: pa.Table, folder: Path) -> None:
    """Writes the spans of a set's windows of all splits, by which other sets find its features."""
    write_table(_span_list(teacher, folder), wanted.select(["window", "span"]))


def has_spans(teacher: TeacherConfig, folder: Path) -> bool:
    """False for features of an earlier version, or that are not of videos."""
    return is_present(_span_list(teacher, folder))


def _span_list(teacher: TeacherConfig, folder: Path) -> Path:
    """Weights from the hub have a file for each commit, whichever branch or tag names it. That some
    windows are mirrored is in their spans, so other windows are found by teachers without flips."""
    teacher = teacher.model_copy(update={"flips": False})
    if (commit := _commit(teacher)) is None:
        return folder / f"spans-{key_of(_identity(teacher))}.parquet"
    teacher = teacher.model_copy(update={"revision": None})
    return folder / f"spans-{key_of(_identity(teacher))}-{commit}.parquet"


def _commit(teacher: TeacherConfig) -> str | None:
    return None if teacher.weights is None else known_commit(teacher.weights, teacher.revision)


def refuse_other_commit(teacher: TeacherConfig, folder: Path) -> None:
    """Raises EncodeError if features in the folder are of another commit of the teacher's weights
    than this machine has: a branch of the hub, which the key names, has moved."""
    if (now := _commit(teacher)) is None:
        return
    pattern = "spans-*-*.parquet"
    commits = {path.stem.rpartition("-")[2] for path in fetched(folder, pattern).glob(pattern)}
    for then in commits - {now}:
        raise EncodeError(
            "features.other-commit",
            f"trial.teacher.weights: {teacher.weights} is at commit {now} here, and the features "
            f"in {folder} are of commit {then}; set trial.teacher.revision to {then} to use them, "
            f"or to {now} to encode the windows again",
        )


def encoded_elsewhere(
    teacher: TeacherConfig, missing: pa.Table, store: Store
) -> dict[Path, dict[str, list[str]]]:
    """Which of the missing windows show the same span as a window that has a feature: by the folder
    of its set and its id, their ids."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for window, span in zip(*(missing[n].to_pylist() for n in ("window", "span")), strict=True):
        if span is not None:
            wanted[span].append(window)
    return {
        folder: {window: wanted.pop(span) for window, span in spans.items() if span in wanted}
        for folder, spans in _encoded_spans(teacher, store, wanted.__contains__)
    }


def count_known(
    teacher: TeacherConfig, videos: tuple[VideoPart, ...], seconds: float | str, store: Store
) -> int:
    """How many windows of that length of these parts of videos are in some set; with `flips` also
    those that will be mirrored and are not there, or the reverse."""
    spans, wanted = set[str](), {version for version, _, _ in videos}
    for _, found in _encoded_spans(teacher, store, lambda span: span.split()[0] in wanted):
        spans.update(s.removesuffix(FLIPPED) for s in found.values()
                     if teacher.flips or not s.endswith(FLIPPED))  # fmt: skip
    known = defaultdict[str, list[tuple[float, float]]](list)
    for video, start, end in map(str.split, spans):
        known[video].append((float(start), float(end)))
    count = 0
    for video, first, last in videos:
        inside = (e - s for s, e in known[video] if first - 1e-6 <= s and e <= last + 1e-6)
        if seconds == "whole":
            count += any(inside)
        else:
            count += sum(isclose(length, float(seconds), rel_tol=1e-6) for length in inside)
    return count


def _encoded_spans(
    teacher: TeacherConfig, store: Store, is_wanted: Callable[[str], bool]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Folders of a teacher's features, each with the wanted spans that have a feature there, by
    window."""
    for path in store.files("features", _span_list(teacher, Path("*")).as_posix()):
        if not is_whole(fetched(path)):
            continue
        listed = pq.read_table(path).to_pydict()
        pairs = zip(listed["window"], listed["span"], strict=True)
        spans = {window: span for window, span in pairs if span is not None and is_wanted(span)}
        if spans and parts(fetched(path.parent, "part-*")):
            encoded = read_parts(path.parent, ["window", "rejected"])
            encoded = encoded.filter(pc.is_null(encoded["rejected"]))
            windows = set(encoded["window"].to_pylist())
            yield path.parent, {w: span for w, span in spans.items() if w in windows}


def copy_features(teacher: TeacherConfig, missing: pa.Table, store: Store, key: str) -> None:
    """Copies features of the missing windows from other sets to that of the key."""
    for folder, ids in encoded_elsewhere(teacher, missing, store).items():
        paths = parts(folder)
        for first in range(0, len(paths), PARTS_TOGETHER):
            read = [pq.read_table(path) for path in paths[first : first + PARTS_TOGETHER]]
            table = pa.concat_tables(
                [FEATURE_SCHEMA.empty_table(), *read], promote_options="default"
            )
            there = table["window"].to_pylist()
            rows = [(row, id) for row, other in enumerate(there) for id in ids.get(other, ())]
            if rows:
                taken, windows = zip(*rows, strict=True)
                copied = table.take(list(taken)).set_column(0, "window", pa.array(windows))
                part = f"part-{key_of(windows)}.parquet"
                write_table(store.folder("features", key) / part, copied)


def pictures_of(windows: str, store: Store) -> dict[str, str]:
    """What any teacher's frames showed to be wrong with pictures of a window set: window id to
    `black`, `of one colour` or `frozen`. `windows`: key of the set."""
    found = _features_of(windows, store)
    return {window: fault for meta in found for window, fault in meta.pictures.items()}


def commits_of(windows: str, store: Store) -> dict[str, str]:
    """The commits of hub weights that encoded a window set, by their ids."""
    found = _features_of(windows, store)
    return {str(meta.teacher["weights"]): meta.commit for meta in found if meta.commit}


def _features_of(windows: str, store: Store) -> list[FeaturesMeta]:
    pattern = f"*/{FeaturesMeta.FILE}"
    folders = [path.parent for path in fetched(store.root / "features", pattern).glob(pattern)]
    found = map(FeaturesMeta.find, folders)
    return [meta for meta in found if meta is not None and meta.windows == windows]


def picture_lines(pictures: dict[str, str], count: int) -> list[str]:
    """`pictures_of` a set of `count` windows as sentences."""
    lines = []
    for picture, number in Counter(pictures.values()).most_common():
        example = next(window for window, found in pictures.items() if found == picture)
        fault = f"{number} of {count} windows have a picture that is {picture}"
        lines.append(f"{fault}, such as {example}")
    return lines
