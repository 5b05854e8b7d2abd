"""A finished student in MLflow: its files, and a logged model whose metrics name their data set, so
that the best student on a data set is one query over all sweeps.

MLflow records metrics of a model only together with a run. They are recorded with one run for each
data set, below the sweep's run, because a trial's own run has one `test/acc1`.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Run,
)
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

from comodo.config.metric import Metric as MetricName
from comodo.core.store import fetched, write_json
from comodo.search.labels import rounded
from comodo.search.trial import Trial, TrialResult
from comodo.tracking import runs

TESTED_ON = "comodo.tested_on"  # tag of the run with the metrics of all students on a data set
FORBIDDEN = re.compile(r"[/:.%\"']")
"""In the name of a logged model."""


class Students:
    """Those of the sweep whose run is `parent`. Each record changes nothing if it is made again."""

    def __init__(self, client: MlflowClient, experiment: str, parent: str) -> None:
        self._client, self._experiment, self._parent = client, experiment, parent
        self._tests: dict[str, str] = {}  # run of each data set

    def attach(self, run: Run, result: TrialResult, folder: Path) -> None:
        """Adds a trial's files to its run, on this machine without storing the student again.
        MLflow's client would keep an object for each run."""
        artifacts = get_artifact_repository(run.info.artifact_uri, self._client.tracking_uri)
        with tempfile.TemporaryDirectory() as temporary:
            content = asdict(result.trained) | {"metrics": result.metrics}
            write_json(Path(temporary, "result.json"), content)
            artifacts.log_artifacts(temporary)
        student = fetched(folder / "student")
        if isinstance(artifacts, LocalArtifactRepository):
            _link(student, Path(artifacts.artifact_dir, "student"))
        else:
            artifacts.log_artifacts(str(student), "student")

    def log_model(
        self, run: Run, trial: Trial, name: str, result: TrialResult, data: Mapping[str, Dataset]
    ) -> None:
        """Records the student as a logged model; its files are those of the trial's run. `data`:
        the data sets that the trial was measured on, by name."""
        model = self._model(run) or self._client.create_logged_model(
            self._experiment,
            FORBIDDEN.sub("_", rounded(name)),
            run.info.run_id,
            {
                **{k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
                MLFLOW_MODEL_IS_EXTERNAL: "true",
            },
            run.data.params,
            "student",
        )
        known = {(m.key, m.dataset_name): m.value for m in model.metrics or ()}
        for dataset, metrics in _by_dataset(trial, result).items():
            new = [
                Metric(
                    key,
                    value,
                    model.creation_timestamp,
                    0,
                    model.model_id,
                    dataset,
                    data[dataset].digest,
                )
                for key, value in metrics.items()
                if known.get((key, dataset)) != value
            ]
            if new:
                if dataset not in self._tests:
                    self._tests[dataset] = self._tested_on(data[dataset])
                self._client.log_batch(self._tests[dataset], new)
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        if not has_model(run):
            self._client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])

    def _model(self, run: Run) -> LoggedModel | None:
        condition = f"source_run_id = '{run.info.run_id}'"
        found = self._client.search_logged_models([self._experiment], condition, max_results=1)
        return next(iter(found), None)

    def _tested_on(self, data: Dataset) -> str:
        """The run with the metrics of all students on a data set."""
        name = data.name.replace("'", "")
        condition = f"tags.`{runs.SWEEP_RUN}` = '{self._parent}' and tags.`{TESTED_ON}` = '{name}'"
        found = self._client.search_runs([self._experiment], condition, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {
            runs.PARENT: self._parent,
            runs.SWEEP_RUN: self._parent,
            TESTED_ON: name,
            runs.NOTE: "The metrics of all students on this data set: see the page *Models*.",
            **runs.source(),
        }
        run = self._client.create_run(
            self._experiment, tags=tags, run_name=f"students on {data.name}"
        )
        testing = DatasetInput(data, [InputTag("mlflow.data.context", "testing")])
        self._client.log_inputs(run.info.run_id, [testing])
        self._client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)


def has_model(run: Run) -> bool:
    return bool(run.outputs and run.outputs.model_outputs)


def _by_dataset(trial: Trial, result: TrialResult) -> dict[str, dict[str, float]]:
    """The metrics of each data set, without its name in theirs."""
    found: dict[str, dict[str, float]] = {}
    for name, value in result.metrics.items():
        parsed = MetricName.parse(name)
        of = found.setdefault(parsed.dataset or trial.config.dataset, {})
        of[str(replace(parsed, dataset=""))] = value
    return found


def _link(source: Path, target: Path) -> None:
    """Gives the files of a folder a second name in another, or copies them on a disk without
    links."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (name := target / path.name).unlink(missing_ok=True)
        try:
            os.link(path, name)
        except OSError:
            shutil.copy2(path, name)
