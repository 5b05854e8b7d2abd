"""Packed arrays: their content, lengths, shards, order."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import CHANNELS
from comodo.core.labels import NO_LABEL
from comodo.core.parts import write_table
from comodo.core.store import Store
from comodo.data import packing, shards, slicing
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.packing import pack_features, pack_resized, pack_windows
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.records import MEASURED_ONLY, FeatureArraysMeta, FeaturesMeta, WindowsMeta
from comodo.data.resize import resized
from comodo.data.shards import ArraysError
from tests.errors import raises
from tests.helpers import make_arrays


def patch_shards(patch: pytest.MonkeyPatch, windows: int) -> None:
    for module in (packing, shards):
        patch.setattr(module, "SHARD_WINDOWS", windows)


def write_windows_meta(store: Store, rejected: dict[str, str]) -> None:
    meta = WindowsMeta([*CHANNELS], {"train": 6, "test": 1}, {}, {}, rejected, window_seconds=5.0)
    meta.write(store.folder("windows", "w"))


def write_features_meta(store: Store, rejected: dict[str, str], **rejected_in: str) -> None:
    meta = FeaturesMeta(
        teacher={}, windows="w", count=7, devices=[], rejected=rejected, rejected_in=rejected_in
    )
    meta.write(store.folder("features", "f"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Seven windows of unequal length in two parts; one has no feature, one no label."""
    store = Store(tmp_path)
    rows = [
        {
            "window": f"w{i}",
            "recording": f"r{(i + 1) // 2}",
            "split": "test" if i == 3 else "train",
            "group": f"g{i % 2}",
            "label": None if i == 4 else ("b", "a")[i % 2],
            "imu": np.repeat(np.arange(1.0, 7), 3 + i).astype(np.float32) + 10 * i,
        }
        for i in range(7)
    ]
    rows.append({"window": None, "recording": "bad", "rejected": "empty"})
    for number, chunk in enumerate((rows[:4], rows[4:])):
        write_table(
            store.folder("windows", "w") / f"part-{number}.parquet",
            pa.Table.from_pylist(chunk, schema=slicing.WINDOW_SCHEMA),
        )
    write_windows_meta(store, {"bad": "empty"})
    features = [{"window": f"w{i}", "feature": [float(i), -float(i)]} for i in range(7) if i != 2]
    features.append({"window": "w2", "rejected": "broken"})
    write_table(
        store.folder("features", "f") / "part-0.parquet",
        pa.Table.from_pylist(features, schema=FEATURE_SCHEMA),
    )
    write_features_meta(store, {"w2": "broken"})
    return store


