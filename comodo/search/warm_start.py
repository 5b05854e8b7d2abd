"""What a search can learn from configurations that were asked elsewhere: by an earlier sweep of the
same store, or by this one before its file was changed.

Scores are read from the trials themselves. Knows neither Ray nor Optuna.
"""

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comodo.config import Choices, ConfigError, Point, Sweep, TeacherConfig, TrialConfig
from comodo.config.base import nearest
from comodo.config.space import flatten
from comodo.core.store import Store, fetched, read_json
from comodo.search.trial import Evaluation, Trial, read_result

Arrays = dict[tuple[str, TeacherConfig], tuple[str, str]]
Scores = tuple[float, ...]


class _PassedOver(Exception):
    """A configuration that nothing is learnt from; the text says why."""


@dataclass
class WarmStart:
    points: list[tuple[Point, Scores]] = field(default_factory=list)
    """With the mean over seeds of each objective."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """How many were not learnt from, by reason."""


def read_asked(folder: Path) -> list[dict[str, Any]]:
    """What a sweep has asked: `values`, and `trials`, their keys, for each configuration."""
    path = fetched(folder, "asked.json") / "asked.json"
    entries = read_json(path) if path.exists() else []
    # The first versions of the engine kept the values alone.
    return [e if "trials" in e else {"values": e, "trials": []} for e in entries]


def refuse_unknown_sweeps(sweep: Sweep, store: Store) -> None:
    """Raises ConfigError when `warm_start` names a sweep that the store does not have."""
    for name in sweep.search.warm_start:
        known = [path.parent.name for path in store.files("sweeps", "*/asked.json")]
        if name not in known:
            mend = nearest(name, known) if known else "; it has none yet"
            raise ConfigError(f"search.warm_start: the store has no sweep '{name}'{mend}")


def learn(
    asked: list[dict[str, Any]], sweep: Sweep, store: Store, arrays: Arrays, evaluation: Evaluation
) -> WarmStart:
    """The finished ones of configurations, as far as they are configurations of a sweep too."""
    elsewhere = any(objective.metric.startswith("on/") for objective in sweep.objectives)
    evaluation = replace(  # no more has to be measured than what is to be learnt
        evaluation,
        measures=tuple({sweep.metrics[objective.metric] for objective in sweep.objectives}),
        targets=evaluation.targets if elsewhere else {},
    )
    learnt = WarmStart()
    store.fetch("trials", {key for entry in asked for key in entry["trials"]}, "**/*.json")
    for entry in asked:
        try:
            learnt.points.append(_learn_one(entry["trials"], sweep, store, arrays, evaluation))
        except _PassedOver as reason:
            learnt.passed_over[str(reason)] += 1
    return learnt


def _learn_one(
    keys: list[str], sweep: Sweep, store: Store, arrays: Arrays, evaluation: Evaluation
) -> tuple[Point, Scores]:
    """Raises _PassedOver."""
    paths = [store.folder("trials", key) / "trained.json" for key in keys]
    if not paths or not all(path.exists() for path in paths):
        raise _PassedOver("not finished")
    trained = [read_json(path) for path in paths]
    try:
        config = TrialConfig.model_validate(trained[0]["trial"])
    except ValidationError:
        raise _PassedOver("with settings that are no longer known") from None
    point = locate(config, sweep)
    if point is None:
        raise _PassedOver("outside the space")
    here = sweep.with_values(point)
    windows, features = arrays[here.dataset, here.teacher]
    if (windows, features) != (trained[0]["windows"], trained[0]["features"]):
        raise _PassedOver("of another data set or teacher")
    config = config.model_copy(update={"dataset": here.dataset})
    if Trial(config, 0, windows, features).key != Trial(here, 0, windows, features).key:
        raise _PassedOver(f"with other {', '.join(_differing(config, here))}")
    rows = []
    for seed in (one["seed"] for one in trained):
        result = read_result(Trial(config, seed, windows, features, evaluation), store)
        metrics = {} if result is None else result["metrics"]
        rows.append([metrics.get(objective.metric, math.nan) for objective in sweep.objectives])
    scores = tuple(statistics.mean(column) for column in zip(*rows, strict=True))
    if not all(map(math.isfinite, scores)):
        raise _PassedOver("without the objective")
    return point, scores


def _differing(config: TrialConfig, other: TrialConfig) -> list[str]:
    """The keys that two trials on the same arrays differ in; of a method or a student of another
    name, the name."""
    both = [
        c.model_dump(mode="json", exclude={"protocol", "dataset", "teacher"})
        for c in (config, other)
    ]
    mine, theirs = map(flatten, both)
    keys = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
    renamed = tuple(key.removesuffix("name") for key in keys if key.endswith(".name"))
    return [key for key in keys if key.endswith(".name") or not key.startswith(renamed)]


def locate(config: TrialConfig, sweep: Sweep) -> Point | None:
    """The point of the space where the settings of a trial lie; None if they lie outside."""
    space = sweep.space
    flat = flatten(config.model_dump(mode="json"))
    point: Point = {}
    for key in space.order:
        if not space.is_active(key, point):
            continue
        span = space.spans[key]
        if isinstance(span, Choices):
            mine = _below(key, flat, sweep)
            found = [
                value for value in span.values if _is_that(mine, {**point, key: value}, key, sweep)
            ]
        else:
            found = [flat[key]] if flat.get(key) in span else []
        if not found:
            return None
        point[key] = found[0]
    return {key: point[key] for key in space.spans if key in point}


def _is_that(mine: dict[str, Any], point: Point, key: str, sweep: Sweep) -> bool:
    try:
        theirs = sweep.with_values(point).model_dump(mode="json")
    except ConfigError:
        return False
    return mine == _below(key, flatten(theirs), sweep)


def _below(key: str, flat: dict[str, Any], sweep: Sweep) -> dict[str, Any]:
    """A setting, or those of a part, but for what the space has keys of its own for, and what
    follows by a recipe, perhaps from keys that come later."""
    apart = sweep.space.spans.keys() | {name for recipe in sweep.recipes for name in recipe.set}
    return {
        name: value
        for name, value in flat.items()
        if (name == key or name.startswith(f"{key}.")) and (name == key or name not in apart)
    }
