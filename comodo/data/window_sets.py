"""The prepared windows of a data set: their key, their part files, and a summary. Knows no Ray."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import DatasetConfig
from comodo.config.dataset_base import GroupSplit
from comodo.config.datasets import fold_split
from comodo.core.inputs import changed, versions
from comodo.core.parts import is_whole, read_parts
from comodo.core.paths import is_url
from comodo.core.store import Fingerprint, Store, fetched, fingerprint, key_of
from comodo.core.versions import MMEA_VERSION, SPLIT_VERSION, WINDOW_VERSION
from comodo.data import transcode
from comodo.data.folds import Folds, GroupCounts, by_split, counts_of, make_folds
from comodo.data.group_split import keeps_first_deal
from comodo.data.names import common_form
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.recordings import IN_FOLDS, SPLIT_NAMES, Recording, file_identity
from comodo.data.records import WindowsMeta
from comodo.data.slicing import quality_file

FileFingerprints = dict[str, Fingerprint]  # by path


@dataclass(frozen=True)
class WindowSet:
    """The prepared windows of one data set."""

    key: str
    folder: Path
    counts: dict[str, int]  # windows in each split
    classes: dict[str, dict[str, int]]  # labelled windows of each class, by split
    rejected: dict[str, str]  # recording id to reason
    leaks: dict[str, str]  # as in `WindowsMeta`
    files: FileFingerprints = field(default_factory=dict)
    """Of the recordings' files, as they were when `prepare` computed the key."""
    folds: Folds = ()
    """Empty for a data set with one split."""
    groups: GroupCounts = field(default_factory=dict)
    """Of a data set with folds."""

    @property
    def labels(self) -> list[str]:
        """The names of all its classes."""
        return sorted({label for counts in self.classes.values() for label in counts})

    @property
    def splits(self) -> "list[WindowSet]":
        """The set with `counts` and `classes` of each fold; the set itself if it has one split."""
        found = []
        for fold in self.folds:
            counts = by_split(self.groups, fold)
            windows = {split: of_split.total() for split, of_split in counts.items()}
            classes = {
                split: {label: n for label, n in of_split.items() if label is not None}
                for split, of_split in counts.items()
            }
            found.append(replace(self, counts=windows, classes=classes))
        return found or [self]


def fingerprints_of(settings: DatasetConfig, recordings: list[Recording]) -> FileFingerprints:
    """Fingerprints of the files that the recordings are read from; none for simulated recordings,
    whose files follow from the settings."""
    if settings.kind == "simulated":
        return {}
    return versions({file for recording in recordings for file in recording.files})


def refuse_changed(files: FileFingerprints) -> None:
    """Raises ChangedError for a file that no longer has its fingerprint. Copies of those in buckets
    were compared when they were read."""
    for file, known in files.items():
        if not is_url(file) and Path(file).exists() and fingerprint(file) != known:
            raise changed(file)


def window_key(
    settings: DatasetConfig, recordings: list[Recording], files: FileFingerprints | None = None
) -> str:
    """Hash of everything that a window set depends on; `files`: from `fingerprints_of`. Whatever
    the folds are, the windows are the same."""
    files = fingerprints_of(settings, recordings) if files is None else files
    content = how_made(settings)
    if fold_split(settings) is not None:
        content["settings"]["split_by_group"] = IN_FOLDS
    if settings.kind != "simulated":
        content["recordings"] = [recording.for_key() for recording in recordings]
        content["files"] = [[files[f] for f in r.files] for r in recordings]
    elif isinstance(shares := settings.split_by_group, GroupSplit) and not keeps_first_deal(
        recordings, shares
    ):
        content["split_by_group"] = SPLIT_VERSION
    return key_of(content)


def how_made(settings: DatasetConfig, excluded: Collection[str] = ()) -> dict[str, Any]:
    """What windows depend on besides the recordings, without `excluded` settings."""
    written = settings.for_key(exclude={"max_rejected", *excluded})
    content: dict[str, Any] = {"version": WINDOW_VERSION, "settings": written}
    if settings.videos == "shrink":
        content["videos"] = transcode.TRANSCODER
    if settings.kind == "uestc-mmea-cl":
        content["uestc-mmea-cl"] = MMEA_VERSION
    return content


def read_window_set(
    key: str, store: Store, files: FileFingerprints | None = None
) -> WindowSet | None:
    """A window set of the store; None if it is missing or not complete. `files`: as in the key."""
    meta = WindowsMeta.of(key, store)
    if meta is None:
        return None
    folder = store.folder("windows", key)
    about = (meta.windows, meta.classes, meta.rejected, meta.leaks)
    return WindowSet(key, folder, *about, files or {})


def with_folds(windows: WindowSet, settings: DatasetConfig) -> WindowSet:
    """The set with the folds that its settings ask for, if they do. Raises DatasetError."""
    if (shares := fold_split(settings)) is None:
        return windows
    groups = group_counts(windows)
    return replace(windows, folds=make_folds(groups, shares), groups=groups)


def group_counts(windows: WindowSet) -> GroupCounts:
    """How many windows of each class each group has."""
    table = read_parts(fetched(windows.folder), ["group", "label", "rejected"])
    table = table.filter(table["rejected"].is_null())
    pairs = zip(*(table[name].to_pylist() for name in ("group", "label")), strict=True)
    return counts_of((group, label, 1) for group, label in pairs)


