"""One trial, from mapped arrays to a result on disk.

A trial is named by the hash of all that its result depends on, so the same trial is never run
twice, in this sweep or another. Its folder in the store holds the checkpoint while it runs, then
the student and result.json.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from comodo.arrays import Features, Windows
from comodo.config import NoneMethod, TrialConfig
from comodo.distill import Distillation, Report, distil, seed_of
from comodo.evaluate import probe
from comodo.parallel import Workers
from comodo.store import Store, fingerprint, key_of, read_json, write_json
from comodo.students import build_student, save_student

VERSION = 1  # of the numbers made by training and probe; raise it when they change


@dataclass(frozen=True)
class Trial:
    """A configuration with its seed, on the arrays that it trains and is probed on."""

    config: TrialConfig
    seed: int
    windows: str
    """Key of the packed windows, which stands for the dataset."""
    features: str
    """Key of the packed features, which stands for the teacher."""

    @property
    def key(self) -> str:
        student = self.config.student
        content = self.config.model_dump(mode="json", exclude={"protocol", "dataset", "teacher"})
        content["features"] = self.features
        if isinstance(self.config.method, NoneMethod):  # nothing of teacher and training matters
            content = {key: content[key] for key in ("student", "method", "probe_mask")}
        if student.weights is not None and Path(student.weights).exists():
            content["weights"] = fingerprint(student.weights)
        return key_of([VERSION, content, self.seed, self.windows])

    @property
    def untrained(self) -> "Trial":
        """The same student, seed and data with nothing trained."""
        config = self.config.model_copy(update={"method": NoneMethod(name="none")})
        return Trial(config, self.seed, self.windows, self.features)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished trial, or None."""
    path = folder / "result.json"
    return read_json(path) if path.exists() else None


def run_trial(trial: Trial, store: Store, report: Report) -> dict[str, Any]:
    """Trains (from the checkpoint if there is one), keeps the student, probes it.

    Returns the result that is also written to result.json: `metrics`, the epochs' `history`, the
    configuration and the seconds that this call took. Of several workers the first probes and
    writes; the others return nothing.

    Raises:
        TrainingError, EvaluateError, ValueError: the trial cannot be done; the text says why.
    """
    began = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = store.folder("trials", trial.key)
    windows = Windows.load(store.folder("arrays", trial.windows))
    torch.manual_seed(seed_of(trial.seed, "student"))
    student = build_student(trial.config.student).to(device)
    checkpoint = folder / "checkpoint.pt"
    history = []
    if not isinstance(trial.config.method, NoneMethod):
        features = Features.load(store.folder("arrays", trial.features))
        run = Distillation(trial.config, trial.seed, windows, features, student, device)
        history = distil(run, checkpoint, report)
    if Workers().rank > 0:
        return {}
    save_student(student, folder / "student")
    result = {
        "key": trial.key,
        "trial": trial.config.model_dump(mode="json"),
        "seed": trial.seed,
        "windows": trial.windows,
        "features": trial.features,
        "metrics": probe(student, windows, trial.seed, trial.config.probe_mask),
        "history": history,
        "seconds": time.perf_counter() - began,
    }
    write_json(folder / "result.json", result)
    checkpoint.unlink(missing_ok=True)
    return result
