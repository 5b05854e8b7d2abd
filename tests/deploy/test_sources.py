"""The student that `from` of a sweep file names, in a store and in folders."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import huggingface_hub.constants
import pytest
import torch

from comodo.config import StudentConfig, read_sweep_file
from comodo.config.source import Source
from comodo.core.store import Store, read_json, write_json
from comodo.deploy.sources import _chosen, find_source, sources_in
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.models.students import build_student, save_student
from comodo.search.records import TrainedRecord
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.core.test_hub import cached
from tests.evaluation.test_sweep_record import saved_of
from tests.helpers import TINY_MANTIS, answer
from tests.tiny_students import FAMILIES, SIZES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def finish(trial: Trial, store: Store, accuracy: float = 0.5) -> Path:
    """Writes a finished trial with a student whose weights follow from its key; returns the
    student's folder."""
    answer(store, trial, accuracy)
    folder = store.folder("trials", trial.key)
    torch.manual_seed(int(trial.key[:8], 16))
    weights = save_student(build_student(trial.config.student.network), folder / "student")
    record = TrainedRecord.read(folder)
    replace(record, weights=weights, start=trial.start or None).write(folder)
    return folder / "student"


def first_sweep(folder: Path, store: Store, **changes: Any) -> SweepRecord:
    """A sweep of a tiny student with two queues and the seeds 0 and 1, which has finished; the
    longer queue is better."""
    folder.mkdir(exist_ok=True)
    content = {"trial__student": TINY_MANTIS, "seeds": [0, 1], "name": "first"}
    content |= {"search__space": {"method.queue_size": [8, 16]}, **changes}
    saved = saved_of(read_sweep_file(sweep_file(folder, **content)), Evaluation())
    saved.write(store)
    for row in saved.results(store).rows:
        finish(row.trial, store, 0.9 if "16" in row.label else 0.3)
    return saved


def trials_of(saved: SweepRecord, store: Store, label: str) -> list[Trial]:
    return [row.trial for row in saved.results(store).rows if label in row.label]


def test_a_sweep_is_its_best_configuration(tmp_path: Path, store: Store) -> None:
    best = trials_of(first_sweep(tmp_path, store), store, "16")
    found = sources_in(store)["first"]
    assert [(t.key, t.seed) for t in found.trials] == [(t.key, t.seed) for t in best]
    assert (found.rate, found.seconds, found.sweep) == (50.0, 5.0, "first")
    assert found.title == "sweep first (comodo queue_size=16, the best by val/acc1)"
    assert found.student["size"] == TINY_MANTIS["size"]


def test_a_choice_by_people_in_test_is_said(tmp_path: Path, store: Store) -> None:
    """Whom a single configuration was tested on chose nothing."""
    first_sweep(tmp_path, store)
    assert find_source(store, "first").chosen == ""
    on_test = {"protocol": "published", "seeds": [0]}
    first_sweep(tmp_path, store, **on_test, name="published")
    chosen = find_source(store, "published").chosen
    assert chosen == "was chosen out of 2 configurations by test accuracy"
    first_sweep(tmp_path, store, **on_test, name="one", search__space={})
    assert find_source(store, "one").chosen == ""
    results = SimpleNamespace(**vars(read_sweep_record("first", store).results(store)))
    results.candidates = list(results.by_label)
    assert "by val groups that other folds test" in _chosen(cast(Results, results), "val/acc1", 4)


def test_a_trial_is_found_by_the_beginning_of_its_key(tmp_path: Path, store: Store) -> None:
    (trial, _) = trials_of(first_sweep(tmp_path, store), store, "16")
    for name in (trial.key, trial.key[:6]):
        (found,) = find_source(store, name).trials
        assert (found.key, found.seed) == (trial.key, trial.seed)


def test_an_unfinished_sweep_is_refused(tmp_path: Path, store: Store) -> None:
    """Its best configuration may change; a trial of it may be named."""
    (trial, _) = trials_of(first_sweep(tmp_path, store), store, "8")
    shutil.rmtree(store.folder("trials", trial.key))
    with pytest.raises(ValueError, match=r"first is not finished \(1 trials are left\).*continue"):
        find_source(store, "first")
    with pytest.raises(ValueError, match="is not begun; to run it: comodo sweep FILE"):
        find_source(store, trial.key)


