"""Folds by group: as scikit-learn makes them, every group tested once, nothing of it trained on."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from comodo.config import CHANNELS, ConfigError, read_sweep_file
from comodo.config.dataset_base import FoldSplit, GroupSplit
from comodo.core.parts import write_table
from comodo.core.store import Store
from comodo.data import slicing
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.folds import (
    Fold,
    Folds,
    all_in_test,
    by_split,
    counts_of,
    fold_notes,
    listed_in_folds,
    make_folds,
    without_split,
)
from comodo.data.packing import pack_features, pack_windows
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.recordings import IN_FOLDS, DatasetError, Recording
from comodo.data.records import FeaturesMeta, WindowsMeta
from comodo.data.window_sets import (
    group_counts,
    leakage_notes,
    leaks_of,
    read_window_set,
    window_key,
    with_folds,
)
from tests.config.test_load import sweep_file
from tests.errors import raises

PEOPLE = ("ann", "bob", "cem", "dee", "eve", "fay", "gus")
CLASSES = ("sit", "run", "lie")
TABLES = st.dictionaries(
    st.sampled_from([f"p{i}" for i in range(12)]),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", None]), st.integers(1, 9), min_size=1, max_size=4
    ),
    min_size=4,
)
ALL = FoldSplit(folds="all")
Counts = dict[str, dict[str | None, int]]


def packed_set(store: Store) -> tuple[list[str | None], list[str], np.ndarray]:
    """A prepared and packed window set `w` of seven people in no order, with features; returns
    label, group and values [N, 6 * T] of each window as packed."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(150):
        group, label = PEOPLE[rng.integers(7)], CLASSES[rng.integers(3)]
        imu = rng.normal(CLASSES.index(label), 2 + PEOPLE.index(group), 48).astype(np.float32)
        about = {"window": f"w{number}", "recording": f"r{number}", "split": IN_FOLDS}
        kept = None if group == "gus" or number % 9 == 0 else label
        rows.append(about | {"group": group, "label": kept, "imu": imu})
    for part, chunk in enumerate((rows[:90], rows[90:])):
        table = pa.Table.from_pylist(chunk, schema=slicing.WINDOW_SCHEMA)
        write_table(store.folder("windows", "w") / f"part-{part}.parquet", table)
    WindowsMeta([*CHANNELS], {IN_FOLDS: 150}, {}, {}, {}, window_seconds="whole").write(
        store.folder("windows", "w")
    )
    features: list[dict[str, Any]] = [{"window": "w5", "rejected": "broken"}]
    features += [{"window": f"w{n}", "feature": [float(n)]} for n in range(150) if n != 5]
    table = pa.Table.from_pylist(features, schema=FEATURE_SCHEMA)
    write_table(store.folder("features", "f") / "part-0.parquet", table)
    meta = FeaturesMeta(teacher={}, windows="w", count=150, devices=[], rejected={"w5": "broken"})
    meta.write(store.folder("features", "f"))
    values = np.stack([row["imu"] for row in rows])
    return [row["label"] for row in rows], [row["group"] for row in rows], values


def folds_in(store: Store, shares: FoldSplit) -> Folds:
    windows = read_window_set("w", store)
    assert windows is not None
    dataset = SimulatedDataset(kind="simulated", split_by_group=shares)
    return with_folds(windows, dataset).folds


