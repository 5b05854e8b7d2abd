"""prepare: recordings to paired windows in Parquet, through Ray Data.

A window pairs a span of video with an IMU array. Knows no model; the only thing it asks of a video
is its duration.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from comodo.config import CHANNELS, DatasetConfig, SimulatedDataset
from comodo.console import console, track
from comodo.datasets import Reader, Recording, open_dataset
from comodo.imu import has_gap, resample
from comodo.store import (
    Store,
    fingerprint,
    forget_rejected,
    key_of,
    read_parts,
    write_json,
    write_table,
)
from comodo.video import duration

VERSION = 4  # of the numbers made here; raise it when they change
LONGEST_GAP = 0.5  # seconds without an IMU sample that a window may contain
SCHEMA = pa.schema(
    [
        ("window", pa.string()),
        ("recording", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("video", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("imu", pa.list_(pa.float32())),  # [6, T] row by row, g and deg/s
        ("rejected", pa.string()),  # the reason, for a recording without windows
    ]
)


class PrepareError(RuntimeError):
    """Too much of a dataset cannot be used."""


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


def window_spans(start: float, end: float, seconds: float) -> list[tuple[float, float]]:
    """Non-overlapping spans of `seconds` that fit into [start, end], from the start on."""
    count = math.floor((end - start) / seconds + 1e-6)
    return [(start + i * seconds, start + (i + 1) * seconds) for i in range(max(count, 0))]


def slice_recording(
    reader: Reader, recording: Recording, settings: DatasetConfig
) -> list[dict[str, Any]]:
    """The windows of one recording, as rows of `SCHEMA`.

    Raises:
        ImuError, VideoError: the recording cannot be read.
        PrepareError: no window of it has both video and IMU.
    """
    stream = reader.read_imu(recording)
    sample = 1 / stream.rate
    start, end = stream.time_N[0], stream.time_N[-1] + sample
    if recording.video:
        start, end = max(0.0, start), min(duration(recording.video), end)
    if end <= start:
        raise PrepareError(
            f"video and IMU do not overlap: the IMU runs from {stream.time_N[0]:.1f} s "
            f"to {stream.time_N[-1]:.1f} s of the video's clock"
        )
    if settings.window_seconds == "whole":
        spans = [(start, end)]
    else:
        # A stream that begins within a sample of the video begins with it.
        start = start if start > sample else 0.0
        spans = window_spans(start, end + sample, settings.window_seconds)
        if not spans:
            raise PrepareError(f"{end - start:.1f} s are shorter than one window")
    rows = []
    for index, (begin, stop) in enumerate(spans):
        if has_gap(stream, begin, stop, max(LONGEST_GAP, 2 * sample)):
            continue
        imu_TC = resample(stream, begin, stop - begin, settings.imu_rate)
        rows.append(
            {
                "window": f"{recording.id}:{index}",
                **_described(recording),
                "start": begin,
                "end": stop,
                "imu": np.ascontiguousarray(imu_TC.T).ravel(),
            }
        )
    if not rows:
        raise PrepareError(f"every window has a gap of over {LONGEST_GAP} s in its IMU samples")
    return rows


def _described(recording: Recording) -> dict[str, Any]:
    return {
        "recording": recording.id,
        "split": recording.split,
        "group": recording.group,
        "label": recording.label,
        "video": recording.video,
    }


def window_key(settings: DatasetConfig, recordings: list[Recording]) -> str:
    """Names the window set by everything that it depends on."""
    content: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.model_dump(mode="json", exclude={"max_rejected"}),
    }
    if not isinstance(settings, SimulatedDataset):  # whose files follow from its settings
        content["recordings"] = [asdict(recording) for recording in recordings]
        content["files"] = [
            [fingerprint(r.video) if r.video else None, fingerprint(r.imu)] for r in recordings
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
    """
    data_folder = store.simulated(settings)
    recordings = open_dataset(settings, data_folder).recordings()
    key = window_key(settings, recordings)
    folder = store.folder("windows", key)
    if store.meta("windows", key) is None:
        missing = missing_parts(recordings, folder)
        waiting = sum(map(len, missing.values()))
        for _ in track(_run(settings, data_folder, folder, missing), waiting, f"prepare {name}"):
            pass
        meta = _summary(folder) | {"window_seconds": settings.window_seconds}
        write_json(folder / "meta.json", meta)
    window_set = prepared(key, store)
    assert window_set is not None
    _report(name, window_set, len(recordings), settings.max_rejected)
    return window_set


