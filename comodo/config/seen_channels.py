"""Which channels of its data set a trial's student sees, and whether others have them."""

from collections.abc import Mapping

from comodo.config.augment import refuse_lacking
from comodo.config.base import ConfigError
from comodo.config.channels import expanded
from comodo.config.datasets import DatasetConfig
from comodo.config.space import Point
from comodo.config.trial import TrialConfig

KEY = "student.channels"


def with_channels(
    trial: TrialConfig, datasets: Mapping[str, DatasetConfig], values: Point
) -> TrialConfig:
    """The trial, whose student sees channels of its data set, by default all of them.

    `values`: what the search sets. Raises ConfigError for a channel that the data set has not, and
    for an augmentation that needs others.
    """
    if (dataset := datasets.get(trial.dataset)) is None:
        return trial  # refused elsewhere
    student, known = trial.student, dataset.imu_channels
    is_given = "channels" in student.model_fields_set or student.source is not None
    channels = expanded(student.channels, known) if is_given else known
    if lacking := [channel for channel in channels if channel not in known]:
        there = f"{trial.dataset} has {', '.join(known)}"
        fix = f"choose some of these, or list it under datasets.{trial.dataset}.channels"
        key = f"search.space.{KEY}" if KEY in values else f"trial.{KEY}"
        if student.start is not None:
            there = f"{student.start.title} sees {', '.join(channels)}, but {there}"
            fix = f"list it under datasets.{trial.dataset}.channels, or start from another student"
            key = "trial.student.from"
        raise ConfigError.at(key, f"no channel {lacking[0]}: {there}; {fix}")
    try:
        refuse_lacking(trial.augment, channels)
    except ValueError as error:
        if KEY in values:
            raise ConfigError.at(f"search.space.{KEY}", f"with trial.augment: {error}") from None
        raise ConfigError.at("trial.augment", str(error)) from None
    student = student.model_copy(update={"channels": channels})
    if not is_given or student.source is not None:
        student.model_fields_set.discard("channels")  # it follows a change of the data set
    return trial.model_copy(update={"student": student})


def refuse_lacking_channels(trial: TrialConfig, evaluated: Mapping[str, DatasetConfig]) -> None:
    """Raises ValueError for a data set of `evaluate_on` without a channel that the student sees,
    unless it says that such a channel is zero."""
    for name, dataset in evaluated.items():
        there = dataset.imu_channels
        lacking = [channel for channel in trial.student.channels if channel not in there]
        if lacking and dataset.missing == "refuse":
            raise ValueError(
                f"evaluate_on: {name} has no {', '.join(lacking)}, which the student sees, only "
                f"{', '.join(there)}; choose other {KEY}, name its sensor with "
                f"datasets.{name}.sensor, or set datasets.{name}.missing: zero"
            )
