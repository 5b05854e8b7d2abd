"""One trial, from mapped arrays to a result on disk.

A trial is named by the hash of all that its student depends on, so the same student is never
trained twice, in this sweep or another. Its folder in the store holds the checkpoint while it
trains, then the student, trained.json, and a file for each measure on each data set: what is asked
later is measured without training again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from comodo import evaluate
from comodo.arrays import Features, Windows
from comodo.config import DistillingMethod, NoneMethod, SupervisedMethod, TrialConfig
from comodo.distill import Distillation, Report, build_heads, distil, seed_of
from comodo.evaluate import MEASURES, Measured, Subject, Teacher
from comodo.parallel import Workers
from comodo.store import Store, fingerprint, key_of, read_json, write_json, write_table
from comodo.students import Student, build_student, load_student, save_student

VERSION = 2  # of the numbers made by training; raise it when they change

NEED_TEACHER = {"zero-shot", "alignment"}
"""Measures that compare with the teacher, so only on the data set that it has seen."""


@dataclass(frozen=True)
class Evaluation:
    """What is measured of a sweep's students, and where."""

    measures: tuple[str, ...] = ("probe",)
    targets: dict[str, str] = field(default_factory=dict)
    """Further data sets: name to key of the packed windows."""
    unlabelled: frozenset[str] = frozenset()
    """Those of them without labels to fit a probe on."""
    label_map: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A configuration with its seed, on the arrays that it trains and is measured on."""

    config: TrialConfig
    seed: int
    windows: str
    """Key of the packed windows, which stands for the dataset."""
    features: str
    """Key of the packed features, which stands for the teacher."""
    evaluation: Evaluation = Evaluation()

    @property
    def key(self) -> str:
        student, method = self.config.student, self.config.method
        content = self.config.model_dump(mode="json", exclude={"protocol", "dataset", "teacher"})
        if isinstance(method, NoneMethod):  # nothing of teacher and training matters
            content = {key: content[key] for key in ("student", "method", "probe_mask")}
        elif not isinstance(method, SupervisedMethod):
            content["features"] = self.features
        if student.weights is not None and Path(student.weights).exists():
            content["weights"] = fingerprint(student.weights)
        return key_of([VERSION, content, self.seed, self.windows])

    @property
    def untrained(self) -> "Trial":
        """The same student, seed and data with nothing trained."""
        config = self.config.model_copy(update={"method": NoneMethod(name="none")})
        return replace(self, config=config)

    def supervised(self, schedule: TrialConfig) -> "Trial":
        """The same student, seed and data trained with labels, on another trial's schedule."""
        keys = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "precision")
        update = {key: getattr(schedule, key) for key in keys}
        method = SupervisedMethod(name="supervised")
        return replace(self, config=self.config.model_copy(update={**update, "method": method}))

    def measured_on(self) -> dict[str, str]:
        """Data sets to keys of their packed windows; its own comes first."""
        return {self.config.dataset: self.windows} | {
            name: windows
            for name, windows in self.evaluation.targets.items()
            if name != self.config.dataset
        }

    def measures(self) -> Iterator[tuple[str, str, Path]]:
        """Data set, measure, and where in the trial's folder the measure is kept, with no suffix.

        A measure is named by what it depends on beside the student and the data set.
        """
        asked, own = self.evaluation, self.config.dataset
        for dataset, windows in self.measured_on().items():
            for measure in asked.measures:
                depends_on: list[Any] = [evaluate.VERSION]
                if measure in NEED_TEACHER:
                    if dataset != own or (
                        measure == "zero-shot"
                        and not isinstance(self.config.method, DistillingMethod)
                    ):
                        continue
                    depends_on.append(self.features)
                elif measure == "direct":
                    if dataset == own:
                        continue
                    depends_on += [asked.label_map.get(name, {}) for name in (own, dataset)]
                elif dataset in asked.unlabelled:
                    continue
                yield dataset, measure, Path("measures", windows, f"{measure}-{key_of(depends_on)}")

    def predictions(self, store: Store, dataset: str, measure: str = "probe") -> pa.Table | None:
        """A probe's answers on a data set (see `Measured`); None where there are none."""
        for *asked, place in self.measures():
            path = store.folder("trials", self.key) / f"{place}.parquet"
            if asked == [dataset, measure] and path.exists():
                return pq.read_table(path)
        return None


