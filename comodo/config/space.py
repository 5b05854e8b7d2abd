"""The search: what each key may be and under which condition, where it begins, how it samples.

A point is values by dotted keys of `trial`; a key whose condition is not met is absent from it.
Knows neither seeds nor scores.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from comodo.config.base import Settings, nearest
from comodo.config.trial import STUDENT_PRESETS, TEACHER_PRESETS

Point = dict[str, Any]


class _Conditional(Settings):
    when: dict[str, Any] = Field({})
    """Other keys of the space, or keys of `trial`, with the value, or list of values, that each
    must have; else this key is absent. A condition on an absent key is not met."""

    def conditions(self) -> dict[str, list[Any]]:
        return {
            name: wanted if isinstance(wanted, list) else [wanted]
            for name, wanted in self.when.items()
        }


class Choices(_Conditional):
    """The values of a list."""

    values: list[Any] = Field(min_length=1)
    """What the key may be; a value that stands there twice counts once."""

    @field_validator("values")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        return list({json.dumps(value, sort_keys=True): value for value in values}.values())

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def ends(self) -> list[Any]:
        return self.values

    def countable(self) -> Iterable[Any] | None:
        return self.values


class Range(_Conditional):
    """Numbers from `min` to `max`, both included."""

    min: float
    """Smallest value, included."""
    max: float
    """Largest value, included."""
    log: bool = False
    """Whether the logarithm is sampled evenly, in place of the number."""
    integer: bool = False
    """Whether only whole numbers are taken."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.log and self.min <= 0:
            raise ValueError("a log range must begin above zero")
        if self.integer and not (self.min.is_integer() and self.max.is_integer()):
            raise ValueError("a range of integers needs whole numbers as min and max")
        return self

    def __contains__(self, value: Any) -> bool:
        kinds = int if self.integer else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        return fits and self.min <= value <= self.max

    def ends(self) -> list[Any]:
        return [int(self.min), int(self.max)] if self.integer else [self.min, self.max]

    def countable(self) -> Iterable[Any] | None:
        """All values in order; None where there are too many to count."""
        return range(int(self.min), int(self.max) + 1) if self.integer else None

    def fraction(self) -> float:
        """A value between the ends that is no whole number."""
        return self.min + (self.max - self.min) / math.pi


def _listed(value: Any) -> Any:
    if not isinstance(value, list | dict):
        raise ValueError("needs a list of values, or a range {min: ..., max: ...}")
    return {"values": value} if isinstance(value, list) else value


def _kind(value: Any) -> str:
    is_range = (isinstance(value, dict) and "values" not in value) or isinstance(value, Range)
    return "range" if is_range else "choices"


Span = Annotated[
    Annotated[
        Choices,
        BeforeValidator(_listed, json_schema_input_type=list[Any] | Choices),
        Tag("choices"),
    ]
    | Annotated[Range, Tag("range")],
    Discriminator(_kind),
]


