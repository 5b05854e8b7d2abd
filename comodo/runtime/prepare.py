"""prepare: recordings to paired windows in Parquet, through Ray Data.

The quality of each recording is stored next to the windows.
"""

import json
import re
import tempfile
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from comodo.config import DatasetConfig
from comodo.core.console import console, track
from comodo.core.lease import Lease, leased
from comodo.core.parts import remove_rejected
from comodo.core.provenance import made_by
from comodo.core.store import Store, fetched, remove
from comodo.data import window_sets
from comodo.data.keys import simulated_folder
from comodo.data.known_slices import copied, has_video, known_slices, slices_key
from comodo.data.quality import class_windows, flag_lines
from comodo.data.readers import (
    list_recordings,
    listing_notes,
    open_dataset,
    with_common_unit,
)
from comodo.data.recordings import Recording
from comodo.data.records import QualityNote, WindowsMeta
from comodo.data.slicing import PrepareError, Sliced, slice_chunk, write_part
from comodo.data.window_sets import FileFingerprints, WindowSet, fingerprints_of, missing_parts
from comodo.runtime.crash_guard import CrashGuard

MAX_REASONS = 10  # for which recordings were rejected, printed


def prepare_windows(name: str, settings: DatasetConfig, store: Store) -> WindowSet:
    """The windows of a data set, after slicing the missing ones. Ray must be connected.

    After an interruption only the remaining recordings are sliced.

    Raises:
        DatasetError: the data set cannot be listed, or has too few groups for folds.
        PrepareError: more than the allowed share of recordings was rejected.
        ChangedError: a recording's file was replaced meanwhile.
    """
    folder = simulated_folder(settings, store)
    recordings = list_recordings(settings, folder)
    notes = listing_notes(settings, folder, recordings)
    files = fingerprints_of(settings, recordings)
    key = window_sets.window_key(settings, recordings, files)
    known = WindowsMeta.of(key, store)
    if known is not None and known.passing:
        remove_rejected(store.folder("windows", key))  # so that they are tried again
    if store.meta("windows", key) is None or missing_parts(recordings, store, key):
        with leased(store, "windows", key, f"prepare {name}") as lease:
            _make(name, settings, store, recordings, files, key, lease)
    windows, meta = window_sets.read_window_set(key, store, files), WindowsMeta.of(key, store)
    assert windows is not None and meta is not None
    notes += meta.decided
    _remember(name, settings, windows, notes)
    _report(name, windows, notes, len(recordings), settings.max_rejected)
    return window_sets.with_folds(windows, settings)


def _make(
    name: str,
    settings: DatasetConfig,
    store: Store,
    recordings: list[Recording],
    files: FileFingerprints,
    key: str,
    lease: Lease,
) -> None:
    """Writes the missing parts of the window set, and its meta.json. Raises LeaseError."""
    missing = missing_parts(recordings, store, key)
    if not missing and store.meta("windows", key) is not None:  # another driver wrote it
        return
    wanted = window_sets.part_chunks(recordings)
    for stale in store.files("windows", f"{key}/part-*.parquet"):
        if stale.name not in wanted:  # an earlier version grouped the recordings differently
            remove(stale)
    # Found from all recordings also where few are missing, so that it is the same for all.
    found, decided = with_common_unit(settings, simulated_folder(settings, store), recordings)
    chunks = window_sets.part_chunks(found)
    missing = {part: chunks[part] for part in missing}
    to_do = [recording for chunk in missing.values() for recording in chunk]
    slices = {r.id: slices_key(settings, r, files, store) for r in to_do}
    with_video = {r.id: slices[r.id] for r in to_do if has_video(r, settings, files, store)}
    known = known_slices(name, with_video, store)
    if known:
        same = f"{len(known)} of {len(to_do)} recordings are as in an earlier set"
        console.print(f"{name}: {same}; their windows are copied", markup=False)
    run = _run(settings, store, key, missing, files, slices, known)
    for _ in track(run, len(to_do), f"prepare {name}"):
        pass
    folder = store.folder("windows", key)
    summary = replace(_summary(folder, settings, recordings), decided=decided)
    lease.check()
    summary.write(folder)


def _run(
    settings: DatasetConfig,
    store: Store,
    key: str,
    chunks: dict[str, list[Recording]],
    files: FileFingerprints,
    slices: Mapping[str, str],
    known: Mapping[str, str],
) -> Iterator[tuple[str, int]]:
    """Writes the parts on the cluster; yields each with its number of recordings. `slices` and
    `known`: as in `known_slices`."""
    if not chunks:
        return
    rows = [
        {
            "part": part,
            "recordings": json.dumps([vars(r.moved(store.portable)) for r in chunk]),
            "files": json.dumps({f: files[f] for r in chunk for f in r.files if f in files}),
            "slices": json.dumps({r.id: slices[r.id] for r in chunk}),
            "known": json.dumps({r.id: known[r.id] for r in chunk if r.id in known}),
        }
        for part, chunk in chunks.items()
    ]
    run = uuid.uuid4().hex

    def write(row: dict[str, Any]) -> dict[str, Any]:
        notes = Path(tempfile.gettempdir(), f"comodo-{run}-{row['part']}", "reading.json")
        reader = CrashGuard(open_dataset(settings, simulated_folder(settings, store)), notes)
        found = [Recording.of(fields) for fields in json.loads(row["recordings"])]
        chunk, versions = [r.moved(store.local) for r in found], json.loads(row["files"])
        part_of = json.loads(row["known"])
        new = [r for r in chunk if r.id not in part_of]
        sliced = slice_chunk(reader, new, settings, store.videos, versions)
        either = (
            copied(part_of[r.id], r, store) if r.id in part_of else next(sliced) for r in chunk
        )
        checked = _checked(either, store, versions, json.loads(row["slices"]))
        write_part(store.folder("windows", key), row["part"], checked)
        reader.done()
        return {"part": row["part"], "recordings": len(chunk)}

    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(write)
    for row in done.iter_rows():
        yield row["part"], row["recordings"]


