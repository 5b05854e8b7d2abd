"""Readable names of trials, and of the values of the keys that vary in the sweep."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from comodo.config import NoneMethod, Sweep, TeacherConfig
from comodo.config.datasets import fold_split
from comodo.config.space import Range, flatten
from comodo.search.trial import Trial

OF_UNTRAINED = ("dataset", "student.", "protocol", "probe_")
"""Keys that can make a difference between two untrained students and their metrics, except"""
OF_TRAINED = ("student.train_encoder",)
HEAD, PROJECTOR = "method.head.kind", "method.head.teacher_projector"
"""The second one follows from the first, unless it is set."""
OF_TERMS = "method.terms."
BEFORE_THIS_STAGE = "before this stage"
"""The untrained reference of a student that starts from a trained one."""
OF_STARTED = ("student.from", "student.name", "student.channels", "student.train_encoder")
"""Keys of such a student that labels may have: the others come with its weights."""
SEVERAL = "teacher.several"

Asked = Mapping[str, Mapping[str, int]]


class Labels:
    """The names in one sweep, a different one for each configuration; `keys`: dotted keys of
    `trial` that take more than one value, without the method's name and keys that recipes set,
    whose values follow from the others. Of models whose names all differ, only the name."""

    def __init__(self, sweep: Sweep) -> None:
        self._asked = sweep.asked
        points = [sweep.with_values(point).model_dump(mode="json") for point in sweep.points()]
        self._channel_sets = {tuple(point["student"]["channels"]) for point in points}
        for part in ("teacher", "student"):
            having = [point for point in points if point[part] is not None]
            models = {json.dumps(point[part], sort_keys=True) for point in having}
            names = {point[part]["name"] for point in having}
            if 1 < len(names) == len(models):
                points = [
                    {**point, part: point[part] and {"name": point[part]["name"]}}
                    for point in points
                ]
        seen: dict[str, set[str]] = {}
        alike = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
        for point in points:
            flat = flatten(point)
            for key, value in flat.items():
                seen.setdefault(key, set()).add(json.dumps(value))
                part, _, _ = key.partition(".")
                if key == f"{part}.name":
                    alike[part, value].append(flat)
        for (part, _), flats in alike.items():  # a key that some of them lack varies too
            keys = [{key for key in flat if key.startswith(f"{part}.")} for flat in flats]
            for key in set[str]().union(*keys).difference(keys[0].intersection(*keys)):
                seen[key].add("absent")
        if SEVERAL in seen:  # so that they are named, next to others
            seen[SEVERAL].add("absent")
        named_elsewhere = {"method.name"}.union(*(recipe.set for recipe in sweep.recipes))
        if all(
            flat.get(PROJECTOR) in (None, flat.get(HEAD) == "mlp") for flat in map(flatten, points)
        ):
            named_elsewhere.add(PROJECTOR)
        # Which terms a sum has is in its title; of these keys only the weights remain, as axes.
        self._in_title = {key for key, values in seen.items() if _is_of_some_sums(key, values)}
        named_elsewhere |= {key for key in self._in_title if not key.endswith(".weight")}
        self.keys = [
            key for key, values in seen.items() if len(values) > 1 and key not in named_elsewhere
        ]
        self._ends = Counter(key.split(".")[-1] for key in self.keys)

    def configuration(self, trial: Trial, leave_out: str = "") -> str:
        """The label of a configuration, the same for all seeds and folds; `leave_out`: a key to
        omit."""
        mine = self.settings(trial)
        name: str = trial.config.method.title
        keys = [key for key in self.keys if key not in (leave_out, *self._in_title)]
        if trial.is_hand_crafted:
            name = "hand-crafted features"
            keys = [key for key in keys if key == "dataset"]
            keys += ["student.channels"] * (len(self._channel_sets) > 1)
        elif isinstance(trial.config.method, NoneMethod):
            student = trial.config.student
            name = "as pretrained" if student.weights else "untrained"
            name = name if student.source is None else BEFORE_THIS_STAGE
            keys = [key for key in keys if key.startswith(OF_UNTRAINED) and key not in OF_TRAINED]
        elif not trial.config.method.needs_teacher:
            keys = [key for key in keys if not key.startswith("teacher.")]
        return " ".join([name, *(self._shown(key, mine[key]) for key in keys if key in mine)])

    def settings(self, trial: Trial) -> dict[str, Any]:
        """Values of dotted keys, for people to read: of a smoke run those of its file."""
        flat = flatten(trial.config.model_dump(mode="json"))
        if trial.config.student.source is not None:
            flat = {k: v for k, v in flat.items() if k in OF_STARTED or k[:8] != "student."}
        if flat.get(SEVERAL):  # whose settings are in the names of each
            flat.pop("teacher.weights")
        if not self._asked:
            return flat
        return {key: file_value(self._asked, key, value) for key, value in flat.items()}

    def trial(self, trial: Trial) -> str:
        return f"{self.configuration(trial)} {trial.repetition}"

    def _shown(self, key: str, value: Any) -> str:
        """`queue_size=256`; of data sets, models and heads only the name."""
        if key in ("dataset", "teacher.name", "student.name", HEAD):
            return str(value)
        if key == "student.channels":
            return channels_name(value)
        if key == SEVERAL:
            return "+".join(map(_teacher_name, value))
        if isinstance(value, str) and re.search(r"[\s\"]", value):
            value = json.dumps(value)
        if key.startswith(OF_TERMS):
            return f"{key.removeprefix(OF_TERMS)}={value}"
        end = key.split(".")[-1]
        return f"{end if self._ends[end] == 1 else key}={value}"


def _teacher_name(settings: Mapping[str, Any]) -> str:
    """One of several teachers: its name, and what it does not have by default, of weights without
    their owner or folder."""
    given = [key for key in settings if key not in ("name", "code")]
    fields = TeacherConfig.model_fields
    others = [key for key in given if key in fields and settings[key] != fields[key].default]
    shown = [f"{key}={str(settings[key]).rpartition('/')[2]}" for key in others]
    return ":".join([settings["name"], *shown])


def channels_name(channels: Iterable[str]) -> str:
    """`acc_xyz+gyro_x` of acc_x, acc_y, acc_z and gyro_x."""
    axes = (channel.rpartition("_") for channel in channels)
    sensors = groupby(axes, key=lambda axis: axis[0])
    return "+".join(f"{name}_{''.join(axis[-1] for axis in same)}" for name, same in sensors)


def _is_of_some_sums(key: str, values: set[str]) -> bool:
    """Whether a key of a term has one value in all sums that have the term."""
    found = values - {"absent"}
    of_term = key.startswith(OF_TERMS) and len(found) == 1 < len(values)
    return of_term and not (key.endswith(".weight") and not any(map(float, found)))


def rounded(text: str, digits: int = 4) -> str:
    """Labels with drawn values cut to significant digits, for people to read; unique with the
    `distinguishing_digits`."""

    def cut(found: re.Match[str]) -> str:
        value = float(found[0])
        return f"{value:.{digits}g}" if value < 10**digits else f"{value:.0f}"

    return re.sub(r"(?<==)\d+\.\d{5,}(e-?\d+)?", cut, text)


def distinguishing_digits(labels: Iterable[str]) -> int:
    """The fewest significant digits, at least two, with which `rounded` labels differ."""
    different = set(labels)
    enough = (d for d in range(2, 17) if len({rounded(x, d) for x in different}) == len(different))
    return next(enough, 17)


def swept_keys(sweep: Sweep) -> dict[str, str]:
    """The values that the sweep gives to each key, of a smoke run those of its file, as text."""
    return {
        key: f"{span.min:g} to {span.max:g}{', log' * span.log}"
        if isinstance(span, Range)
        else ", ".join(_choice(sweep.asked, key, value) for value in span.values)
        for key, span in sweep.search.space.items()
    }


def folds_asked(sweep: Sweep) -> dict[str, int | str]:
    """The number of folds, or `all`, of the data sets trained on, of those that have folds."""
    found = {name: fold_split(sweep.datasets[name]) for name, _ in sweep.trained_on()}
    return {name: split.folds for name, split in found.items() if split is not None}


def _choice(asked: Asked, key: str, value: Any) -> str:
    """`comodo queue_size=64` for settings."""
    if not isinstance(value, dict):
        return str(file_value(asked, key, value))
    return " ".join(
        str(v) if k == "name" else f"{k}={file_value(asked, k, v)}" for k, v in value.items()
    )


def file_value(asked: Asked, key: str, value: Any) -> Any:
    """What the file of a smoke run has where the run has `value`; `asked`: `Sweep.asked`."""
    found = asked.get(key.rsplit(".", 1)[-1], {})
    return found.get(str(value), value) if type(value) is int else value


def ran_instead(sweep: Sweep) -> str:
    """What a smoke run had in place of the values of its file, which are shown; else empty."""
    ran = [
        f"{key} {', '.join(f'{small} for {asked}' for small, asked in of.items())}"
        for key, of in sweep.asked.items()
    ]
    return f"settings are shown as in the file; in their place ran {'; '.join(ran)}" if ran else ""
