"""Exports a finished trial as a folder of programs, checked and described.

Knows the store and trials; does not know file formats, the model card's text or MLflow.
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.table import Column, Table
from torch import Tensor, nn

from comodo.config import SupervisedMethod
from comodo.config.metric import accuracy
from comodo.core.store import Store, fetched, publish, write_json
from comodo.core.units import format_bytes
from comodo.deploy import DeployError, card, programs
from comodo.deploy.hub import CARD
from comodo.deploy.programs import INT8, ONNX, TORCH, Float32Array, load_onnx
from comodo.deploy.recogniser import Recogniser, SVMClassifier
from comodo.deploy.selection import Selection
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.probe import SVMProbe
from comodo.evaluation.scoring import scored_metric, scored_on
from comodo.models.preprocessing import Preprocessing, Sensor, resampling
from comodo.models.students import CODE_FILE, EXTRACT_BATCH, load_student, save_student
from comodo.models.trained_student import EXPORT_FILE, FILES, TrainedOn, has_gravity
from comodo.runtime.worker import classifier_of, frozen_student_of
from comodo.tracking import registry

EXPORTED_FILES = {TORCH, ONNX, INT8, CARD, registry.MODEL, *FILES}
MAX_COMPARED = 256  # windows on which ONNX and PyTorch are compared
OTHER_DEVICE = 2  # windows that a probe fitted on a GPU's features may classify differently


@dataclass(frozen=True)
class Exported:
    folder: Path
    about: dict[str, Any]
    """`model.json`: input, output and accuracy."""
    registered: str | None
    """The model's name and alias in MLflow's registry."""

    def table(self) -> Table:
        """The programs, for the terminal."""
        measured = self.about["accuracy"]
        numbers = [Column(x, justify="right") for x in ("size", f"{measured['split']} Acc@1")]
        shown = Table("file", *numbers, title=self.about["trial"])
        for name, key in ((TORCH, ""), (ONNX, "float32"), (INT8, "int8")):
            accuracy = f"{100 * measured[key]:.1f}" if key else ""
            shown.add_row(name, format_bytes((self.folder / name).stat().st_size), accuracy)
        return shown

    def facts(self) -> dict[str, str]:
        """Further facts for the terminal, by name; among them the commands that serve the model, on
        this machine only, and that send the server a window of the data set."""
        measured, taken = self.about["accuracy"], self.about["input"]
        shape = " x ".join(map(str, taken["shape"]))
        where = f"{measured['split']} of {measured['dataset']}"
        windows = f"percent of {measured['windows']} labelled windows of {where}"
        recorded = measured["trial"]
        known = "" if recorded is None else f"; the trial recorded {100 * recorded:.1f}"
        model = self.folder / registry.MODEL
        where = "--host 127.0.0.1 -p 5001 --env-manager local"
        example = shlex.quote(f"@{model / 'serving_input_example.json'}")
        to = "http://127.0.0.1:5001/invocations -H 'Content-Type: application/json'"
        return {
            "input": ", ".join([shape, f"{taken['rate']:g} Hz", *card.units_taken(taken).values()]),
            "Acc@1": windows + known,
            "ONNX": f"differs from PyTorch by at most {self.about['largest_difference']:.1e}",
            "card": str(self.folder / CARD),
            "registered": self.registered or "no",
            "serve": f"mlflow models serve -m {shlex.quote(str(model))} {where}",
            "ask": f"curl -s {to} -d {example}",
        }


@torch.inference_mode()
def export_run(
    found: Selection,
    store: Store,
    rate: float | None = None,
    acc_unit: str = "g",
    gyro_unit: str = "deg/s",
    out: Path | None = None,
    allow_code: bool = False,
    licence: str | None = None,
) -> Exported:
    """Exports a trial's student for a device.

    Args:
        rate: sampling rate of the device in Hz; by default that of the training windows.
        acc_unit: one of `imu.ACC_UNITS`; `gyro_unit` is one of `imu.GYRO_UNITS`.
        out: by default `exports/<trial>` of the store; replaces an earlier export there.
        allow_code: whether the code of a `custom` student may run, as it is in the store.
        licence: for the model card, by the hub's name of it.

    Raises DeployError if it cannot be exported.
    """
    trial, sweep = found.row.trial, found.record.sweep
    folder = (out or store.folder("exports", trial.key)).resolve()
    _refuse_another_folder(folder)
    dataset = scored_on(trial, sweep)
    settings = sweep.datasets[dataset]
    if settings.window_seconds == "whole":
        raise DeployError(
            "export.whole-recordings",
            f"the windows of data set {dataset} are whole recordings, but an exported program "
            "takes windows of one length; set window_seconds to a number",
        )
    sensor = Sensor(rate or settings.imu_rate, acc_unit, gyro_unit)
    code = trial.config.student.code if allow_code else None
    student = load_student(fetched(store.folder("trials", trial.key) / "student"), code).eval()
    channels, seconds = student.channels, settings.window_seconds
    preprocessing = Preprocessing(sensor, channels, seconds, settings.imu_rate)
    folds = () if dataset == trial.config.dataset else trial.evaluation.folds.get(dataset, ())
    frozen = frozen_student_of(trial, store, student, dataset, fold=folds[0] if folds else None)
    student = frozen.student
    classifier, classes = _classifier(found, store, frozen)
    # A classifier handles padding as in training, a probe as the trial says.
    mask = trial.config.student.is_baseline or trial.config.probe_mask
    recogniser = Recogniser(preprocessing, student, mask, classifier)
    samples = round(settings.window_seconds * sensor.rate)
    program: dict[str, Any] = {
        "input": {
            "name": "imu",
            "shape": ["windows", len(channels), samples],
            "type": "float32",
            "channels": list(channels),
            "rate": sensor.rate,
            "seconds": settings.window_seconds,
            "acc_unit": acc_unit,
            "gyro_unit": gyro_unit,
        },
        "classes": classes,
    }
    with _replaced(folder) as temporary:
        notes = {name: json.dumps(part) for name, part in program.items()}
        if student.own_code is not None:  # not where it was on this machine
            student.description = {**student.description, "file": CODE_FILE}
        save_student(student, temporary)
        programs.write_programs(recogniser, samples, notes, temporary)
        split, index_N = _measured_on(frozen)
        some_n = index_N[:: -(-len(index_N) // MAX_COMPARED)]
        some_nCT, _ = frozen.windows.splits[split].packed(some_n)
        trained_on = TrainedOn(settings.imu_rate, seconds, mask, has_gravity(some_nCT, channels))
        windows = _Raw(frozen, split, preprocessing)
        some_NCR = windows.imu(some_n)
        about = {
            "trial": trial.key,
            "sweep": sweep.name,
            **program,
            "feature": student.dim,
            "encoder_units": list(student.units),
            "student": asdict(trained_on),
            "largest_difference": programs.largest_difference(temporary, some_NCR),
            "accuracy": {
                "dataset": dataset,
                "split": split,
                "windows": len(index_N),
                "trial": _recorded(found, split),
                "float32": windows.accuracy(load_onnx(temporary / ONNX), index_N, classes),
                "int8": windows.accuracy(load_onnx(temporary / INT8), index_N, classes),
            },
        }
        write_json(temporary / EXPORT_FILE, about)
        (temporary / CARD).write_text(card.model_card(found, about, store, licence))
        registry.save_model(temporary, temporary / ONNX, len(classes), some_NCR[:1])
    return Exported(folder, about, registry.register(folder, about, store))


def _classifier(
    found: Selection, store: Store, frozen: FrozenStudent
) -> tuple[nn.Module, list[str]]:
    """The classifier and the names of its classes; a probe is fitted again: trials store none."""
    trial = found.row.trial
    if not trial.config.student.is_baseline:
        probe = _probe(found, frozen)
        return SVMClassifier(probe), probe.classes_.tolist()
    if not isinstance(trial.config.method, SupervisedMethod):
        text = f"trial {trial.key} is an untrained baseline: it has no classifier"
        raise DeployError("export.no-classes", text)
    head = nn.Sequential(classifier_of(trial, store, frozen.student), nn.Softmax(dim=1))
    return head, frozen.windows.classes


def _recorded(found: Selection, split: str) -> float | None:
    """The trial's Acc@1 on the data set that it is scored on. On another one with folds it is that
    of as many probes, none of which has it."""
    trial, dataset = found.row.trial, scored_on(found.row.trial, found.record.sweep)
    if dataset != trial.config.dataset and dataset in trial.evaluation.folds:
        return None
    name = scored_metric(accuracy(split), trial, found.record.sweep)
    return found.row.metrics.get(name)


def _probe(found: Selection, frozen: FrozenStudent) -> SVMProbe:
    """The trial's own probe, fitted again; DeployError if its accuracy is not the recorded one."""
    row = found.row
    try:
        probe = fit_probe(frozen)
    except EvaluateError as error:
        text = f"trial {row.trial.key}: {error}; export needs them"
        raise DeployError("export.no-labels", text) from error
    assert isinstance(probe, SVMProbe)  # `resolve_run` finds students only
    same = row.trained is not None and row.trained.device == "cpu"
    for split, (features_ND, label_N) in frozen.scored().items():
        recorded = _recorded(found, split)
        names_N = np.array(frozen.windows.classes)[label_N]
        again = probe.accuracy(features_ND, names_N, (1,))[1]
        allowed = 1e-9 if same else max(OTHER_DEVICE / len(label_N), 0.01)
        if recorded is not None and abs(again - recorded) > allowed:
            raise DeployError(
                "export.other-accuracy",
                f"trial {row.trial.key}: its probe, fitted again, has {split} Acc@1 "
                f"{100 * again:.2f} %, but {100 * recorded:.2f} % was recorded: the student, the "
                "windows or the libraries have changed; run the sweep again in another store",
            )
    return probe


