"""A sweep file to finished trials: prepare, encode and pack what is missing, then Ray Tune.

What was asked and how it ended is kept by the ledger; results lie with the trials. So running the
same command again goes on where the last run stopped, and Ray's own experiment state is thrown
away.
"""

import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from comodo import report
from comodo.arrays import pack_features, pack_windows
from comodo.cluster import concurrent_trials, connect, trial_resources
from comodo.config import ConfigError, Resources, StudentConfig, Sweep, TeacherConfig
from comodo.console import console, progress_bar
from comodo.encode import encode
from comodo.ledger import Ledger
from comodo.names import Names
from comodo.platt import FOLDS
from comodo.precheck import refuse_long_queues
from comodo.results import Results, Row
from comodo.store import Store
from comodo.students import build_student
from comodo.tracking import Tracker
from comodo.trial import Evaluation, Trial, run_trial
from comodo.watch import Watcher
from comodo.windows import WindowSet, prepare

RETRIES = 2  # after a lost process; a trial's own exceptions are not retried


def prepare_all(sweep: Sweep, store: Store) -> dict[str, WindowSet]:
    """The windows of every dataset that is trained or measured on, made where they are missing."""
    names = dict.fromkeys([*(name for name, _ in sweep.trained_on()), *sweep.evaluate_on])
    window_sets = {name: prepare(name, sweep.datasets[name], store) for name in names}
    refuse_long_queues(sweep, {name: w.counts.get("train", 0) for name, w in window_sets.items()})
    return window_sets


def encode_all(
    sweep: Sweep, window_sets: dict[str, WindowSet], store: Store
) -> dict[tuple[str, TeacherConfig], tuple[str, str]]:
    """Features and packed arrays for all trials, made where they are missing.

    Returns the keys of the packed windows and features for each pair of dataset and teacher.
    """
    arrays = {}
    for name, teacher in sweep.trained_on():
        windows = window_sets[name]
        features = encode(name, teacher, windows, store, sweep.datasets[name].max_rejected)
        arrays[name, teacher] = (
            pack_windows(store, windows.key),
            pack_features(store, windows.key, features.key),
        )
    return arrays


def evaluation_of(sweep: Sweep, window_sets: dict[str, WindowSet], store: Store) -> Evaluation:
    """What every student is measured by, with the further data sets packed."""
    return Evaluation(
        tuple(sweep.measures),
        {name: pack_windows(store, window_sets[name].key) for name in sweep.evaluate_on},
        frozenset(n for n in sweep.evaluate_on if unfit_for_probe(window_sets[n]) is not None),
        sweep.label_map,
    )


def unfit_for_probe(windows: WindowSet) -> str | None:
    """Why no probe can be fitted on a data set's training windows; None if one can."""
    classes = windows.classes.get("train", {})
    if not classes:
        return "no labelled training windows; give some recordings of the train split a label"
    if len(classes) < 2 or max(classes.values()) < FOLDS:
        return (
            f"the probe needs two classes, one of them with {FOLDS} training windows; it has "
            f"{classes}; give more recordings a label"
        )
    return None


