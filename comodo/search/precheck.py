"""Checks before Ray starts: that data is there, queues are short enough, and a trial fits on this
machine. Imports nothing heavy; reads at most the length of a recording."""

import os
import time
from pathlib import Path

from comodo.config import ComodoMethod, ConfigError, DatasetConfig, SimulatedDataset, Sweep
from comodo.core.store import Store
from comodo.data.frames import VideoError
from comodo.data.keys import simulated_folder
from comodo.data.readers import list_recordings
from comodo.data.recordings import DatasetError, Recording
from comodo.data.video import video_seconds
from comodo.search.capacity import DRIVER_CPUS, cluster_address, refuse_odd_gpus, trials_that_fit
from comodo.search.trial import Evaluation

MAX_LOOK_SECONDS = 1.0  # for reading the lengths of videos
MIN_CLASS_WINDOWS = 5  # of the probe


def precheck(file: Path, sweep: Sweep, store: Store) -> None:
    """Raises ConfigError, with file, key and fix, for a sweep that cannot run."""
    cpus = os.cpu_count() or 1
    try:
        refuse_odd_gpus(sweep.resources)
        only_cpus = sweep.resources.model_copy(update={"gpus_per_worker": 0.0})
        if cluster_address() is None and not trials_that_fit([(cpus, 0)], only_cpus):
            workers, each = sweep.resources.workers, sweep.resources.cpus_per_worker
            driver = f" and {DRIVER_CPUS} for its driver" if workers > 1 else ""
            raise ConfigError.at(
                "resources.cpus_per_worker",
                f"a trial of {workers} workers needs {workers * each:g} CPUs{driver}, this machine "
                f"has {cpus}; lower it, or name a cluster in RAY_ADDRESS",
            )
        most = {}
        watched = {name for name, teacher in sweep.trained_on() if teacher.name != "precomputed"}
        for name, settings in sweep.datasets.items():
            recordings = list_recordings(settings, simulated_folder(settings, store))
            if name in watched and not any(recording.video for recording in recordings):
                fix = "use the data set in evaluate_on, or with a precomputed teacher"
                reason = f"no recording has a video for the teacher; {fix}"
                raise ConfigError.at(f"datasets.{name}", reason)
            most[name] = most_windows(settings, [r for r in recordings if r.split == "train"])
        refuse_long_queues(sweep, {name: n for name, n in most.items() if n is not None})
    except (ConfigError, DatasetError) as error:
        raise ConfigError(error.code, f"{file}: {error}") from None


def evaluation_of(
    sweep: Sweep, packed: dict[str, str], classes: dict[str, dict[str, int]]
) -> Evaluation:
    """What every student is measured by; `packed`: keys of the packed windows by data set,
    `classes`: labelled training windows of each class, of the data sets that are prepared."""
    unfit = {name for name, counts in classes.items() if unfit_for_probe(counts) is not None}
    return Evaluation(
        tuple(sweep.measures),
        {name: packed[name] for name in sweep.evaluate_on},
        frozenset(unfit & set(sweep.evaluate_on)),
        sweep.label_map,
    )


def unfit_for_probe(classes: dict[str, int]) -> str | None:
    """Why no probe can be fitted with these labelled training windows by class, or None."""
    if not classes:
        return "no labelled training windows; give some recordings of the train split a label"
    largest = max(classes.values())
    # Each fold leaves out a window of the smaller classes, and another has to remain.
    if largest < MIN_CLASS_WINDOWS or sum(classes.values()) - largest < 2:
        return (
            f"the probe needs a class of {MIN_CLASS_WINDOWS} training windows and two windows of "
            f"other classes; it has {classes}; give more recordings a label"
        )
    return None


def most_windows(settings: DatasetConfig, recordings: list[Recording]) -> int | None:
    """An upper bound of the windows that these recordings can give; None if it takes too long."""
    if settings.window_seconds == "whole":
        return len(recordings)
    if isinstance(settings, SimulatedDataset):
        return len(recordings) * int(settings.seconds / settings.window_seconds)
    began, windows = time.monotonic(), 0
    for recording in recordings:
        if not recording.video or time.monotonic() - began > MAX_LOOK_SECONDS:
            return None
        try:
            windows += int(video_seconds(recording.video) / settings.window_seconds + 0.1)
        except VideoError:
            continue  # prepare will reject it, with the reason
    return windows


def refuse_long_queues(sweep: Sweep, train_windows: dict[str, int]) -> None:
    """Raises ConfigError for a queue that needs all of a data set's training windows, of which
    there are, or can be, at most `train_windows`; data sets not in it are not checked."""
    for values in sweep.points():
        config = sweep.with_values(values)
        windows = train_windows.get(config.dataset)
        if windows is None or not isinstance(config.method, ComodoMethod):
            continue
        most = windows - 2 * config.method.hold_out_queue
        if config.method.queue_size > most:
            keys = ("method.queue_size", "method")
            swept = (f"search.space.{key}" for key in keys if key in values)
            raise ConfigError.at(
                next(swept, "trial.method.queue_size"),
                f"a queue of {config.method.queue_size} is too long for the training split of "
                f"'{config.dataset}', which has {windows} windows; choose at most {most}, better a "
                "quarter of that",
            )