class Search(Settings):
    """What is tried. Without a space it is the trial as it stands, once with each seed."""

    sampler: Literal["grid", "random", "tpe"] = "grid"
    """`grid`: every combination, in the file's order; `random`: drawn evenly; `tpe`: Optuna's
    Parzen estimator, which learns from the trials that have ended."""
    space: dict[str, Span] = Field({})
    """Dotted keys of `trial` to lists of values, or to ranges (random and tpe); either with a
    condition as {values: [...], when: {key: value}} and {min: ..., max: ..., when: ...}."""
    seed: int = 0
    """Of the sampler; trials have `seeds`."""
    start_with: list[Point] = Field([])
    """Points that are tried first; what one leaves out is for the sampler to choose, and a grid
    then begins with all of its points that agree."""
    warm_start: list[str] = Field([])
    """Earlier sweeps of the same store whose finished configurations `tpe` learns from, as far as
    they lie in the space, have this sweep's settings wherever the space leaves them alone, and were
    trained on the same arrays, with whatever seeds. They take nothing of the budget."""
    hopeless_below: float | None = Field(None, ge=0)
    """A configuration whose first seed ends worse than the best mean so far by more than this, in
    the objective's unit, does not get its other seeds."""

    @model_validator(mode="after")
    def _sampler_can(self) -> "Search":
        ranges = [key for key, span in self.space.items() if isinstance(span, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"a grid needs a list of values for {ranges[0]}, not a range")
        if self.warm_start and self.sampler != "tpe":
            raise ValueError(f"warm_start: the sampler {self.sampler} does not learn; take tpe")
        return self


class Space:
    """The points of a search.

    Args:
        trial: the trial that values are put into, which decides conditions on keys not swept.

    Raises:
        ValueError: a condition that cannot be decided or met; the text begins with its key.
    """

    def __init__(self, spans: dict[str, Choices | Range], trial: dict[str, Any]) -> None:
        self.spans, self._trial = spans, flatten(trial)
        self._waits_for = {
            key: {self._checked(key, name, wanted) for name, wanted in span.conditions().items()}
            - {""}
            for key, span in spans.items()
        }
        self.order = self._ordered()
        """The keys, each after those that its condition names."""

    def _checked(self, key: str, name: str, wanted: list[Any]) -> str:
        """The key of the space that decides a condition; "" if the trial does."""
        here = f"search.space.{key}.when.{name}"
        decides = self._decides(name)
        if not decides:
            if name not in self._trial:
                raise ValueError(
                    f"{here}: no key of the space or of trial"
                    + nearest(name, self.spans.keys() | self._trial.keys())
                )
            return ""
        span = self.spans[decides]
        if isinstance(span, Range):
            raise ValueError(f"{here}: a condition needs a key with a list of values, not a range")
        known = [value if decides == name else named(decides, value) for value in span.values]
        for value in wanted:
            if value not in known:
                raise ValueError(f"{here}: {value!r} is not a value of it; known: {known}")
        return decides

    def _decides(self, name: str) -> str:
        """`method` may be swept by its name, or whole; both decide about `method.name`."""
        whole = name.removesuffix(".name")
        return name if name in self.spans else whole if whole in self.spans else ""

    def _ordered(self) -> list[str]:
        order: list[str] = []
        left = list(self.spans)
        while left:
            free = next((key for key in left if self._waits_for[key] <= set(order)), None)
            if free is None:
                walked = [left[0]]  # follow what each waits for until it comes round
                while len(set(walked)) == len(walked):
                    walked.append(min(self._waits_for[walked[-1]] - set(order)))
                circle = walked[walked.index(walked[-1]) :]
                raise ValueError(
                    f"search.space.{circle[0]}.when: waits for itself: {' -> '.join(circle)}"
                )
            order.append(free)
            left.remove(free)
        return order

    def is_active(self, key: str, point: Point) -> bool:
        """Whether the condition of a key is met, given the keys before it in `order`."""
        for name, wanted in self.spans[key].conditions().items():
            decides = self._decides(name)
            if not decides:
                value = self._trial[name]
            elif decides in point:
                value = point[decides] if decides == name else named(decides, point[decides])
            else:
                return False
            if value not in wanted:
                return False
        return True

    def points(self, keys: Iterable[str] | None = None) -> Iterator[Point]:
        """Every combination of the values of some keys, by default of all, in the file's order.

        Keys that decide about these are combined too. None of them may be a range of fractions.
        """
        wanted = set(self.spans if keys is None else keys)
        for key in reversed(self.order):
            wanted |= self._waits_for[key] if key in wanted else set()
        chosen = [key for key in self.order if key in wanted]

        def extend(point: Point, place: int) -> Iterator[Point]:
            if place == len(chosen):
                yield {key: point[key] for key in self.spans if key in point}
            elif self.is_active(key := chosen[place], point):
                for value in self.spans[key].countable() or ():
                    yield from extend({**point, key: value}, place + 1)
            else:
                yield from extend(point, place + 1)

        return extend({}, 0)

    def is_countable(self) -> bool:
        return all(span.countable() is not None for span in self.spans.values())

    def filled(self, point: Point) -> Point:
        """The point with the first value of every active key that it lacks."""
        filled = dict(point)
        for key in self.order:
            if key not in filled and self.is_active(key, filled):
                filled[key] = self.spans[key].ends()[0]
        return {key: filled[key] for key in self.spans if key in filled}

    def corners(self) -> Iterator[Point]:
        """Each value or end of each key once, other keys at their first: enough to check each."""
        starts: list[Point] = [{}]
        for key in self.order:
            if (around := self._where_active(key)) is not None:
                starts += [{**around, key: value} for value in self.spans[key].ends()]
        points = map(self.filled, starts)
        yield from {canonical(point): point for point in points}.values()

    def fractions(self) -> Iterator[Point]:
        """A point with a fraction for each range that is not of integers."""
        for key, span in self.spans.items():
            around = self._where_active(key)
            if isinstance(span, Range) and not span.integer and around is not None:
                yield self.filled({**around, key: span.fraction()})

    def _where_active(self, key: str) -> Point | None:
        around = self.points(self._waits_for[key])
        return next((point for point in around if self.is_active(key, point)), None)

    def __contains__(self, point: object) -> bool:
        """Whether a whole point, perhaps of an earlier version of the file, lies in the space."""
        assert isinstance(point, dict)
        active = {key for key in self.order if self.is_active(key, point)}
        return point.keys() == active and all(point[key] in self.spans[key] for key in active)

    def check(self, point: Point) -> None:
        """Raises ValueError for a point, perhaps not whole, that is not in the space."""
        for key, value in point.items():
            if key not in self.spans:
                raise ValueError(f"{key}: no key of the space{nearest(key, self.spans)}")
            span = self.spans[key]
            if value not in span:
                allowed = span.values if isinstance(span, Choices) else f"{span.min}..{span.max}"
                raise ValueError(f"{key}: {value!r} is not in the space, which has {allowed}")
            if not self.is_active(key, point):
                needed = {self._decides(name): name for name in span.when}
                missing = [k for k in needed if k and k not in point]
                raise ValueError(
                    f"{key}: needs {missing[0]} beside it, which decides whether it is there"
                    if missing
                    else f"{key}: is not there unless {span.when}"
                )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def expanded(part: str, value: Any) -> Any:
    """A method or model that is given by its name alone, as a mapping."""
    presets = {"teacher": TEACHER_PRESETS, "student": STUDENT_PRESETS}.get(part, {})
    return presets.get(value, {"name": value}) if isinstance(value, str) else value


def named(part: str, value: Any) -> Any:
    return expanded(part, value).get("name")


def canonical(point: Point) -> str:
    """The same for the same values, in whatever order."""
    return json.dumps(point, sort_keys=True)
