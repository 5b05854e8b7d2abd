"""The key of a trial, where in its folder each measure is stored, and its result.

The key is the hash of everything that the student depends on, so no student is trained twice. Of
a sweep that another version ran, trials and measures are found under their recorded keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import (
    NoneMethod,
    StudentConfig,
    SupervisedMethod,
    Sweep,
    TrialConfig,
)
from comodo.config.dataset_base import G_AND_DEGREES, Units
from comodo.config.measures import DECLARED, PROMPT, Declaration, Measure
from comodo.config.metric import PARAMETERS, Metric
from comodo.core.errors import ChangedError
from comodo.core.hub import known_commit
from comodo.core.parts import is_whole
from comodo.core.store import Fingerprint, Store, find_json, fingerprint, key_of
from comodo.core.versions import HAND_CRAFTED_VERSION, MEASURES_VERSION, TRIAL_VERSION
from comodo.data.folds import Fold, Folds
from comodo.search.records import TrainedRecord

NOTHING = NoneMethod(name="none")
READ_UNTRAINED = {"student", "method", "imu_units", "probe_mask", "probe_ties", "probe_windows"}
"""Settings in the key of a student that nothing trains."""


@cache
def _features_of(channels: tuple[str, ...]) -> StudentConfig:
    """The settings of hand-crafted features, which are the same for thousands of trials."""
    return StudentConfig(name="hand-crafted", channels=channels)


@dataclass(frozen=True)
class Versions:
    """Of the code that named trials and measures; by default of this one."""

    trial: int = field(default_factory=lambda: TRIAL_VERSION)
    measures: int = field(default_factory=lambda: MEASURES_VERSION)


@dataclass(frozen=True)
class Evaluation:
    """What is measured of a sweep's students, and on which data sets."""

    measures: tuple[str, ...] = ("probe",)
    targets: dict[str, str] = field(default_factory=dict)
    """Further data sets: name to key of the packed windows."""
    unlabelled: frozenset[str] = frozenset()
    """Data sets, also to train on, that have too few labels to fit a probe on."""
    label_map: dict[str, dict[str, str]] = field(default_factory=dict)
    published_units: dict[str, Units] = field(default_factory=dict)
    """Of all data sets of the sweep, as `config.datasets` has them; empty for a sweep of an earlier
    version, whose students saw g and deg/s under each protocol."""
    rates: dict[str, float] = field(default_factory=dict)
    """Samples per second of each data set's windows, for measures that change the windows."""
    folds: dict[str, Folds] = field(default_factory=dict)
    """Of data sets with folds, whether trained on or further ones."""
    own: dict[str, Measure] = field(default_factory=dict)
    """The measures of files and of installed packages, by name."""
    prompt: str = PROMPT
    """Of each class, for `zero-shot-text`."""

    def declared(self, measure: str) -> Declaration:
        """What is known of one of its measures."""
        return self.own[measure].declared if measure in self.own else DECLARED[measure]


def weights_id(student: StudentConfig) -> Fingerprint:
    """What names a student's pretrained weights now: the content of a file or folder, the commit
    of a hub id that this machine has downloaded; empty without weights, or before the first
    download."""
    if student.weights is None:
        return {}
    if Path(student.weights).exists():
        return fingerprint(student.weights, by_content=True)
    commit = known_commit(student.weights, student.revision)
    return {} if commit is None else {"commit": commit}