def _measured_on(frozen: FrozenStudent) -> tuple[str, Tensor]:
    """The first of test and val that has labels, and its labelled windows. Never train, on which
    the probe was fitted."""
    for name in ("test", "val"):
        split = frozen.windows.splits.get(name)
        if split is not None and len(split.labelled_N):
            return name, split.labelled_N
    raise DeployError(
        "export.no-test-labels",
        "no window of val or test has a label, so the export could not be checked; label some, or "
        "make such a split with split_by_group",
    )


class _Raw:
    """Windows of a split as the device would deliver them."""

    def __init__(self, frozen: FrozenStudent, split: str, to: Preprocessing) -> None:
        self._split, self._names = frozen.windows.splits[split], frozen.windows.classes
        self._back_TR = resampling(to.seconds, to.to_rate, to.rate)
        self._factor_C1 = to.factor_C1

    def imu(self, index_N: Tensor) -> Float32Array:
        imu_NCT, _ = self._split.packed(index_N)
        imu_NCR = imu_NCT if self._back_TR is None else imu_NCT.float() @ self._back_TR
        return (imu_NCR / self._factor_C1).float().numpy()

    def accuracy(self, program: programs.Program, index_N: Tensor, classes: list[str]) -> float:
        """Share of these windows whose most probable class is their label."""
        right = 0
        for index_B in index_N.split(EXTRACT_BATCH):
            probability_BK, _ = program(self.imu(index_B))
            predicted_B = np.array(classes)[probability_BK.argmax(1)]
            label_B = np.array(self._names)[self._split.label_N[index_B].numpy()]
            right += int((predicted_B == label_B).sum())
        return right / len(index_N)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces an earlier export, completely, if the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}."
    with TemporaryDirectory(None, prefix, folder.parent, ignore_cleanup_errors=True) as hidden:
        temporary, old = Path(hidden, "new"), Path(hidden, "old")
        temporary.mkdir()
        yield temporary
        publish(temporary, folder, EXPORT_FILE)
        try:
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        except BaseException:  # Ctrl-C too must not lose the earlier export
            if old.exists():
                old.rename(folder)
            raise


def _refuse_another_folder(folder: Path) -> None:
    """Raises DeployError if a file in it was not written by an export, as it would be lost."""
    if not folder.exists():
        return
    found = {path.name for path in (folder.iterdir() if folder.is_dir() else [folder])}
    unknown = found - EXPORTED_FILES
    if unknown or (found and EXPORT_FILE not in found):
        what = ", ".join(sorted(unknown or found)[:3])
        text = f"{folder} has files that no export wrote ({what}): choose another --out"
        raise DeployError("export.out-not-empty", text)
