"""The stages before training: prepares, encodes and packs what is missing, and refuses a sweep that
could not be trained or measured. Does not know how a trial runs.
"""

from pathlib import Path

from comodo.config import ConfigError, StudentConfig, Sweep, TeacherConfig
from comodo.config.measures import prompts_of
from comodo.config.teacher import teacher_on
from comodo.core.console import console
from comodo.core.store import Store, fetched
from comodo.data.packing import pack_features, pack_windows
from comodo.data.precomputed import EncodeError
from comodo.data.prompts import prompts_file, save_prompts
from comodo.data.records import WindowArraysMeta
from comodo.data.window_sets import WindowSet
from comodo.evaluation.own import refuse_unusable as refuse_unusable_measures
from comodo.report.plan.splits import least_train_split
from comodo.runtime.encode import encode_windows, pinned_teacher
from comodo.runtime.prepare import prepare_windows
from comodo.search.measurable import (
    refuse_few_aligned,
    refuse_unmeasurable,
    unfit_sets,
    unlabelled_note,
)
from comodo.search.train_split import refuse_untrainable
from comodo.search.trial import unread_splits
from comodo.search.warm_start import Arrays
from comodo.training.start import any_student
from comodo.training.terms import refuse_unusable


def prepare_all(sweep: Sweep, store: Store) -> dict[str, WindowSet]:
    """The windows of every dataset that is trained or measured on; prepares the missing ones."""
    window_sets = {
        name: prepare_windows(name, sweep.datasets[name], store) for name in sweep.used()
    }
    least = {name: least_train_split(windows) for name, windows in window_sets.items()}
    refuse_untrainable(sweep, least)
    return window_sets


def encode_all(sweep: Sweep, window_sets: dict[str, WindowSet], store: Store) -> Arrays:
    """Encodes and packs what is missing for all trials, of the splits that they read; returns the
    keys of the packed windows and features for each pair of dataset and teacher, for one whose
    features no trial reads without a key of them."""
    arrays: Arrays = {}
    unread, encoded = unread_splits(sweep), sweep.encoded()
    for name, teacher in sweep.trained_on():
        windows, dataset = window_sets[name], sweep.datasets[name]
        packed = pack_windows(store, windows.key)
        arrays[name, teacher] = packed, ""
        if teacher is not None and (name, teacher) in encoded:
            seeing = teacher_on(teacher, dataset)
            features = encode_windows(name, seeing, windows, store, dataset.max_rejected, unread)
            key = pack_features(store, windows.key, features.key, unread)
            arrays[name, teacher] = packed, key
            if "zero-shot-text" in sweep.measures and teacher.pooling == "joint":
                classes = WindowArraysMeta.read(store.folder("arrays", packed)).classes
                encode_prompts(seeing, classes, sweep.prompt, store.folder("arrays", key))
    return arrays


def encode_prompts(teacher: TeacherConfig, classes: list[str], template: str, folder: Path) -> None:
    """Embeds the text of each class, next to the teacher's packed features, unless that is done.
    Raises EncodeError for a teacher without text."""
    path, prompts = prompts_file(fetched(folder), template), prompts_of(classes, template)
    if path.exists():
        return
    from comodo.models.text import text_embeddings  # imports torch

    try:
        text_KD = text_embeddings(pinned_teacher(teacher), prompts)
    except ValueError as error:
        raise EncodeError("features.no-text", f"trial.teacher: {error}") from None
    save_prompts(path, prompts, text_KD)
    console.print(f"zero-shot-text: {len(prompts)} texts, such as '{prompts[0]}'", markup=False)


def refuse_unlabelled(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided; prints
    which data sets are trained on without labels."""
    classes = {name: [w.classes for w in windows.splits] for name, windows in window_sets.items()}
    refuse_unmeasurable(sweep, classes)
    trained_on = {name for name, _ in sweep.trained_on()}
    counts = {name: [w.counts for w in window_sets[name].splits] for name in sorted(trained_on)}
    refuse_few_aligned(sweep, counts)
    for name in sorted(unfit_sets(classes) & trained_on):
        console.print(f"{name}: {unlabelled_note(sweep, name)}", style="yellow", markup=False)


def lengths_taken(sweep: Sweep, store: Store) -> set[int]:
    """Lengths, in samples, that the sweep's students resize windows to. Raises ConfigError for a
    student, a loss or a measure that cannot be built, before anything is encoded, and ChangedError
    for a student to start from whose weights were replaced."""
    lengths = set()
    configs = map(sweep.with_values, sweep.points())
    students = dict[str, StudentConfig]()
    for config in configs:
        students.setdefault(config.student.model_dump_json(), config.student)
        try:
            refuse_unusable(config.method)
        except ValueError as error:
            raise ConfigError.at("trial.method", str(error)) from None
    try:
        refuse_unusable_measures(sweep.measures)
    except ValueError as error:
        raise ConfigError.at("measures", str(error)) from None
    for student in students.values():
        try:
            built = any_student(student, store)
        except (ValueError, AssertionError) as error:
            raise ConfigError.at("trial.student", str(error)) from None
        if built.encoder.samples is not None:
            lengths.add(built.encoder.samples)
    return lengths