@dataclass(frozen=True)
class Trial:
    """A configuration, a seed and a fold, with the arrays for training and measuring."""

    config: TrialConfig
    seed: int
    windows: str
    """Key of the packed windows: identifies the data set."""
    features: str
    """Key of the packed features: identifies the teacher."""
    evaluation: Evaluation = Evaluation()
    weights: Fingerprint | None = None
    """`weights_id` of the student when the sweep began, maybe on another machine; None: it is
    computed when the key is first used."""
    versions: Versions | None = None
    """Recorded versions of the code that named it; None: those of this code."""
    recorded_key: str | None = None
    """In place of the key that this code computes."""
    fold: Fold | None = None
    """Of the data set trained on; None: it has one split."""

    @cached_property
    def key(self) -> str:
        if self.recorded_key is not None:
            return self.recorded_key
        return self._key_by(
            weights_id(self.config.student) if self.weights is None else self.weights
        )

    @property
    def start(self) -> dict[str, str]:
        """What names the student that it starts from: the key of a `trial`, or the SHA-256 of the
        `content` of a folder's weights; empty without one. Raises ConfigError where none fits."""
        if (source := self.config.student.start) is None:
            return {}
        return source.for_key(self.seed, None if self.fold is None else self.fold.test)

    @property
    def pinned_student(self) -> StudentConfig:
        """The student with its weights at the commit in the key, whatever becomes of the branch."""
        student = self.config.student
        commit = (self.weights or {}).get("commit")
        return student.model_copy(update={"revision": commit}) if commit else student

    def refuse_changed(self) -> None:
        """Raises ChangedError when the student's weights are not those in the key."""
        if self.key != self._key_by(weights_id(self.pinned_student)):
            raise ChangedError(
                "trial.student.weights",
                f"trial.student.weights: {self.config.student.weights} was replaced while the "
                "sweep runs; run the same command again: with other weights these are other trials",
            )

    def _key_by(self, weights: Fingerprint) -> str:
        """The key, with the `weights_id` of the student."""
        method = self.config.method
        unread = {"protocol", "dataset", "teacher"}
        if self.is_hand_crafted:  # not even the settings of the probe are used
            unread = TrialConfig.model_fields.keys() - {"student"}
        elif isinstance(method, NoneMethod):  # teacher and training make no difference
            unread = TrialConfig.model_fields.keys() - READ_UNTRAINED
        content = self.config.for_key(exclude=unread)
        if start := self.start:  # all else of the student comes with it
            of_training = content["student"].keys() & {"train_encoder"}
            settings = {key: content["student"][key] for key in of_training}
            content["student"] = {"from": start, **settings}
        if self.is_hand_crafted:
            content["version"] = HAND_CRAFTED_VERSION
        elif isinstance(method, NoneMethod):
            content["student"].pop("train_encoder", None)
        elif method.needs_teacher:
            content["features"] = self.features
        if weights:
            content["weights"] = weights
            if "commit" in weights:
                del content["student"]["revision"]
            elif "content" in weights:  # else as an earlier version: the folder's path counts too
                del content["student"]["weights"]
        version = (self.versions or Versions()).trial
        fold = [] if self.fold is None else [self.fold.for_key]
        return key_of([version, content, self.seed, self.windows, *fold])

    @property
    def repetition(self) -> str:
        """What differs between the trials of a configuration: `seed 0`, or `seed 0 fold 3`."""
        fold = "" if self.fold is None else f" fold {self.fold.number}"
        return f"seed {self.seed}{fold}"

    @property
    def number(self) -> tuple[int, int]:
        """Seed and fold, by which the trials of two configurations are paired."""
        return self.seed, 0 if self.fold is None else self.fold.number

    @property
    def in_each_seed(self) -> int:
        """How many trials a configuration has for each seed."""
        return 1 if self.fold is None else self.fold.count

    @property
    def untrained(self) -> "Trial":
        """The same student, seed and data with nothing trained."""
        config = self.config.model_copy(update={"method": NOTHING})
        return replace(self, config=config, recorded_key=None)

    @property
    def is_hand_crafted(self) -> bool:
        """Whether it measures hand-crafted features, to compare students with, and no student."""
        return self.config.student.name == "hand-crafted"

    @property
    def hand_crafted(self) -> "Trial":
        """Hand-crafted features of the same channels, seed and data, which nothing trains; in g and
        deg/s under each protocol."""
        student = _features_of(self.config.student.channels)
        update = {"student": student, "method": NOTHING, "imu_units": "g, deg/s"}
        config = self.config.model_copy(update=update)
        return replace(self, config=config, weights=None, recorded_key=None)

    def supervised(self, schedule: TrialConfig) -> "Trial":
        """The same student, seed and data trained with labels, on another trial's schedule."""
        keys = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "precision")
        update = {key: getattr(schedule, key) for key in keys}
        update["method"] = SupervisedMethod(name="supervised")
        if isinstance(schedule.method, SupervisedMethod):
            trained = {"train_encoder": schedule.student.train_encoder}
            update["method"] = schedule.method
            update["student"] = self.config.student.model_copy(update=trained)
        if "cosine" in (schedule.schedule, self.config.schedule):  # others are alike without queue
            update["schedule"] = schedule.schedule
        config = self.config.model_copy(update=update)
        return replace(self, config=config, recorded_key=None)

    def units_on(self, dataset: str) -> Units:
        """The units in which the student sees the windows of a data set."""
        if self.config.imu_units == "published":
            return self.evaluation.published_units.get(dataset, G_AND_DEGREES)
        return G_AND_DEGREES

    def measured_on(self) -> dict[str, str]:
        """Keys of the packed windows, by data set; the trial's own data set comes first."""
        return {self.config.dataset: self.windows} | {
            name: windows
            for name, windows in self.evaluation.targets.items()
            if name != self.config.dataset
        }

    def measures(self) -> Iterator[tuple[str, str, Path]]:
        """Data set, measure, and the measure's place in the trial's folder: with `.json` its
        metrics, with `.parquet` its predictions.

        The place contains a hash of what the measure depends on besides student and data set. A
        baseline has no features to probe: it is always measured by its own classifier, and only
        the calibration of that can be asked for.
        """
        evaluation, own = self.evaluation, self.config.dataset
        measures = evaluation.measures
        if self.config.student.is_baseline:
            measures = ("classifier", *(m for m in measures if m == "calibration"))
        for dataset, windows in self.measured_on().items():
            if self.config.student.is_baseline and dataset != own:
                continue  # its classes are those of its own data set
            for measure in measures:
                declared = evaluation.declared(measure)
                if not self._has(measure, declared, dataset):
                    continue
                depends_on: list[Any] = [(self.versions or Versions()).measures]
                if declared.teacher_splits:
                    depends_on.append(self.features)
                if measure == "direct":
                    depends_on += [evaluation.label_map.get(name, {}) for name in (own, dataset)]
                if measure == "zero-shot-text":
                    depends_on.append(evaluation.prompt)
                if measure in evaluation.own:
                    depends_on.append(evaluation.own[measure].for_key())
                if dataset != own and dataset in evaluation.folds:
                    depends_on += [fold.for_key for fold in evaluation.folds[dataset]]
                yield dataset, measure, Path("measures", windows, f"{measure}-{key_of(depends_on)}")

    def _has(self, measure: str, declared: Declaration, dataset: str) -> bool:
        """Whether it has what a measure needs on one of its data sets."""
        method, is_own = self.config.method, dataset == self.config.dataset
        if declared.datasets != "all" and is_own != (declared.datasets == "own"):
            return False
        if measure == "classifier":
            return method.has_classifier
        if self.is_hand_crafted and (declared.teacher_splits or declared.trains):
            return False  # there is nothing to train
        if declared.needs_projectors and not method.needs_teacher:
            return False
        if measure == "direct":  # whose classifier is fitted on the data set trained on
            return True
        return not declared.needs_labels or dataset not in self.evaluation.unlabelled

    def predictions(self, store: Store, dataset: str, measure: str = "probe") -> pa.Table | None:
        """A measure's predictions on a data set, as they are stored; None where there are
        none. A baseline has its classifier's in place of the probe's."""
        if measure == "probe" and self.config.student.is_baseline:
            measure = "classifier"
        for *found, place in self.measures():
            path = store.folder("trials", self.key) / f"{place}.parquet"
            if found == [dataset, measure] and path.exists() and is_whole(path):
                return pq.read_table(path)
        return None


