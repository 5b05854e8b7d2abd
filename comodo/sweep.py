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
from comodo.platt import FOLDS
from comodo.precheck import refuse_long_queues
from comodo.store import Store
from comodo.students import build_student
from comodo.tracking import Tracker
from comodo.trial import Trial, run_trial
from comodo.watch import Watcher
from comodo.windows import WindowSet, prepare

RETRIES = 2  # after a lost process; a trial's own exceptions are not retried


def pairs_of(sweep: Sweep) -> list[tuple[str, TeacherConfig]]:
    """Every pair of dataset and teacher that a trial of the sweep may ask for."""
    lists = {
        key: values
        for key, values in sweep.search.space.items()
        if key.split(".")[0] in ("dataset", "teacher") and isinstance(values, list)
    }
    pairs = []
    for values in itertools.product(*lists.values()):
        config = sweep.with_values(dict(zip(lists, values, strict=True)))
        if (config.dataset, config.teacher) not in pairs:
            pairs.append((config.dataset, config.teacher))
    return pairs


def prepare_all(sweep: Sweep, store: Store) -> dict[str, WindowSet]:
    """The windows of every dataset that a trial may ask for, made where they are missing."""
    names = dict.fromkeys(name for name, _ in pairs_of(sweep))
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
    for name, teacher in pairs_of(sweep):
        windows = window_sets[name]
        features = encode(name, teacher, windows, store, sweep.datasets[name].max_rejected)
        arrays[name, teacher] = (
            pack_windows(store, windows.key),
            pack_features(store, windows.key, features.key),
        )
    return arrays


def refuse_unlabelled(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided."""
    guided = sweep.search.sampler == "tpe" or sweep.early_stopping is not None
    for name, windows in window_sets.items():
        if not windows.labelled.get("train"):
            raise ConfigError(
                f"datasets.{name}: no labelled training windows, so students cannot be probed; "
                "give some recordings of the train split a label"
            )
        if len(windows.classes) < 2 or max(windows.classes.values()) < FOLDS:
            raise ConfigError(
                f"datasets.{name}: the probe needs two classes, one of them with {FOLDS} training "
                f"windows; it has {windows.classes}; give more recordings a label"
            )
        needed = {sweep.objective.metric.split("/")[0]} if guided else set()
        if sweep.early_stopping is not None:
            needed.add("val")
        for split in sorted(needed):
            if not windows.labelled.get(split):
                raise ConfigError(
                    f"datasets.{name}: no labelled windows in its {split} split to guide the "
                    "search; make one (split_by_group), or use a grid without early_stopping"
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


def run_sweep(sweep: Sweep, store: Store) -> tuple[list[report.Row], Path]:
    """Runs what is missing of a sweep; returns its table and the folder of its report.

    Raises:
        ConfigError, DatasetError, PrepareError, EncodeError, ClusterError: with the mend.
    """
    connect(dashboard=sweep.resources.workers > 1)
    concurrent = concurrent_trials(sweep.resources)
    window_sets = prepare_all(sweep, store)
    refuse_unlabelled(sweep, window_sets)
    refuse_students(sweep)
    ledger = Ledger(sweep, store, encode_all(sweep, window_sets, store))
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"))
    _run_missing(ledger, tracker, concurrent)
    for trial in ledger.trials.values():  # what other sweeps or earlier runs finished
        if (result := ledger.result(trial)) is not None:
            folder = store.folder("trials", trial.key)
            tracker.finish(trial, report.trial_name(trial, sweep), result, folder)
    rows = [_row(ledger, trial) for trial in ledger.trials.values()]
    folder = report.write(sweep, ledger.folder, rows)
    tracker.close(folder)
    return rows, folder


def _row(ledger: Ledger, trial: Trial) -> report.Row:
    result = ledger.result(trial)
    label = report.configuration_label(trial, ledger.sweep)
    if result is None:
        return report.Row(trial, label, ledger.ended[trial.key]["state"], {})
    return report.Row(trial, label, "finished", result["metrics"])


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