def test_one_group_out_is_as_scikit_learn_makes_it(tmp_path: Path) -> None:
    """The same groups and windows in test, in the same order; and with the same classifier, on the
    same windows, the same predictions. Without val all other windows are in train."""
    store = Store(tmp_path)
    label_N, group_N, values_N = packed_set(store)
    known_n = np.array([n for n, label in enumerate(label_N) if label is not None])
    labels_n = np.array([str(label_N[n]) for n in known_n])
    groups_n, x_n = np.array(group_N)[known_n], values_N[known_n]
    folder = store.folder("arrays", pack_windows(store, "w"))
    folds = folds_in(store, FoldSplit(folds="all", val=0))
    expected = list(LeaveOneGroupOut().split(x_n, labels_n, groups_n))
    assert len(folds) == len(expected) == 6  # `gus` has no label
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    wanted_n = cross_val_predict(classifier, x_n, labels_n, groups=groups_n, cv=LeaveOneGroupOut())
    pooled = dict[int, str]()
    for fold, (train_n, test_n) in zip(folds, expected, strict=True):
        windows = WindowArrays.load(folder, fold=fold)
        assert fold.test == tuple(np.unique(groups_n[test_n]))
        assert windows.rows is not None and "val" not in windows.splits
        data = {}
        for split, wanted in (("train", train_n), ("test", test_n)):
            part = windows.splits[split]
            labelled = part.labelled_N
            assert windows.rows[split][labelled].tolist() == known_n[wanted].tolist()
            imu_BCT, _ = part.imu(labelled)
            np.testing.assert_array_equal(imu_BCT.flatten(1).numpy(), x_n[wanted])
            names = np.array(windows.classes)[part.label_N[labelled].numpy()]
            assert names.tolist() == labels_n[wanted].tolist()
            data[split] = imu_BCT.flatten(1).numpy(), names
        unlabelled = len(windows.splits["train"]) - len(windows.splits["train"].labelled_N)
        assert unlabelled >= group_N.count("gus")
        predicted = classifier.fit(*data["train"]).predict(data["test"][0])
        pooled |= dict(zip(test_n.tolist(), predicted, strict=True))
    assert [pooled[n] for n in range(len(known_n))] == wanted_n.tolist()
    assert 0.4 < np.mean(wanted_n == labels_n) < 1


def test_features_are_in_the_rows_of_their_windows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    packed_set(store)
    folder = store.folder("arrays", pack_windows(store, "w"))
    packed = store.folder("arrays", pack_features(store, "w", "f"))
    seen = Counter[float]()
    for fold in folds_in(store, FoldSplit(folds=3, val=0.2)):
        windows = WindowArrays.load(folder, fold=fold)
        features = FeatureArrays.load(packed, windows.rows)
        assert windows.rows is not None and set(windows.splits) == {"train", "val", "test"}
        for split, row_N in windows.rows.items():
            encoded = features.encoded[split]
            assert (5 in row_N) == (len(encoded) < len(row_N))
            found = features.gather(split, encoded.flip(0))[:, 0].tolist()
            assert found == row_N[encoded].flip(0).tolist()
            seen.update(found)
    assert set(seen.values()) == {3}
    assert len(list(store.files("arrays", "*/*.safetensors"))) == 2  # however many folds there are


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_folds_are_stratified_as_scikit_learn_does_it(folds: int, seed: int) -> None:
    """With unequal groups, whose order is then the same for any seed."""
    rng = np.random.default_rng(seed)
    groups = [f"g{i:02d}" for i in range(14)]
    counts_GK = rng.integers(20, 99, (14, 3)) * (rng.random((14, 3)) < 0.8)
    counts: Counts = {
        group: {label: int(n) for label, n in zip(CLASSES, row, strict=True) if n}
        for group, row in zip(groups, counts_GK, strict=True)
    }
    assert len({row.std() for row in counts_GK}) == 14
    rows = [(g, k) for g, of in counts.items() for k, n in of.items() for _ in range(n)]
    group_N, label_N = map(np.array, zip(*rows, strict=True))
    split = StratifiedGroupKFold(folds).split(label_N, label_N, group_N)
    expected = {tuple(np.unique(group_N[test])) for _, test in split}
    found = make_folds(counts, FoldSplit(folds=folds, seed=seed))
    assert {fold.test for fold in found} == expected


@given(val=st.lists(st.sampled_from("abcdef")), test=st.lists(st.sampled_from("abcdef")))
def test_the_split_of_a_group_is_where_it_is_named(val: list[str], test: list[str]) -> None:
    fold = Fold(1, 2, tuple(val), tuple(test))
    for group in "abcdefg":
        split = "test" if group in test else "val" if group in val else "train"
        assert fold.split_of(group) == split
    again = Fold.of(json.loads(json.dumps(asdict(fold))))
    assert again == fold and asdict(again) == asdict(fold)