def read_result(trial: Trial, store: Store) -> dict[str, Any] | None:
    """What trained.json has, with `metrics`: all that was asked to be measured.

    Measures on the trial's own data set stand as they are (`test/acc1`), those on others behind
    the data set's name (`on/<name>/test/acc1`). None while anything is missing.
    """
    folder = store.folder("trials", trial.key)
    if not (folder / "trained.json").exists():
        return None
    metrics: dict[str, float] = {}
    for dataset, _, place in trial.measures():
        path = folder / f"{place}.json"
        if not path.exists():
            return None
        prefix = "" if dataset == trial.config.dataset else f"on/{dataset}/"
        metrics |= {prefix + key: value for key, value in read_json(path).items()}
    return {**read_json(folder / "trained.json"), "metrics": metrics}


def run_trial(trial: Trial, store: Store, report: Report) -> dict[str, Any]:
    """Trains (from the checkpoint if there is one), keeps the student, measures it.

    What is done already is not done again. Returns the result, as `read_result` does. Of several
    workers the first measures and writes; the others return nothing.

    Raises:
        TrainingError, EvaluateError, ValueError: the trial cannot be done; the text says why.
    """
    folder = store.folder("trials", trial.key)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not (folder / "trained.json").exists():
        _train(trial, store, report, device)
    if Workers().rank > 0:
        return {}
    _measure(trial, store, load_student(folder / "student").to(device))
    result = read_result(trial, store)
    assert result is not None
    return result


def _train(trial: Trial, store: Store, report: Report, device: str) -> None:
    """Trains the student and keeps it, its projectors and the epochs' history."""
    began = time.perf_counter()
    folder = store.folder("trials", trial.key)
    checkpoint = folder / "checkpoint.pt"
    torch.manual_seed(seed_of(trial.seed, "student"))
    student = build_student(trial.config.student).to(device)
    history = []
    if not isinstance(trial.config.method, NoneMethod):
        windows = Windows.load(store.folder("arrays", trial.windows))
        features = None
        if isinstance(trial.config.method, DistillingMethod):
            features = Features.load(store.folder("arrays", trial.features))
        run = Distillation(trial.config, trial.seed, windows, features, student, device)
        history = distil(run, checkpoint, report)
        if Workers().rank == 0:
            run.save_heads(folder / "heads.pt")
    if Workers().rank > 0:
        return
    save_student(student, folder / "student")
    trained = {
        "key": trial.key,
        "trial": trial.config.model_dump(mode="json"),
        "seed": trial.seed,
        "windows": trial.windows,
        "features": trial.features,
        "history": history,
        "seconds": time.perf_counter() - began,
    }
    write_json(folder / "trained.json", trained)
    checkpoint.unlink(missing_ok=True)


def _measure(trial: Trial, store: Store, student: Student) -> None:
    """Makes the measures that are missing, each in a file of its own."""
    folder, subjects = store.folder("trials", trial.key), dict[str, Subject]()
    own = trial.config.dataset
    for dataset, measure, place in trial.measures():
        if (folder / f"{place}.json").exists():
            continue
        for name in (own, dataset):
            if name not in subjects:
                subjects[name] = _subject(trial, store, student, name, subjects.get(own))
        if measure in NEED_TEACHER and subjects[own].teacher is None:
            subjects[own].teacher = _teacher(trial, store, student)
        measured: Measured = MEASURES[measure](subjects[dataset])
        if measured.predictions is not None:
            write_table(folder / f"{place}.parquet", measured.predictions)
        write_json(folder / f"{place}.json", measured.metrics)


def _subject(
    trial: Trial, store: Store, student: Student, dataset: str, own: Subject | None
) -> Subject:
    windows = Windows.load(store.folder("arrays", trial.measured_on()[dataset]))
    return Subject(
        student,
        windows,
        trial.seed,
        trial.config.probe_mask,
        source=own,
        common_name=trial.evaluation.label_map.get(dataset, {}),
    )


def _teacher(trial: Trial, store: Store, student: Student) -> Teacher:
    """The teacher's features, with the projectors of both sides if it has trained the student."""
    features = Features.load(store.folder("arrays", trial.features))
    method = trial.config.method
    if not isinstance(method, DistillingMethod):
        return Teacher(features, None)
    heads = build_heads(method, student.dim, features.dim)
    states = torch.load(store.folder("trials", trial.key) / "heads.pt", map_location="cpu")
    for head, state in zip(heads, states, strict=True):
        head.load_state_dict(state)
    return Teacher(features, heads)
