"""prepare: recordings to paired windows in Parquet, through Ray Data.

Beside the windows lie the measures of each recording's quality.
"""

import json
import tempfile
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comodo import shrink
from comodo.config import CHANNELS, DatasetConfig, SimulatedDataset
from comodo.console import console, track
from comodo.culprits import Guarded
from comodo.datasets import Recording, list_recordings, open_dataset
from comodo.identity import ChangedError
from comodo.lease import held
from comodo.slicing import VERSION, PrepareError, Sliced, quality_of, slice_chunk, write_part
from comodo.store import (
    Store,
    fetched,
    fingerprint,
    forget_rejected,
    key_of,
    read_json,
    remove,
    write_json,
)

Files = dict[str, dict[str, int]]
"""Paths with their fingerprints."""


@dataclass(frozen=True)
class WindowSet:
    """The prepared windows of one dataset."""

    key: str
    folder: Path
    counts: dict[str, int]
    """Windows in each split."""
    classes: dict[str, dict[str, int]]
    """Labelled windows of each class in each split that has labels."""
    rejected: dict[str, str]
    """Recording id to reason."""
    leaks: dict[str, str]
    """Of val and test: how many of their groups stand in train too, as `3 of 10`."""
    files: Files = field(default_factory=dict)
    """Those of the recordings, by which the set is named, as `prepare` found them."""


def _files(settings: DatasetConfig, recordings: list[Recording]) -> Files:
    """Fingerprints of what the recordings are read from; none of simulated ones, whose files
    follow from their settings."""
    if isinstance(settings, SimulatedDataset):
        return {}
    files = {file for r in recordings for file in (r.video, r.imu, *r.beside) if file}
    return {file: fingerprint(file) for file in files}


def refuse_changed(files: Files) -> None:
    """Raises ChangedError for a file that is another than when it was looked at first."""
    for file, known in files.items():
        if Path(file).exists() and fingerprint(file) != known:
            raise ChangedError(
                f"{file} was replaced while the sweep runs; run the same command again: its "
                "windows and features are then made of the new file"
            )


def window_key(
    settings: DatasetConfig,
    recordings: list[Recording],
    files: Files | None = None,
) -> str:
    """Names the window set by everything that it depends on; `files`: their fingerprints."""
    files = _files(settings, recordings) if files is None else files
    content: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.model_dump(mode="json", exclude={"max_rejected"}),
    }
    if settings.videos == "shrink":
        content["videos"] = shrink.MADE_BY
    if not isinstance(settings, SimulatedDataset):
        content["recordings"] = [vars(recording) for recording in recordings]
        content["files"] = [
            [files[file] for file in (r.video, r.imu, *r.beside) if file] for r in recordings
        ]
    return key_of(content)


def prepared(key: str, store: Store) -> WindowSet | None:
    """A window set that is there; None while it is not whole."""
    meta = store.meta("windows", key)
    if meta is None:
        return None
    folder = store.folder("windows", key)
    return WindowSet(key, folder, meta["windows"], meta["classes"], meta["rejected"], meta["leaks"])


def prepare(name: str, settings: DatasetConfig, store: Store) -> WindowSet:
    """Windows of a dataset, made where they are missing. Ray must be connected.

    A run that was interrupted goes on with the recordings that are not done.

    Raises:
        DatasetError: the dataset cannot be listed.
        PrepareError: more than the allowed share of recordings was rejected.
        ChangedError: a recording's file was replaced meanwhile.
    """
    recordings = list_recordings(settings, store.simulated(settings))
    files = _files(settings, recordings)
    key = window_key(settings, recordings, files)
    if store.meta("windows", key) is None or missing_parts(recordings, store, key):
        with held(store, "windows", key, f"prepare {name}"):
            _make(name, settings, store, recordings, files, key)
    window_set = prepared(key, store)
    assert window_set is not None
    window_set = replace(window_set, files=files)
    _remember(name, settings, window_set)
    _report(name, window_set, len(recordings), settings.max_rejected)
    return window_set


def _make(
    name: str,
    settings: DatasetConfig,
    store: Store,
    recordings: list[Recording],
    files: Files,
    key: str,
) -> None:
    """The window set's missing parts, and what is known of it."""
    missing = missing_parts(recordings, store, key)
    if not missing and store.meta("windows", key) is not None:  # another driver has made it
        return
    wanted = part_chunks(recordings)
    for stale in store.files("windows", f"{key}/part-*.parquet"):
        if stale.name not in wanted:  # an earlier version cut the recordings otherwise
            remove(stale)
    waiting = sum(map(len, missing.values()))
    for _ in track(_run(settings, store, key, missing, files), waiting, f"prepare {name}"):
        pass
    folder = store.folder("windows", key)
    write_json(folder / "meta.json", _summary(folder) | {"window_seconds": settings.window_seconds})


