"""What takes the space of a store, and what is removed of it."""

import os
import time
from pathlib import Path

import pytest
import torch
from rich.console import RenderableType

from comodo.config import read_sweep_file
from comodo.core.console import console
from comodo.core.lease import Lease
from comodo.core.store import Store, key_of, read_json, write_json
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.usage import UsageError, clean_store, measure_usage, show_usage
from comodo.search.history import epoch_history
from comodo.search.records import AskedConfiguration, write_asked
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import trained_record

WINDOWS, PACKED, FEATURES, PACKED_FEATURES = map(key_of, ("windows", "w", "features", "f"))
OLD = key_of("old")


def folders(store: Store) -> set[str]:
    found = store.root.glob("[wfat]*/*")  # windows, features, arrays, trials
    return {str(path.relative_to(store.root)) for path in found}


def shown(renderable: RenderableType) -> str:
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


@pytest.fixture
def trials(tmp_path: Path) -> list[Trial]:
    """Of a sweep that has ended: its reference, a finished one, a pruned one."""
    store = Store(tmp_path / "store")
    space = {"method.queue_size": [8, 16]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, seeds=[0]))
    arrays = {pair: (PACKED, PACKED_FEATURES) for pair in sweep.trained_on()}
    record = SweepRecord.of(sweep, "comodo", arrays, Evaluation(), {"demo": WINDOWS})
    record.write(store)
    write_json(store.folder("arrays", PACKED) / "meta.json", {"windows": WINDOWS})
    write_json(store.folder("arrays", PACKED_FEATURES) / "meta.json", {"features": FEATURES})
    for kind, key in (("windows", WINDOWS), ("features", FEATURES)):
        write_json(store.folder(kind, key) / "meta.json", {})
    reference, finished, pruned = (row.trial for row in record.results(store).rows)
    points = zip(sweep.grid(), (finished, pruned), strict=True)
    folder = store.folder("sweeps", "small")
    write_asked(folder, [AskedConfiguration(point, [trial.key]) for point, trial in points])
    write_json(folder / "ended.json", {pruned.key: {"state": "pruned", "reason": "slow"}})
    for trial in (reference, finished):
        trained_record(trial).write(store.folder("trials", trial.key))
    checkpoint = store.folder("trials", pruned.key) / "checkpoint.pt"
    checkpoint.parent.mkdir()
    torch.save({"history": [{"epoch": 1}], "student": torch.zeros(1000)}, checkpoint)
    return [reference, finished, pruned]


@pytest.fixture
def store(tmp_path: Path, trials: list[Trial]) -> Store:
    return Store(tmp_path / "store")


def leave_behind(store: Store, trial: Trial) -> None:
    """What an earlier version and a killed process left."""
    for kind in ("windows", "features", "arrays"):
        write_json(store.folder(kind, OLD) / "meta.json", {"n": "x" * 10_000})
    trained_record(trial).write(store.folder("trials", OLD))
    for name, age in (("old", 90_000), ("new", 0)):
        path = store.folder("arrays", PACKED) / f".{name}.safetensors.{'0' * 12}.tmp"
        path.write_bytes(bytes(1000))
        os.utime(path, (time.time() - age,) * 2)


def test_only_what_no_sweep_needs_is_removed(store: Store, trials: list[Trial]) -> None:
    reference, finished, pruned = trials
    needed = folders(store)
    assert f"trials/{reference.key}" in needed  # which is in no list of the sweep
    leave_behind(store, finished)
    whole = folders(store)
    assert whole - needed == {
        f"{kind}/{OLD}" for kind in ("windows", "features", "arrays", "trials")
    }
    listed = shown(clean_store(store, is_meant=False))
    assert folders(store) == whole
    assert all(f"{kind}/{OLD}" in listed for kind in ("windows", "features", "arrays", "trials"))
    before = sum(measure_usage(store).kinds.values())
    clean_store(store, is_meant=True)
    assert folders(store) == needed
    assert before - sum(measure_usage(store).kinds.values()) > 30_000
    assert [path.name[:5] for path in store.folder("arrays", PACKED).glob(".*")] == [".new."]
    folder = store.folder("trials", pruned.key)
    assert [path.name for path in folder.iterdir()] == ["history.json"]
    assert epoch_history(folder) == [{"epoch": 1}]
    assert measure_usage(store).removable == []


