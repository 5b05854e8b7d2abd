"""The study of a sweep that Optuna's dashboard opens, read back by Optuna."""

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from comodo.config import Sweep
from comodo.core.store import Store, write_json
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.study import STUDY_FILE, write_study
from comodo.search.ledger import Ledger
from comodo.search.records import HISTORY_FILE, read_asked
from comodo.search.trial import Evaluation, Trial
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import answer

SPACE = {
    "method.name": ["comodo", "infonce"],
    "method.queue_size": {"values": [8, 16], "when": {"method.name": "comodo"}},
    "learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
}


def search_of(**changes: Any) -> Sweep:
    search = {"sampler": "random", "space": SPACE, **changes.pop("search", {})}
    return sweep_of({"search": search, "seeds": [0, 1], "budget": {"trials": 12}, **changes})


def results_of(ledger: Ledger, store: Store) -> Results:
    arrays = {("d", ledger.sweep.trial.teacher): ("w", "f")}
    return SweepRecord.of(ledger.sweep, "comodo sweep FILE", arrays, Evaluation(), {}).results(
        store
    )


def next_of(ledger: Ledger) -> Trial:
    trial = ledger.next_trial()
    assert trial is not None
    return trial


def finish(ledger: Ledger, store: Store, accuracy: float) -> Trial:
    trial = next_of(ledger)
    answer(store, trial, accuracy)
    ledger.end(trial, "finished", "")
    return trial


def prune(ledger: Ledger, store: Store) -> Trial:
    trial = next_of(ledger)
    history = [{"epoch": epoch, "val/quick_acc1": epoch / 10} for epoch in (1, 2, 3)]
    write_json(store.folder("trials", trial.key) / HISTORY_FILE, history)
    ledger.end(trial, "pruned", "stopped after epoch 3", (3, 0.3))
    return trial


def written(ledger: Ledger, store: Store, folder: Path) -> optuna.Study:
    folder.mkdir(exist_ok=True)
    write_study(results_of(ledger, store), store, folder)
    assert [path.name for path in folder.iterdir()] == [STUDY_FILE]
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    return optuna.load_study(study_name=ledger.sweep.name, storage=storage)


def test_a_search_is_a_study(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ledger = ledger_of(store, search_of())
    best = [finish(ledger, store, 0.8), finish(ledger, store, 0.7)]
    pruned = [prune(ledger, store), prune(ledger, store)]
    finish(ledger, store, 0.5)
    ledger.end(next_of(ledger), "failed", "out of memory")
    finish(ledger, store, 0.6)
    next_of(ledger)  # it runs
    study = written(ledger, store, tmp_path / "report")
    states = [trial.state for trial in study.trials]
    assert states == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert study.direction.name == "MAXIMIZE" and study.metric_names == ["val/acc1"]
    first, stopped, failed, _ = study.trials
    rows = {row.trial.key: row for row in results_of(ledger, store).rows}
    metrics = [rows[trial.key].metrics for trial in best]
    assert study.best_value == first.value == sum(m["val/acc1"] for m in metrics) / 2
    assert first.user_attrs["test/acc1"] == sum(m["test/acc1"] for m in metrics) / 2
    assert [first.user_attrs[f"seed {seed}"] for seed in (0, 1)] == [t.key for t in best]
    assert stopped.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert stopped.user_attrs["seed 0"] == pruned[0].key
    assert failed.user_attrs["reason seed 1"] == "out of memory"
    assert [t.params for t in study.trials] == [a.values for a in read_asked(ledger.folder)]
    distributions: dict[str, Any] = {
        "method.name": CategoricalDistribution(["comodo", "infonce"]),
        "method.queue_size": CategoricalDistribution([8, 16]),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    }
    methods = {trial.params["method.name"] for trial in study.trials}
    assert methods == {"comodo", "infonce"}
    for trial in study.trials:
        absent = {"method.queue_size"} if trial.params["method.name"] == "infonce" else set()
        assert trial.distributions == {
            key: value for key, value in distributions.items() if key not in absent
        }


def test_a_study_is_of_the_space_that_the_sweep_has_now(tmp_path: Path) -> None:
    """The file is written again as a whole, whatever was there."""
    store = Store(tmp_path / "store")
    ledger = ledger_of(store, search_of(seeds=[0]))
    for accuracy in (0.5, 0.6, 0.7, 0.8):
        finish(ledger, store, accuracy)
    assert len(written(ledger, store, tmp_path / "report").trials) == 4
    (tmp_path / "report" / STUDY_FILE).write_text("broken")
    narrower = {"space": {**SPACE, "method.name": ["comodo"]}}
    ledger = ledger_of(store, search_of(seeds=[0], search=narrower))
    left = written(ledger, store, tmp_path / "report").trials
    assert 0 < len(left) < 4
    assert {trial.params["method.name"] for trial in left} == {"comodo"}


def test_a_grid_of_settings_with_two_objectives_is_a_study(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    methods = [{"name": "comodo", "queue_size": 8}, {"name": "infonce"}]
    objectives = [{"metric": "val/acc1"}, {"metric": "student/parameters"}]
    sweep = search_of(
        search={"sampler": "grid", "space": {"method": methods, "epochs": [2, 3]}},
        seeds=[0],
        objective=objectives,
    )
    ledger = ledger_of(store, sweep)
    finish(ledger, store, 0.5)
    study = written(ledger, store, tmp_path / "report")
    (trial,) = study.trials
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["val/acc1", "student/parameters"]
    assert trial.params["epochs"] == 2
    assert json.loads(trial.params["method"])["name"] == "comodo"
    assert trial.intermediate_values == {}
    assert trial.values[1] == 9


def test_what_hopeless_below_leaves_out_is_pruned(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ledger = ledger_of(store, search_of(search={"hopeless_below": 0.1}))
    for accuracy in (0.8, 0.8, 0.4, 0.8):
        finish(ledger, store, accuracy)
    first, hopeless, running = written(ledger, store, tmp_path / "report").trials
    assert first.state == TrialState.COMPLETE
    assert hopeless.state == TrialState.PRUNED
    assert hopeless.intermediate_values == {1: 1 / 9, 2: 2 / 9}
    assert running.state == TrialState.RUNNING
