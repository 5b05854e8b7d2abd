"""The order of an epoch's windows, and reading them ahead: all of them, once, in that order."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from comodo.core.store import Store, read_json, write_json
from comodo.data import shards
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.data.shards import SHARD_WINDOWS, Shards
from comodo.training import loader
from comodo.training.distributed import WorkerGroup
from comodo.training.loader import (
    BATCHES_AHEAD,
    MAX_SHARDS_PER_POOL,
    Batch,
    BatchLoader,
    epoch_order,
)
from tests.helpers import make_arrays


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, FeatureArrays]:
    store = Store(tmp_path_factory.mktemp("store"))
    windows, features = (store.folder("arrays", key) for key in make_arrays(store))
    return WindowArrays.load(windows).splits["train"], FeatureArrays.load(features)


def read(
    packed: tuple[Split, FeatureArrays], rows: torch.Tensor, batch_size: int, steps: int
) -> list[Batch]:
    return list(BatchLoader(*packed, WorkerGroup(), "cpu").read(rows, batch_size, steps))


@given(windows=st.integers(0, 60), shard=st.integers(1, 9), seed=st.integers(0, 5))
def test_an_order_has_every_window_once(windows: int, shard: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "SHARD_WINDOWS", shard)
        row_N = torch.arange(windows) * 2  # every other window has a feature
        order_N = epoch_order(row_N, seed)
        assert sorted(order_N.tolist()) == list(range(windows))
        assert torch.equal(order_N, epoch_order(row_N, seed))


def test_few_shards_are_shuffled_as_one_and_many_in_pools() -> None:
    few, many = torch.arange(MAX_SHARDS_PER_POOL * SHARD_WINDOWS), torch.arange(10 * SHARD_WINDOWS)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(epoch_order(few, 3), torch.randperm(len(few), generator=generator))
    pools = [
        set((part // SHARD_WINDOWS).tolist())
        for part in epoch_order(many, 3).split(MAX_SHARDS_PER_POOL * SHARD_WINDOWS)
    ]
    assert [len(pool) for pool in pools] == [4, 4, 2]
    assert set.union(*pools) == set(range(10))
    other = [
        set((part // SHARD_WINDOWS).tolist())
        for part in epoch_order(many, 4).split(MAX_SHARDS_PER_POOL * SHARD_WINDOWS)
    ]
    assert pools != other
    # Within a pool, a batch has windows of all its shards.
    first = epoch_order(many, 3)[:128] // SHARD_WINDOWS
    assert set(first.tolist()) == pools[0]


@given(batch_size=st.integers(1, 50), steps=st.integers(0, 60))
def test_batches_hold_their_rows_windows(
    packed: tuple[Split, FeatureArrays], batch_size: int, steps: int
) -> None:
    split, features = packed
    rows = torch.arange(41, 1, -1)
    wanted = list(rows.split(batch_size))[:steps]
    found = read(packed, rows, batch_size, steps)
    assert [batch.size for batch in found] == [len(row_B) for row_B in wanted]
    for batch, row_B in zip(found, wanted, strict=True):
        assert batch.feature_BF is not None
        assert torch.equal(batch.feature_BF, features.gather("train", row_B))
        assert torch.equal(batch.imu_bCT, split.imu(row_B)[0])
        assert torch.equal(batch.label_B, split.label_N[row_B])


def test_the_next_batches_are_read_while_one_is_used(
    packed: tuple[Split, FeatureArrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, gather = list[int](), FeatureArrays.gather

    def noting(self: FeatureArrays, split: str, index_B: torch.Tensor) -> torch.Tensor:
        taken.append(len(index_B))
        return gather(self, split, index_B)

    monkeypatch.setattr(FeatureArrays, "gather", noting)
    reading = BatchLoader(*packed, WorkerGroup(), "cpu").read(torch.arange(2, 42), 4, 10)
    next(reading)
    deadline = time.monotonic() + 10
    while len(taken) < 1 + BATCHES_AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) == 1 + BATCHES_AHEAD  # and no more, however long the step takes


class SecondOfTwo(WorkerGroup):
    def __init__(self) -> None:
        self.rank, self.size = 1, 2


def test_a_worker_s_part_is_as_wide_as_the_whole_batch(tmp_path: Path) -> None:
    """A student may pad windows to the longest of their batch: the number of workers must not
    change its features."""
    length_N = np.array([9, 4, 5, 3, 6])
    one = np.ones(5, np.int64)
    flat = np.arange(1, 6 * length_N.sum() + 1, dtype=np.float32)
    columns = {"label": one, "group": one, "last": one > 1}
    rows = {"imu": flat, "length": length_N, "end": 6 * length_N.cumsum()}
    save_file({**rows, **columns}, tmp_path / "train.safetensors")
    split = Split(Shards(tmp_path, ["train.safetensors"]), uniform=False)
    order = torch.tensor([0, 1, 2, 3, 4])
    (whole,) = BatchLoader(split, None, WorkerGroup(), "cpu").read(order, 5, 1)
    (part,) = BatchLoader(split, None, SecondOfTwo(), "cpu").read(order, 5, 1)
    assert part.length_b is not None and part.length_b.tolist() == [3, 6]
    assert torch.equal(part.imu_bCT, whole.imu_bCT[3:])
    assert split.longest(order) == 9 and split.longest(order[3:]) == 6


def test_an_error_of_reading_reaches_who_asks(packed: tuple[Split, FeatureArrays]) -> None:
    with pytest.raises(IndexError):
        read(packed, torch.tensor([1000]), 1, 1)


def cut_in_shards(folder: Path, size: int) -> None:
    """Packed arrays of one file for each split as packed arrays of several."""
    meta = read_json(folder / "meta.json")
    for split, (file,) in meta["files"].items():
        whole = load_file(folder / file)
        count = len(next(iter(whole.values())))
        meta["files"][split] = [f"{split}-{at // size}.safetensors" for at in range(0, count, size)]
        for number, name in enumerate(meta["files"][split]):
            rows = slice(number * size, (number + 1) * size)
            save_file({key: value[rows] for key, value in whole.items()}, folder / name)
    write_json(folder / "meta.json", meta)


def test_each_file_is_read_ahead_once_before_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (shards, loader):
        monkeypatch.setattr(module, "SHARD_WINDOWS", 16)
    store = Store(tmp_path)
    windows, features = (store.folder("arrays", key) for key in make_arrays(store, windows=158))
    for folder in (windows, features):
        cut_in_shards(folder, 16)
    split, packed_features = (
        WindowArrays.load(windows).splits["train"],
        FeatureArrays.load(features),
    )
    announced, wanted, gather = list[int](), list[int](), FeatureArrays.gather

    def read_ahead(self: Split, shard: int) -> None:
        announced.append(shard)

    def waiting(self: FeatureArrays, split: str, index_B: torch.Tensor) -> torch.Tensor:
        wanted.extend((index_B // 16).tolist())
        deadline = time.monotonic() + 10
        while not set(wanted) <= set(announced) and time.monotonic() < deadline:
            time.sleep(0.001)
        return gather(self, split, index_B)

    monkeypatch.setattr(Split, "read_ahead", read_ahead)
    monkeypatch.setattr(FeatureArrays, "gather", waiting)
    row_N = packed_features.encoded["train"]
    rows = row_N[epoch_order(row_N, 0)]
    found = read((split, packed_features), rows, 8, 100)
    assert torch.equal(torch.cat([batch.label_B for batch in found]), split.label_N[rows])
    assert announced == list(dict.fromkeys(wanted))  # in the order in which they are wanted
    assert len(announced) == 10


def test_reading_ahead_takes_files_as_they_are(packed: tuple[Split, FeatureArrays]) -> None:
    packed[0].read_ahead(0)
    packed[1].read_ahead("train", 0)
    with pytest.raises(IndexError):
        packed[0].read_ahead(1)
