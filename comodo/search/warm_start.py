"""What a search can learn from the configurations of an earlier sweep of the same store, or of this
one before its file was changed. Scores are read from the trials. Knows neither Ray nor Optuna."""

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from comodo.config import ConfigError, Sweep, TeacherConfig, TrialConfig
from comodo.config.metric import Metric
from comodo.config.space import Choices, Point, flatten
from comodo.core.errors import nearest
from comodo.core.store import Store
from comodo.data.folds import Fold
from comodo.search.records import ASKED_FILE, AskedConfiguration, TrainedRecord
from comodo.search.trial import Evaluation, Trial, read_result

Arrays = dict[tuple[str, TeacherConfig | None], tuple[str, str]]


class _PassedOver(Exception):
    """A configuration that nothing is learnt from; the text says why."""


@dataclass
class WarmStart:
    points: list[tuple[Point, tuple[float, ...]]] = field(default_factory=list)
    """With the mean over seeds and folds of each objective."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """How many were not learnt from, by reason."""


def refuse_unknown_sweeps(sweep: Sweep, store: Store) -> None:
    """Raises ConfigError when `warm_start` names a sweep that the store does not have."""
    for name in sweep.search.warm_start:
        known = [path.parent.name for path in store.files("sweeps", f"*/{ASKED_FILE}")]
        if name not in known:
            fix = nearest(name, known) if known else "; it has none yet"
            raise ConfigError.at("search.warm_start", f"the store has no sweep '{name}'{fix}")


def learn(
    asked: list[AskedConfiguration],
    sweep: Sweep,
    store: Store,
    arrays: Arrays,
    evaluation: Evaluation,
) -> WarmStart:
    """Learns from those configurations that are finished and are also in this sweep."""
    metrics = [objective.metric for objective in sweep.objectives]
    elsewhere = any(Metric.parse(metric).dataset for metric in metrics)
    evaluation = replace(  # only the objectives have to be measured
        evaluation,
        measures=tuple({sweep.metrics[metric] for metric in metrics}),
        targets=evaluation.targets if elsewhere else {},
    )
    learnt = WarmStart()
    store.fetch("trials", {key for entry in asked for key in entry.trials}, "**/*.json")
    for entry in asked:
        try:
            learnt.points.append(_learn_one(entry.trials, sweep, store, arrays, evaluation))
        except _PassedOver as reason:
            learnt.passed_over[str(reason)] += 1
    return learnt


def _learn_one(
    keys: list[str], sweep: Sweep, store: Store, arrays: Arrays, evaluation: Evaluation
) -> tuple[Point, tuple[float, ...]]:
    """Raises _PassedOver."""
    try:
        found = [TrainedRecord.find(store.folder("trials", key)) for key in keys]
        trained = [record for record in found if record is not None]
        if not trained or len(trained) < len(found):
            raise _PassedOver("not finished")
        config = TrialConfig.model_validate(trained[0].trial)
    except ValueError:
        raise _PassedOver("with settings that are no longer known") from None
    if (point := locate(config, sweep)) is None:
        raise _PassedOver("outside the space")
    here = sweep.with_values(point)
    if config.student.source is not None or here.student.source is not None:
        raise _PassedOver("that start from another student")
    windows, features = arrays[here.dataset, here.teacher]
    theirs = trained[0].features if config.method.needs_teacher else features
    if (windows, features) != (trained[0].windows, theirs):
        raise _PassedOver("of another data set or teacher")
    config = config.model_copy(update={"dataset": here.dataset})
    if Trial(config, 0, windows, features).key != Trial(here, 0, windows, features).key:
        raise _PassedOver(_difference(config, here, sweep))
    known = {fold.number: fold for fold in evaluation.folds.get(config.dataset, ())}
    folds = [known.get(record.fold["number"]) if record.fold else None for record in trained]
    recorded = [record.fold and Fold.of(record.fold) for record in trained]
    if folds != recorded or (known and None in folds):
        raise _PassedOver("with other folds")
    if Trial(config, trained[0].seed, windows, features, fold=folds[0]).key != trained[0].key:
        raise _PassedOver("of another version or weights")
    rows = []
    for record, fold in zip(trained, folds, strict=True):
        trial = Trial(config, record.seed, windows, features, evaluation, fold=fold)
        result = read_result(trial, store)
        metrics = {} if result is None else result.metrics
        rows.append([metrics.get(objective.metric, math.nan) for objective in sweep.objectives])
    scores = tuple(statistics.mean(column) for column in zip(*rows, strict=True))
    if not all(map(math.isfinite, scores)):
        raise _PassedOver("without the objective")
    return point, scores


def locate(config: TrialConfig, sweep: Sweep) -> Point | None:
    """The point of the space that comes closest to a trial's settings; None if a number lies
    outside its range. A value in a list may stand for a whole method or model, so each is filled in
    and compared."""
    wanted, point = flatten(config.model_dump(mode="json")), Point()

    def distance(key: str, value: Any) -> float:
        """How many settings at and below the key would differ."""
        try:
            there = flatten(sweep.with_values({**point, key: value}).model_dump(mode="json"))
        except ConfigError:
            return math.inf
        below = [name for name in wanted | there if f"{name}.".startswith(f"{key}.")]
        return sum(wanted.get(name) != there.get(name) for name in below)

    for key in sweep.space.order:
        if sweep.space.is_active(key, point):
            span = sweep.space.spans[key]
            if isinstance(span, Choices):
                point[key] = min(span.values, key=partial(distance, key))
            elif wanted.get(key) in span:
                point[key] = wanted[key]
            else:
                return None
    return {key: point[key] for key in sweep.space.spans if key in point}


def _difference(config: TrialConfig, other: TrialConfig, sweep: Sweep) -> str:
    """Why two trials on the same arrays are not the same: the keys that differ, and of a method or
    student of another name only the name."""
    without = {"protocol", "dataset", "teacher"}
    mine, theirs = (flatten(c.model_dump(mode="json", exclude=without)) for c in (config, other))
    keys = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
    renamed = tuple(key.removesuffix("name") for key in keys if key.endswith(".name"))
    keys = [key for key in keys if key.endswith(".name") or not key.startswith(renamed)]
    swept = tuple(f"{key}." for key in sweep.space.spans)
    if any(f"{key}.".startswith(swept) for key in keys):
        return "outside the space"
    return f"with other {', '.join(keys)}"
