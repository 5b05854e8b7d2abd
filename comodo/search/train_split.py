"""How many windows a trial trains on, and the refusal of a sweep that leaves a trial too few."""

from collections.abc import Mapping
from dataclasses import dataclass

from comodo.config import (
    ConfigError,
    NoneMethod,
    SupervisedMethod,
    Sweep,
    TrialConfig,
)
from comodo.config.methods import queue_key

MIN_STEP = 2  # windows: batch normalisation has no variance in one


@dataclass(frozen=True)
class TrainSplit:
    """How many windows trials on a data set can train on."""

    windows: int
    labelled: int | None = None  # None: all of them
    last: int = 0  # windows that are the last one of their recording, which some trials drop
    labelled_last: int = 0
    unseen: int = 0  # windows without video, which are not distilled on
    unseen_last: int = 0

    def of(self, trial: TrialConfig) -> int:
        """How many windows a trial trains on."""
        windows, last = self.windows, self.last
        if trial.method.only_labels:
            if self.labelled is not None:
                windows, last = self.labelled, self.labelled_last
        elif trial.method.needs_teacher and trial.teacher and trial.teacher.sees_video:
            windows, last = windows - self.unseen, last - self.unseen_last
        return windows - (last if trial.last_window == "drop" else 0)


def refuse_untrainable(sweep: Sweep, train: Mapping[str, TrainSplit]) -> None:
    """Raises ConfigError where a trial, or the reference that is trained with labels, would have no
    step, or no window for its first epoch that is not in the queue. `train`: by data set, the
    windows that there are, or can be at most; data sets not in it are not checked."""
    for values in sweep.points():
        config = sweep.with_values(values)
        split = train.get(config.dataset)
        if split is None or isinstance(config.method, NoneMethod):
            continue
        _refuse_long_queue(config, split, values)
        _refuse_no_step(config, split, values)
        # By default it is left out where there are no labels.
        is_trained = split.labelled != 0 or "references" in sweep.model_fields_set
        if "supervised" in sweep.references and is_trained:
            method = SupervisedMethod(name="supervised")
            _refuse_no_step(config.model_copy(update={"method": method}), split, values)


def _refuse_long_queue(
    config: TrialConfig, split: TrainSplit, values: Mapping[str, object]
) -> None:
    loss, windows = config.method.queue, split.of(config)
    if loss is None or windows < MIN_STEP:
        return
    most = windows - MIN_STEP * loss.hold_out_queue
    if loss.queue_size > most:
        has = f"{windows} windows{' with video' if split.unseen else ''}"
        if config.last_window == "drop" and split.last:
            has += " without the last one of each recording"
        keys = ("method.terms", "method", "last_window", "protocol")
        where = _key(values, queue_key(config.method), *keys)
        fix = f"choose at most {most}, better a quarter of that"
        if most < 1:
            fix = f"add recordings, or shorten datasets.{config.dataset}.window_seconds"
        raise ConfigError.at(
            where,
            f"a queue of {loss.queue_size} is too long for the training split of "
            f"'{config.dataset}', which has {has}; {fix}",
        )


def _refuse_no_step(config: TrialConfig, split: TrainSplit, values: Mapping[str, object]) -> None:
    name, windows = config.dataset, split.of(config)
    if windows >= MIN_STEP:
        return
    kind = "labelled " if config.method.only_labels else ""
    video = " with video" if split.unseen and not kind else ""
    kept = split.of(config.model_copy(update={"last_window": "keep"}))
    if kept >= MIN_STEP:
        raise ConfigError.at(
            _key(values, "last_window", "protocol"),
            f"without the last window of each recording, {windows} of {kept} {kind}training "
            f"windows{video} of '{name}' are left, and a step needs {MIN_STEP}; use last_window: "
            f"keep, or shorten datasets.{name}.window_seconds",
        )
    raise ConfigError.at(
        f"datasets.{name}",
        f"{windows} {kind}training windows{video}, and a step needs {MIN_STEP}; add {kind}"
        f"recordings{video} to its train split, or shorten window_seconds",
    )


def _key(values: Mapping[str, object], *keys: str) -> str:
    """The first of these keys that is swept, or else the first as a key of `trial`."""
    swept = (f"search.space.{key}" for key in keys if key in values)
    return next(swept, f"trial.{keys[0]}")