def part_chunks(recordings: list[Recording]) -> dict[str, list[Recording]]:
    """Names of part files, each with the recordings that are sliced and written together: few in a
    small set, so that all cores have work; a large set has about a thousand parts. Recordings that
    are parts of one file are together, so that it is opened once."""
    size = max(1, min(16, len(recordings) // 64), len(recordings) // 1000)
    of_file: dict[tuple[str, ...], list[Recording]] = {}
    for r in recordings:
        of_file.setdefault((r.video, r.imu) if r.is_part else (r.id,), []).append(r)
    chunks: dict[str, list[Recording]] = {}
    chunk, done = list[Recording](), 0
    for together in of_file.values():
        chunk += together
        if len(chunk) >= size or done + len(chunk) == len(recordings):
            chunks[f"part-{done:06d}.parquet"] = chunk
            chunk, done = [], done + len(chunk)
    return chunks


def missing_parts(
    recordings: list[Recording], store: Store, key: str
) -> dict[str, list[Recording]]:
    """Part files that are missing or damaged, or lack their file of qualities; with their
    recordings. In a bucket, only those that were downloaded are looked into."""
    listed = store.files("windows", f"{key}/*.parquet")
    present = {path.name for path in listed if not path.exists() or is_whole(path)}
    chunks = part_chunks(recordings)
    return {part: chunks[part] for part in chunks if not {part, quality_file(part)} <= present}


def read_quality(folder: Path) -> Iterator[pa.Table]:
    """Tables of `QUALITY_SCHEMA`, together with a row for each recording of a window set. What an
    earlier version did not measure is null."""
    for path in sorted(fetched(folder, "quality-*.parquet").glob("quality-*.parquet")):
        if is_whole(path):
            tables = [QUALITY_SCHEMA.empty_table(), pq.read_table(path)]
            yield pa.concat_tables(tables, promote_options="permissive")


def counts_without_video(folder: Path) -> dict[str, int]:
    """How many windows of a set have no video, by split; empty if all have one."""
    counts = Counter[str]()
    for table in read_quality(folder):
        for row in table.select(["split", "windows", "video_seconds"]).to_pylist():
            if row["windows"] and row["video_seconds"] is None:
                counts[row["split"]] += row["windows"]
    return dict(counts)


USE_WITHOUT = "no student is distilled on them, but the probe and supervised use them"


def without_video_note(folder: Path, windows: int) -> list[str]:
    """That some of a set's windows have no video, as a sentence; nothing if all or none have."""
    count = sum(counts_without_video(folder).values())
    if count in (0, windows):
        return []
    return [f"{count} of {windows} windows have no video: {USE_WITHOUT}"]


FILES, SPANS = "files of ", "spans of "
"""Begin the keys of `WindowSet.leaks` that count files, and files that are in two splits by spans
that do not overlap; other keys count groups."""


def leaks_of(recordings: Iterable[Recording]) -> dict[str, str]:
    """How many groups, and how many files, of val and test are also in train, as `3 of 10`, by
    `test` and `files of test`; files of which only other spans are in train by `spans of test`.
    Groups whose names differ by case or spacing only are one group, links to one file are one file.
    Folds share no group, but groups may share a file: by `files of all` and `spans of all`."""
    members: dict[str, set[Any]] = {}
    groups_of: dict[Any, set[str]] = {}  # of a file in a data set with folds
    identity: dict[str, Any] = {}
    cut = set[Any]()  # files of which recordings are parts
    for recording in recordings:
        members.setdefault(recording.split, set()).add(common_form(recording.group))
        of_sensors = recording.beside if recording.sensors else ()
        for file in filter(None, (recording.video, recording.imu, *of_sensors)):
            if file not in identity:
                identity[file] = file_identity(file)
            members.setdefault(FILES + recording.split, set()).add(identity[file])
            if recording.is_part:
                cut.add(identity[file])
            if recording.split == IN_FOLDS:
                groups_of.setdefault(identity[file], set()).add(common_form(recording.group))
    leaks = {}
    several = {file for file, groups in groups_of.items() if len(groups) > 1}
    for kind, shared in ((FILES, several - cut), (SPANS, several & cut)):
        if shared:
            leaks[kind + IN_FOLDS] = f"{len(shared)} of {len(groups_of)}"
    for kind in ("", FILES):
        train = members.get(f"{kind}train", set())
        for split in SPLIT_NAMES[1:]:
            of_split = members.get(kind + split, set())
            both = of_split & train
            by_parts = both & cut if kind == FILES else set()
            for key, shared in ((kind, both - by_parts), (SPANS, by_parts)):
                if shared:
                    leaks[key + split] = f"{len(shared)} of {len(of_split)}"
    return leaks


_LEAKS = {
    "": "leakage: {count} groups of {split} are also in train, which makes its accuracy "
    "optimistic; split_by_group makes disjoint splits",
    FILES: "leakage: {count} files of {split} are also in train, which makes its accuracy "
    "optimistic; list each file in one split",
    FILES + IN_FOLDS: "leakage: {count} files are of several groups, which makes accuracies "
    "optimistic; list each file in one group",
    SPANS: "caution: other parts of {count} files of {split} are in train: no sample is in both, "
    "but person, place and day are, which makes its results optimistic for new recordings; list "
    "each file in one split",
    SPANS + IN_FOLDS: "caution: parts of {count} files are of several groups: no sample is in two, "
    "but person, place and day may be, which makes accuracies optimistic; list each file in one "
    "group",
}


def leakage_notes(leaks: dict[str, str]) -> list[str]:
    """`WindowSet.leaks` as sentences."""
    notes = []
    for key, count in leaks.items():
        kind = next((kind for kind in (FILES, SPANS) if key.startswith(kind)), "")
        text = _LEAKS.get(key) or _LEAKS[kind]
        notes.append(text.format(count=count, split=key.removeprefix(kind)))
    return notes