def _checked(
    sliced: Iterator[Sliced],
    store: Store,
    files: FileFingerprints,
    slices: Mapping[str, str],
) -> Iterator[Sliced]:
    """The slices with their keys, and with video paths that all machines can resolve. After the
    last one, checks that the files are still those in the key."""
    for rows, about in sliced:
        for row in rows:
            if row.get("video"):
                row["video"] = store.portable(row["video"])
        yield rows, about | {"slices": slices[about["recording"]]}
    window_sets.refuse_changed(files)


def _remember(name: str, settings: DatasetConfig, windows: WindowSet, notes: list[str]) -> None:
    """Writes what `inspect` needs, also for a data set that is then refused."""
    known = QualityNote.find(fetched(windows.folder, QualityNote.FILE))
    names = {name} if known is None else {name, *known.names}
    made_by = settings.model_dump(mode="json")
    QualityNote(sorted(names), made_by, windows.leaks, notes).write(windows.folder)


def _summary(folder: Path, settings: DatasetConfig, recordings: list[Recording]) -> WindowsMeta:
    """The set's meta.json, whose size depends on groups and rejections, not on windows."""
    windows: Counter[str] = Counter()
    classes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    rejected: dict[str, str] = {}
    passing = 0
    for table in window_sets.read_quality(folder):
        for row in table.to_pylist():
            if row["rejected"] is not None:
                rejected[row["recording"]] = row["rejected"]
                passing += bool(row["passing"])
                continue
            windows[row["split"]] += row["windows"]
            classes[row["split"]].update(class_windows(row))
    return WindowsMeta(
        channels=list(settings.imu_channels),
        fills=settings.missing == "zero",
        windows=dict(windows),
        classes={split: dict(counts) for split, counts in classes.items() if counts},
        leaks=window_sets.leaks_of(r for r in recordings if r.id not in rejected),
        rejected=rejected,
        window_seconds=settings.window_seconds,
        passing=passing,
        made_by=made_by(),
    )


def _report(
    name: str, windows: WindowSet, notes: list[str], recordings: int, allowed: float
) -> None:
    """Prints a summary, and refuses a data set with too many rejected recordings."""
    counts = ", ".join(f"{n} {split}" for split, n in sorted(windows.counts.items()))
    console.print(
        f"{name}: {recordings - len(windows.rejected)} of {recordings} recordings, "
        f"windows: {counts or 'none'}  ({windows.folder})"
    )
    measured = pa.concat_tables(window_sets.read_quality(windows.folder)).to_pandas()
    leaks = window_sets.leakage_notes(windows.leaks)
    unseen = window_sets.without_video_note(windows.folder, sum(windows.counts.values()))
    for sentence in [*notes, *unseen, *leaks, *flag_lines(measured)]:
        console.print(f"  {sentence}", style="yellow", markup=False)
    for line in _rejected_lines(windows.rejected, name):
        console.print(f"  {line}", style="yellow", markup=False)
    if len(windows.rejected) > allowed * recordings:
        remove_rejected(windows.folder)  # so that they are tried again
        raise PrepareError(
            "windows.too-many-rejected",
            f"{name}: {len(windows.rejected)} of {recordings} recordings were rejected, over the "
            f"allowed share of {allowed:g}; see comodo inspect {name}; fix them, or increase "
            f"datasets.{name}.max_rejected",
        )


def _rejected_lines(rejected: Mapping[str, str], name: str) -> list[str]:
    """A line for each reason, the most frequent ones first, with the first of its recordings.
    Reasons that differ only by the recording's name and by numbers are one."""
    of_reason = defaultdict[str, list[str]](list)
    for id, reason in rejected.items():
        unnamed = re.sub(rf"(?<!\w){re.escape(id)}(?!\w)", "*", reason)
        of_reason[re.sub(r"\d+", "0", unnamed)].append(id)
    lines = []
    for first, *others in sorted(of_reason.values(), key=len, reverse=True)[:MAX_REASONS]:
        more = f" and {len(others)} more like it" if others else ""
        lines.append(f"rejected {first}{more}: {rejected[first]}")
    if more_reasons := max(0, len(of_reason) - MAX_REASONS):
        lines.append(f"and {more_reasons} more reasons")
    if len(rejected) > len(lines):
        lines.append(f"all of them: comodo inspect {name}")
    return lines
