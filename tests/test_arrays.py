"""Packed arrays: what lies in them, lengths, shards, order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from comodo import arrays as arrays_module
from comodo import encode, windows
from comodo.arrays import NO_LABEL, Arrays, pack
from comodo.store import Store, write_table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Seven windows of unequal length in two parts; one has no feature, one no label."""
    store = Store(tmp_path)
    rows = [
        {
            "window": f"w{i}",
            "recording": f"r{i}",
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
            pa.Table.from_pylist(chunk, schema=windows.SCHEMA),
        )
    features = [{"window": f"w{i}", "feature": [float(i), -float(i)]} for i in range(7) if i != 2]
    features.append({"window": "w2", "rejected": "broken"})
    write_table(
        store.folder("features", "f") / "part-0.parquet",
        pa.Table.from_pylist(features, schema=encode.SCHEMA),
    )
    return store


@pytest.mark.parametrize("shard", [2, 16_384])
def test_rows_lengths_labels_and_order(
    store: Store, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays_module, "SHARD", shard)
    data = Arrays.load(pack(store, "w", "f"))
    train = data.splits["train"]
    assert (len(train), len(data.splits["test"])) == (5, 1)
    assert (data.classes, data.groups, data.feature_dim) == (["a", "b"], ["g0", "g1"], 2)
    assert train.label_N.tolist() == [1, 0, NO_LABEL, 0, 1]
    assert train.labelled_N.tolist() == [0, 1, 3, 4]
    batch = train.batch(torch.tensor([4, 0, 2]))
    assert batch.feature_BF.tolist() == [[6, -6], [0, 0], [4, -4]]
    assert batch.length_B is not None
    assert batch.length_B.tolist() == [9, 3, 7]
    assert batch.imu_BCT.shape == (3, 6, 9)
    assert batch.imu_BCT[1, :, :6].abs().sum() == 0  # padded on the left
    assert batch.imu_BCT[1, 1, 6:].tolist() == [2, 2, 2]
    assert batch.imu_BCT[0, 5].tolist() == [66.0] * 9


def test_a_batch_is_as_long_as_its_longest(store: Store) -> None:
    train = Arrays.load(pack(store, "w", "f")).splits["train"]
    assert train.batch(torch.tensor([0])).imu_BCT.shape[-1] == 3


def test_packed_once(store: Store) -> None:
    folder = pack(store, "w", "f")
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert pack(store, "w", "f") == folder
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
