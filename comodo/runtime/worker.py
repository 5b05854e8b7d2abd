"""One trial, from mapped arrays to a result on disk.

Its folder in the store holds the checkpoint while it trains, then the student, trained.json, and a
file for each measure on each data set: measures added later need no further training.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from comodo.config import NoneMethod, TrialConfig
from comodo.config.measures import MEASURES
from comodo.core.lease import RETRY_SECONDS, Lease
from comodo.core.parts import write_table
from comodo.core.provenance import MadeBy, made_by
from comodo.core.store import Store, fetched, remove, report_damaged, write_json
from comodo.core.tensors import CutOffError, WeightsError, load_tensors
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.folds import Fold, all_in_test
from comodo.data.prompts import prompts_file
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.evaluation.measured import pooled
from comodo.evaluation.own import measure_own
from comodo.losses.supervised import SupervisedLoss
from comodo.models.heads import build_heads, digest_of
from comodo.models.students import (
    EXTRACT_BATCH,
    Student,
    load_student,
    save_student,
)
from comodo.search.records import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MeasuringRecord,
    TrainedRecord,
)
from comodo.search.trial import (
    Trial,
    TrialResult,
    read_measure,
    read_result,
)
from comodo.training.distill import Distillation, Report, distil, seed_of
from comodo.training.distributed import WorkerGroup
from comodo.training.epoch import ShouldStop
from comodo.training.epoch_accuracy import anchor_rows
from comodo.training.peaks import peaks, reset_peaks
from comodo.training.start import starting_student

UNTRAINED_BATCH = 48  # of the published code's own evaluation
REPORT_EVERY_POLLS = 20  # polls of a lease that another process has, between two reports


def run_trial(
    trial: Trial,
    store: Store,
    report: Report,
    leave: ShouldStop = lambda: False,
    gpus: float | None = None,
) -> TrialResult | None:
    """Trains (from the checkpoint if there is one), saves the student, measures it.

    Finished parts are not repeated. While another process works on the trial, this one waits and
    reports it under `waiting`. With several workers the first one measures and writes, and the
    others return None. `gpus` are reserved for this worker: with 0 it computes on the CPU, whatever
    PyTorch finds; None: nothing reserves any.

    Raises:
        TrainingError, EvaluateError, ValueError: the trial is impossible; the message says why.
        Paused, LeaseError: it must be restarted, from its checkpoint, elsewhere or later.
        StoreError: the store cannot be read or written.
        ChangedError: the student's weights were replaced.
    """
    workers, lease = WorkerGroup(), Lease(store, "trials", trial.key)
    device = "cuda" if gpus != 0 and torch.cuda.is_available() else "cpu"
    try:
        _await(lease, workers, report)
        folder = fetched(store.folder("trials", trial.key))
        code = trial.config.student.code
        student = _trained_student(folder, code) if workers.rank == 0 else None
        # As the first worker sees it: on a network disk the others may not see its file yet.
        if not workers.collect(student is not None)[0]:
            _allow_tf32(trial.config.precision == "tf32")
            _train(trial, store, report, device, lease, leave, gpus)
        _allow_tf32(False)
        if workers.rank > 0:
            return None
        began = time.perf_counter()
        student = (student or load_student(folder / "student", code)).to(device)
        if made := _measure(trial, store, student, lease):
            seconds = time.perf_counter() - began
            MeasuringRecord(made, seconds, _made_by(device)).write(folder)
        result = read_result(trial, store)
        assert result is not None
        return result
    finally:
        lease.release()


def _trained_student(folder: Path, code: str | None) -> Student | None:
    """The student in a trial's folder; None if it is not trained, or has to be trained again
    because one of its files is damaged."""
    if TrainedRecord.find(folder) is None:
        return None
    heads = folder / "heads.pt"
    try:
        if heads.exists():
            load_tensors(heads, mmap=True)
    except CutOffError:
        report_damaged(heads, "cut off")
        return None
    try:
        return load_student(folder / "student", code)
    except ValueError as error:
        report_damaged(folder / "student", error.__cause__ or error)
        return None


def _await(lease: Lease, workers: WorkerGroup, report: Report) -> None:
    """Waits until no other process works on the trial. With several workers the first takes the
    lease and all wait together: a worker that is late for an exchange would count as lost."""
    polls = 0
    while not any(workers.collect(workers.rank == 0 and lease.take())):
        if polls % REPORT_EVERY_POLLS == 0:
            report({"waiting": lease.holder})
        polls += 1
        time.sleep(RETRY_SECONDS)


def _train(
    trial: Trial,
    store: Store,
    report: Report,
    device: str,
    lease: Lease,
    leave: ShouldStop,
    gpus: float | None,
) -> None:
    """Trains the student and writes it, its projectors and trained.json."""
    began = time.perf_counter()
    reset_peaks(device)
    folder = store.folder("trials", trial.key)
    checkpoint = folder / CHECKPOINT_FILE
    torch.manual_seed(seed_of(trial.seed, "student"))
    student = starting_student(trial, store).to(device)
    history = []

    def should_stop() -> bool:
        lease.check()
        return leave()

    if not isinstance(trial.config.method, NoneMethod):
        folder_of_windows = fetched(store.folder("arrays", trial.windows))
        windows = WindowArrays.load(
            folder_of_windows, student.encoder.samples, trial.fold, student.channels
        )
        features = None
        if trial.config.method.needs_teacher:
            packed = fetched(store.folder("arrays", trial.features))
            features = FeatureArrays.load(packed, windows.rows)
        zero_shot = "zero-shot" in trial.evaluation.measures
        run = Distillation(trial.config, trial.seed, windows, features, student, device, zero_shot)
        history = distil(run, checkpoint, report, should_stop)
        lease.check()
        if WorkerGroup().rank == 0:
            run.save_heads(folder / "heads.pt")
    if WorkerGroup().rank > 0:
        return
    weights = save_student(student, folder / "student")
    TrainedRecord(
        key=trial.key,
        trial=trial.config.model_dump(mode="json"),
        seed=trial.seed,
        windows=trial.windows,
        features=trial.features,
        history=history,
        parameters=sum(parameter.numel() for parameter in student.parameters()),
        seconds=time.perf_counter() - began,
        device=device,
        workers=WorkerGroup().size,
        threads=torch.get_num_threads(),
        peak_memory=peaks(device),
        gpus=gpus,
        gpu_memory=torch.cuda.mem_get_info()[1] if device == "cuda" else None,
        made_by=_made_by(device),
        fold=None if trial.fold is None else asdict(trial.fold),
        start=trial.start or None,
        weights=weights,
    ).write(folder)
    for unfinished in (CHECKPOINT_FILE, HISTORY_FILE):
        remove(folder / unfinished)


def _allow_tf32(allowed: bool) -> None:
    """Sets TF32 for the process; by default PyTorch allows it in convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _made_by(device: str) -> MadeBy:
    return made_by(torch.cuda.get_device_name() if device == "cuda" else None)


