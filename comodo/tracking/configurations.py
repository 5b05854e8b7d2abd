"""One run for each configuration of a sweep, with means over its trials, whose runs are below it.

MLflow's page of an experiment opens with the newest runs first, and hides those that are below
another. So these have no parent, and are created from the worst to the best. What a configuration
is, and which is best, is decided elsewhere.
"""

from dataclasses import dataclass

from mlflow.entities import LoggedModelOutput, Metric, Param, Run
from mlflow.tracking import MlflowClient
from mlflow.utils.time import get_current_time_millis

from comodo.tracking import runs

CONFIGURATION = "comodo.configuration"  # tag: its label, which is unique in the sweep


@dataclass(frozen=True)
class Configuration:
    """What the run of a configuration shows."""

    label: str
    name: str
    """Of the run."""
    description: str
    """Markdown."""
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def record(
    configurations: list[Configuration],
    label_of: dict[str, str],
    view: str,
    of: runs.SweepRuns,
) -> None:
    """Records a sweep's configurations, the best first, and moves the runs of its trials below
    them; prints why if that fails. What is recorded already is kept, unless the order has changed.

    Args:
        label_of: of each trial, by key, the label of its configuration.
        view: the tag of the experiment with the saved view of these runs.
    """
    try:
        _Recorder(of).record(configurations, label_of, view)
    except runs.FAILURES as error:
        runs.print_failure(error, "configurations are not recorded")


class _Recorder:
    def __init__(self, of: runs.SweepRuns) -> None:
        self._of, self._client = of, MlflowClient(of.uri)

    def record(
        self, configurations: list[Configuration], label_of: dict[str, str], view: str
    ) -> None:
        trials = runs.trial_runs(self._client, self._of.experiment, self._of.parent)
        own: dict[str, list[Run]] = {one.label: [] for one in configurations}
        for run in trials:
            label = label_of.get(run.data.tags[runs.TRIAL])
            if label in own:
                own[label].append(run)
        ids = self._current(configurations, own)
        for run in trials:
            label = label_of.get(run.data.tags[runs.TRIAL], "")
            self._move(run, ids.get(label, self._of.parent))
        key = runs.VIEW_TAG + runs.view_of(self._of.parent)
        self._client.set_experiment_tag(self._of.experiment, key, view)

    def _current(
        self, configurations: list[Configuration], own: dict[str, list[Run]]
    ) -> dict[str, str]:
        """The run of each configuration, by label: those that there are if their order is still
        right, else new ones in their place. MLflow can change neither parameters nor the time of
        creation."""
        condition = (
            f"tags.`{runs.SWEEP_RUN}` = '{self._of.parent}' and tags.`{CONFIGURATION}` != ''"
        )
        known = self._client.search_runs(
            [self._of.experiment],
            condition,
            max_results=runs.MAX_RUNS,
            order_by=["attributes.start_time DESC"],
        )
        recorded = [(run.data.tags[CONFIGURATION], run.data.params) for run in known]
        if recorded == [(one.label, one.params) for one in configurations]:
            for run, one in zip(known, configurations, strict=True):
                self._update(run, one)
            return {run.data.tags[CONFIGURATION]: str(run.info.run_id) for run in known}
        for run in known:
            self._client.delete_run(run.info.run_id)
        now = get_current_time_millis()
        return {
            one.label: self._create(one, own[one.label], now + number)
            for number, one in enumerate(reversed(configurations))
        }

    def _create(self, one: Configuration, trials: list[Run], now: int) -> str:
        tags = {
            CONFIGURATION: one.label,
            runs.SWEEP_RUN: self._of.parent,
            runs.NOTE: one.description,
            **one.tags,
            **runs.source(),
        }
        id = str(self._client.create_run(self._of.experiment, now, tags, one.name).info.run_id)
        inputs = next((trial.inputs for trial in trials if trial.inputs), None)
        if inputs and inputs.dataset_inputs:
            self._client.log_inputs(id, inputs.dataset_inputs)
        models = [m for t in trials if t.outputs for m in t.outputs.model_outputs]
        if models:
            self._client.log_outputs(id, [LoggedModelOutput(m.model_id, 0) for m in models])
        params = [Param(*item) for item in one.params.items()]
        metrics = [Metric(key, value, now, 0) for key, value in one.metrics.items()]
        self._client.log_batch(id, metrics, params)
        self._client.set_terminated(id, "FINISHED", now)
        return id

    def _update(self, run: Run, one: Configuration) -> None:
        """Makes name, tags and metrics those of the configuration now."""
        id, now = run.info.run_id, get_current_time_millis()
        if run.info.run_name != one.name:
            self._client.update_run(id, name=one.name)
        for key, value in {**one.tags, runs.NOTE: one.description}.items():
            if run.data.tags.get(key) != value:
                self._client.set_tag(id, key, value)
        metrics = [
            Metric(key, value, now, 0)
            for key, value in one.metrics.items()
            if run.data.metrics.get(key) != value
        ]
        if metrics:
            self._client.log_batch(id, metrics=metrics)

    def _move(self, run: Run, parent: str) -> None:
        """Puts a trial's run below another. The first tag is the one by which it is found then."""
        for tag, value in ((runs.SWEEP_RUN, self._of.parent), (runs.PARENT, parent)):
            if run.data.tags.get(tag) != value:
                self._client.set_tag(run.info.run_id, tag, value)