@pytest.mark.parametrize("shard", [2, 16_384])
def test_rows_lengths_labels_and_order(
    store: Store, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_shards(monkeypatch, shard)
    data = WindowArrays.load(store.folder("arrays", pack_windows(store, "w")))
    features = FeatureArrays.load(store.folder("arrays", pack_features(store, "w", "f")))
    train = data.splits["train"]
    assert (len(train), len(data.splits["test"])) == (6, 1)
    assert (data.classes, data.groups) == (["a", "b"], ["g0", "g1"])
    assert train.label_N.tolist() == [1, 0, 1, NO_LABEL, 0, 1]
    assert train.labelled_N.tolist() == [0, 1, 2, 4, 5]
    assert train.last_N.tolist() == [True, False, True, True, False, True]
    imu_BCT, length_B = train.imu(torch.tensor([5, 0, 3]))
    assert length_B is not None
    assert length_B.tolist() == [9, 3, 7]
    assert imu_BCT.shape == (3, 6, 9)
    assert imu_BCT[1, :, :6].abs().sum() == 0  # padded on the left
    assert imu_BCT[1, 1, 6:].tolist() == [2, 2, 2]
    assert imu_BCT[0, 5].tolist() == [66.0] * 9
    assert features.dim == 2
    assert features.encoded["train"].tolist() == [0, 1, 3, 4, 5]
    rows_BF = features.gather("train", torch.tensor([5, 0, 3]))
    assert rows_BF.tolist() == [[6, -6], [0, 0], [4, -4]]


def test_a_batch_is_as_long_as_its_longest(store: Store) -> None:
    data = WindowArrays.load(store.folder("arrays", pack_windows(store, "w")))
    assert data.splits["train"].imu(torch.tensor([0]))[0].shape[-1] == 3


def test_a_recording_that_was_not_cut_has_no_last_window(store: Store) -> None:
    meta = WindowsMeta([*CHANNELS], {}, {}, {}, {"bad": "empty"}, window_seconds="whole")
    meta.write(store.folder("windows", "w"))
    data = WindowArrays.load(store.folder("arrays", pack_windows(store, "w")))
    assert not any(split.last_N.any() for split in data.splits.values())


def test_a_recording_of_which_windows_were_drawn_has_no_last_window(store: Store) -> None:
    rows = [{"recording": "r1", "windows": 2, "drawn_from": 9}, {"recording": "r3", "windows": 2}]
    quality = pa.Table.from_pylist(rows, schema=QUALITY_SCHEMA)
    write_table(store.folder("windows", "w") / "quality-0.parquet", quality)
    train = WindowArrays.load(store.folder("arrays", pack_windows(store, "w"))).splits["train"]
    assert train.last_N.tolist() == [True, False, False, True, False, True]


def write_windows(store: Store, imu: list[np.ndarray]) -> None:
    """A set `w` of whole recordings, all in train, each `[6 * T]`."""
    rows = [
        {"window": f"w{i}", "recording": f"w{i}", "split": "train", "group": f"g{i}", "imu": values}
        for i, values in enumerate(imu)
    ]
    table = pa.Table.from_pylist(rows, schema=slicing.WINDOW_SCHEMA)
    write_table(store.folder("windows", "w") / "part-0.parquet", table)
    meta = WindowsMeta([*CHANNELS], {}, {}, {}, {}, window_seconds="whole")
    meta.write(store.folder("windows", "w"))


def test_one_long_recording_does_not_lengthen_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    imu = [np.ones(6 * samples, np.float32) for samples in [*[200] * 40, 50_000]]
    write_windows(store, imu)
    key = pack_windows(store, "w")
    files = store.files("arrays", f"{key}/*.safetensors")
    assert sum(files.values()) < 1.1 * sum(values.nbytes for values in imu)
    split = WindowArrays.load(store.folder("arrays", key)).splits["train"]
    assert split.imu(torch.tensor([3, 0]))[0].shape == (2, 6, 200)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    shard=st.sampled_from([1, 3, 16_384]),
)
def test_any_lengths_are_gathered_as_they_were(
    lengths: list[int], order: Random, shard: int
) -> None:
    rng = np.random.default_rng(sum(lengths))
    imu = [rng.normal(size=6 * length).astype(np.float32) for length in lengths]
    index = order.choices(range(len(imu)), k=5)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch_shards(patch, shard)
        store = Store(folder)
        write_windows(store, imu)
        split = WindowArrays.load(store.folder("arrays", pack_windows(store, "w"))).splits["train"]
        imu_BCT, length_B = split.imu(torch.tensor(index))
        assert length_B is None or length_B.tolist() == [lengths[i] for i in index]
        assert (length_B is None) == (len(set(lengths)) == 1)
        assert imu_BCT.shape[-1] == max(lengths[i] for i in index)
        for imu_CT, i in zip(imu_BCT.numpy(), index, strict=True):
            padding = imu_CT.shape[-1] - lengths[i]
            np.testing.assert_array_equal(imu_CT[:, padding:], imu[i].reshape(6, -1))
            assert not imu_CT[:, :padding].any()


def test_what_was_rejected_and_is_mended_is_packed_anew(store: Store) -> None:
    keys = pack_windows(store, "w"), pack_features(store, "w", "f")
    write_windows_meta(store, {})
    again = pack_windows(store, "w"), pack_features(store, "w", "f")
    assert len({*keys, *again}) == 4
    write_features_meta(store, {})
    assert pack_windows(store, "w") == again[0]
    assert pack_features(store, "w", "f") not in (keys[1], again[1])