@given(counts=TABLES, folds=st.sampled_from(["all", 2, 3, 5]), seed=st.integers(0, 99))
def test_every_group_with_labels_is_tested_once(
    counts: Counts, folds: int | str, seed: int
) -> None:
    shares = FoldSplit.model_validate({"folds": folds, "seed": seed})
    try:
        found = make_folds(counts, shares)
    except DatasetError as error:
        assert error.code == "dataset.too-few-groups"
        return
    labelled = {g for g, of in counts.items() if set(of) - {None}} or set(counts)
    assert sorted(g for fold in found for g in fold.test) == sorted(labelled)
    assert [(f.number, f.count) for f in found] == [(i + 1, len(found)) for i in range(len(found))]
    for fold in found:
        assert fold.val and fold.test and not set(fold.val) & set(fold.test)
        assert labelled - {*fold.val, *fold.test}
        assert set(fold.val) <= labelled
        assert {fold.split_of(g) for g in counts.keys() - labelled} <= {"train"}
        split = by_split(counts, fold)
        assert sum((c for c in split.values()), Counter()).total() == sum(
            n for of in counts.values() for n in of.values()
        )
    assert found == make_folds(dict(reversed(counts.items())), shares)
    assert found == tuple(Fold.of(json.loads(json.dumps(asdict(fold)))) for fold in found)


def test_everybody_is_in_val_about_equally_often() -> None:
    for people, val, each in ((8, 0.1, 1), (17, 0.2, 3), (6, 0.5, 3)):
        counts: Counts = {f"p{i:02d}": {"a": 10, "b": 9} for i in range(people)}
        found = make_folds(counts, FoldSplit(folds="all", val=val))
        assert {len(fold.val) for fold in found} <= {each, each + 1, max(1, each - 1)}
        often = Counter(name for fold in found for name in fold.val)
        assert max(often.values()) - min(often[g] for g in counts) <= 2


def test_a_person_written_in_two_ways_is_one() -> None:
    counts: Counts = {name: {"a": 3, "b": 2} for name in ("anna", "Anna", "bea", "cem", "dora")}
    found = make_folds(counts, ALL)
    assert [fold.test for fold in found] == [("Anna", "anna"), ("bea",), ("cem",), ("dora",)]
    assert all(("anna" in fold.val) == ("Anna" in fold.val) for fold in found)


@pytest.mark.parametrize(
    ("groups", "shares"),
    [
        (2, {"folds": "all"}),
        (1, {"folds": "all", "val": 0}),
        (4, {"folds": 5}),
        (3, {"folds": 2}),
    ],
)
def test_too_few_groups_are_refused(groups: int, shares: dict[str, object]) -> None:
    counts: Counts = {"without": {None: 9}}
    counts |= {f"g{i}": {"a": 4} for i in range(groups)}
    with raises(DatasetError, "dataset.too-few-groups", "split_by_group", f"{groups} groups"):
        make_folds(counts, FoldSplit.model_validate(shares))


def recordings(groups: Sequence[str] = PEOPLE) -> list[Recording]:
    return [
        Recording(f"{g}-{k}", f"{g}-{k}.mp4", f"{g}-{k}.csv", "train", g, k)
        for g in groups
        for k in CLASSES
    ]


def test_the_listing_in_the_splits_of_each_fold() -> None:
    dataset = SimulatedDataset(kind="simulated", split_by_group=ALL)
    found = listed_in_folds(recordings(), dataset)
    assert len(found) == len(PEOPLE)
    for fold, person in zip(found, PEOPLE, strict=True):
        assert {r.group for r in fold if r.split == "test"} == {person}
        assert {r.split for r in fold} == {"train", "val", "test"}
    one = SimulatedDataset(kind="simulated")
    assert listed_in_folds(recordings(), one) == [recordings()]


