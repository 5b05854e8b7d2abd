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
TRIAL, SWEEP, STORE, PARENT = "comodo.trial", "comodo.sweep", "comodo.store", "mlflow.parentRunId"
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


def view_of(parent: str) -> str:
    """The key of the saved view of a sweep's trials: an experiment may have those of two stores."""
    return f"comodo-{parent}"


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

    def runs_page(self, charts: bool = False) -> str:
        """All trials, in the sweep's saved view."""
        mode = "&compareRunsMode=CHART" if charts else ""
        view = view_of(self.parent)
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


def recorded(sweep: str, store: Store) -> str | None:
    """The `UPDATED` of a sweep's run; None: it has none."""
    uri = tracking_uri(store)
    if uri == own_database(store) and not (records_folder(store) / "mlflow.db").exists():
        return None
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(sweep)
    run = experiment and sweep_run(client, experiment.experiment_id, sweep, store)
    return run.data.tags.get(UPDATED) if run else None


def find_runs(sweep: str, store: Store) -> SweepRuns | None:
    """The records of a sweep; None if there are none, or MLflow is away, which is printed."""
    uri = tracking_uri(store)
    if uri == own_database(store) and not (records_folder(store) / "mlflow.db").exists():
        return None
    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is None:
            return None
        id = experiment.experiment_id
        if (found := sweep_run(client, id, sweep, store)) is None:
            return None
        parent = str(found.info.run_id)
        runs = client.search_runs([id], f"tags.`{PARENT}` = '{parent}'", max_results=MAX_RUNS)
    except FAILURES as error:
        print_failure(error, "no links to it")
        return None
    trials = {run.data.tags[TRIAL]: str(run.info.run_id) for run in runs if TRIAL in run.data.tags}
    return SweepRuns(uri, id, parent, trials)


def attach(report: Path, runs: SweepRuns, description: str) -> None:
    """Puts a report and its figures into the sweep's run, with a description of it; prints why if
    that fails."""
    client = MlflowClient(runs.uri)
    try:
        client.log_artifacts(runs.parent, str(report), "report")
        for picture in sorted(report.glob("*.png")):
            client.log_artifact(runs.parent, str(picture), "figures")
        client.set_tag(runs.parent, NOTE, description)
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
