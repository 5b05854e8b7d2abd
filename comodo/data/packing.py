"""Packs windows and features into the arrays that trials map (`arrays`). Knows neither Ray nor how
windows and features are computed.

Shapes: N windows, C channels, T samples, F numbers in a feature, B windows at a time.
"""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from comodo.core.console import track
from comodo.core.labels import NO_LABEL
from comodo.core.parts import read_parts
from comodo.core.store import Store, fetched, report_damaged
from comodo.data import records
from comodo.data.arrays import WindowArrays
from comodo.data.keys import packed_features_key, packed_windows_key, resized_key
from comodo.data.resize import resized
from comodo.data.shards import SHARD_WINDOWS, ArraysError
from comodo.data.streaming import described_windows, streamed, window_values
from comodo.data.window_sets import read_quality

RESIZE_WINDOWS = 256  # of one length, in memory at a time


def pack_windows(store: Store, windows: str) -> str:
    """Packs a window set unless that is done; returns the arrays' key. Raises ArraysError."""
    source = store.folder("windows", windows)
    window_meta = records.WindowsMeta.of(windows, store)
    assert window_meta is not None
    key = packed_windows_key(windows, window_meta.rejected)
    folder = store.folder("arrays", key)
    if not _is_packed(store, key):
        frame = described_windows(fetched(source), len(window_meta.channels))
        classes, groups = sorted(frame.label.dropna().unique()), sorted(frame.group.unique())
        class_of, group_of = ({name: i for i, name in enumerate(n)} for n in (classes, groups))
        is_last = ~frame.recording.duplicated(keep="last") & ~frame.recording.isin(_drawn(source))
        columns = {
            "length": frame.length.to_numpy(np.int64),
            "label": frame.label.map(class_of).fillna(NO_LABEL).to_numpy(np.int64),
            "group": frame.group.map(group_of).to_numpy(np.int64),
            "last": is_last.to_numpy(bool) & (window_meta.window_seconds != "whole"),
        }
        uniform = frame.length.nunique() == 1
        longest = int(frame.length.max()) if len(frame) else 0
        channels = len(window_meta.channels)
        shape = (channels, longest) if uniform else None
        splits = frame.split.to_list()
        values = _finite(source, frame.window.to_list(), window_values(source))
        rows = track(((row, 1) for row in values), len(frame), "pack windows")
        files = _write_shards(folder, splits, columns, "imu", shape, rows, channels)
        records.WindowArraysMeta(
            windows=windows, classes=classes, groups=groups, files=files, uniform=uniform,
            longest=longest, channels=window_meta.channels, fills=window_meta.fills,
        ).write(folder)  # fmt: skip
    return key


def pack_resized(store: Store, windows: str, samples: int) -> None:
    """Resizes packed windows to `samples`, the input length of some students, once and for all of
    them; otherwise each would compute the same values at every step. Does nothing if all windows
    have that length. `windows`: the arrays' key."""
    if _is_packed(store, resized_key(windows, samples)):
        return
    folder, small = (store.folder("arrays", k) for k in (windows, resized_key(windows, samples)))
    splits, meta = WindowArrays.load(fetched(folder)).splits, records.WindowArraysMeta.read(folder)
    lengths = {part.packed(torch.arange(1))[0].shape[-1] for part in splits.values()}
    if meta.uniform and lengths == {samples}:
        return
    at_once = RESIZE_WINDOWS if meta.uniform else 1  # so that none is padded to another's length
    for split, files in meta.files.items():
        shards = torch.arange(len(splits[split])).split(SHARD_WINDOWS)
        for file, index_N in zip(files, shards, strict=True):
            shape = (len(index_N), len(meta.channels), samples)
            with streamed(small / file, {}, "imu", shape) as write:
                parts = ((index_B, len(index_B)) for index_B in index_N.split(at_once))
                for index_B in track(parts, len(index_N), f"resize {file} to {samples}"):
                    imu_BCT, length_B = splits[split].packed(index_B)
                    lengths_B = None if length_B is None else length_B.tolist()
                    write(resized(imu_BCT, lengths_B, samples).contiguous().numpy())
    records.ResizedMeta(samples).write(small)


