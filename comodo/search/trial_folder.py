"""What one trial's folder in the store contains, finished or not."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from comodo.config.metric import PARAMETERS, Metric
from comodo.core.store import Store, read_json
from comodo.search.records import MeasuringRecord, TrainedRecord
from comodo.search.trial import Trial


@dataclass(frozen=True)
class TrialFolder:
    """Reads what is there. JSON files of a bucket have to be `fetched`; they are read once."""

    path: Path

    @cached_property
    def trained(self) -> TrainedRecord | None:
        """None: the student is not trained yet."""
        return TrainedRecord.find(self.path)

    @cached_property
    def measuring(self) -> MeasuringRecord | None:
        """None: nothing was measured yet."""
        return MeasuringRecord.find(self.path)

    def metrics_file(self, place: Path) -> Path:
        """Where the metrics of a measure are; `place`: see `Trial.measures`."""
        return self.path / f"{place}.json"


@dataclass(frozen=True)
class TrialResult:
    """A finished trial."""

    trained: TrainedRecord
    metrics: dict[str, float]
    """By the metric's name."""


def read_result(trial: Trial, store: Store) -> TrialResult | None:
    """All requested measures; None while anything is missing.

    A baseline's classifier also gives the metrics of the probe, which a baseline does not have.
    """
    folder, own = TrialFolder(store.folder("trials", trial.key)), trial.config.dataset
    if folder.trained is None:
        return None
    metrics: dict[str, float] = {PARAMETERS: folder.trained.parameters}
    for dataset, _, place in trial.measures():
        path = folder.metrics_file(place)
        if not path.exists():
            return None
        found = {Metric.parse(name): value for name, value in read_json(path).items()}
        if trial.config.student.is_baseline:
            found |= {replace(metric, measure="probe"): value for metric, value in found.items()}
        where = "" if dataset == own else dataset
        metrics |= {str(replace(metric, dataset=where)): value for metric, value in found.items()}
    return TrialResult(folder.trained, metrics)
