"""The stages before training: prepares, encodes and packs what is missing, and refuses a sweep that
could not be trained or measured. Does not know how a trial runs.
"""

import itertools
from collections import Counter

from comodo.config import ConfigError, StudentConfig, Sweep, TeacherConfig
from comodo.config.base import nearest
from comodo.core.store import Store
from comodo.data.arrays import pack_features, pack_windows
from comodo.data.window_sets import WindowSet
from comodo.models.students import build_student
from comodo.runtime.encode import encode_windows
from comodo.runtime.prepare import prepare_windows
from comodo.search.precheck import refuse_long_queues, unfit_for_probe


def prepare_all(sweep: Sweep, store: Store) -> dict[str, WindowSet]:
    """The windows of every dataset that is trained or measured on; prepares the missing ones."""
    window_sets = {
        name: prepare_windows(name, sweep.datasets[name], store) for name in sweep.used()
    }
    refuse_long_queues(sweep, {name: w.counts.get("train", 0) for name, w in window_sets.items()})
    return window_sets


def encode_all(
    sweep: Sweep, window_sets: dict[str, WindowSet], store: Store
) -> dict[tuple[str, TeacherConfig], tuple[str, str]]:
    """Encodes and packs what is missing for all trials; returns the keys of the packed windows and
    features for each pair of dataset and teacher."""
    arrays = {}
    for name, teacher in sweep.trained_on():
        windows = window_sets[name]
        features = encode_windows(name, teacher, windows, store, sweep.datasets[name].max_rejected)
        packed = pack_windows(store, windows.key)
        arrays[name, teacher] = packed, pack_features(store, windows.key, features.key)
    return arrays


def refuse_unlabelled(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided."""
    guided = sweep.search.sampler == "tpe" or sweep.early_stopping is not None
    trained_on = {name for name, _ in sweep.trained_on()}
    for name, windows in window_sets.items():
        where, reason = f"datasets.{name}", unfit_for_probe(windows.classes.get("train", {}))
        if reason is not None and (name in trained_on or "direct" not in sweep.measures):
            raise ConfigError.at(where, reason)
        needed = set(sweep.objective.splits) if guided else set()
        if sweep.early_stopping is not None:
            needed.add("val")
        for split in sorted(needed) if name in trained_on else []:
            if not windows.classes.get(split):
                reason = f"no labelled windows in its {split} split to guide the search"
                fix = "make one (split_by_group), or use a grid without early_stopping"
                raise ConfigError.at(where, f"{reason}; {fix}")
        if name in sweep.evaluate_on and not windows.classes.get("test"):
            raise ConfigError.at(where, "no labelled windows in its test split to measure on")
    _refuse_unknown_names(sweep, window_sets)
    if "direct" in sweep.measures:
        for own, other in itertools.product(sorted(trained_on), sweep.evaluate_on):
            if own != other:
                _refuse_unfit_transfer(sweep, window_sets, own, other)


def _refuse_unknown_names(sweep: Sweep, window_sets: dict[str, WindowSet]) -> None:
    for name, mapped in sweep.label_map.items():
        if name not in window_sets:
            raise ConfigError.at(f"label_map.{name}", "neither trained on nor in evaluate_on")
        known = {label for labels in window_sets[name].classes.values() for label in labels}
        for label in mapped:
            if label not in known:
                reason = f"no class of '{name}'{nearest(label, known)}"
                raise ConfigError.at(f"label_map.{name}.{label}", reason)


def _refuse_unfit_transfer(
    sweep: Sweep, window_sets: dict[str, WindowSet], own: str, other: str
) -> None:
    """`direct` fits a probe on the train windows of one data set, with the classes of the other."""
    fitted, scored = Counter[str](), set[str]()
    for label, count in window_sets[own].classes.get("train", {}).items():
        fitted[sweep.label_map.get(own, {}).get(label, label)] += count
    for split in ("val", "test"):
        for label in window_sets[other].classes.get(split, {}):
            scored.add(sweep.label_map.get(other, {}).get(label, label))
    shared = {label: count for label, count in fitted.items() if label in scored}
    if (reason := unfit_for_probe(shared)) is not None:
        raise ConfigError.at(
            "label_map",
            f"trained on '{own}' ({', '.join(sorted(fitted))}) and tested on '{other}' "
            f"({', '.join(sorted(scored))}), the measure direct has too few classes or training "
            f"windows in common ({reason}); map equivalent classes to one name, or remove direct",
        )


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
