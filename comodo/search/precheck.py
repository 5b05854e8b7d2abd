"""Checks before Ray starts: that data and labels are there, trials have windows to train on and fit
on this machine. Imports nothing heavy; reads at most the length of a recording."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comodo.config import ConfigError, DatasetConfig, Sweep
from comodo.config.datasets import published_units
from comodo.config.libraries import missing_library
from comodo.core.inputs import ABSENT, versions
from comodo.core.machine import usable_cpus
from comodo.core.paths import is_url
from comodo.core.store import Store
from comodo.data.folds import listed_in_folds
from comodo.data.frames import VideoError
from comodo.data.intervals import most_labelled_windows, window_count
from comodo.data.keys import simulated_folder
from comodo.data.readers import list_recordings
from comodo.data.readers.folder import FolderDataset
from comodo.data.recordings import DatasetError, Recording
from comodo.data.video import video_seconds
from comodo.search.capacity import DRIVER_CPUS, cluster_address, refuse_odd_gpus, trials_that_fit
from comodo.search.configuration import trials_each
from comodo.search.earlier_stages import folds_of, refuse_odd_starts, sources_of
from comodo.search.measurable import (
    MIN_CLASS_WINDOWS,
    Classes,
    refuse_unmeasurable,
    unfit_sets,
)
from comodo.search.train_split import TrainSplit, refuse_untrainable
from comodo.search.trial import Evaluation

if TYPE_CHECKING:  # it imports pyarrow
    from comodo.data.window_sets import WindowSet

MAX_LOOK_SECONDS = 1.0  # for reading the lengths of videos
MIN_SAMPLES = 2  # of a window
MOMENT_PATCH = 8  # samples, also of the published weights
MULTIPLES = {
    "mantis": ("seq_len", "num_patches", 512, 32),
    "mantis-v2": ("seq_len", "num_patches", 512, 32),
    "chronos-bolt": ("input_patch_size", "input_patch_stride", 16, 16),
    "informer": ("d_model", "heads", 128, 8),
}
"""Sizes of students, the first a multiple of the second, and their defaults in `models`."""


def precheck(
    file: Path | str, sweep: Sweep, store: Store, trials: bool = False, elsewhere: bool = False
) -> None:
    """Raises ConfigError, with file, key and fix, for a sweep that cannot run. `trials`: also for
    one whose students cannot be built, trained or measured; preparing does not need that.
    `elsewhere`: it will not run on this machine, whose CPUs do not matter."""
    cpus = usable_cpus()
    try:
        refuse_odd_gpus(sweep.resources)
        only_cpus = sweep.resources.model_copy(update={"gpus_per_worker": 0.0})
        here = cluster_address() is None and not elsewhere
        if here and not trials_that_fit([(cpus, 0)], only_cpus):
            workers, each = sweep.resources.workers, sweep.resources.cpus_per_worker
            driver = f" and {DRIVER_CPUS} for its driver" if workers > 1 else ""
            raise ConfigError.at(
                "resources.cpus_per_worker",
                f"a trial of {workers} workers needs {workers * each:g} CPUs{driver}, this machine "
                f"has {cpus}; lower it, or name a cluster in RAY_ADDRESS",
            )
        most, classes, folds = {}, dict[str, list[Classes]](), dict[str, int]()
        recordings_of = dict[str, list[Recording]]()
        watching = {
            name: reader
            for (name, teacher), reader in sweep.encoded().items()
            if teacher.sees_video
        }
        for name, settings in sweep.datasets.items():
            refuse_short_windows(name, settings)
            recordings = list_recordings(settings, simulated_folder(settings, store))
            recordings_of[name] = recordings
            if name in watching and not any(recording.video for recording in recordings):
                raise ConfigError.at(f"datasets.{name}", _no_video(watching[name]))
            refuse_absent_files(name, settings, recordings)
            listed = listed_in_folds(recordings, settings)
            folds[name] = len(listed)
            train = min(([r for r in split if r.split == "train"] for split in listed), key=len)
            most[name] = most_to_train_on(settings, train)
            if most[name] is None:
                refuse_short_recordings(name, settings, train)
            classes[name] = [most_labelled(settings, split) for split in listed]
        refuse_untrainable(sweep, {name: n for name, n in most.items() if n is not None})
        if trials:
            refuse_small_budget(sweep, folds)
            refuse_odd_students(sweep)
            if sources_of(sweep):
                used = {name: sweep.datasets[name] for name in sweep.used()}
                of = {n: folds_of(used[n], recordings_of[n], store) for n in used}
                refuse_odd_starts(sweep, {name: some for name, some in of.items() if some})
            refuse_unmeasurable(sweep, {name: classes[name] for name in sweep.used()})
    except (ConfigError, DatasetError) as error:
        raise ConfigError(error.code, f"{file}: {error}") from None


def _no_video(reader: str) -> str:
    """What to do about a data set without video that `reader` needs."""
    fix = "train on it with supervised or none only, use it in evaluate_on, or name a precomputed"
    if reader.startswith("the measure"):
        fix = "leave that out of measures, use the data set in evaluate_on, or name a precomputed"
    return f"no recording has a video, which {reader} needs; {fix} teacher"


def evaluation_of(
    sweep: Sweep, packed: dict[str, str], prepared: "Mapping[str, WindowSet]"
) -> Evaluation:
    """What every student is measured by; `packed`: keys of the packed windows by data set,
    `prepared`: the data sets whose windows are prepared."""
    classes = {name: [of.classes for of in windows.splits] for name, windows in prepared.items()}
    return Evaluation(
        sweep.measures.names,
        {name: packed[name] for name in sweep.evaluate_on},
        frozenset(unfit_sets(classes)),
        sweep.label_map,
        published_units(sweep.datasets),
        {name: sweep.datasets[name].imu_rate for name in sweep.used()},
        {name: windows.folds for name, windows in prepared.items() if windows.folds},
        sweep.measures.own,
        sweep.prompt,
    )


def refuse_small_budget(sweep: Sweep, folds: Mapping[str, int]) -> None:
    """Raises ConfigError if `budget.trials` is less than what one configuration of a search, or a
    whole grid, needs with these numbers of folds, by data set."""
    if (limit := sweep.budget.trials) is None or max(folds.values()) == 1:
        return
    seeds, needed, what = len(sweep.seeds), trials_each(sweep, folds), "a configuration has"
    if sweep.search.sampler == "grid":
        datasets = (sweep.with_values(point).dataset for point in sweep.grid())
        needed, what = sum(seeds * folds[name] for name in datasets), "the grid has"
    if needed > limit:
        reason = f"{what} {needed} trials with its seeds and folds, more than {limit}"
        raise ConfigError.at("budget.trials", reason)


def most_labelled(settings: DatasetConfig, recordings: list[Recording]) -> Classes:
    """An upper bound of the windows of each class. Only whether there are enough is exact for
    windows of recordings that have to be opened to know their length."""
    each = MIN_CLASS_WINDOWS
    if settings.window_seconds == "whole":
        each = 1
    elif (seconds := settings.recording_seconds) is not None:
        each = int(window_count(seconds, settings))
    classes: dict[str, Counter[str]] = {}
    for recording in recordings:
        for label in recording.labels if each else ():
            most = each
            if recording.intervals is not None:
                most = most_labelled_windows(recording, settings, label)
            classes.setdefault(recording.split, Counter())[label] += most
    return {split: dict(counts) for split, counts in classes.items()}


def refuse_short_windows(name: str, settings: DatasetConfig) -> None:
    """Raises ConfigError for windows of fewer than two samples."""
    if settings.window_seconds == "whole":
        return
    samples = round(settings.window_seconds * settings.imu_rate)
    if samples < MIN_SAMPLES:
        key = f"datasets.{name}.window_seconds"
        found = f"{settings.window_seconds:g} s at {settings.imu_rate:g} Hz are {samples} samples"
        raise ConfigError(key, f"{key}: {found}; raise it, or imu_rate")


def refuse_absent_files(
    name: str, settings: DatasetConfig, recordings: Sequence[Recording]
) -> None:
    """Raises ConfigError where a manifest names files of which no recording has all: then its paths
    are wrong. A few that are away only reject their recordings."""
    if not isinstance(settings, FolderDataset) or not recordings:
        return
    absent, in_buckets = "", versions({f for r in recordings for f in r.files if is_url(f)})
    for recording in recordings:
        there = {
            f: in_buckets.get(f, ABSENT) != ABSENT or Path(f).exists() for f in recording.files
        }
        if not (lacking := [file for file, is_there in there.items() if not is_there]):
            return
        absent = absent or lacking[0]
    fault = f"no such file: {absent}, and no recording of {len(recordings)} has all its files"
    fix = f"correct the paths in {settings.path}"
    raise ConfigError.at(f"datasets.{name}", f"{fault}; {fix}")


def refuse_short_recordings(name: str, settings: DatasetConfig, train: Sequence[Recording]) -> None:
    """Raises ConfigError if every recording to train on is shorter than one window, as far as that
    is seen at once."""
    if settings.window_seconds == "whole" or settings.recording_seconds is not None or not train:
        return
    began, longest = time.monotonic(), 0.0
    for recording in train:
        begin, end = recording.span
        try:
            if recording.video and not is_url(recording.video):
                begin, end = max(begin, 0.0), min(end, video_seconds(recording.video))
        except VideoError:
            continue  # prepare will reject it, with the reason
        longest = max(longest, end - begin)
        if longest >= settings.window_seconds or time.monotonic() - began > MAX_LOOK_SECONDS:
            return
    if longest:
        key = f"datasets.{name}.window_seconds"
        longer = f"windows of {settings.window_seconds:g} s are longer than the recordings"
        message = f"{longer}, of which the longest has {longest:.3g} s; lower it"
        raise ConfigError.at(key, message)


def refuse_odd_students(sweep: Sweep) -> None:
    """Raises ConfigError for students whose library is not installed on this machine, if trials run
    on it; for students from scratch whose sizes do not fit each other, both with the message that
    building them has; and for windows that are shorter than a patch of MOMENT."""
    for config in map(sweep.with_values, sweep.points()):
        student, settings = config.student, sweep.datasets[config.dataset]
        if cluster_address() is None and (missing := missing_library(student.name)):
            raise ConfigError("trial.student", f"trial.student: {missing}")
        if student.weights is None and student.name in MULTIPLES:
            whole, part, *defaults = MULTIPLES[student.name]
            size = dict(zip((whole, part), defaults, strict=True)) | student.size
            if part == "input_patch_stride" and part not in student.size:
                continue  # follows the patch
            if size[part] <= 0 or size[whole] % size[part]:
                fault = f"{whole} {size[whole]} is not a multiple of {part} {size[part]}"
                raise ConfigError("trial.student", f"trial.student: {fault}")
        if student.name == "moment" and settings.window_seconds != "whole":
            samples = round(settings.window_seconds * settings.imu_rate)
            patch = student.size.get("patch_len", MOMENT_PATCH)
            if samples < patch:
                key = f"datasets.{config.dataset}.window_seconds"
                fault = f"moment needs at least {patch} samples, a window has {samples}"
                raise ConfigError(key, f"{key}: {fault}; raise it, or imu_rate")


def most_windows(settings: DatasetConfig, recordings: list[Recording]) -> int | None:
    """An upper bound of the windows that these recordings can give; None if it takes too long."""
    each = _most_of_each(settings, recordings)
    return None if each is None else sum(each)


def most_to_train_on(settings: DatasetConfig, train: list[Recording]) -> TrainSplit | None:
    """An upper bound of what trials can train on; None if it takes too long, or if no recording
    could be read."""
    each = _most_of_each(settings, train)
    if not each or not any(each):
        return None
    labelled = sum(n for n, recording in zip(each, train, strict=True) if recording.labels)
    # Of recordings with more windows than are kept, the last one is never drawn; of those with
    # intervals, it need not have a label.
    cut = settings.window_seconds != "whole" and settings.windows_per_recording is None
    there = [recording for n, recording in zip(each, train, strict=True) if n > 0]
    last, labelled_last = len(there), sum(r.label is not None for r in there)
    return TrainSplit(sum(each), labelled, cut * last, cut * labelled_last)


def _most_of_each(settings: DatasetConfig, recordings: list[Recording]) -> list[int] | None:
    """For each recording an upper bound of its windows; None if it takes too long."""
    if settings.window_seconds == "whole":
        return [1] * len(recordings)
    most = settings.windows_per_recording or math.inf
    kept = [most if recording.split == "train" else math.inf for recording in recordings]
    if (seconds := settings.recording_seconds) is not None:
        each = int(window_count(seconds, settings))
        return [int(min(each, count)) for count in kept]
    began, windows = time.monotonic(), list[int]()
    for recording, count in zip(recordings, kept, strict=True):
        begin, end = recording.span
        if time.monotonic() - began > MAX_LOOK_SECONDS:
            return None
        try:
            if recording.video and not is_url(recording.video):
                begin, end = max(begin, 0.0), min(end, video_seconds(recording.video))
            if end - begin == math.inf:
                return None
            each = int(window_count(end - begin, settings) + 0.1)
            windows.append(int(min(each, count)))
        except VideoError:
            windows.append(0)  # prepare will reject it, with the reason
    return windows
