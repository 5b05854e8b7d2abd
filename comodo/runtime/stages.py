"""The stages before training: prepares, encodes and packs what is missing, and refuses a sweep that
could not be trained or measured. Does not know how a trial runs.
"""

from comodo.config import ConfigError, StudentConfig, Sweep, TeacherConfig
from comodo.config.teacher import teacher_on
from comodo.core.store import Store
from comodo.data.packing import pack_features, pack_windows
from comodo.data.window_sets import WindowSet
from comodo.models.students import build_student
from comodo.report.plan.splits import least_train_split
from comodo.runtime.encode import encode_windows
from comodo.runtime.prepare import prepare_windows
from comodo.search.precheck import refuse_unmeasurable
from comodo.search.train_split import refuse_untrainable
from comodo.search.trial import unread_splits


def prepare_all(sweep: Sweep, store: Store) -> dict[str, WindowSet]:
    """The windows of every dataset that is trained or measured on; prepares the missing ones."""
    window_sets = {
        name: prepare_windows(name, sweep.datasets[name], store) for name in sweep.used()
    }
    least = {name: least_train_split(windows) for name, windows in window_sets.items()}
    refuse_untrainable(sweep, least)
    return window_sets


def encode_all(
    sweep: Sweep, window_sets: dict[str, WindowSet], store: Store
) -> dict[tuple[str, TeacherConfig], tuple[str, str]]:
    """Encodes and packs what is missing for all trials, of the splits that they read; returns the
    keys of the packed windows and features for each pair of dataset and teacher."""
    arrays, unread = {}, unread_splits(sweep)
    for name, teacher in sweep.trained_on():
        windows, dataset = window_sets[name], sweep.datasets[name]
        seeing = teacher_on(teacher, dataset)
        features = encode_windows(name, seeing, windows, store, dataset.max_rejected, unread)
        packed = pack_windows(store, windows.key)
        arrays[name, teacher] = packed, pack_features(store, windows.key, features.key, unread)
    return arrays


def refuse_unlabelled(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided."""
    classes = {name: [w.classes for w in windows.splits] for name, windows in window_sets.items()}
    refuse_unmeasurable(sweep, classes)


def lengths_taken(sweep: Sweep) -> set[int]:
    """Lengths, in samples, that the sweep's students resize windows to. Raises ConfigError for a
    student that cannot be built, before anything is encoded."""
    lengths = set()
    configs = map(sweep.with_values, sweep.points())
    for student in dict.fromkeys(config.student.model_dump_json() for config in configs):
        try:
            built = build_student(StudentConfig.model_validate_json(student))
        except (ValueError, AssertionError) as error:
            raise ConfigError.at("trial.student", str(error)) from None
        if built.encoder.samples is not None:
            lengths.add(built.encoder.samples)
    return lengths
