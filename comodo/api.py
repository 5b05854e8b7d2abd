"""Sweeps from Python: read a file, run it, read what the store has of it. `import comodo` offers
these functions.

They do what the commands do, without a command line. Knows no stage of a sweep.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comodo.config import Sweep, read_sweep_file
from comodo.core.store import Store, existing_store
from comodo.deploy.sources import sources_in

if TYPE_CHECKING:  # slow to import
    import pandas as pd

    from comodo.evaluation.dataframes import SweepFrames


def read_sweep(
    file: str | Path,
    overrides: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
) -> Sweep:
    """Reads and checks a sweep file; runs nothing.

    Args:
        file: the sweep file (YAML). Paths in it are relative to it.
        overrides: values for dotted keys of the file, as with `--set`; they are recorded with the
            sweep.
        store: in which `student.from` is looked up, where the file has it; as for `run_sweep`.

    Returns:
        The settings; `sweep.trial`, `sweep.search` and the others have the keys of the file.

    Raises:
        ConfigError: the file is not there, or wrong: a line for each problem, with file, line, key
            and fix.

    Examples:
        >>> sweep = comodo.read_sweep("sweeps/demo.yaml", {"seeds": [0], "trial.epochs": 2})
    """
    texts = [f"{key}={json.dumps(value, default=str)}" for key, value in (overrides or {}).items()]
    return read_sweep_file(file, overrides=texts, sources=sources_in(Store(store)))


def run_sweep(
    sweep: Sweep, store: str | Path | None = None, mlflow: bool = True, shared: bool = False
) -> "SweepFrames":
    """Runs what is missing of a sweep: prepare, encode, train, measure, report.

    As `comodo sweep`: finished work, of this sweep or another, is not repeated, so the same call
    continues after an interruption. Ray is started on this machine, or attached to the cluster in
    RAY_ADDRESS, and ended afterwards, unless it runs already. Progress is printed. Call it in the
    main thread.

    Args:
        sweep: from `read_sweep`.
        store: folder of all artifacts, or s3://BUCKET/PREFIX; by default $COMODO_STORE, else
            ./.comodo.
        mlflow: make records in MLflow while it runs; otherwise `comodo ui` makes them from the
            store.
        shared: other processes that run this sweep, also with `shared`, may run its trials at the
            same time.

    Returns:
        The sweep's frames. Trials that failed have the state `failed` and a `reason` in `.trials`.

    Raises:
        ComodoError: of a type that says what is wrong (ConfigError, DatasetError, PrepareError,
            EncodeError, ClusterError, StoreError), with the fix in its text; LeaseError while
            another process runs the sweep.

    Examples:
        >>> frames = comodo.run_sweep(comodo.read_sweep("sweeps/demo.yaml"))
        >>> frames.summary
    """
    from comodo.search.precheck import precheck
    from comodo.search.recorded_settings import refuse_other_overrides

    place = Store(store)
    precheck(f"sweep '{sweep.name}'", sweep, place, trials=True)
    refuse_other_overrides(sweep, place)
    from comodo.evaluation.dataframes import SweepFrames
    from comodo.runtime import run
    from comodo.runtime.cluster import ended_afterwards

    again = f"comodo.run_sweep(sweep{f', {str(place)!r}' if store else ''})"
    with ended_afterwards():
        results, _ = run.run_sweep(sweep, place, again, mlflow, shared)
    return SweepFrames(results, place)


def load_sweep(name: str, store: str | Path | None = None) -> "SweepFrames":
    """A sweep of the store as pandas frames, during or after the sweep.

    Needs only the store: no sweep file, recordings or Ray. Of a sweep that is still running, the
    frames have what is finished.

    Args:
        name: the sweep's name.
        store: folder of all artifacts, or s3://BUCKET/PREFIX; by default $COMODO_STORE, else
            ./.comodo.

    Returns:
        The frames `.summary`, `.differences`, `.trials`, `.curves` and `.predictions`, and the
        students: `.student(trial)`.

    Raises:
        StatusError: the store has no such sweep, or none of its trials has started.
        StoreError: there is no such store.

    Examples:
        >>> sweep = comodo.load_sweep("demo")
        >>> sweep.trials.groupby("configuration")["test/acc1"].mean()
    """
    from comodo.evaluation.dataframes import SweepFrames
    from comodo.evaluation.sweep_record import read_sweep_record

    place = existing_store(store)
    return SweepFrames(read_sweep_record(name, place).results(place), place)


def list_sweeps(store: str | Path | None = None) -> "pd.DataFrame":
    """The sweeps of a store, the latest first, running or not.

    Args:
        store: as for `load_sweep`.

    Returns:
        A row for each sweep, with what `comodo status --json` says of it: `name`, `state`, `done`
        of `planned` trials, `best` configuration, `failed` reasons, `report`, ...

    Raises:
        StoreError: there is no such store.
    """
    from dataclasses import asdict, fields

    import pandas as pd

    from comodo.report.as_json import StatusJson, status_json
    from comodo.search.status import read_all

    rows = [asdict(status_json(status)) for status in read_all(existing_store(store))]
    return pd.DataFrame(rows, columns=[field.name for field in fields(StatusJson)])
