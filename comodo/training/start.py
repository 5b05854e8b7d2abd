"""The student that a trial's training starts from: with published or random weights, or another
trial's. Does not know how it is trained."""

from pathlib import Path

from comodo.config import ConfigError, StudentConfig
from comodo.config.source import KEY
from comodo.core.errors import ChangedError
from comodo.core.store import Store, fetched, fingerprint
from comodo.models.encoders import WEIGHTS_FILE
from comodo.models.students import Student, build_student, load_student
from comodo.search.records import TrainedRecord
from comodo.search.trial import Trial


def starting_student(trial: Trial, store: Store) -> Student:
    """The student on the CPU, whose encoder sees the units of the trial's data set.

    Raises ValueError as `build_student` and `load_student`, and ChangedError when weights are not
    those in the trial's key.
    """
    units = trial.units_on(trial.config.dataset)
    if start := trial.start:
        student = _loaded(trial.config.student, start, store)
        if student.units != units:
            saw, sees = (" and ".join(each) for each in (student.units, units))
            raise ConfigError.at(KEY, f"the student saw {saw}, but here it sees {sees}")
        return student
    student = build_student(trial.pinned_student, units)
    trial.refuse_changed()
    return student


def any_student(settings: StudentConfig, store: Store) -> Student:
    """A student as that of any trial with these settings; of one that starts from another, with the
    weights of the first that it may start from. Raises as `starting_student`."""
    if (source := settings.start) is None:
        return build_student(settings)
    first = next(iter(source.trials), None)
    start = {"content": source.content} if first is None else {"trial": first.key}
    return _loaded(settings, start, store)


def _loaded(settings: StudentConfig, start: dict[str, str], store: Store) -> Student:
    """The student that `Trial.start` names, whose weights are those that were recorded."""
    source, recorded = settings.start, start.get("content")
    assert source is not None
    folder = Path(source.folder)
    if (key := start.get("trial")) is not None:
        of_trial = fetched(store.folder("trials", key))
        folder, trained = of_trial / "student", TrainedRecord.find(of_trial)
        if trained is None:
            reason = f"trial {key} is no longer in {store}; run {source.title} again"
            raise ConfigError.at(KEY, reason)
        recorded = trained.weights
    weights = folder / WEIGHTS_FILE
    if recorded is not None and fingerprint(weights, by_content=True).get("content") != recorded:
        text = f"{KEY}: {weights} was replaced or is damaged: it is not what was recorded of it"
        fix = "remove its trial and run its sweep again" if key else "run the same command again"
        raise ChangedError(KEY, f"{text}; {fix}")
    return load_student(folder, settings.code)