def test_what_another_sweep_started_from_is_kept(store: Store, trials: list[Trial]) -> None:
    """At any depth, with the windows that tell whom it has seen, when its own sweep is gone."""
    leave_behind(store, trials[1])
    keys = {name: key_of([name]) for name in ("trial", "earlier", "packed", "windows")}
    for key, start in ((keys["trial"], keys["earlier"]), (keys["earlier"], None)):
        changes = {"windows": keys["packed"], "start": start and {"trial": start}}
        trained_record(trials[1], **changes).write(store.folder("trials", key))
    write_json(store.folder("arrays", keys["packed"]) / "meta.json", {"windows": keys["windows"]})
    write_json(store.folder("windows", keys["windows"]) / "meta.json", {})
    needed = {f"trials/{keys['trial']}", f"trials/{keys['earlier']}"}
    needed |= {f"arrays/{keys['packed']}", f"windows/{keys['windows']}"}
    path = store.folder("sweeps", "small") / "sweep.json"
    record, listed = read_json(path), shown(clean_store(store, is_meant=False))
    assert all(name in listed for name in needed)
    write_json(path, {**record, "sources": {"first": {"trials": [{"key": keys["trial"]}]}}})
    clean_store(store, is_meant=True)
    assert needed <= folders(store) and f"trials/{OLD}" not in folders(store)
    for name in sorted(needed):  # what is gone makes nothing unclear
        if name.startswith("arrays"):
            (store.root / name / "meta.json").unlink()
    assert measure_usage(store).unclear == []


def test_what_is_used_by_sweep_and_kind(store: Store, trials: list[Trial]) -> None:
    leave_behind(store, trials[1])
    usage = measure_usage(store)
    assert usage.kinds["windows"] > 10_000 > usage.sweeps["small"] > 4_000
    text = shown(show_usage(usage))
    assert "small" in text and "windows" in text


def test_nothing_is_removed_while_a_sweep_runs(store: Store, trials: list[Trial]) -> None:
    leave_behind(store, trials[1])
    whole = folders(store)
    theirs = {"id": "theirs", "pid": 1, "host": "other", "since": "then"}
    write_json(store.folder("sweeps", "small") / "lease.json", theirs)
    with raises(UsageError, "clean.sweep-running", "'small'"):
        clean_store(store, is_meant=True)
    assert folders(store) == whole


def test_what_somebody_works_on_is_kept(store: Store, trials: list[Trial]) -> None:
    leave_behind(store, trials[1])
    theirs = {"id": "theirs", "pid": 1, "host": "other", "since": "then"}
    write_json(store.folder("windows", OLD) / "lease.json", theirs)
    clean_store(store, is_meant=True)
    assert {name for name in folders(store) if OLD in name} == {f"windows/{OLD}"}


@pytest.mark.parametrize("unclear", ["sweep.json", "asked.json", "arrays", "first version"])
def test_while_a_sweep_does_not_say_what_it_needs_everything_counts_as_needed(
    store: Store, trials: list[Trial], unclear: str
) -> None:
    leave_behind(store, trials[1])
    whole, folder = folders(store), store.folder("sweeps", "small")
    if unclear == "arrays":
        write_json(store.folder("arrays", PACKED_FEATURES) / "meta.json", {"dim": 3})
    elif unclear == "first version":
        write_json(folder / "asked.json", [{"epochs": 1}])
    else:
        os.truncate(folder / unclear, 5)
    assert measure_usage(store).unclear == ["small"]
    clean_store(store, is_meant=True)
    assert folders(store) == whole


def test_a_checkpoint_that_another_sweep_continues_is_kept(
    store: Store, trials: list[Trial]
) -> None:
    folder, other = (store.folder("sweeps", name) for name in ("small", "other"))
    for name in ("sweep.json", "asked.json"):
        write_json(other / name, read_json(folder / name))
    clean_store(store, is_meant=True)
    assert (store.folder("trials", trials[2].key) / "checkpoint.pt").exists()


def test_a_student_that_mlflow_has_too_counts_once(store: Store, trials: list[Trial]) -> None:
    student = store.folder("trials", trials[1].key) / "student.safetensors"
    student.write_bytes(bytes(50_000))
    before = measure_usage(store).kinds
    (linked := store.root / "mlflow/artifacts/student.safetensors").parent.mkdir(parents=True)
    os.link(student, linked)
    assert measure_usage(store).kinds == before
    assert Lease(store, "sweeps", "small").is_held() is False


def test_what_is_kept_is_said_and_stays(store: Store) -> None:
    kinds = ("exports", "profiles", "quality", "simulated")
    for kind in kinds:
        write_json(store.folder(kind, OLD) / "file.json", {"n": "x" * 2_000})
    for is_meant in (False, True):
        text = " ".join(shown(clean_store(store, is_meant)).split())
        for kind in kinds:
            assert f"{kind}: 2 kB are kept" in text, text
        assert "videos:" not in text  # there are none
    assert all((store.folder(kind, OLD) / "file.json").exists() for kind in kinds)
