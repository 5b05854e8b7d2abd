"""The search space: the values of each key, their conditions, the first points, the sampler.

A point maps dotted keys of `trial` to values; a key whose condition is not met is absent from it.
"""

import json
import math
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from comodo.config.base import Seed, as_list
from comodo.config.short_forms import expanded, named
from comodo.core.errors import nearest
from comodo.core.settings import Settings, kind_of

Point = dict[str, Any]


class _Conditional(Settings):
    when: dict[str, Any] = Field({})
    """Other keys of the space, or keys of `trial`, with the value or list of values that each must
    have; otherwise this key is absent. A condition on an absent key is not met."""

    def conditions(self) -> dict[str, list[Any]]:
        return {name: as_list(wanted) for name, wanted in self.when.items()}


class Choices(_Conditional):
    """A list of values."""

    values: list[Any] = Field(min_length=1)
    """The values of the key; a value that is listed twice counts once, also in two spellings: 5 and
    5.0, or a preset's name and its settings."""

    @field_validator("values")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        kept: dict[str, Any] = {}
        for value in values:
            kept.setdefault(json.dumps(plain(value), sort_keys=True), value)
        return list(kept.values())

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
    """Whether to sample the logarithm uniformly instead of the number."""
    integer: bool = False
    """Whether to take only integers."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.log and self.min <= 0:
            raise ValueError("a log range needs a min above zero")
        if self.integer and not (self.min.is_integer() and self.max.is_integer()):
            raise ValueError("a range of integers needs integers as min and max")
        return self

    def __contains__(self, value: Any) -> bool:
        kinds = int if self.integer else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        return fits and self.min <= value <= self.max

    def ends(self) -> list[Any]:
        return [int(self.min), int(self.max)] if self.integer else [self.min, self.max]

    def countable(self) -> Iterable[Any] | None:
        """All values in order; None if they cannot be counted."""
        return range(int(self.min), int(self.max) + 1) if self.integer else None


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
    """What is tried. Without a space it is `trial` itself, once with each seed."""

    sampler: Literal["grid", "random", "tpe"] = "grid"
    """`grid`: every combination, in the file's order; `random`: drawn uniformly; `tpe`: Optuna's
    Parzen estimator, which learns from finished trials."""
    space: dict[str, Span] = Field({})
    """Dotted keys of `trial` with lists of values, or with ranges (random and tpe); either with a
    condition as {values: [...], when: {key: value}} and {min: ..., max: ..., when: ...}."""
    seed: Seed = 0
    """Seed of the sampler; the trials' are in `seeds`."""
    start_with: list[Point] = Field([])
    """Points that are tried first. The sampler chooses the keys that a point leaves out; a grid
    begins with all of its points that agree with it."""
    warm_start: list[str] = Field([])
    """Earlier sweeps of the same store whose finished configurations `tpe` learns from: those that
    are in the space, have this sweep's settings for all other keys, and were trained on the same
    arrays, with any seeds. They do not count towards the budget."""
    hopeless_below: float | None = Field(None, ge=0)
    """A configuration whose first seed (in all its folds) is worse than the best mean so far by
    more than this, in the objective's unit, is not trained with its other seeds."""

    @model_validator(mode="after")
    def _sampler_can(self) -> "Search":
        ranges = [key for key, span in self.space.items() if isinstance(span, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"a grid needs a list of values for {ranges[0]}, not a range")
        if self.warm_start and self.sampler != "tpe":
            raise ValueError(f"warm_start: the sampler {self.sampler} does not learn; use tpe")
        return self


class Space:
    """The points of a search; `trial` decides conditions on keys that are not swept. Raises
    ValueError for a condition that cannot be decided or met; the message begins with its key."""

    def __init__(self, spans: dict[str, Choices | Range], trial: dict[str, Any]) -> None:
        self.spans, self._trial = spans, flatten(trial)
        self._depends_on = {
            key: {self._checked(key, name, wanted) for name, wanted in span.conditions().items()}
            - {""}
            for key, span in spans.items()
        }
        self.order = self._ordered()
        """The keys, each after those that its condition depends on."""

    def _checked(self, key: str, name: str, wanted: list[Any]) -> str:
        """The key of the space that decides a condition; "" if the trial does."""
        here = f"search.space.{key}.when.{name}"
        decides = self._decides(name)
        if not decides:
            if name not in self._trial:
                raise ValueError(
                    f"{here}: not a key of the space or of trial"
                    + nearest(name, self.spans.keys() | self._trial.keys())
                )
            has = self._trial[name]
            for value in wanted:
                if kind_of(value) != kind_of(has) and None not in (value, has):
                    raise ValueError(
                        f"{here}: {value!r} is not of the kind of {has!r}, as in trial"
                    )
            return ""
        span = self.spans[decides]
        if isinstance(span, Range):
            raise ValueError(f"{here}: a condition needs a key with a list of values, not a range")
        known = [value if decides == name else named(decides, value) for value in span.values]
        for value in wanted:
            if value not in known:
                reason = f"{value!r} is not one of its values"
                raise ValueError(f"{here}: {reason}{nearest(str(value), list(map(str, known)))}")
        return decides

    def refuse_unmet(self) -> None:
        """Raises ValueError for a condition that never holds: no point would have its key."""
        for key, span in self.spans.items():
            here = f"search.space.{key}.when"
            for name, wanted in span.conditions().items():
                if not self._decides(name) and (mine := self._trial[name]) not in wanted:
                    values = " or ".join(map(repr, wanted))
                    raise ValueError(
                        f"{here}.{name}: never holds, {name} is not swept and not {values}"
                        f"{nearest(str(wanted[0]) if wanted else '', [str(mine)])}"
                    )
            if self.where_active(key) is None:
                raise ValueError(f"{here}: never holds, no point has {span.when}")

    def _decides(self, name: str) -> str:
        """The key of the space that decides `name`, or "": `method` decides `method.name` too."""
        whole = name.removesuffix(".name")
        return name if name in self.spans else whole if whole in self.spans else ""

    def _ordered(self) -> list[str]:
        try:
            TopologicalSorter(self._depends_on).prepare()
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise ValueError(
                f"search.space.{error.args[1][0]}.when: depends on itself: {cycle}"
            ) from None
        order: list[str] = []
        left = list(self.spans)
        while left:
            free = next(key for key in left if self._depends_on[key] <= set(order))
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
        """Every combination of the values of some keys, by default all, and of the keys that decide
        them, in the file's order. None of them may be a range of floats."""
        wanted = set(self.spans if keys is None else keys)
        for key in reversed(self.order):
            wanted |= self._depends_on[key] if key in wanted else set()
        chosen = [key for key in self.order if key in wanted]

        def extend(point: Point, depth: int) -> Iterator[Point]:
            if depth == len(chosen):
                yield {key: point[key] for key in self.spans if key in point}
            elif self.is_active(key := chosen[depth], point):
                for value in self.spans[key].countable() or ():
                    yield from extend({**point, key: value}, depth + 1)
            else:
                yield from extend(point, depth + 1)

        return extend({}, 0)

    def is_countable(self) -> bool:
        return all(span.countable() is not None for span in self.spans.values())

    def filled(self, point: Point) -> Point:
        """The point, completed with the first value of every active key that it lacks."""
        filled = dict(point)
        for key in self.order:
            if key not in filled and self.is_active(key, filled):
                filled[key] = self.spans[key].ends()[0]
        return {key: filled[key] for key in self.spans if key in filled}

    def corners(self) -> Iterator[Point]:
        """Each value or end of each key once, with the first value of all others."""
        starts: list[Point] = [{}]
        for key in self.order:
            if (around := self.where_active(key)) is not None:
                starts += [{**around, key: value} for value in self.spans[key].ends()]
        points = map(self.filled, starts)
        yield from {canonical(point): point for point in points}.values()

    def fractions(self) -> Iterator[Point]:
        """A point with a non-integer value for each range that is not of integers."""
        for key, span in self.spans.items():
            around = self.where_active(key)
            if isinstance(span, Range) and not span.integer and around is not None:
                between = span.min + (span.max - span.min) / math.pi
                yield self.filled({**around, key: between})

    def where_active(self, key: str) -> Point | None:
        """Values of the keys that decide whether this key is active, with which it is; None: it
        never is."""
        around = self.points(self._depends_on[key])
        return next((point for point in around if self.is_active(key, point)), None)

    def __contains__(self, point: object) -> bool:
        """Whether a complete point, perhaps of an earlier version of the file, is in the space."""
        assert isinstance(point, dict)
        active = {key for key in self.order if self.is_active(key, point)}
        return point.keys() == active and all(point[key] in self.spans[key] for key in active)

    def check(self, point: Point) -> None:
        """Raises ValueError for a point, complete or not, that is not in the space."""
        for key, value in point.items():
            if key not in self.spans:
                raise ValueError(f"{key}: not a key of the space{nearest(key, self.spans)}")
            span = self.spans[key]
            if value not in span:
                allowed = span.values if isinstance(span, Choices) else f"{span.min}..{span.max}"
                raise ValueError(f"{key}: {value!r} is not in the space, which has {allowed}")
            if not self.is_active(key, point):
                needed = {self._decides(name): name for name in span.when}
                missing = [k for k in needed if k and k not in point]
                raise ValueError(
                    f"{key}: depends on {missing[0]}, which the point leaves out"
                    if missing
                    else f"{key}: exists only where {span.when}"
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


def canonical(point: Point) -> str:
    """The same text for the same values, in any order of keys: 5 and 5.0, and a preset's name and
    its settings, are the same."""
    models = ("teacher", "student", "method")
    whole = {key: expanded(key, v) if key in models else v for key, v in point.items()}
    return json.dumps(plain(whole), sort_keys=True)


def plain(value: Any) -> Any:
    """The value with whole numbers as integers."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