def refuse_unlabelled(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided."""
    guided = sweep.search.sampler == "tpe" or sweep.early_stopping is not None
    trained_on = {name for name, _ in sweep.trained_on()}
    for name, windows in window_sets.items():
        reason = unfit_for_probe(windows)
        if reason is not None and (name in trained_on or "direct" not in sweep.measures):
            raise ConfigError(f"datasets.{name}: {reason}")
        needed = {sweep.objective.metric.split("/")[0]} if guided else set()
        if sweep.early_stopping is not None:
            needed.add("val")
        for split in sorted(needed) if name in trained_on else []:
            if not windows.classes.get(split):
                raise ConfigError(
                    f"datasets.{name}: no labelled windows in its {split} split to guide the "
                    "search; make one (split_by_group), or use a grid without early_stopping"
                )
        if name in sweep.evaluate_on and not {"val", "test"} & windows.classes.keys():
            raise ConfigError(
                f"datasets.{name}: no labelled windows in its test split to be measured on"
            )
    if "direct" in sweep.measures:
        for own, other in itertools.product(sorted(trained_on), sweep.evaluate_on):
            _refuse_few_shared(sweep, window_sets, own, other)


def _refuse_few_shared(
    sweep: Sweep, window_sets: dict[str, WindowSet], own: str, other: str
) -> None:
    names = {
        name: {
            sweep.label_map.get(name, {}).get(label, label)
            for labels in window_sets[name].classes.values()
            for label in labels
        }
        for name in (own, other)
    }
    if own != other and len(names[own] & names[other]) < 2:
        raise ConfigError(
            f"label_map: '{own}' ({', '.join(sorted(names[own]))}) and '{other}' "
            f"({', '.join(sorted(names[other]))}) share fewer than two classes; map what is the "
            "same to one name"
        )


def refuse_students(sweep: Sweep) -> None:
    """Raises ConfigError for a student that cannot be built, before anything is encoded for it."""
    for student in dict.fromkeys(
        json.dumps(sweep.with_values(point).student.model_dump(mode="json"))
        for point in sweep.points()
    ):
        try:
            build_student(StudentConfig.model_validate_json(student))
        except (ValueError, AssertionError) as error:
            raise ConfigError(f"trial.student: {error}") from None


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Ray Tune."""

    def __init__(self, ledger: Ledger, scratch: str) -> None:
        super().__init__()
        self._ledger, self._scratch = ledger, scratch

    def suggest(self, trial_id: str) -> Any:
        trial = self._ledger.next_trial()
        if trial is None:
            return Searcher.FINISHED
        return {
            "key": trial.key,
            "trial": trial,
            "store": self._ledger.store,
            "resources": self._ledger.sweep.resources,
            "scratch": self._scratch,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Endings are noted by the watcher, which Tune also tells of them."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is read from disk."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used


def train(config: dict[str, Any]) -> None:
    """One trial as Ray Tune runs it: the loop under Ray Train.

    A trial's own exceptions end it with a reason; only lost processes are retried.
    """
    try:
        TorchTrainer(train_loop, train_loop_config=config, **_workers(config)).fit()
    except Exception as error:  # whatever it is, this trial failed and the others go on
        cause = error.__cause__ or error
        tune.report({"failed": f"{type(cause).__name__}: {cause}"})


def train_loop(config: dict[str, Any]) -> None:
    """What each of a trial's workers does."""
    import torch

    resources: Resources = config["resources"]
    torch.set_num_threads(max(1, int(resources.cpus_per_worker)))
    report = tune.report if resources.workers == 1 else ray.train.report
    run_trial(config["trial"], config["store"], report)


def _workers(config: dict[str, Any]) -> dict[str, Any]:
    """How Ray Train spreads a trial.

    With one worker, its local mode runs the loop in the trial's own process: a worker group of its
    own would cost half a minute for each trial.
    """
    asked: Resources = config["resources"]
    if asked.workers == 1:
        return {"scaling_config": ScalingConfig(num_workers=0)}
    train_api: Any = ray.train  # whose types are those of its first version
    return {
        "scaling_config": ScalingConfig(
            num_workers=asked.workers,
            use_gpu=asked.gpus_per_worker > 0,
            resources_per_worker={"CPU": asked.cpus_per_worker, "GPU": asked.gpus_per_worker},
        ),
        "run_config": train_api.RunConfig(
            storage_path=config["scratch"],
            callbacks=[TuneReportCallback()],
            # Without a limit a group that cannot start is tried for ever.
            failure_config=train_api.FailureConfig(controller_failure_limit=RETRIES),
        ),
    }


def run_sweep(sweep: Sweep, store: Store) -> tuple[Results, Path]:
    """Runs what is missing of a sweep; returns its results and the folder of its report.

    Raises:
        ConfigError, DatasetError, PrepareError, EncodeError, ClusterError: with the mend.
    """
    connect(dashboard=sweep.resources.workers > 1)
    concurrent = concurrent_trials(sweep.resources)
    window_sets = prepare_all(sweep, store)
    refuse_unlabelled(sweep, window_sets)
    refuse_students(sweep)
    evaluation = evaluation_of(sweep, window_sets, store)
    ledger = Ledger(sweep, store, encode_all(sweep, window_sets, store), evaluation)
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"))
    _run_missing(ledger, tracker, concurrent)
    names = Names(sweep)
    for trial in ledger.trials.values():  # what other sweeps or earlier runs finished
        if (result := ledger.result(trial)) is not None:
            folder = store.folder("trials", trial.key)
            tracker.finish(trial, names.trial(trial), result, folder)
    rows = [_row(ledger, names, trial) for trial in ledger.trials.values()]
    results = Results(sweep, rows, store)
    folder = report.write(results, ledger.folder)
    tracker.close(folder)
    return results, folder


def _row(ledger: Ledger, names: Names, trial: Trial) -> Row:
    result, label = ledger.result(trial), names.configuration(trial)
    if result is None:
        end = ledger.ended[trial.key]
        return Row(trial, label, end["state"], {}, end["reason"])
    return Row(trial, label, "finished", result["metrics"])


def _run_missing(ledger: Ledger, tracker: Tracker, concurrent: int) -> None:
    first = ledger.next_trial()
    if first is None:
        console.print(f"all {ledger.done()} trials are done already")
        return
    ledger.put_back(first)
    sweep = ledger.sweep
    console.print(f"up to {concurrent} trials at once")
    scratch = tempfile.mkdtemp(prefix="comodo-tune-")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # whose display cannot be replaced
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # A trial that failed reports its reason and no measure; ASHA then leaves it alone.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    with progress_bar() as bar:
        tuner = tune.Tuner(
            tune.with_resources(train, trial_resources(sweep.resources)),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(ledger, scratch),
                scheduler=_scheduler(sweep),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                callbacks=[Watcher(ledger, tracker, bar, RETRIES)],
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    # Tune takes Ctrl-C itself, stops the trials and returns.
    if unfinished := ledger.unfinished():
        for trial in unfinished:
            tracker.end(trial, "KILLED", "interrupted")
        raise KeyboardInterrupt


def _scheduler(sweep: Sweep) -> ASHAScheduler | None:
    if sweep.early_stopping is None:
        return None
    return ASHAScheduler(
        time_attr="epoch",
        metric="val/quick_acc1",
        mode="max",
        max_t=1_000_000,  # a trial ends by itself, after its probe
        grace_period=sweep.early_stopping.grace_epochs,
        reduction_factor=sweep.early_stopping.reduction_factor,
    )