def part_chunks(recordings: list[Recording]) -> dict[str, list[Recording]]:
    """Names of the artifact's parts, each with the recordings that are sliced and written
    together: few of a small set, for all cores to have some; about a thousand parts of a large."""
    size = max(1, min(16, len(recordings) // 64), len(recordings) // 1000)
    return {
        f"part-{i:06d}.parquet": recordings[i : i + size] for i in range(0, len(recordings), size)
    }


def missing_parts(
    recordings: list[Recording], store: Store, key: str
) -> dict[str, list[Recording]]:
    """Parts of the artifact that are not there, or without their recordings' quality."""
    there = {path.name for path in store.files("windows", f"{key}/*.parquet")}
    return {
        part: chunk
        for part, chunk in part_chunks(recordings).items()
        if not {part, quality_of(part)} <= there
    }


def _run(
    settings: DatasetConfig,
    store: Store,
    key: str,
    chunks: dict[str, list[Recording]],
    files: Files,
) -> Iterator[tuple[str, int]]:
    """Writes the parts on the cluster; yields each with its number of recordings."""
    if not chunks:
        return
    import ray.data  # takes seconds, which those who only ask for a key need not pay

    rows = [
        {
            "part": part,
            "recordings": json.dumps([vars(_moved(r, store.portable)) for r in chunk]),
            "files": json.dumps({file: files[file] for file in _files(settings, chunk)}),
        }
        for part, chunk in chunks.items()
    ]

    run = uuid.uuid4().hex

    def write(row: dict[str, Any]) -> dict[str, Any]:
        notes = Path(tempfile.gettempdir(), f"comodo-{run}-{row['part']}", "reading.json")
        reader = Guarded(open_dataset(settings, store.simulated(settings)), notes)
        found = [Recording(**fields) for fields in json.loads(row["recordings"])]
        chunk = [_moved(recording, store.local) for recording in found]
        sliced = slice_chunk(reader, chunk, settings, store.videos)
        moved = (([_of_row(r, store) for r in rows], about) for rows, about in sliced)
        kept = _of_same_files(moved, json.loads(row["files"]))
        write_part(store.folder("windows", key), row["part"], kept)
        reader.done()
        return {"part": row["part"], "recordings": len(chunk)}

    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(write)
    for row in done.iter_rows():
        yield row["part"], row["recordings"]


def _of_same_files(sliced: Iterator[Sliced], files: Files) -> Iterator[Sliced]:
    """What was sliced, if the files are still those that the set is named by."""
    yield from sliced
    refuse_changed(files)


def _moved(recording: Recording, to: Callable[[str], str]) -> Recording:
    """The recording with the paths that its files have elsewhere."""
    video, imu, *beside = map(to, (recording.video, recording.imu, *recording.beside))
    return replace(recording, video=video, imu=imu, beside=tuple(beside))


def _of_row(row: dict[str, Any], store: Store) -> dict[str, Any]:
    """The row of a window with the path by which all machines find its video."""
    return {**row, "video": store.portable(row["video"])} if row.get("video") else row


def _remember(name: str, settings: DatasetConfig, windows: WindowSet) -> None:
    """Keeps what `inspect` has to know, also of a dataset that is then refused."""
    path = fetched(windows.folder, "quality.json") / "quality.json"
    names = read_json(path)["names"] if path.exists() else []
    made_by = settings.model_dump(mode="json")
    about = {"names": sorted({*names, name}), "settings": made_by, "leaks": windows.leaks}
    write_json(path, about)


def read_quality(folder: Path) -> Iterator[pa.Table]:
    """A row of `quality.SCHEMA` for each recording of a window set, some recordings at a time."""
    for path in sorted(fetched(folder, "quality-*.parquet").glob("quality-*.parquet")):
        yield pq.read_table(path)


def _summary(folder: Path) -> dict[str, Any]:
    """Grows with the recordings' groups and rejections, not with their windows."""
    windows: Counter[str] = Counter()
    classes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    groups: defaultdict[str, set[str]] = defaultdict(set)
    rejected: dict[str, str] = {}
    for table in read_quality(folder):
        for row in table.to_pylist():
            if row["rejected"] is not None:
                rejected[row["recording"]] = row["rejected"]
                continue
            windows[row["split"]] += row["windows"]
            groups[row["split"]].add(row["group"])
            if row["label"] is not None:
                classes[row["split"]][row["label"]] += row["windows"]
    known = groups.get("train", set())
    return {
        "channels": CHANNELS,
        "windows": windows,
        "classes": classes,
        "leaks": {
            split: f"{len(members & known)} of {len(members)}"
            for split, members in groups.items()
            if split != "train" and members & known
        },
        "rejected": rejected,
    }


def leakage(leaks: dict[str, str]) -> list[str]:
    """`WindowSet.leaks` as sentences."""
    return [
        f"leakage: {share} groups of {split} stand in train too, which makes its accuracy "
        "optimistic; split_by_group makes clean splits"
        for split, share in leaks.items()
    ]


def _report(name: str, windows: WindowSet, recordings: int, allowed: float) -> None:
    """Prints what came out, and refuses a dataset of which too much was rejected."""
    counts = ", ".join(f"{n} {split}" for split, n in sorted(windows.counts.items()))
    console.print(
        f"{name}: {recordings - len(windows.rejected)} of {recordings} recordings, "
        f"windows: {counts or 'none'}  ({windows.folder})"
    )
    for sentence in leakage(windows.leaks):
        console.print(f"  {sentence}", style="yellow")
    for id, reason in list(windows.rejected.items())[:10]:
        console.print(f"  rejected {id}: {reason}", style="yellow", markup=False)
    if len(windows.rejected) > 10:
        console.print(f"  and {len(windows.rejected) - 10} more, see comodo inspect {name}")
    if len(windows.rejected) > allowed * recordings:
        forget_rejected(windows.folder)  # when the files are mended, they are tried again
        raise PrepareError(
            f"{name}: {len(windows.rejected)} of {recordings} recordings were rejected, over the "
            f"allowed share of {allowed:g}; see comodo inspect {name}; mend them, or raise "
            f"datasets.{name}.max_rejected"
        )
