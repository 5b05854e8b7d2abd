"""The one place that records in MLflow.

Experiment = sweep's name; a parent run for each store's sweep of this name (on a server there may
be several), a child for each trial, which `configurations` moves. Records are made by the driver
alone, in a separate thread (see `RecordQueue`), so that no trial ever waits for MLflow. What could
not be recorded before the command ended is recorded from the store when it runs again.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient
from mlflow.utils.time import get_current_time_millis

from comodo.config.metric import TRAIN_LOSS
from comodo.config.space import flatten
from comodo.core.console import console
from comodo.core.markdown import as_text
from comodo.core.redaction import redacted
from comodo.core.store import Store
from comodo.data.window_sets import WindowSet
from comodo.search.history import epoch_history
from comodo.search.labels import rounded
from comodo.search.records import TrainedRecord
from comodo.search.trial import Trial, TrialResult
from comodo.tracking import runs
from comodo.tracking.record_queue import RecordQueue
from comodo.tracking.students import Students, has_model

REASON = "comodo.reason"
SAMPLING, SAMPLES = 10, 3  # seconds between readings of the load; readings in a recorded mean
P = ParamSpec("P")
Record = Callable[Concatenate["Tracker", P], None]


def _queued(record: Record[P]) -> Record[P]:
    """A record that is made in the queue's thread, without the caller waiting for it."""

    @wraps(record)
    def queue(tracker: "Tracker", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if tracker._records is not None:
            tracker._records.make(partial(record, tracker, *args, **kwargs))

    return queue


class Tracker:
    """The records of one sweep. With `mlflow=False` none are made: `report.recording` makes them
    from the store."""

    def __init__(
        self, store: Store, sweep: str, config: dict[str, Any], mlflow: bool = True
    ) -> None:
        self._runs: dict[str, str] = {}  # trial key to run id
        self._client: MlflowClient  # set by `_open`, before any other record
        self._windows: Mapping[str, WindowSet] = {}
        self._machine: SystemMetricsMonitor | None = None
        self._records: RecordQueue | None = None
        if mlflow:
            uri = runs.tracking_uri(store)
            self._records = RecordQueue(uri, partial(self._open, uri, store, sweep, config))

    def _open(self, uri: str, store: Store, sweep: str, config: dict[str, Any]) -> None:
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # Its thread would write a line every half minute while MLflow is away.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        database = runs.records_folder(store) / "mlflow.db"
        if uri == runs.own_database(store):
            if store.url is not None:
                console.print(
                    f"MLflow's records stay on this machine ({database}); for a server that others "
                    "see, set MLFLOW_TRACKING_URI",
                    markup=False,
                )
            if not database.exists():
                _make_database(database)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is not None:
            self._experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":  # in MLflow's pages, since the last run
                client.restore_experiment(self._experiment)
        else:
            root = f"{runs.artifact_root(store)}/{sweep}" if uri.startswith("sqlite") else None
            # The page then opens on training runs, not on traces.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            self._experiment = client.create_experiment(sweep, root, tags)
        parent = runs.sweep_run(client, self._experiment, sweep, store)
        if parent is None:
            tags = {runs.SWEEP: sweep, runs.STORE: runs.store_id(store), **runs.source()}
            parent = client.create_run(self._experiment, tags=tags, run_name=f"sweep {sweep}")
        self._parent = str(parent.info.run_id)
        client.log_dict(self._parent, config, "sweep.json")
        client.update_run(self._parent, "RUNNING")
        running = "attributes.status = 'RUNNING'"
        for run in runs.trial_runs(client, self._experiment, self._parent, running):
            client.set_terminated(run.info.run_id, "KILLED")  # left by a driver that was killed
        self._client = client
        self._students = Students(client, self._experiment, self._parent)

    def _find(self, trial: Trial) -> Run | None:
        """The trial's run in this sweep."""
        condition = f"tags.`{runs.TRIAL}` = '{trial.key}'"
        found = runs.trial_runs(self._client, self._experiment, self._parent, condition)
        return next(iter(found), None)

    @_queued
    def begin(
        self,
        question: str,
        description: str,
        view: Callable[[str], str],
        windows: Mapping[str, WindowSet],
        load: bool = True,
    ) -> None:
        """Describes the sweep, and begins to record the load of this machine if `load` is set.

        The list of experiments shows `question`; `runs.attach` replaces `description`, which is
        Markdown; `view` makes the tag of a saved view of the trials below the sweep's run;
        `windows`: by data set, the trials' inputs.
        """
        self._windows = windows
        self._client.set_experiment_tag(self._experiment, runs.NOTE, question[: runs.MAX_QUESTION])
        key = runs.VIEW_TAG + runs.view_of(self._parent, trials=True)
        self._client.set_experiment_tag(self._experiment, key, view(self._parent))
        self._client.set_tag(self._parent, runs.NOTE, description)
        if load:
            self._watch_machine()

    @_queued
    def start(self, trial: Trial, name: str) -> None:
        """Opens the trial's run, or continues the one that it has."""
        self._run_of(trial, name, self._find(trial))
        if self._machine is not None:
            self._watch_machine()

    def epoch(self, trial: Trial, metrics: dict[str, Any]) -> None:
        """Records one epoch of a running trial."""
        self._epoch(trial, metrics, get_current_time_millis())

    @_queued
    def _epoch(self, trial: Trial, metrics: dict[str, Any], now: int) -> None:
        if run := self._runs.get(trial.key):
            self._log_epochs(run, [metrics], now)

    @_queued
    def finish(self, trial: Trial, name: str, result: TrialResult, folder: Path) -> None:
        """Records a finished trial: missing epochs, measures, files."""
        known = self._find(trial)
        logged = {} if known is None else known.data.metrics
        found = result.metrics | _costs(result.trained)
        measures = {k: value for k, value in found.items() if logged.get(k) != value}
        is_finished = known is not None and known.info.status == "FINISHED"
        has_student = known is not None and (trial.is_hand_crafted or has_model(known))
        if is_finished and has_student and not measures:
            return
        id = self._run_of(trial, name, known)
        self._log_missing(id, result.trained.history)
        now = get_current_time_millis()
        self._log_epochs(id, [{"epoch": len(result.trained.history), **measures}], now)
        run = self._client.get_run(id)
        self._students.attach(run, result, folder)
        if not trial.is_hand_crafted:
            data = {dataset.name: dataset for dataset in self._datasets(trial)}
            self._students.log_model(run, trial, name, result, data)
        self._client.set_terminated(id, "FINISHED")

    @_queued
    def end(self, trial: Trial, status: str, reason: str) -> None:
        """Closes the run of a trial without a result: KILLED when pruned, FAILED when it failed."""
        if run := self._runs.get(trial.key):
            self._end(run, status, reason)

    @_queued
    def recall(self, trial: Trial, name: str, state: str, reason: str, folder: Path) -> None:
        """Records a trial that ended earlier without a result, unless that is done; `state`:
        pruned or failed."""
        known = self._find(trial)
        if known is not None and REASON in known.data.tags:
            return
        run = self._run_of(trial, name, known)
        self._log_missing(run, epoch_history(folder))
        self._end(run, "KILLED" if state == "pruned" else "FAILED", reason)

    def settle(self) -> None:
        """As `RecordQueue.settle`."""
        if self._records is not None:
            self._records.settle()

    def close(self, status: str = "FINISHED", updated: str = "") -> None:
        """Closes the sweep's run, after all other records; `KILLED`: the sweep has failed.
        `updated`: the state of the store that was recorded, see `runs.recorded`."""
        self._close(status, updated)
        if self._records is not None:
            self._records.close()

    @_queued
    def _close(self, status: str, updated: str) -> None:
        if (machine := self._machine) is not None:
            machine.finish()
            # Its readings since the last mean: of a short sweep all that there are.
            machine.publish_metrics(machine.aggregate_metrics())
            machine.mlflow_logger.flush()
        if updated:
            self._client.set_tag(self._parent, runs.UPDATED, updated)
        self._client.set_terminated(self._parent, status)

    def _watch_machine(self) -> None:
        """Begins to record this machine's load; again if MLflow's thread ended in an outage."""
        thread = self._machine and self._machine._process
        if thread and thread.is_alive():
            return
        try:
            self._machine = SystemMetricsMonitor(
                self._parent, SAMPLING, SAMPLES, True, tracking_uri=self._client.tracking_uri
            )
        except runs.FAILURES:
            raise
        except Exception as error:  # whatever psutil misses on this system
            console.print(f"the load of this machine is not recorded: {error}", style="yellow")
        else:
            self._machine.start()

    def _run_of(self, trial: Trial, name: str, known: Run | None) -> str:
        """Opens the trial's run, unless that is done; `known`: the one that it has."""
        if trial.key not in self._runs:
            run = known
            if run is None:
                tags = {
                    runs.PARENT: self._parent,
                    runs.SWEEP_RUN: self._parent,
                    runs.TRIAL: trial.key,
                    "dataset": trial.config.dataset,
                    "teacher": trial.config.teacher.name if trial.config.teacher else "none",
                    "student": trial.config.student.name,
                    "method": trial.config.method.title,
                    "protocol": trial.config.protocol,
                    "configuration": name.removesuffix(f" {trial.repetition}"),
                    **runs.source(),
                    **({} if trial.fold is None else trial.fold.tags),
                }
                name = rounded(name)
                run = self._client.create_run(self._experiment, tags=tags, run_name=name)
            if not run.data.params:  # a new run, or one whose driver was killed right then
                self._client.log_inputs(run.info.run_id, self._inputs(trial))
                config = flatten(trial.config.model_dump(mode="json")) | {"seed": trial.seed}
                config |= {"fold": trial.fold.number} if trial.fold else {}
                params = [Param(key, str(value)) for key, value in config.items()]
                self._client.log_batch(run.info.run_id, params=params)
            self._runs[trial.key] = str(run.info.run_id)
            self._client.update_run(run.info.run_id, "RUNNING")
            if REASON in run.data.tags:  # from an earlier end
                for tag in {REASON, runs.NOTE} & run.data.tags.keys():
                    self._client.delete_tag(run.info.run_id, tag)
        return self._runs[trial.key]

    def _inputs(self, trial: Trial) -> list[DatasetInput]:
        """The data set that a trial trains on, and those that it is only tested on."""
        inputs = []
        for data in self._datasets(trial):
            if data.name in self._windows:
                context = "training" if data.name == trial.config.dataset else "testing"
                inputs.append(DatasetInput(data, [InputTag("mlflow.data.context", context)]))
        return inputs

    def _datasets(self, trial: Trial) -> list[Dataset]:
        """The data sets that a trial is measured on."""
        found = []
        for name, key in trial.measured_on().items():
            if (windows := self._windows.get(name)) is None:  # no longer in the store
                found.append(Dataset(name, key, "local", "{}"))
                continue
            classes = {label for counts in windows.classes.values() for label in counts}
            profile = {"windows": windows.counts, "classes": len(classes)}
            source = json.dumps({"uri": str(windows.folder)})
            found.append(Dataset(name, windows.key, "local", source, profile=json.dumps(profile)))
        return found

    def _log_epochs(self, run: str, epochs: list[dict[str, Any]], now: int) -> None:
        """`now`, in ms, stays the same in a retry, so that MLflow stores equal values only once."""
        metrics = [
            Metric(key, float(value), now, int(epoch["epoch"]))
            for epoch in epochs
            for key, value in epoch.items()
            if key != "epoch"
        ]
        for i in range(0, len(metrics), 1000):  # at most this many in one call
            self._client.log_batch(run, metrics=metrics[i : i + 1000])

    def _log_missing(self, run: str, history: list[dict[str, Any]]) -> None:
        """Records those of the epochs that are not recorded yet."""
        steps = {m.step for m in self._client.get_metric_history(run, TRAIN_LOSS)}
        missing = [epoch for epoch in history if epoch["epoch"] not in steps]
        self._log_epochs(run, missing, get_current_time_millis())

    def _end(self, run: str, status: str, reason: str) -> None:
        reason = redacted(reason)[:500]
        self._client.set_tag(run, REASON, reason)
        self._client.set_tag(run, runs.NOTE, as_text(reason))  # shown as Markdown
        self._client.set_terminated(run, status)


def _costs(trained: TrainedRecord) -> dict[str, float]:
    """What training cost, under `system/`, where MLflow has its own figures of a machine."""
    peak = trained.peak_memory or {}
    found = {
        "training_seconds": trained.seconds,
        "workers": trained.workers,
        "threads": trained.threads,
        **{f"peak_memory_megabytes_{device}": bytes / 1e6 for device, bytes in peak.items()},
    }
    return {f"system/{name}": float(value) for name, value in found.items() if value is not None}


def _make_database(path: Path) -> None:
    """Creates MLflow's database, under another name until it is complete: MLflow takes seconds to
    create its tables, and cannot use those that a killed process has left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        MlflowClient(f"sqlite:///{temporary}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another sweep of this store was faster
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