def missing_parts(recordings: list[Recording], folder: Path) -> dict[str, list[Recording]]:
    """Parts of the artifact that are not there: recordings that are sliced and written together."""
    size = max(1, min(16, len(recordings) // 64))
    chunks = {
        f"part-{i:06d}.parquet": recordings[i : i + size] for i in range(0, len(recordings), size)
    }
    return {part: chunk for part, chunk in chunks.items() if not (folder / part).exists()}


def _run(
    settings: DatasetConfig, data_folder: Path, folder: Path, chunks: dict[str, list[Recording]]
) -> Iterator[tuple[str, int]]:
    """Writes the parts on the cluster; yields each with its number of recordings."""
    if not chunks:
        return
    import ray.data  # takes seconds, which those who only ask for a key need not pay

    rows = [
        {"part": part, "recordings": json.dumps([asdict(r) for r in chunk])}
        for part, chunk in chunks.items()
    ]

    def write_part(row: dict[str, Any]) -> dict[str, Any]:
        reader = open_dataset(settings, data_folder)
        chunk = [Recording(**fields) for fields in json.loads(row["recordings"])]
        write_table(folder / row["part"], slice_chunk(reader, chunk, settings))
        return {"part": row["part"], "recordings": len(chunk)}

    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(write_part)
    for row in done.iter_rows():
        yield row["part"], row["recordings"]


def slice_chunk(reader: Reader, chunk: list[Recording], settings: DatasetConfig) -> pa.Table:
    """Windows of several recordings; one that fails becomes a row with its reason."""
    rows: list[dict[str, Any]] = []
    for recording in chunk:
        try:
            rows += slice_recording(reader, recording, settings)
        except Exception as error:  # whatever is wrong with one recording, the others go on
            rows.append({**_described(recording), "rejected": f"{type(error).__name__}: {error}"})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _summary(folder: Path) -> dict[str, Any]:
    columns = ["recording", "split", "group", "rejected", "label"]
    table = read_parts(folder, columns).to_pandas()
    good = table[table.rejected.isna()]
    groups = {str(split): set(rows.group) for split, rows in good.groupby("split")}
    known = groups.get("train", set())
    return {
        "channels": CHANNELS,
        "windows": {str(split): int(n) for split, n in good.split.value_counts().items()},
        "classes": {
            str(split): {str(label): int(n) for label, n in labels.value_counts().items()}
            for split, labels in good.dropna(subset="label").groupby("split").label
        },
        "leaks": {
            split: f"{len(members & known)} of {len(members)}"
            for split, members in groups.items()
            if split != "train" and members & known
        },
        "rejected": dict(
            table[table.rejected.notna()][["recording", "rejected"]].itertuples(index=False)
        ),
    }


def _report(name: str, windows: WindowSet, recordings: int, allowed: float) -> None:
    """Prints what came out, and refuses a dataset of which too much was rejected."""
    counts = ", ".join(f"{n} {split}" for split, n in sorted(windows.counts.items()))
    console.print(
        f"{name}: {recordings - len(windows.rejected)} of {recordings} recordings, "
        f"windows: {counts or 'none'}  ({windows.folder})"
    )
    for split, share in windows.leaks.items():
        console.print(
            f"  leakage: {share} groups of {split} stand in train too, which makes its accuracy "
            "optimistic; split_by_group makes clean splits",
            style="yellow",
        )
    for id, reason in list(windows.rejected.items())[:10]:
        console.print(f"  rejected {id}: {reason}", style="yellow")
    if len(windows.rejected) > 10:
        console.print(f"  and {len(windows.rejected) - 10} more, in {windows.folder}/meta.json")
    if len(windows.rejected) > allowed * recordings:
        forget_rejected(windows.folder)  # when the files are mended, they are tried again
        raise PrepareError(
            f"{name}: {len(windows.rejected)} of {recordings} recordings were rejected, over the "
            f"allowed share of {allowed:g}; mend them, or raise datasets.{name}.max_rejected"
        )
