"""The one place that talks to MLflow.

Experiment = sweep's name; a parent run for the sweep, a child for each trial. Records are made by
the driver alone. When MLflow cannot be reached, training goes on, and the next run of the same
command brings the records up to date from the store.
"""

import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from comodo.config.search import flatten
from comodo.console import console
from comodo.identity import Trial
from comodo.store import Store, write_json

LOCAL = "http://127.0.0.1:5000"  # where comodo ui serves by default
MOST_RUNS = 10_000
TRIAL, SWEEP, PARENT = "comodo.trial", "comodo.sweep", "mlflow.parentRunId"


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the store."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or _own_database(store)


def _own_database(store: Store) -> str:
    return f"sqlite:///{store.folder('mlflow', 'mlflow.db')}"


def artifact_root(store: Store) -> Path:
    return store.folder("mlflow", "artifacts")


@dataclass(frozen=True)
class SweepRuns:
    """Where the records of a sweep lie."""

    uri: str
    experiment: str
    parent: str
    """Run of the sweep."""
    trials: dict[str, str]
    """Key of each trial to its run."""

    @property
    def is_local(self) -> bool:
        """Whether they are in a file, which `comodo ui` has to open."""
        return not self.uri.startswith("http")

    def link(self, run: str) -> str:
        base = LOCAL if self.is_local else self.uri.rstrip("/")
        return f"{base}/#/experiments/{self.experiment}/runs/{run}"


def find_runs(sweep: str, store: Store) -> SweepRuns | None:
    """The records of a sweep; None, and it is said why, if there are none or MLflow is away."""
    uri = tracking_uri(store)
    if uri == _own_database(store) and not store.folder("mlflow", "mlflow.db").exists():
        return None
    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is None:
            return None
        runs = client.search_runs([experiment.experiment_id], max_results=MOST_RUNS)
    except (MlflowException, OSError) as error:
        console.print(f"MLflow: {str(error).splitlines()[0]}; no links to it", style="yellow")
        return None
    trials = {run.data.tags[TRIAL]: str(run.info.run_id) for run in runs if TRIAL in run.data.tags}
    parents = [str(run.info.run_id) for run in runs if SWEEP in run.data.tags]
    return SweepRuns(uri, experiment.experiment_id, parents[0], trials) if parents else None


def attach(report: Path, runs: SweepRuns) -> None:
    """Puts a report into the sweep's run; says so if it cannot be."""
    try:
        MlflowClient(runs.uri).log_artifacts(runs.parent, str(report), "report")
    except (MlflowException, OSError) as error:
        console.print(f"MLflow: {str(error).splitlines()[0]}; not attached", style="yellow")


class Tracker:
    """The records of one sweep."""

    def __init__(self, store: Store, sweep: str, config: dict[str, Any]) -> None:
        self._runs: dict[str, str] = {}  # trial key to run id
        self._client: MlflowClient | None = None
        self._guarded(self._open, store, sweep, config)

    def _open(self, store: Store, sweep: str, config: dict[str, Any]) -> None:
        uri = tracking_uri(store)
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        database = store.folder("mlflow", "mlflow.db")
        if uri == _own_database(store) and not database.exists():
            _make_database(database)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is not None:
            self._experiment = experiment.experiment_id
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

    def close(self, report: Path) -> None:
        """Attaches the report and closes the sweep's run."""
        self._guarded(self._close, report)

    def abandon(self) -> None:
        """Closes the sweep's run when it cannot be ended."""
        self._guarded(self._abandon)

    def _guarded(self, call: Any, *args: Any) -> None:
        """Records must never stop a trial: what fails is said, and made good by the next run."""
        if self._client is None and call != self._open:
            return
        try:
            call(*args)
        except (MlflowException, OSError) as error:
            console.print(
                f"MLflow: {str(error).splitlines()[0]}; training goes on, run the same "
                "command again to complete the records",
                style="yellow",
            )

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
                }
                run = self._create(self._client, name, tags)
            if not run.data.params:  # a new run, or one whose driver was killed right then
                config = flatten(trial.config.model_dump(mode="json")) | {"seed": trial.seed}
                params = [Param(key, str(value)) for key, value in config.items()]
                self._client.log_batch(run.info.run_id, params=params)
            self._runs[trial.key] = str(run.info.run_id)
            self._client.update_run(run.info.run_id, RunStatus.to_string(RunStatus.RUNNING))
        return self._runs[trial.key]

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
        measures = {k: value for k, value in result["metrics"].items() if logged.get(k) != value}
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
            self._client.set_tag(run, "comodo.reason", reason[:500])
            self._client.set_terminated(run, status)

    def _close(self, report: Path) -> None:
        assert self._client is not None
        self._client.log_artifacts(self._parent, str(report), "report")
        self._client.set_terminated(self._parent, "FINISHED")

    def _abandon(self) -> None:
        assert self._client is not None
        self._client.set_terminated(self._parent, "KILLED")


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