def test_splits_that_are_only_measured_are_packed_later_under_the_same_key(store: Store) -> None:
    key = pack_features(store, "w", "f", ("val", "test"))
    folder = store.folder("arrays", key)
    assert FeatureArrays.load(folder).encoded.keys() == {"train"}
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert len(stamps) == 1
    assert pack_features(store, "w", "f") == key
    features = FeatureArrays.load(folder)
    assert features.encoded.keys() == {"train", "test"}
    assert features.gather("test", torch.tensor([0])).tolist() == [[3, -3]]
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    # A window of test had no feature, and then has one, which no student was trained on.
    packed = FeatureArraysMeta.read(folder)
    replace(packed, lacking=["w3"]).write(folder)
    assert pack_features(store, "w", "f", ("val", "test")) == key
    assert FeatureArraysMeta.read(folder).lacking == ["w3"]
    assert pack_features(store, "w", "f") == key
    assert FeatureArraysMeta.read(folder) == packed
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    write_features_meta(store, {"w2": "broken", "w3": "broken"}, w2="train", w3="test")
    assert pack_features(store, "w", "f") == key
    write_features_meta(store, {"w2": "broken", "w3": "broken"})  # an earlier version
    assert pack_features(store, "w", "f") != key


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_windows_that_are_not_finite_are_named(store: Store, value: float) -> None:
    part = store.folder("windows", "w") / "part-1.parquet"
    rows = pq.read_table(part).to_pylist()
    rows[1]["imu"][7] = value
    write_table(part, pa.Table.from_pylist(rows, schema=slicing.WINDOW_SCHEMA))
    with raises(ArraysError, "arrays.not-finite", "window w5", str(part.parent)):
        pack_windows(store, "w")


def test_packed_once(store: Store) -> None:
    keys = pack_windows(store, "w"), pack_features(store, "w", "f")
    stamps = {path: path.stat().st_mtime_ns for path in store.root.rglob("*.safetensors")}
    assert len(stamps) == 4
    assert keys == (pack_windows(store, "w"), pack_features(store, "w", "f"))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


@pytest.mark.parametrize("shard", [2, 16_384])
@pytest.mark.parametrize("samples", [4, 16])
def test_resized_once_is_what_a_student_would_make_of_them(
    store: Store, shard: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_shards(monkeypatch, shard)
    key = pack_windows(store, "w")
    folder, chosen = store.folder("arrays", key), torch.tensor([5, 0, 3])
    before = WindowArrays.load(folder, samples).splits["train"].imu(chosen)
    assert before[1] is not None  # not made yet: as packed, for the student to resize
    pack_resized(store, key, samples)
    train = WindowArrays.load(folder, samples).splits["train"]
    imu_BCT, length_B = train.imu(chosen)
    assert length_B is None
    assert torch.equal(imu_BCT, resized(before[0], before[1].tolist(), samples))
    for now, then in zip(train.packed(chosen), before, strict=True):
        assert now is not None
        assert then is not None
        assert torch.equal(now, then)
    assert WindowArrays.load(folder).splits["train"].imu(chosen)[1] is not None


def test_windows_of_the_length_taken_are_not_written_again(store: Store) -> None:
    make_arrays(store)
    pack_resized(store, "w", 64)
    assert not store.folder("arrays", "w/resized-64").exists()
    pack_resized(store, "w", 32)
    small = store.folder("arrays", "w/resized-32")
    times = {path: path.stat().st_mtime_ns for path in small.iterdir()}
    assert times
    pack_resized(store, "w", 32)
    assert times == {path: path.stat().st_mtime_ns for path in small.iterdir()}


def test_features_of_an_earlier_version_are_read() -> None:
    old = {"teacher": {}, "windows": "w", "count": 7, "devices": [], "rejected": {"a:0": "why"}}
    meta = FeaturesMeta.from_json(old)
    assert (meta.passing, meta.pictures, meta.rejected) == ([], {}, {"a:0": "why"})
    counts = {"train": 5, "val": 2}
    assert meta.has(counts) and meta.lacking(MEASURED_ONLY) == ["a:0"]
    assert not meta.has(counts | {"test": 1}, ("test",))
    later = FeaturesMeta.from_json(old | {"splits": {"train": 5}, "rejected_in": {"a:0": "val"}})
    assert later.has(counts, ("val",)) and not later.has(counts)
    assert (later.lacking(MEASURED_ONLY), later.lacking(("test",))) == ([], ["a:0"])


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("cut", ["meta.json", "*.safetensors"])
def test_arrays_that_were_cut_off_are_packed_again(store: Store, cut: str, share: float) -> None:
    def pack() -> list[Path]:
        windows, features = pack_windows(store, "w"), pack_features(store, "w", "f")
        pack_resized(store, windows, 4)
        return [store.folder("arrays", key) for key in (windows, f"{windows}/resized-4", features)]

    packed = {path: path.read_bytes() for folder in pack() for path in folder.glob("*.*")}
    for folder in pack():
        for path in folder.glob(cut):
            os.truncate(path, int(path.stat().st_size * share))
    pack()
    assert {path: path.read_bytes() for path in packed} == packed
