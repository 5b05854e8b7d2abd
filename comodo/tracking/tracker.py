"""The one place that records in MLflow.

Experiment = sweep's name; a parent run for the sweep, a child for each trial. Records are made by
the driver alone. When MLflow cannot be reached, training goes on, and the next run of the same
command brings the records up to date from the store.
"""

import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient

from comodo.config.search import flatten
from comodo.console import console
from comodo.identity import Trial
from comodo.names import rounded
from comodo.store import Store, write_json
from comodo.tracking.runs import (
    FAILURES,
    MOST_RUNS,
    NOTE,
    PARENT,
    SWEEP,
    TRIAL,
    VIEW_TAG,
    artifact_root,
    own_database,
    say,
    tracking_uri,
)
from comodo.windows import WindowSet

REASON = "comodo.reason"
LONGEST_QUESTION = 2_000  # letters, of which the list of experiments shows a few
SLOW, PAUSE = 2.0, 60.0
"""Seconds after which a call that fails has found nobody, and for which no other is tried then."""
SAMPLING, SAMPLES = 10, 3  # seconds between looks at the machine, and looks to a recorded mean


class Tracker:
    """The records of one sweep."""

    def __init__(self, store: Store, sweep: str, config: dict[str, Any]) -> None:
        self._runs: dict[str, str] = {}  # trial key to run id
        self._client: MlflowClient | None = None
        self._windows: Mapping[str, WindowSet] = {}
        self._machine: SystemMetricsMonitor | None = None
        self._left_alone = -math.inf  # until then MLflow is away
        self._guarded(self._open, store, sweep, config)

    def _open(self, store: Store, sweep: str, config: dict[str, Any]) -> None:
        uri = tracking_uri(store)
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # Its thread would write a line every half minute while MLflow is away.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        database = store.folder("mlflow", "mlflow.db")
        if uri == own_database(store) and not database.exists():
            _make_database(database)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is not None:
            self._experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":  # in MLflow's pages, since the last run
                client.restore_experiment(self._experiment)
        else:
            root = f"{artifact_root(store)}/{sweep}" if uri.startswith("sqlite") else None
            # The page then opens on training runs, not on traces.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            self._experiment = client.create_experiment(sweep, root, tags)
        parent = self._find(client, f"tags.`{SWEEP}` = '{sweep}'")
        if parent is None:
            parent = self._create(client, f"sweep {sweep}", {SWEEP: sweep})
        self._parent = str(parent.info.run_id)
        client.log_dict(self._parent, config, "sweep.json")
        client.update_run(self._parent, RunStatus.to_string(RunStatus.RUNNING))
        for run in client.search_runs(
            [self._experiment],
            f"tags.`{PARENT}` = '{self._parent}' and attributes.status = 'RUNNING'",
            max_results=MOST_RUNS,
        ):  # left by a driver that was killed
            client.set_terminated(run.info.run_id, "KILLED")
        self._client = client

    def _find(self, client: MlflowClient, condition: str) -> Run | None:
        runs = client.search_runs([self._experiment], condition, max_results=1)
        return runs[0] if runs else None

    def _create(self, client: MlflowClient, name: str, tags: dict[str, str]) -> Run:
        return client.create_run(self._experiment, tags=tags, run_name=name)

    def begin(
        self, question: str, description: str, view: str, windows: Mapping[str, WindowSet]
    ) -> None:
        """Describes the sweep, and begins to record the load of this machine.

        question: what the list of experiments says of it. description: Markdown, until `attach`
        has a better one. view: of `views.saved_view`. windows: of each data set, named as
        inputs of the trials from here on.
        """
        self._windows = windows
        self._guarded(self._begin, question, description, view)

    def start(self, trial: Trial, name: str) -> None:
        """Opens the trial's run, or goes on with the one that it has."""
        self._guarded(self._run_of, trial, name)

    def epoch(self, trial: Trial, metrics: dict[str, Any]) -> None:
        """Records one epoch of a running trial."""
        self._guarded(self._log_epochs, self._runs.get(trial.key), [metrics])

    def finish(self, trial: Trial, name: str, result: dict[str, Any], folder: Path) -> None:
        """Records a finished trial whole: missing epochs, measures, files."""
        self._guarded(self._finish, trial, name, result, folder)

    def end(self, trial: Trial, status: str, reason: str) -> None:
        """Closes the run of a trial without a result: KILLED when pruned, FAILED when it failed."""
        self._guarded(self._end, trial, status, reason)

    def close(self) -> None:
        """Closes the sweep's run."""
        self._guarded(self._close, "FINISHED")

    def abandon(self) -> None:
        """Closes the sweep's run when it cannot be ended."""
        self._guarded(self._close, "KILLED")

    def _guarded(self, call: Any, *args: Any) -> None:
        """Records must never stop a trial: what fails is said, and made good by the next run."""
        if self._client is None and call != self._open:
            return
        began = time.monotonic()
        if began < self._left_alone:
            return
        try:
            call(*args)
        except FAILURES as error:
            say(error, "training goes on, run the same command again to complete the records")
            if time.monotonic() - began > SLOW:
                self._left_alone = time.monotonic() + PAUSE

    def _begin(self, question: str, description: str, view: str) -> None:
        assert self._client is not None
        self._client.set_experiment_tag(self._experiment, NOTE, question[:LONGEST_QUESTION])
        self._client.set_experiment_tag(self._experiment, VIEW_TAG, view)
        self._client.set_tag(self._parent, NOTE, description)
        try:
            self._machine = SystemMetricsMonitor(
                self._parent, SAMPLING, SAMPLES, True, tracking_uri=self._client.tracking_uri
            )
        except Exception as error:  # whatever psutil misses on this system
            console.print(f"the load of this machine is not recorded: {error}", style="yellow")
        else:
            self._machine.start()

    def _run_of(self, trial: Trial, name: str) -> str:
        assert self._client is not None
        if trial.key not in self._runs:
            run = self._find(self._client, self._condition(trial))
            if run is None:
                tags = {
                    PARENT: self._parent,
                    TRIAL: trial.key,
                    "dataset": trial.config.dataset,
                    "teacher": trial.config.teacher.name,
                    "student": trial.config.student.name,
                    "method": trial.config.method.name,
                    "protocol": trial.config.protocol,
                    "configuration": name.removesuffix(f" seed {trial.seed}"),
                }
                run = self._create(self._client, rounded(name), tags)
            if not run.data.params:  # a new run, or one whose driver was killed right then
                self._client.log_inputs(run.info.run_id, self._inputs(trial))
                config = flatten(trial.config.model_dump(mode="json")) | {"seed": trial.seed}
                params = [Param(key, str(value)) for key, value in config.items()]
                self._client.log_batch(run.info.run_id, params=params)
            self._runs[trial.key] = str(run.info.run_id)
            self._client.update_run(run.info.run_id, RunStatus.to_string(RunStatus.RUNNING))
            if REASON in run.data.tags:  # of an earlier end
                for tag in {REASON, NOTE} & run.data.tags.keys():
                    self._client.delete_tag(run.info.run_id, tag)
        return self._runs[trial.key]

    def _inputs(self, trial: Trial) -> list[DatasetInput]:
        """The data set that a trial trains on, and those that it is only tested on."""
        inputs = []
        for name in trial.measured_on():
            if (windows := self._windows.get(name)) is None:
                continue
            classes = {label for counts in windows.classes.values() for label in counts}
            profile = {"windows": windows.counts, "classes": len(classes)}
            data = Dataset(
                name,
                windows.key,
                "local",
                json.dumps({"uri": str(windows.folder)}),
                profile=json.dumps(profile),
            )
            context = "training" if name == trial.config.dataset else "testing"
            inputs.append(DatasetInput(data, [InputTag("mlflow.data.context", context)]))
        return inputs

    def _condition(self, trial: Trial) -> str:
        """MLflow's filter for the trial's run in this sweep."""
        return f"tags.`{PARENT}` = '{self._parent}' and tags.`{TRIAL}` = '{trial.key}'"

    def _log_epochs(self, run: str | None, epochs: list[dict[str, Any]]) -> None:
        if run is None or self._client is None:
            return
        now = mlflow.utils.time.get_current_time_millis()
        metrics = [
            Metric(key, float(value), now, int(epoch["epoch"]))
            for epoch in epochs
            for key, value in epoch.items()
            if key != "epoch"
        ]
        for i in range(0, len(metrics), 1000):  # the most that one call takes
            self._client.log_batch(run, metrics=metrics[i : i + 1000])

    def _finish(self, trial: Trial, name: str, result: dict[str, Any], folder: Path) -> None:
        assert self._client is not None
        known = self._find(self._client, self._condition(trial))
        logged = {} if known is None else known.data.metrics
        found = result["metrics"] | _costs(result)
        measures = {k: value for k, value in found.items() if logged.get(k) != value}
        if known is not None and known.info.status == "FINISHED" and not measures:
            return
        run = self._run_of(trial, name)
        steps = {m.step for m in self._client.get_metric_history(run, "train/loss")}
        self._log_epochs(run, [e for e in result["history"] if e["epoch"] not in steps])
        self._log_epochs(run, [{"epoch": len(result["history"]), **measures}])
        self._attach(run, result, folder)
        self._client.set_terminated(run, "FINISHED")

    def _attach(self, run: str, result: dict[str, Any], folder: Path) -> None:
        """Adds a trial's files to its run. MLflow's client would keep an object for each run."""
        assert self._client is not None
        uri = self._client.get_run(run).info.artifact_uri
        artifacts = get_artifact_repository(uri, self._client.tracking_uri)
        with tempfile.TemporaryDirectory() as temporary:
            write_json(Path(temporary, "result.json"), result)
            artifacts.log_artifacts(temporary)
        artifacts.log_artifacts(str(folder / "student"), "student")

    def _end(self, trial: Trial, status: str, reason: str) -> None:
        assert self._client is not None
        if run := self._runs.get(trial.key):
            for tag in (REASON, NOTE):
                self._client.set_tag(run, tag, reason[:500])
            self._client.set_terminated(run, status)

    def _close(self, status: str) -> None:
        assert self._client is not None
        if self._machine is not None:
            self._machine.finish()
        self._client.set_terminated(self._parent, status)


def _costs(result: dict[str, Any]) -> dict[str, float]:
    """What training took, named as MLflow groups it: beside its own figures of a machine."""
    peak = result.get("peak_memory", {})
    found = {
        "training_seconds": result.get("seconds"),
        "workers": result.get("workers"),
        "threads": result.get("threads"),
        **{f"peak_memory_megabytes_{device}": bytes / 1e6 for device, bytes in peak.items()},
    }
    return {f"system/{name}": float(value) for name, value in found.items() if value is not None}


def _make_database(path: Path) -> None:
    """Makes MLflow's database, under another name until it is whole.

    MLflow takes seconds to make its tables, and cannot use what a process that was killed
    meanwhile has left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        MlflowClient(f"sqlite:///{temporary}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another sweep of this store was faster
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