@dataclass(frozen=True)
class TrialResult:
    """A finished trial."""

    trained: TrainedRecord
    metrics: dict[str, float]
    """By the metric's name."""


def unread_splits(sweep: Sweep) -> tuple[str, ...]:
    """Of val and test, on which no student is trained, those whose teacher features no measure
    reads."""
    declared = sweep.measures.declared.values()
    read = {split for measure in declared for split in measure.teacher_splits}
    if "zero-shot" in sweep.measures:
        configs = map(sweep.with_values, sweep.points())
        if any(config.zero_shot_anchors == "first" for config in configs):
            read.add("val")
    return tuple(split for split in ("val", "test") if split not in read)


def read_result(trial: Trial, store: Store) -> TrialResult | None:
    """All requested measures; None while anything is missing. A baseline's classifier also gives
    the metrics of the probe, which a baseline does not have."""
    folder, own = store.folder("trials", trial.key), trial.config.dataset
    if (trained := TrainedRecord.find(folder)) is None:
        return None
    metrics: dict[str, float] = {PARAMETERS: trained.parameters}
    for dataset, measure, place in trial.measures():
        if (measured := read_measure(folder, place)) is None:
            return None
        where = "" if dataset == own else dataset
        metrics |= {_named(name, where): value for name, value in measured.items()}
        if trial.config.student.is_baseline and measure == "classifier":
            metrics |= {_named(name, where, "probe"): value for name, value in measured.items()}
    return TrialResult(trained, metrics)


@cache
def _named(name: str, dataset: str, measure: str | None = None) -> str:
    """A metric's name on a data set, and as if another measure had given it."""
    metric = Metric.parse(name)
    return str(replace(metric, dataset=dataset, measure=measure or metric.measure))


def read_measure(folder: Path, place: Path) -> dict[str, float] | None:
    """The metrics of a measure in a trial's folder; None if it, or its predictions, are to be made
    again. Predictions that were not `fetched` are not looked at."""
    predictions = folder / f"{place}.parquet"
    if predictions.exists() and not is_whole(predictions):
        return None
    found: dict[str, float] | None = find_json(folder / f"{place}.json")
    return found
