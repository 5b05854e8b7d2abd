"""Finds the records of sweeps in MLflow: the database, a sweep's runs, their pages' addresses.

`tracker` makes the records; a report is attached to them here.
"""

import errno
import getpass
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from comodo.core.console import console
from comodo.core.provenance import commit
from comodo.core.redaction import without_password
from comodo.core.store import Store, create, fetched, is_present, read_json

LOCAL = "http://127.0.0.1:5000"  # where comodo ui serves by default
MAX_RUNS = 10_000
MAX_QUESTION = 2_000  # characters; the list of experiments shows the first few
TRIAL, SWEEP, STORE, PARENT = "comodo.trial", "comodo.sweep", "comodo.store", "mlflow.parentRunId"
SWEEP_RUN = "comodo.sweep_run"
"""Tag of the runs of trials and configurations: the sweep's run. Trials of earlier versions, which
are below the sweep's run, lack it."""
NOTE = "mlflow.note.content"
UPDATED = "comodo.updated"  # of a sweep's run that was made from the store: the state it has
VIEW_TAG = "mlflow.sharedViewState."  # of an experiment; with the key of a saved view
ARTIFACT_COLUMNS = {"artifact_location", "artifact_uri", "source", "storage_location"}
"""Of MLflow's tables: paths of artifacts."""
FAILURES = (MlflowException, SQLAlchemyError, OSError)
"""Errors when a record cannot be made."""
NO_ANSWER = re.compile(r"API request to (\w+://[^/]+)\S* failed with (?:timeout )?exception")
UNAUTHENTICATED_CODES = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def print_failure(error: Exception, what_now: str) -> None:
    """Prints why a record could not be made."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if silent := NO_ANSWER.match(reason):
        reason = f"{silent[1]} does not answer"
    if getattr(error, "error_code", None) in UNAUTHENTICATED_CODES:
        reason = (
            f"{without_password(os.environ.get('MLFLOW_TRACKING_URI', ''))} refuses this name and "
            "password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    console.print(f"MLflow: {reason}; {what_now}", style="yellow", markup=False)


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_database(store)


def own_database(store: Store) -> str:
    return f"sqlite:///{records_folder(store) / 'mlflow.db'}"


def artifact_root(store: Store) -> Path:
    return records_folder(store) / "artifacts"


def records_folder(store: Store) -> Path:
    """The folder of MLflow's files on this machine. Earlier versions kept those of a bucket's store
    in its cache, which can be deleted: they are moved, once."""
    folder, cached = store.kept / "mlflow", store.root / "mlflow"
    if folder.exists() or not cached.exists():
        return folder
    try:
        _move(cached, folder)
    except (OSError, sqlite3.Error) as error:
        print_failure(error, f"its records stay in the cache, {cached}")
        return cached
    return folder


def _move(cached: Path, folder: Path) -> None:
    """Moves MLflow's files. The database names the folders of its artifacts."""
    if (database := cached / "mlflow.db").exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            listed = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
            for table, column in connection.execute(listed).fetchall():
                if column in ARTIFACT_COLUMNS:
                    change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                    connection.execute(change, (str(cached), str(folder)))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(cached, folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:  # on another disk
            os.rename(shutil.copytree(cached, Path(temporary, folder.name)), folder)
        shutil.rmtree(cached)


def store_id(store: Store) -> str:
    """A random name, the same on all machines of the store, made when it is first needed."""
    path = store.root / "store.json"
    if not is_present(path):
        create(path, json.dumps({"id": uuid4().hex}))
    return str(read_json(fetched(path))["id"])


def view_of(parent: str, trials: bool = False) -> str:
    """The key of the saved view of a sweep's configurations, or of its trials: an experiment may
    have those of two stores."""
    return f"comodo-{parent}{'-trials' * trials}"


def is_of(run: Run, parent: str) -> bool:
    """Whether a run is that of a trial or configuration of the sweep with this run."""
    return parent in (run.data.tags.get(SWEEP_RUN), run.data.tags.get(PARENT))


def trial_runs(
    client: MlflowClient, experiment: str, parent: str, condition: str = ""
) -> list[Run]:
    """The runs of a sweep's trials that meet a condition, below its run or those of its
    configurations."""
    conditions = [f"tags.`{TRIAL}` != ''", *filter(None, [condition])]
    found = client.search_runs([experiment], " and ".join(conditions), max_results=MAX_RUNS)
    return [run for run in found if is_of(run, parent)]


def sweep_run(client: MlflowClient, experiment: str, sweep: str, store: Store) -> Run | None:
    """The run of this store's sweep: on a server other stores have sweeps of the same name. In the
    store's own database a run without a store is its own, made by an earlier version."""
    own = store_id(store)
    unknown = own if client.tracking_uri == own_database(store) else None
    found = client.search_runs([experiment], f"tags.`{SWEEP}` = '{sweep}'", max_results=MAX_RUNS)
    return next((run for run in found if run.data.tags.get(STORE, unknown) == own), None)


@dataclass(frozen=True)
class SweepRuns:
    """The records of one sweep."""

    uri: str
    experiment: str
    parent: str  # run of the sweep
    trials: dict[str, str]  # key of each trial to its run

    @property
    def is_local(self) -> bool:
        """Whether they are in a file, which `comodo ui` has to open."""
        return not self.uri.startswith("http")

    def link(self, page: str) -> str:
        """The address of a page from outside MLflow."""
        server = LOCAL if self.is_local else without_password(self.uri).rstrip("/")
        return f"{server}/{page}"

    def run_page(self, run: str) -> str:
        return f"#/experiments/{self.experiment}/runs/{run}"

    def runs_page(self, charts: bool = False, trials: bool = False) -> str:
        """All configurations, or all trials, in the sweep's saved view of them."""
        mode = "&compareRunsMode=CHART" if charts else ""
        view = view_of(self.parent, trials)
        return f"#/experiments/{self.experiment}/runs?viewStateShareKey={view}{mode}"

    def compare_page(self, runs: list[str]) -> str:
        """A comparison of runs, few enough to fit into an address."""
        named = [quote(json.dumps(ids, separators=(",", ":"))) for ids in (runs, [self.experiment])]
        return "#/compare-runs?runs={}&experiments={}".format(*named)


def source() -> dict[str, str]:
    """MLflow's tags of who runs what."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid())
    tags = {"mlflow.user": user, "mlflow.source.name": "comodo", "mlflow.source.type": "LOCAL"}
    if (found := commit()) is not None:
        tags["mlflow.source.git.commit"] = found.removesuffix("-dirty")
    return tags


def _has_none(store: Store) -> bool:
    """Whether no database of the store was made yet; looking would make it."""
    own = tracking_uri(store) == own_database(store)
    return own and not (records_folder(store) / "mlflow.db").exists()


def experiment_pages(sweeps: Iterable[str], store: Store) -> dict[str, str]:
    """Of the recorded ones, the address of the page with their runs, within MLflow. Without the
    last part MLflow opens, on a first visit, a page for traces of language models."""
    if _has_none(store):
        return {}
    client = MlflowClient(tracking_uri(store))
    try:
        found = {name: client.get_experiment_by_name(name) for name in sweeps}
    except FAILURES as error:
        print_failure(error, "no links to it")
        return {}
    return {
        name: f"#/experiments/{experiment.experiment_id}?workflowType=machine_learning"
        for name, experiment in found.items()
        if experiment is not None
    }


def recorded(sweep: str, store: Store) -> str | None:
    """The `UPDATED` of a sweep's run; None: it has none."""
    if _has_none(store):
        return None
    uri = tracking_uri(store)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(sweep)
    run = experiment and sweep_run(client, experiment.experiment_id, sweep, store)
    return run.data.tags.get(UPDATED) if run else None


def find_runs(sweep: str, store: Store) -> SweepRuns | None:
    """The records of a sweep; None if there are none, or MLflow is away, which is printed."""
    if _has_none(store):
        return None
    uri = tracking_uri(store)
    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is None:
            return None
        id = experiment.experiment_id
        if (found := sweep_run(client, id, sweep, store)) is None:
            return None
        parent = str(found.info.run_id)
        runs = trial_runs(client, id, parent)
    except FAILURES as error:
        print_failure(error, "no links to it")
        return None
    trials = {run.data.tags[TRIAL]: str(run.info.run_id) for run in runs}
    return SweepRuns(uri, id, parent, trials)


def attach(report: Path, runs: SweepRuns, description: str, answer: str) -> None:
    """Puts a report and its figures into the sweep's run, with a description of it, and the answer
    above the experiment's runs; both are Markdown. Prints why if that fails."""
    client = MlflowClient(runs.uri)
    try:
        client.log_artifacts(runs.parent, str(report), "report")
        for picture in sorted(report.glob("*.png")):
            client.log_artifact(runs.parent, str(picture), "figures")
        client.set_tag(runs.parent, NOTE, description)
        client.set_experiment_tag(runs.experiment, NOTE, answer[:MAX_QUESTION])
    except FAILURES as error:
        print_failure(error, "not attached")


def attach_to_trial(folder: Path, runs: SweepRuns, trial: str, under: str) -> None:
    """Puts a folder's files into the run of a trial, if it has one; prints why if that fails."""
    if (run := runs.trials.get(trial)) is None:
        return
    try:
        MlflowClient(runs.uri).log_artifacts(run, str(folder), under)
    except FAILURES as error:
        print_failure(error, "not attached")