def _measure(trial: Trial, store: Store, student: Student, lease: Lease) -> list[str]:
    """Computes the missing measures, each in its own file; returns their places."""
    made = []
    folder, own = store.folder("trials", trial.key), trial.config.dataset
    frozen = dict[tuple[str, Fold | None], FrozenStudent]()
    extracted: dict[str, dict[int, npt.NDArray[np.float32]]] = {}  # by data set with folds
    for dataset, measure, place in trial.measures():
        if read_measure(folder, place) is not None:
            continue
        mine, folds = (own, trial.fold), _folds_of(trial, dataset, measure)
        for name, fold in (mine, *((dataset, fold) for fold in folds)):
            if (name, fold) not in frozen:
                is_shared = fold and name != own and trial.config.student.padding == "window"
                shared = extracted.setdefault(name, {}) if is_shared else None
                args = name, frozen.get(mine), fold, shared
                frozen[name, fold] = frozen_student_of(trial, store, student, *args)
        declared = trial.evaluation.declared(measure)
        if declared.teacher_splits and frozen[mine].teacher is None:
            frozen[mine].teacher = _teacher(trial, store, student, frozen[mine].windows)
        has_classifier = trial.config.method.has_classifier and dataset == own
        if declared.needs_classifier and has_classifier:
            frozen[mine].head = classifier_of(trial, store, student)
        own_code = trial.evaluation.own.get(measure)
        function = partial(measure_own, own_code) if own_code else MEASURES.get(measure)
        measured = pooled([function(frozen[dataset, fold]) for fold in folds])
        lease.check()
        if measured.predictions is not None:
            write_table(folder / f"{place}.parquet", measured.predictions)
        write_json(folder / f"{place}.json", measured.metrics)
        made.append(str(place))
    return made


