"""Which trials run, what the search learns, and what a second run finds."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from comodo.config import ConfigError, Sweep, TrialConfig, read_sweep_file
from comodo.config.dataset_base import FoldSplit
from comodo.config.measures import DECLARED
from comodo.config.metric import OWN_METRICS, TRANSFER_METRICS
from comodo.config.space import Point, flatten
from comodo.core.store import Store, read_json, write_json
from comodo.data.folds import make_folds
from comodo.data.prompts import prompts_file, save_prompts
from comodo.search import trial as trial_module
from comodo.search.ledger import Ledger
from comodo.search.proposals import Outcome
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import make_arrays, run_whole, trained_record, trial_config


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def ledger_of(sweep: Sweep, store: Store) -> Ledger:
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    return Ledger(sweep, store, pairs, Evaluation())


FOLDS = make_folds({f"g{i}": {"a": 4, "b": 4} for i in range(3)}, FoldSplit(folds="all"))


def in_folds(sweep: Sweep, store: Store) -> Ledger:
    """With a data set of three people, each tested in a fold."""
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    return Ledger(sweep, store, pairs, Evaluation(folds={"demo": FOLDS}))


def grid(tmp_path: Path, **changes: Any) -> Sweep:
    changes = {"search__space": {"method.queue_size": [8, 16]}, "seeds": [0, 1], **changes}
    return read_sweep_file(sweep_file(tmp_path, **changes))


def finish(store: Store, trial: Trial, accuracy: float = 0.5, **metrics: float) -> None:
    folder = store.folder("trials", trial.key)
    trained_record(trial).write(folder)
    for _, _, place in trial.measures():
        write_json(folder / f"{place}.json", {"val/acc1": accuracy, **metrics})


def drain(ledger: Ledger) -> list[Trial]:
    asked = []
    while (trial := ledger.next_trial()) is not None:
        asked.append(trial)
    return asked


def test_each_seed_once_with_one_untrained_student_beside(tmp_path: Path, store: Store) -> None:
    asked = drain(ledger_of(grid(tmp_path), store))
    methods = [trial.config.method.name for trial in asked]
    assert methods == ["none", "none", "comodo", "comodo", "comodo", "comodo"]
    assert len({trial.key for trial in asked}) == 6
    alone = drain(ledger_of(grid(tmp_path, references=[]), store))
    assert [trial.config.method.name for trial in alone] == ["comodo"] * 4
    swept = grid(tmp_path, references=["supervised"], search__space={"learning_rate": [1e-3, 1e-2]})
    twins = [t for t in drain(ledger_of(swept, store)) if t.config.method.name == "supervised"]
    assert [(t.seed, t.config.learning_rate) for t in twins] == [(0, 3e-4), (1, 3e-4)]


def test_hand_crafted_features_once_for_each_seed_and_set_of_channels(
    tmp_path: Path, store: Store
) -> None:
    channels = [["acc_x"], ["acc_x", "gyro_x"]]
    space = {"student.channels": channels, "method.queue_size": [8, 16]}
    sweep = grid(tmp_path, references=["features"], search__space=space)
    ledger = ledger_of(sweep, store)
    features = [trial for trial in drain(ledger) if trial.is_hand_crafted]
    seen = [(trial.seed, list(trial.config.student.channels)) for trial in features]
    assert sorted(seen) == sorted((seed, c) for seed in (0, 1) for c in channels)
    assert {trial.key for trial in features} == ledger.references - ledger.own


def test_finished_trials_are_read_not_run(tmp_path: Path, store: Store) -> None:
    sweep = grid(tmp_path)
    first = drain(ledger_of(sweep, store))
    for trial in first[:4]:
        finish(store, trial)
    second = ledger_of(sweep, store)
    assert drain(second) == first[4:]
    assert second.done() == 4
    assert [trial.key for trial in second.unfinished()] == [trial.key for trial in first[4:]]


def test_pruned_stays_pruned_and_failed_is_tried_again(tmp_path: Path, store: Store) -> None:
    sweep = grid(tmp_path, early_stopping={"name": "asha"})
    ledger = ledger_of(sweep, store)
    asked = drain(ledger)
    for trial in asked[:4]:
        finish(store, trial)
        ledger.end(trial, "finished", "")
    ledger.end(asked[4], "pruned", "slow")
    ledger.end(asked[5], "failed", "NaN")
    assert drain(ledger_of(sweep, store)) == [asked[5]]
    patient = drain(ledger_of(grid(tmp_path), store))
    assert [trial.key for trial in patient] == [trial.key for trial in asked[4:]]


class Notes:
    """Proposals of two points, which record the outcomes."""

    def __init__(self) -> None:
        self.points: list[Point] = [{"epochs": 1}, {"epochs": 2}]
        self.outcomes: list[tuple[Point, Outcome]] = []

    def ask(self) -> Point | None:
        return self.points.pop(0) if self.points else None

    def adopt(self, point: Point) -> None:
        raise AssertionError("this ledger is not shared")

    def tell(self, point: Point, outcome: Outcome) -> None:
        self.outcomes.append((point, outcome))


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ({}, False),
        ({"grace_epochs": 2}, False),
        ({"reduction_factor": 4}, False),
        ({"grace_epochs": 5}, True),
        ({"reduction_factor": 2}, True),
        ({"grace_epochs": 2, "reduction_factor": 2}, True),
        (None, True),
    ],
)
def test_a_looser_rule_runs_what_a_stricter_one_pruned(
    tmp_path: Path, store: Store, changed: dict[str, Any] | None, runs: bool
) -> None:
    first: dict[str, Any] = {"name": "asha", "grace_epochs": 3, "reduction_factor": 3}
    ledger = ledger_of(grid(tmp_path, early_stopping=first), store)
    pruned = drain(ledger)[2]
    ledger.end(pruned, "pruned", "slow", reached=(9, 0.25))
    then = None if changed is None else first | changed
    again = drain(ledger_of(grid(tmp_path, early_stopping=then), store))
    assert (pruned in again) is runs


@pytest.mark.parametrize(("grace_epochs", "runs"), [(3, False), (4, True)])
def test_without_a_recorded_rule_only_its_epochs_tell(
    tmp_path: Path, store: Store, grace_epochs: int, runs: bool
) -> None:
    rule = {"name": "asha", "grace_epochs": grace_epochs}
    sweep = grid(tmp_path, early_stopping=rule)
    pruned, unknown = drain(ledger_of(sweep, store))[2:4]
    ended = {
        pruned.key: {"state": "pruned", "reason": "slow", "reached": [3, 0.25]},
        unknown.key: {"state": "pruned", "reason": "slow"},
    }
    write_json(store.folder("sweeps", "small") / "ended.json", ended)
    again = drain(ledger_of(sweep, store))
    assert (pruned in again) is runs
    assert unknown not in again


def search(tmp_path: Path, space: dict[str, Any] | None = None, **changes: Any) -> Sweep:
    changes = {
        "search__sampler": "tpe",
        "search__space": space or {"epochs": [1, 2]},
        "seeds": [0, 1],
        "budget": {"trials": 4},
        **changes,
    }
    return read_sweep_file(sweep_file(tmp_path, **changes))


def noted(sweep: Sweep, store: Store) -> tuple[Ledger, Notes]:
    ledger, notes = ledger_of(sweep, store), Notes()
    ledger._proposals = notes
    return ledger, notes


def test_a_search_is_told_means_over_seeds_and_failures(tmp_path: Path, store: Store) -> None:
    ledger, notes = noted(search(tmp_path), store)
    *untrained, a, b, c, d = drain(ledger)
    assert len(untrained) == 2
    for trial, accuracy in ((b, 0.4), (a, 0.6), (c, 0.9)):
        finish(store, trial, accuracy)
        ledger.end(trial, "finished", "")
    assert notes.outcomes == [({"epochs": 1}, Outcome("finished", (0.5,)))]
    ledger.end(d, "failed", "the loss became nan")
    assert notes.outcomes[1] == ({"epochs": 2}, Outcome("failed"))


def test_pruned_is_told_as_pruned_and_no_number_as_failed(tmp_path: Path, store: Store) -> None:
    sweep = search(tmp_path, early_stopping={"name": "asha"})
    ledger, notes = noted(sweep, store)
    *_, a, b, c, d = drain(ledger)
    finish(store, a, 0.6)
    ledger.end(a, "finished", "")
    ledger.end(b, "pruned", "slow", reached=(3, 0.25))
    for trial, accuracy in ((c, 0.6), (d, math.nan)):
        finish(store, trial, accuracy)
        ledger.end(trial, "finished", "")
    pruned = Outcome("pruned", reached=(3, 0.25))
    assert notes.outcomes == [({"epochs": 1}, pruned), ({"epochs": 2}, Outcome("failed"))]
    again = ledger_of(sweep, store)  # which knows it from the store
    assert again._outcome(again._trials_of({"epochs": 1})) == pruned


def test_several_objectives_are_told_as_means_of_each(tmp_path: Path, store: Store) -> None:
    objective = [{"metric": "val/acc1"}, {"metric": "val/macro_f1"}]
    ledger, notes = noted(search(tmp_path, objective=objective), store)
    *_, a, b, c, d = drain(ledger)
    for trial, f1 in ((a, 0.25), (b, 0.5)):
        finish(store, trial, 0.5, **{"val/macro_f1": f1})
        ledger.end(trial, "finished", "")
    for trial in (c, d):
        finish(store, trial, 0.5)  # without the second
        ledger.end(trial, "finished", "")
    assert [outcome for _, outcome in notes.outcomes] == [
        Outcome("finished", (0.5, 0.375)),
        Outcome("failed"),
    ]


def test_a_hopeless_configuration_does_not_get_its_other_seeds(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"epochs": [1, 2, 3, 4]}
    sweep = grid(tmp_path, search__space=space, search__hopeless_below=0.1, references=[])
    accuracy = {1: 0.5, 2: 0.3, 3: 0.45, 4: 0.7}

    def run(ledger: Ledger) -> list[tuple[int, int]]:
        order = []
        while (trial := ledger.next_trial()) is not None:
            order.append((trial.config.epochs, trial.seed))
            finish(store, trial, accuracy[trial.config.epochs])
            ledger.end(trial, "finished", "")
        assert not ledger.held_back
        return order

    ledger = ledger_of(sweep, store)
    assert len(ledger.planned()) == 8
    outcomes: list[tuple[Point, Outcome]] = []  # of which a grid learns nothing
    monkeypatch.setattr(ledger._proposals, "tell", lambda *it: outcomes.append(it))
    assert run(ledger) == [(1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1)]
    assert outcomes[1] == ({"epochs": 2}, Outcome("pruned", reached=(2, 0.3)))
    assert len(ledger.planned()) == ledger.done() == 7
    assert not ledger.unfinished()
    assert run(ledger_of(sweep, store)) == []
    patient = grid(tmp_path, search__space=space, references=[])
    assert run(ledger_of(patient, store)) == [(2, 1)]
    narrow = grid(tmp_path, search__space=space, search__hopeless_below=0.01, references=[])
    again = ledger_of(narrow, store)
    assert run(again) == []  # what has its seeds keeps them
    assert len(again.trials) == len(again.planned()) == again.done() == 8


def test_each_fold_once_for_each_seed_and_an_untrained_student_beside(
    tmp_path: Path, store: Store
) -> None:
    asked = drain(in_folds(grid(tmp_path), store))
    everything = [(seed, fold) for seed in (0, 1) for fold in (1, 2, 3)]
    assert [trial.number for trial in asked] == 3 * everything
    assert len({trial.key for trial in asked}) == 18
    assert [t.config.method.name for t in asked] == ["none"] * 6 + ["comodo"] * 12
    for trial in asked[:7]:
        finish(store, trial)
    again = in_folds(grid(tmp_path), store)
    assert drain(again) == asked[7:]
    assert again.done() == 7


def test_a_search_is_told_the_mean_over_seeds_and_folds_once_all_have_ended(
    tmp_path: Path, store: Store
) -> None:
    sweep = search(tmp_path, budget={"trials": 13}, references=[])
    ledger, notes = in_folds(sweep, store), Notes()
    assert ledger._proposals._left == 2  # type: ignore[attr-defined]
    assert ledger.to_come() == 12
    ledger._proposals = notes
    *first, last = drain(ledger)[:6]
    for number, trial in enumerate(first):
        finish(store, trial, number / 10)
        ledger.end(trial, "finished", "")
        assert notes.outcomes == []
    finish(store, last, 0.5)
    ledger.end(last, "finished", "")
    assert notes.outcomes == [({"epochs": 1}, Outcome("finished", (0.25,)))]


def run_all(ledger: Ledger, accuracy: dict[int, float]) -> list[tuple[int, int, int]]:
    """Epochs, seed and fold of the trials that ran; with an accuracy below 0 they are pruned."""
    order = []
    while (trial := ledger.next_trial()) is not None:
        order.append((trial.config.epochs, *trial.number))
        if (found := accuracy[trial.config.epochs]) < 0 and ledger.is_judged(trial):
            ledger.end(trial, "pruned", "slow", reached=(1, -found))
        else:
            finish(store=ledger.store, trial=trial, accuracy=abs(found))
            ledger.end(trial, "finished", "")
    assert not ledger.held_back
    return order


def test_a_configuration_that_was_stopped_in_its_first_fold_runs_in_no_other(
    tmp_path: Path, store: Store
) -> None:
    """Folds are not equally hard, so only trials of one fold can be compared while they train."""
    rule, space = {"name": "asha"}, {"epochs": [1, 2]}
    sweep = grid(tmp_path, search__space=space, early_stopping=rule, references=[])
    ledger = in_folds(sweep, store)
    found = run_all(ledger, {1: 0.6, 2: -0.3})
    assert found == [(1, seed, fold) for seed in (0, 1) for fold in (1, 2, 3)] + [(2, 0, 1)]
    judged = [trial.number for trial in ledger.trials.values() if ledger.is_judged(trial)]
    assert judged == [(0, 1)] * 2
    assert len(ledger.planned()) == ledger.done() == 7
    assert run_all(in_folds(sweep, store), {}) == []
    patient = grid(tmp_path, search__space=space, references=[])
    assert len(run_all(in_folds(patient, store), {2: 0.3})) == 6


def test_a_hopeless_configuration_is_known_after_all_folds_of_its_first_seed(
    tmp_path: Path, store: Store
) -> None:
    space = {"epochs": [1, 2]}
    sweep = grid(tmp_path, search__space=space, search__hopeless_below=0.1, references=[])
    found = run_all(in_folds(sweep, store), {1: 0.6, 2: 0.3})
    assert found[6:] == [(2, 0, 1), (2, 0, 2), (2, 0, 3)]
    assert run_all(in_folds(sweep, store), {}) == []


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_seeds_that_were_begun_are_not_given_up(tmp_path: Path, store: Store, sampler: str) -> None:
    changes = {"search__hopeless_below": 0.1, "seeds": [0, 1, 2], "references": []}
    if sampler == "tpe":
        changes |= {"search__sampler": "tpe", "budget": {"trials": 6}}
    sweep = grid(tmp_path, **changes)
    ledger = ledger_of(sweep, store)
    points = [{"method.queue_size": size} for size in (8, 16)]
    bad, good = (ledger._trials_of(point) for point in points)
    entries = [{"values": p, "trials": [t.key for t in ledger._trials_of(p)]} for p in points]
    write_json(ledger.folder / "asked.json", entries)
    for trial in (*good, *bad[:2]):
        finish(store, trial, 0.3 if trial in bad else 0.8)
    again = ledger_of(sweep, store)
    assert drain(again) == []
    assert {trial.key for trial in again.trials.values()} == {t.key for t in (*good, *bad[:2])}
    assert again.done() == len(again.planned()) == 5
    (store.folder("trials", bad[2].key)).mkdir(parents=True)
    (store.folder("trials", bad[2].key) / "checkpoint.pt").touch()
    again = ledger_of(sweep, store)
    assert drain(again) == [bad[2]]
    assert again.unfinished() == [bad[2]]


def test_references_of_seeds_that_are_given_up_are_not_planned(
    tmp_path: Path, store: Store
) -> None:
    ledger = ledger_of(grid(tmp_path, search__hopeless_below=0.1), store)
    for trial in drain(ledger):
        ledger.end(trial, "failed", "NaN")
    assert drain(ledger) == []
    assert ledger.done() == len(ledger.planned()) == 3


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_keys_of_trials_and_references_are_recorded(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """As this run has them, once it begins."""
    changes = {"search__sampler": sampler, "budget": {"trials": 4}}
    sweep = grid(tmp_path, references=["none", "supervised"], **changes)
    ledger = ledger_of(sweep, store)
    trials = {trial.key for trial in drain(ledger)}
    entries = read_json(ledger.folder / "asked.json")
    assert {len(entry["references"]) for entry in entries} == {4}
    keys = {key for entry in entries for key in entry["trials"] + entry["references"]}
    assert keys == trials | ledger.references
    monkeypatch.setattr(trial_module, "TRIAL_VERSION", 1000)
    again = ledger_of(sweep, store)
    assert read_json(ledger.folder / "asked.json") == entries
    again.record_keys()
    later = read_json(ledger.folder / "asked.json")
    assert [entry["values"] for entry in later] == [entry["values"] for entry in entries]
    assert not keys & {key for entry in later for key in entry["trials"] + entry["references"]}


def test_a_failure_that_was_made_good_is_forgotten(tmp_path: Path, store: Store) -> None:
    sweep = grid(tmp_path, early_stopping={"name": "asha"})
    ledger = ledger_of(sweep, store)
    pruned, failed, lost, *_ = drain(ledger)
    for trial, state in ((pruned, "pruned"), (failed, "failed"), (lost, "failed")):
        ledger.end(trial, state, "NaN")
    again = ledger_of(sweep, store)
    drain(again)
    finish(store, failed)
    again.end(failed, "finished", "")
    ends = read_json(ledger.folder / "ended.json")
    assert {key: end["state"] for key, end in ends.items()} == {
        pruned.key: "pruned",
        lost.key: "failed",
    }


def test_a_space_of_impossible_trials_is_an_error(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"learning_rate": {"min": 1e-5, "max": 1e-2}}
    ledger = ledger_of(search(tmp_path, space, budget={"trials": 6}, references=[]), store)

    def refuse(self: Sweep, values: Point) -> TrialConfig:
        raise ConfigError("search.space.learning_rate", f"{values['learning_rate']} is odd")

    with monkeypatch.context() as patched:
        patched.setattr(Sweep, "with_values", refuse)
        with raises(ConfigError, "search.space.learning_rate", "is odd", "20 draws"):
            ledger.next_trial()
    assert len(drain(ledger)) == 6  # which the refused ones took nothing of


def test_what_is_to_come_of_a_search(tmp_path: Path, store: Store) -> None:
    space = {"epochs": {"min": 1, "max": 4, "integer": True}}
    changes = {"budget": {"trials": 11}, "search__hopeless_below": 0.1}
    ledger = ledger_of(search(tmp_path, space, **changes), store)
    assert ledger.to_come() == 10
    first, second = ledger.next_trial(), ledger.next_trial()
    assert first is not None and second is not None
    assert first.key in ledger.references - ledger.own
    assert second.key in ledger.own - ledger.references
    assert (len(ledger.planned()), ledger.to_come()) == (2, 9)
    finish(store, second)
    ledger.end(second, "finished", "")
    assert (len(ledger.planned()), ledger.to_come()) == (4, 8)
    drain(ledger)  # there are no more than four configurations, three of which wait
    assert (len(ledger.planned()), ledger.to_come()) == (7, 3)


def test_references_come_with_the_seeds_that_they_are_compared_with(
    tmp_path: Path, store: Store
) -> None:
    ledger = ledger_of(grid(tmp_path, search__hopeless_below=0.1), store)
    first = drain(ledger)
    assert [(t.config.method.name, t.seed) for t in first] == [
        ("none", 0),
        ("comodo", 0),
        ("comodo", 0),
    ]
    assert ledger.held_back
    finish(store, first[1])
    ledger.end(first[1], "finished", "")
    assert [(t.config.method.name, t.seed) for t in drain(ledger)] == [("none", 1), ("comodo", 1)]
    ledger.end(first[2], "failed", "NaN")  # without a score its other seeds are not begun
    assert ledger.next_trial() is None and not ledger.held_back


WIDE: dict[str, Any] = {
    "epochs": {"min": 1, "max": 50, "integer": True},
    "method.name": ["comodo", "infonce"],
    "method.queue_size": {"values": [8, 16, 64], "when": {"method.name": "comodo"}},
}


def test_a_search_learns_from_earlier_sweeps(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"epochs": {"min": 1, "max": 60, "integer": True}, "batch_size": [64, 128]}
    narrow = search(tmp_path, space, name="narrow", budget={"trials": 40}, references=[])
    ledger = ledger_of(narrow, store)
    for trial in drain(ledger)[:-1]:
        finish(store, trial, trial.config.epochs / 100 + trial.seed / 1000)
    wide = search(
        tmp_path,
        WIDE,
        name="wide",
        seeds=[0],
        budget={"trials": 8},
        references=[],
        search__warm_start=["narrow"],
    )
    ledger = ledger_of(wide, store)
    asked = [entry.values for entry in ledger_of(narrow, store)._asked.values()]
    within = [point for point in asked[:-1] if point["epochs"] <= 50]
    inside = [point for point in within if point["batch_size"] == 128]
    study = ledger._proposals._study  # type: ignore[attr-defined]
    learnt = [(t.params["epochs"], t.value) for t in study.trials]
    assert learnt == [(p["epochs"], pytest.approx(p["epochs"] / 100 + 0.0005)) for p in inside]
    assert {t.params["method.queue_size"] for t in study.trials} == {"64"}  # of the base trial
    printed = capsys.readouterr().out.replace("\n", " ")
    assert f"learnt from {len(inside)} of 20 configurations of narrow" in printed
    assert "1 not finished" in printed and "outside the space" in printed
    assert f"{len(within) - len(inside)} with other batch_size" in printed
    same = {p["epochs"] for p in inside}
    new = drain(ledger)
    assert len(new) == 8
    assert not [
        t
        for t in new
        if t.config.method.name == "comodo"
        and t.config.method.queue_size == 64
        and t.config.epochs in same
    ]


def test_of_other_settings_nothing_is_learnt(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}}
    other = {"trial__method": "infonce", "trial__epochs": 1, "seeds": [3], "references": []}
    for name, changes in (("other", other), ("same", {"seeds": [3], "references": []})):
        for trial in drain(ledger_of(search(tmp_path, space, name=name, **changes), store)):
            finish(store, trial)
    both = ["other", "same"]
    ledger = ledger_of(search(tmp_path, space, search__warm_start=both, references=[]), store)
    assert len(ledger._proposals._study.trials) == 4  # type: ignore[attr-defined]
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "learnt from 0 of 4 configurations of other; 4 with other method.name, epochs" in printed
    assert "learnt from 4 of 4 configurations of same" in printed


def test_of_other_arrays_nothing_is_learnt(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = search(tmp_path, name="first", references=[])
    for trial in drain(ledger_of(first, store)):
        finish(store, trial)
    second = search(tmp_path, name="second", references=[], search__warm_start=["first"])
    pairs = dict.fromkeys(second.trained_on(), ("w", "another teacher's"))
    ledger = Ledger(second, store, pairs, Evaluation())
    assert "2 of another data set or teacher" in capsys.readouterr().out.replace("\n", " ")
    assert not ledger._proposals._study.trials  # type: ignore[attr-defined]
    unknown = search(tmp_path, name="third", search__warm_start=["frist"])
    with raises(ConfigError, "search.warm_start", "'frist'", "'first'"):
        ledger_of(unknown, store)


def test_a_search_whose_space_grew_learns_from_itself(tmp_path: Path, store: Store) -> None:
    before = search(tmp_path, {"epochs": [1, 2, 3]}, budget={"trials": 6}, references=[])
    for trial in drain(ledger_of(before, store)):
        finish(store, trial, trial.config.epochs / 10)
    after = search(tmp_path, WIDE, budget={"trials": 10}, references=[])
    ledger = ledger_of(after, store)
    study = ledger._proposals._study  # type: ignore[attr-defined]
    assert sorted(t.value for t in study.trials) == pytest.approx([0.1, 0.2, 0.3])
    new = drain(ledger)
    assert len(new) == 10
    assert not [
        t
        for t in new
        if t.config.epochs <= 3
        and t.config.method.name == "comodo"
        and t.config.method.queue_size == 64
    ]


@settings(max_examples=6)
@given(st.integers(0, 2**31))
def test_killed_at_any_moment_nothing_is_lost_or_done_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """The folder alone carries a search from one run to the next."""
    chance, folder = random.Random(seed), tmp_path_factory.mktemp("sweep")
    store = Store(folder / "store")
    sweep = search(folder, WIDE, budget={"trials": 30}, early_stopping={"name": "asha"})
    ended: list[str] = []
    while True:
        ledger, running = ledger_of(sweep, store), list[Trial]()
        while chance.random() < 0.95:  # else killed
            trial = ledger.next_trial()
            if trial is not None:
                running.append(trial)
            if trial is None and not running:
                break
            if trial is None or chance.random() < 0.7:
                done = running.pop(chance.randrange(len(running)))
                ended.append(done.key)
                if chance.random() < 0.2:
                    ledger.end(done, "pruned", "slow", (1, chance.random()))
                else:
                    finish(store, done, chance.random())
                    ledger.end(done, "finished", "")
        else:
            continue
        break
    assert len(set(ended)) == len(ended)
    assert len(ledger._asked) == 15
    assert not ledger.unfinished()
    assert ledger.done() == len(ledger.planned()) == len(ended)


def test_a_trial_is_not_named_by_how_the_sweep_is_written_or_run(tmp_path: Path) -> None:
    def keys(file: Path) -> set[str]:
        sweep = read_sweep_file(file)
        points = map(sweep.with_values, sweep.grid())
        return {Trial(config, seed, "w", "f").key for config in points for seed in sweep.seeds}

    space = {"method.queue_size": [8, 16], "epochs": [1, 2]}
    path = sweep_file(tmp_path, search__space=space)
    content = yaml.safe_load(path.read_text())
    before = keys(path)
    assert len(before) == 4

    def backwards(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: backwards(tree[key]) for key in reversed(tree)}
        return tree

    path.write_text("# a comment\n" + yaml.safe_dump(backwards(content), sort_keys=False))
    assert keys(path) == before
    for change in (
        {"name": "another"},
        {"resources": {"workers": 2, "cpus_per_worker": 0.5, "retries": 0}},
        {"budget": {"trials": 50, "hours": 1, "failures": 9}},
        {"measures": ["probe", "knn"]},
        {"early_stopping": {"name": "asha"}},
        {"search__start_with": [{"epochs": 2}]},
        {"objective": {"metric": "test/acc1"}},
    ):
        assert keys(sweep_file(tmp_path, search__space=space, **change)) == before


METHODS: list[Any] = [
    {"name": "comodo", "head": {"output_dim": 64}},
    {"name": "infonce"},
    {"name": "l2"},
    {"name": "supervised"},
]


def another(value: Any, key: str) -> Any:
    """A value that the settings may also have."""
    choices: dict[str, list[Any]] = {
        "schedule": ["steps", "published"],
        "last_window": ["keep", "drop"],
        "imu_units": ["g, deg/s", "published"],
        "precision": ["float32", "bf16"],
        "probe_ties": ["middle", "smallest"],
        "queue_windows": ["seed", "published"],
        "probe_windows": ["seed", "published"],
        "zero_shot_anchors": ["medoid", "first"],
        "student.pooling": ["concat", "mean"],
        "student.name": ["mantis", "mantis-v2"],
        "student.channels": [["acc_x", "acc_y"], ["acc_y", "acc_x"]],
        "student.weights": ["hub/model"],
        "student.revision": ["abc"],
        "method.head.kind": ["mlp", "linear"],
    }
    if key in choices:
        return next(choice for choice in choices[key] if choice != value)
    return not value if isinstance(value, bool) else value + 1 if value >= 1 else value / 2 + 0.01


@given(st.sampled_from(METHODS), st.data())
def test_every_setting_of_a_trial_is_part_of_its_name(method: Any, data: st.DataObject) -> None:
    student = {"name": "mantis", "size": {"hidden_dim": 8}}
    config = trial_config(method=method, student=student)
    tree = config.model_dump(mode="json")
    leaves = [k for k in flatten(tree) if not k.startswith(("protocol", "dataset", "teacher"))]
    others = ("method.name", "student.padding", "student.averaged_patches")  # of MOMENT alone
    key = data.draw(st.sampled_from([k for k in leaves if k not in others]))
    *parents, last = key.split(".")
    place = tree
    for parent in parents:
        place = place[parent]
    place[last] = another(place[last], key)
    if key == "student.weights":
        tree["student"]["size"] = {}
    changed = Trial(TrialConfig.model_validate(tree), 0, "w", "f")
    assert changed.key != Trial(config, 0, "w", "f").key
    renamed = {"dataset": "x", "protocol": "published", "teacher": "videomae-base-k400"}
    same = TrialConfig.model_validate({**config.model_dump(mode="json"), **renamed})
    assert Trial(same, 0, "w", "f").key == Trial(config, 0, "w", "f").key


def test_data_seed_teacher_method_and_version_are_part_of_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = [
        Trial(trial_config(method=method), seed, windows, features)
        for method in ("comodo", "infonce", "l2")
        for seed in (0, 1)
        for windows in ("w", "v")
        for features in ("f", "g")
    ]
    assert len({trial.key for trial in trials}) == len(trials)
    before = replace(trials[0]).key
    monkeypatch.setattr(trial_module, "TRIAL_VERSION", 1000)
    assert replace(trials[0]).key != before


def test_what_an_objective_may_name_is_what_is_measured(store: Store) -> None:
    windows, features = make_arrays(store, windows=60)
    other, _ = make_arrays(store, windows=60, name="v")
    measures = tuple(DECLARED)
    config = trial_config(epochs=1)
    rates = {"d": 20.0, "other": 20.0}
    evaluation = Evaluation(measures, {"other": other}, rates=rates)
    trial = Trial(config, 0, windows, features, evaluation)
    assert config.method.name == "comodo"
    prompts = prompts_file(store.folder("arrays", features), evaluation.prompt)
    save_prompts(prompts, ["a", "b", "c"], torch.eye(3, config.method.head.output_dim))
    metrics = run_whole(trial, store, lambda metrics: None).metrics
    few = {f"test/few_shot/{k}" for k in (50, 100)}  # with no class as large as that
    few |= {f"test/fine_tuned/{k}" for k in ("50", "frozen_50")}
    own = {
        name
        for name, measure in OWN_METRICS.items()
        if measure != "classifier" and "classifier_" not in name
    }  # learns no labels
    asked = own | {f"on/other/{name}" for name in TRANSFER_METRICS}
    absent = asked - metrics.keys()
    assert absent == few | {f"on/other/{name}" for name in few} | {
        name
        for name in asked
        if name.endswith(("/acc3", "/acc5"))  # of three classes
    }
    beside = tuple(name for measure in DECLARED.values() for name in measure.numbers)
    ends = ("_std", "probe/C", *beside)
    more = {name for name in metrics.keys() - asked if not name.endswith(ends)}
    assert not more