def pack_features(store: Store, windows: str, features: str, unread: Collection[str] = ()) -> str:
    """Packs features in the order of their windows unless that is done; returns the arrays' key, in
    which val and test do not count: `unread` splits may follow later. A window without a feature
    keeps its row, marked."""
    of_windows = records.WindowsMeta.of(windows, store)
    of_features = records.FeaturesMeta.of(features, store)
    assert of_windows is not None and of_features is not None
    rejected = [*of_windows.rejected, *(lost := of_features.lacking(records.MEASURED_ONLY))]
    key = packed_features_key(windows, features, rejected)
    lacking = sorted(set(of_features.rejected).difference(lost))
    folder, packed = store.folder("arrays", key), _packed_splits(store, key, lacking)
    if missing := [s for s, n in of_windows.windows.items() if n and s not in {*packed, *unread}]:
        table = read_parts(fetched(store.folder("features", features)), ["window", "feature"])
        vectors = table["feature"].to_numpy(zero_copy_only=False)
        feature_of = dict(zip(table["window"].to_pylist(), vectors, strict=True))
        dim = next((len(vector) for vector in vectors if vector is not None), 0)
        names = ["split", "window", "rejected"]
        listed = read_parts(fetched(store.folder("windows", windows)), names)
        listed = listed.filter(listed["rejected"].is_null())
        listed = listed.filter(np.isin(listed["split"].to_numpy(), missing))
        found = [feature_of.get(window) for window in listed["window"].to_pylist()]
        columns = {"encoded": np.array([vector is not None for vector in found])}
        zeros = np.zeros(dim, np.float32)
        values = ((zeros if vector is None else vector, 1) for vector in found)
        rows = track(values, len(found), "pack features")
        files = _write_shards(folder, listed["split"].to_pylist(), columns, "feature", (dim,), rows)
        files = _packed_splits(store, key, lacking) | files  # with those of another driver
        meta = records.FeatureArraysMeta(features=features, dim=dim, files=files, lacking=lacking)
        meta.write(folder)
    return key


def _packed_splits(store: Store, key: str, lacking: list[str]) -> dict[str, list[str]]:
    """Files of the splits whose features are packed; val and test lack those of `lacking`."""
    if not _is_packed(store, key):
        return {}
    meta = records.FeatureArraysMeta.read(store.folder("arrays", key))
    outdated = () if meta.lacking == lacking else records.MEASURED_ONLY
    return {split: files for split, files in meta.files.items() if split not in outdated}


def _is_packed(store: Store, key: str) -> bool:
    """Whether arrays are complete, and no shard that is on this machine is damaged."""
    for path in store.folder("arrays", key).glob("*.safetensors"):
        try:
            load_file(path)
        except SafetensorError:
            report_damaged(path, "cut off")
            return False
    return store.meta("arrays", key) is not None


def _drawn(source: Path) -> set[str]:
    """Recordings whose last window was left out by a draw."""
    rows = (row for table in read_quality(source) for row in table.to_pylist())
    return {row["recording"] for row in rows if row["drawn_from"] is not None}


def _finite(
    source: Path, windows: Sequence[str], batches: Iterable[list[np.ndarray]]
) -> Iterator[np.ndarray]:
    """The values of the windows; ArraysError, `arrays.not-finite`, for NaN or an infinite value."""
    before = 0
    for batch in batches:
        if batch and not np.isfinite(np.concatenate(batch)).all():
            first = next(i for i, row in enumerate(batch) if not np.isfinite(row).all())
            window = windows[before + first]
            raise ArraysError(
                "arrays.not-finite",
                f"{source}: window {window} has values that are not finite; remove the folder to "
                "prepare it again",
            )
        before += len(batch)
        yield from batch


def _write_shards(
    folder: Path,
    splits: list[str],
    columns: dict[str, np.ndarray],
    name: str,
    shape: tuple[int, ...] | None,
    rows: Iterable[np.ndarray],
    channels: int = 1,
) -> dict[str, list[str]]:
    """Writes the rows of each split to shards; returns the names of the files by split.

    `splits`, `columns` and `rows` have one entry for each row. `rows` are the float32 values of the
    array `name`, written as they arrive; None as their shape: windows of so many
    `channels` and of unequal lengths.
    """
    files: dict[str, list[str]] = {}
    split_N = np.array(splits)
    with ExitStack() as stack:
        writers = {}
        for split in sorted(set(splits)):
            index_N = np.flatnonzero(split_N == split)
            starts = range(0, len(index_N), SHARD_WINDOWS)
            files[split] = [f"{split}-{i:05d}.safetensors" for i in range(len(starts))]
            shards = {}
            for file, start in zip(files[split], starts, strict=True):
                index_n = index_N[start : start + SHARD_WINDOWS]
                shards[folder / file] = {key: column[index_n] for key, column in columns.items()}
            writers[split] = stack.enter_context(
                closing(_write_split(shards, name, shape, channels))
            )
            next(writers[split])
        for split, row in zip(splits, rows, strict=True):
            writers[split].send(row)
    return files


def _write_split(
    shards: dict[Path, dict[str, np.ndarray]],
    name: str,
    shape: tuple[int, ...] | None,
    channels: int,
) -> Generator[None, np.ndarray]:
    """Writes the shards of a split, one after the other, from the rows that it is sent."""
    for path, columns in shards.items():
        count = len(next(iter(columns.values())))
        whole = (count, *(shape or ()))
        if shape is None:
            end_N = np.cumsum(channels * columns["length"])
            columns, whole = columns | {"end": end_N}, (int(end_N[-1]),)
        with streamed(path, columns, name, whole) as write:
            for _ in range(count):
                write((yield))
    yield