def _folds_of(trial: Trial, dataset: str, measure: str) -> Sequence[Fold | None]:
    """The splits of a data set that a measure is computed on: on its own the fold of the trial, on
    another one all folds, as the student has seen none of its windows."""
    if dataset == trial.config.dataset:
        return [trial.fold]
    folds = trial.evaluation.folds.get(dataset)
    if folds and measure == "direct":  # fits nothing on that data set
        return [all_in_test(folds)]
    return folds or [None]


def frozen_student_of(
    trial: Trial,
    store: Store,
    student: Student,
    dataset: str,
    own: FrozenStudent | None = None,
    fold: Fold | None = None,
    extracted: dict[int, npt.NDArray[np.float32]] | None = None,
) -> FrozenStudent:
    """The trial's frozen student on one of its data sets, in the units of that one and in one of
    its folds if it has some; on its own data set always in the trial's. `extracted`: as in
    `FrozenStudent`."""
    folder = fetched(store.folder("arrays", trial.measured_on()[dataset]))
    fold = trial.fold if dataset == trial.config.dataset else fold
    windows = WindowArrays.load(folder, student.encoder.samples, fold, student.channels)
    config = trial.config
    student = student.in_units(trial.units_on(dataset))
    return FrozenStudent(
        student,
        windows,
        trial.seed,
        config.probe_mask,
        config.probe_ties,
        config.probe_windows,
        source=own,
        common_name=trial.evaluation.label_map.get(dataset, {}),
        rate=trial.evaluation.rates.get(dataset),
        batch_size=_measured_batch(trial.config),
        extracted=extracted,
    )


def _measured_batch(config: TrialConfig) -> int:
    """Windows that are encoded together when a student is measured: where features depend on it,
    as many as the published code takes, in training and for students that it has not trained."""
    if config.student.padding == "window":
        return EXTRACT_BATCH
    return UNTRAINED_BATCH if isinstance(config.method, NoneMethod) else config.batch_size


def _teacher(trial: Trial, store: Store, student: Student, windows: WindowArrays) -> TeacherContext:
    """The teacher's features of the trial's windows, with the projectors of both sides if it has
    trained the student."""
    packed = fetched(store.folder("arrays", trial.features))
    features = FeatureArrays.load(packed, windows.rows)
    projectors = trial.config.method.projectors
    if projectors is None:
        return TeacherContext(features, None)
    folder = store.folder("trials", trial.key)
    torch.manual_seed(seed_of(trial.seed, "heads"))
    heads = build_heads(projectors, student.dim, features.dim)
    state, of_teacher, *_ = _saved_heads(trial, store)
    heads[0].load_state_dict(state)
    if isinstance(of_teacher, dict):  # of an earlier version, which stored its weights
        heads[1].load_state_dict(of_teacher)
    elif of_teacher != digest_of(heads[1]):
        raise WeightsError(
            "weights.other-projector",
            f"{folder}: PyTorch {torch.__version__} makes another teacher's projector from the "
            "seed than the version that trained this; remove the folder to train it again",
        )
    anchor_K = None
    if trial.config.zero_shot_anchors == "first":
        anchor_K = anchor_rows(trial.config, windows, features)
    return TeacherContext(features, heads, anchor_K, prompts_file(packed, trial.evaluation.prompt))


def classifier_of(trial: Trial, store: Store, student: Student) -> nn.Module:
    """The classifier of a student that was trained with labels."""
    head_state, _, *classifier = _saved_heads(trial, store)
    loss = trial.config.method.losses["supervised"]
    assert isinstance(loss, SupervisedLoss)
    state = classifier[0] if classifier else head_state
    *_, bias = state.values()
    head = loss.trained(student.dim, len(bias))["classifier"]
    head.load_state_dict(state)
    return head.to(next(student.parameters()).device)


def _saved_heads(trial: Trial, store: Store) -> list[Any]:
    """State of the student's head after training; the digest, or state, of the teacher's; of a
    student with a projector and a classifier the state of that."""
    folder = fetched(store.folder("trials", trial.key), "heads.pt")
    saved: list[Any] = load_tensors(folder / "heads.pt")
    return saved
