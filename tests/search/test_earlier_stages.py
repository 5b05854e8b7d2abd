"""Who of val and test a student has seen in earlier stages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.source import KEY, Source, Sources, SourceTrial
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.data.folds import Fold
from comodo.search.earlier_stages import (
    earlier_stages,
    refuse_odd_starts,
    rows_of,
    sources_of,
    stage_notes,
    uses_of,
)
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file
from tests.config.test_source import settings_of, source
from tests.errors import raises
from tests.helpers import TINY_MANTIS, trained_record, trial_config

PEOPLE = ["anna", "ben", "carl", "dora"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def windows(store: Store, key: str, rows: list[tuple[str, str, str]]) -> None:
    """Prepared windows with these groups, recordings and splits, two of each, and a recording that
    was rejected; packed as `packed-KEY`."""
    names = ("group", "recording", "split")
    columns = {name: list(of) * 2 for name, of in zip(names, zip(*rows, strict=True), strict=True)}
    columns |= {"rejected": [None] * 2 * len(rows)}
    extra = {"group": "zoe", "recording": "z", "split": "train", "rejected": "no video"}
    table = pa.table({name: [*column, extra[name]] for name, column in columns.items()})
    folder = store.folder("windows", key)
    write_table(folder / "part-00000.parquet", table)
    meta: dict[str, Any] = {"channels": [], "windows": {}, "classes": {}, "leaks": {}}
    write_json(folder / "meta.json", meta | {"rejected": {}, "window_seconds": 5.0})
    packed = {"windows": key, "classes": [], "groups": [], "files": {}, "uniform": True}
    write_json(store.folder("arrays", f"packed-{key}") / "meta.json", packed)


def trained(store: Store, key: str, windows: str, dataset: str = "demo", **changes: Any) -> None:
    """A trial that was trained on prepared windows."""
    trial = Trial(trial_config(dataset=dataset), 0, f"packed-{windows}", "f")
    record = trained_record(trial, **changes)
    replace(record, key=key).write(store.folder("trials", key))


def fold(test: str, val: str = "dora") -> Fold:
    return Fold(PEOPLE.index(test) + 1, len(PEOPLE), (val,), (test,))


FOLDS = tuple(fold(test, PEOPLE[PEOPLE.index(test) - 1]) for test in PEOPLE)
ROWS = [(name, f"{name}-1", "all") for name in PEOPLE]


def swept(folder: Path, found: Source, **changes: Any) -> Sweep:
    content = {"trial__student": {"from": "first"}, "name": "second", **changes}
    return read_sweep_file(sweep_file(folder, **content), sources=Sources({"first": found}))


def notes_of(sweep: Sweep, store: Store, folds: dict[str, Any], **keys: str) -> list[str]:
    rows = {name: rows_of(key, store) or frozenset() for name, key in keys.items()}
    return stage_notes(uses_of(sweep, folds), rows, keys, store)


def test_folds_that_match_leak_nothing_and_one_trial_for_all_does(
    tmp_path: Path, store: Store
) -> None:
    windows(store, "w1", ROWS)
    trials = []
    for each in FOLDS:
        key = f"k{each.number}"
        fields = {"number": each.number, "count": 4, "val": each.val, "test": each.test}
        trained(store, key, "w1", fold=fields)
        trials.append(SourceTrial(key, 0, each.test))
    matched = swept(tmp_path, source(*trials))
    assert notes_of(matched, store, {"demo": FOLDS}, demo="w1") == []
    assert sources_of(matched)[0].trials == tuple(trials)
    single = swept(tmp_path, source(trials[0]))
    first, second = notes_of(single, store, {"demo": FOLDS}, demo="w1")
    # Trained on ben and carl: anna is in its test, dora in its val.
    assert first.startswith("demo: leakage: 2 of 4 groups of test are among those that an earlier")
    assert "2 of 4 groups of val" in second
    other_val = tuple(replace(each, val=("carl",)) for each in FOLDS[:2])
    (note,) = notes_of(matched, store, {"demo": other_val}, demo="w1")
    assert "1 of 1 groups of val" in note


def test_a_choice_by_people_in_test_is_said_of_their_data_set(tmp_path: Path, store: Store) -> None:
    windows(store, "w1", [("anna", "a-1", "train"), ("ben", "b-1", "test")])
    windows(store, "w2", [("carl", "c-1", "test")])
    trained(store, "k1", "w1")
    found = source(SourceTrial("k1", 0), chosen="was chosen by test accuracy")
    (note,) = notes_of(swept(tmp_path, found), store, {}, demo="w1")
    assert note == (
        "demo: sweep first (comodo) was chosen by test accuracy, which makes test accuracies "
        "optimistic here too"
    )
    assert notes_of(swept(tmp_path, found), store, {}, demo="w2") == []


def test_people_are_followed_through_all_stages(tmp_path: Path, store: Store) -> None:
    """What is rejected, or trains nothing, was not seen."""
    windows(store, "w1", [("Anna", "a-1", "train"), ("ben", "b-1", "test")])
    windows(store, "w2", [("carl", "c-1", "train")])
    windows(store, "w3", [(name, f"{name[0]}-9", "test") for name in (*PEOPLE, "zoe")])
    trained(store, "k1", "w1", "kitchen")
    trained(store, "k2", "w2", "walks", start={"trial": "k1"})
    none = trial_config(method="none").model_dump(mode="json")
    trained(store, "k3", "w3", trial=none, start={"trial": "k2"})
    assert [stage.dataset for stage in earlier_stages({"trial": "k3"}, store)] == [
        "walks",
        "kitchen",
    ]
    sweep = swept(tmp_path, source(SourceTrial("k3", 0)))
    found = notes_of(sweep, store, {}, demo="w3")
    for note, where in zip(found, ("walks", "kitchen"), strict=True):
        assert note.startswith("demo: caution: 1 of 5 groups of test have names of groups or rec")
        assert f"an earlier stage was trained on ({where}); if they are the same people" in note


def test_the_same_recordings_in_other_windows_are_leakage(tmp_path: Path, store: Store) -> None:
    """Also of a data set that the student is only measured on, which is named."""
    windows(store, "w1", [("anna", "a-1", "train"), ("ben", "b-1", "test")])
    windows(store, "w2", [("anna", "a-1", "test"), ("anna", "a-1", "val"), ("carl", "c", "val")])
    trained(store, "k1", "w1", "kitchen")
    sweep = swept(
        tmp_path,
        source(SourceTrial("k1", 0)),
        evaluate_on=["watch"],
        datasets__watch={"kind": "simulated"},
    )
    notes = notes_of(sweep, store, {}, demo="w3", watch="w2")
    assert {note.split(" groups")[0] for note in notes} == {
        "watch: leakage: 1 of 1",
        "watch: leakage: 1 of 2",
    }
    assert all("(kitchen), which makes its accuracy optimistic" in note for note in notes)


def test_what_is_not_known_is_said(tmp_path: Path, store: Store) -> None:
    folder = Source("folder x", settings_of(TINY_MANTIS), folder="/x", content="c0")
    (note,) = notes_of(swept(tmp_path, folder), store, {}, demo="w1")
    assert note.startswith("student.from: on whom folder x was trained is not known here")
    trained(store, "k1", "gone", "kitchen")
    (note,) = notes_of(swept(tmp_path, source(SourceTrial("k1", 0))), store, {}, demo="w1")
    assert "was trained (the windows of kitchen are no longer in the store) is not known" in note
    (note,) = notes_of(swept(tmp_path, source(SourceTrial("k9", 0))), store, {}, demo="w1")
    assert "on whom sweep first (comodo) was trained is not known here" in note


@pytest.mark.parametrize(
    ("found", "changes", "names"),
    [
        ({"rate": 25.0}, {}, ["trained at 25 Hz, but demo has 50", "datasets.demo.imu_rate: 25"]),
        ({"units": ("m/s^2", "rad/s")}, {}, ["saw m/s^2 and rad/s", "sees g and deg/s"]),
        ({"sweep": "second"}, {}, ["second is this sweep itself"]),
        ({}, {"seeds": [0, 3]}, ["has the seeds 0, 1 and no 3", "from: k1"]),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    tmp_path: Path, found: dict[str, Any], changes: dict[str, Any], names: list[str]
) -> None:
    trials = SourceTrial("k1", 0), SourceTrial("k2", 1)
    sweep = swept(tmp_path, source(*trials, **{"rate": 50.0, **found}), **changes)
    with raises(ConfigError, KEY, *names):
        refuse_odd_starts(sweep, {})
    fitting = swept(tmp_path, source(*trials, rate=50.0), seeds=[0, 1])
    refuse_odd_starts(fitting, {})