@pytest.mark.parametrize("name", ["frist", "some/model", "deadbeef"])
def test_what_is_not_there_is_refused(
    tmp_path: Path, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    first_sweep(tmp_path, store)
    with pytest.raises(ValueError, match=r"first'\?|hf download some/model|known: first"):
        find_source(store, name)


def exported(student: Path, folder: Path, about: dict[str, Any]) -> Path:
    """A folder as `comodo export` writes it, as far as it matters here."""
    shutil.copytree(student, folder)
    write_json(folder / "model.json", about)
    return folder


def test_an_exported_trial_of_this_store_is_that_trial(tmp_path: Path, store: Store) -> None:
    """If it says so and has its weights; one from elsewhere is known by these alone."""
    (trial, _) = trials_of(first_sweep(tmp_path, store), store, "16")
    student = store.folder("trials", trial.key) / "student"
    mine = exported(student, tmp_path / "mine", {"trial": trial.key})
    assert find_source(store, str(mine)).for_key(5, None) == {"trial": trial.key}
    about = {"trial": trial.key, "student": {"rate": 50.0, "seconds": 5.0}}
    other = exported(student, tmp_path / "other", about)
    torch.manual_seed(1)
    save_student(build_student(trial.config.student), other)
    found = find_source(store, str(other))
    assert found.for_key(5, None) == {"content": found.content} and len(found.content) == 64
    assert (found.title, found.rate, found.seconds) == ("folder other", 50.0, 5.0)
    with pytest.raises(ValueError, match=r"holds no saved student, it has no student\.json"):
        find_source(store, str(tmp_path))


def test_a_model_of_the_hub_is_a_folder_that_was_downloaded(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    cached(hub, "some/student", "1" * 40)
    folder = hub / "models--some--student/snapshots" / ("1" * 40)
    save_student(build_student(StudentConfig.model_validate(TINY_MANTIS)), folder)
    found = find_source(store, "some/student")
    assert found.title == "folder some/student" and found.student["name"] == "mantis"
    assert Path(found.folder) == folder


SLOW = {"chronos-bolt": pytest.mark.slow}  # to import


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW.get(n, ())) for n in FAMILIES])
def test_its_size_is_read_from_the_weights(tmp_path: Path, store: Store, name: str) -> None:
    """Settings built from it make a network of the same shapes, also of pretrained students, whose
    settings have no size."""
    options = {"padding": "batch"} if name == "moment" else {}
    settings = {"name": name, "size": SIZES[name], "channels": ["acc", "gyro_z"], **options}
    student = build_student(StudentConfig.model_validate({**settings, "pooling": "mean"}))
    save_student(student, tmp_path / "x")
    found = find_source(store, str(tmp_path / "x")).student
    again = build_student(StudentConfig.model_validate(found))
    shapes = {key: value.shape for key, value in student.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    assert again.description == student.description
    assert StudentConfig.model_validate(found).samples == student.encoder.samples


def test_it_comes_back_with_the_sweep(tmp_path: Path, store: Store) -> None:
    """Without its source, whose sweep may be gone; the trials are found under the same keys."""
    first_sweep(tmp_path, store)
    file = sweep_file(tmp_path, trial__student={"from": "first"}, seeds=[0, 1], name="second")
    sweep = read_sweep_file(file, sources=sources_in(store))
    saved_of(sweep, Evaluation()).write(store)
    keys = [row.trial.key for row in saved_of(sweep, Evaluation()).results(store).rows]
    shutil.rmtree(store.folder("sweeps", "first"))
    back = read_sweep_record("second", store)
    assert [row.trial.key for row in back.results(store).rows] == keys
    assert isinstance(back.sweep.trial.student.start, Source)
    assert json.dumps(read_json(store.folder("sweeps", "second") / "sweep.json")["sources"])


def test_a_chain_is_named_to_its_beginning(tmp_path: Path, store: Store) -> None:
    first_sweep(tmp_path, store)
    file = sweep_file(tmp_path, trial__student={"from": "first"}, name="second")
    second = saved_of(read_sweep_file(file, sources=sources_in(store)), Evaluation())
    second.write(store)
    for row in second.results(store).rows:
        finish(row.trial, store)
    title = find_source(store, "second").title
    assert title.startswith(
        "sweep second (comodo, the best by val/acc1), itself from sweep first ("
    )