def test_windows_are_the_same_whatever_the_folds_are() -> None:
    def key(shares: FoldSplit | GroupSplit | None) -> str:
        dataset = SimulatedDataset(kind="simulated", split_by_group=shares)
        return window_key(dataset, without_split(recordings()))

    folded = [ALL, FoldSplit(folds=5), FoldSplit(folds=5, seed=3), FoldSplit(folds=5, val=0)]
    assert len(set(map(key, folded))) == 1
    assert len({key(ALL), key(None), key(GroupSplit())}) == 3


def test_folds_leak_nothing_but_files_of_several_groups() -> None:
    listed = without_split(recordings())
    assert leaks_of(listed) == {}
    again = [*listed, Recording("twice", "ann-sit.mp4", "other.csv", IN_FOLDS, "bob", "sit")]
    assert leaks_of(again) == {"files of all": "1 of 43"}
    (note,) = leakage_notes(leaks_of(again))
    assert "several groups" in note
    same = [*listed, Recording("twice", "ann-sit.mp4", "other.csv", IN_FOLDS, "Ann", "sit")]
    assert leaks_of(same) == {}


def test_classes_of_one_group_are_noted() -> None:
    assert fold_notes(recordings()) == []
    alone = Recording("x", "x.mp4", "x.csv", IN_FOLDS, "ann", "swim")
    (note,) = fold_notes([*recordings(), alone])
    assert "swim" in note


def test_counts_and_classes_of_each_fold(tmp_path: Path) -> None:
    store = Store(tmp_path)
    label_N, group_N, _ = packed_set(store)
    windows = read_window_set("w", store)
    assert windows is not None and windows.splits == [windows]
    assert group_counts(windows) == counts_of(
        zip(group_N, label_N, [1] * len(group_N), strict=True)
    )
    split = with_folds(windows, SimulatedDataset(kind="simulated", split_by_group=ALL)).splits
    assert len(split) == 6
    for person, fold in zip(PEOPLE, split, strict=False):
        mine = [label for label, group in zip(label_N, group_N, strict=True) if group == person]
        assert fold.counts["test"] == len(mine)
        assert fold.classes["test"] == Counter(label for label in mine if label is not None)
        assert sum(fold.counts.values()) == 150


def test_all_in_test_tests_everyone_and_fits_nothing() -> None:
    folds = make_folds({g: {"a": 2} for g in PEOPLE}, ALL)
    assert set(all_in_test(folds).test) == set(PEOPLE)
    assert all_in_test(folds).val == ()


def test_a_split_in_a_large_set_knows_its_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    packed_set(store)
    folder = store.folder("arrays", pack_windows(store, "w"))
    (fold, *_) = folds_in(store, ALL)
    windows = WindowArrays.load(folder, fold=fold)
    assert windows.rows is not None
    index = torch.tensor([3, 0, 1])
    test = windows.splits["test"]
    assert test.stored(index).tolist() == windows.rows["test"][index].tolist()


@pytest.mark.parametrize(
    ("shares", "code", "says"),
    [
        ({"folds": 1}, "datasets.demo.split_by_group.folds", "a number at least 2 or all"),
        ({"folds": "none"}, "datasets.demo.split_by_group.folds", "'none'"),
        ({"folds": 3, "val": 0.8}, "datasets.demo.split_by_group.val", "0.5"),
        ({"folds": 3, "train": 0.8}, "datasets.demo.split_by_group.train", "no such key"),
        ({"train": 0.8, "tset": 0.2}, "datasets.demo.split_by_group.tset", "'test'"),
    ],
)
def test_wrong_settings_are_named(
    tmp_path: Path, shares: dict[str, object], code: str, says: str
) -> None:
    changes = {"datasets__demo": {"kind": "simulated", "split_by_group": shares}}
    with raises(ConfigError, code, says):
        read_sweep_file(sweep_file(tmp_path, **changes))
