"""The student that `student.from` names, as far as settings and keys need it: what it is made of,
and which of its trials each trial starts from. Reads no store; `deploy.sources` finds it there.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from comodo.config.base import ConfigError
from comodo.config.dataset_base import G_AND_DEGREES, Units

KEY = "trial.student.from"
NOT_TAKEN = ("from", "weights", "revision", "train_encoder")
"""Settings of a student that do not come with its weights."""


@dataclass(frozen=True)
class SourceTrial:
    """A finished trial that others start from."""

    key: str
    seed: int
    test: tuple[str, ...] | None = None
    """Groups that its fold tests; None: its data set has one split."""


@dataclass(frozen=True)
class Source:
    """A trained student, or those of one configuration, for each seed and fold one."""

    title: str
    """In a sentence, such as `sweep demo (comodo)`."""
    student: dict[str, Any]
    """The `StudentConfig` keys that come with the weights."""
    trials: tuple[SourceTrial, ...] = ()
    """Empty: a folder that is no trial of this store."""
    folder: str = ""
    content: str = ""
    """SHA-256 of the folder's weights."""
    sweep: str = ""
    """The name, if a sweep was named."""
    chosen: str = ""
    """How people in test took part in the choice of the configuration, as a sentence goes on; empty
    if they did not."""
    rate: float | None = None
    """Samples per second of the windows that it was trained on; None: not known."""
    seconds: float | str | None = None
    """Of these windows."""
    units: Units = G_AND_DEGREES
    """That its encoder sees."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, also when that went through JSON."""
        trials = (
            SourceTrial(t["key"], t["seed"], None if t["test"] is None else tuple(t["test"]))
            for t in content["trials"]
        )
        acc, gyro = content["units"]
        return cls(**{**content, "trials": tuple(trials), "units": (acc, gyro)})

    @property
    def identity(self) -> list[str]:
        """The same however the student was named."""
        return [self.content] if self.content else sorted(trial.key for trial in self.trials)

    def for_key(self, seed: int, test: tuple[str, ...] | None) -> dict[str, str]:
        """What a trial with this seed, whose fold tests these groups, starts from, as its key has
        it. Raises ConfigError as `trial_for`."""
        if (trial := self.trial_for(seed, test)) is not None:
            return {"trial": trial.key}
        return {"content": self.content}

    def trial_for(self, seed: int, test: tuple[str, ...] | None) -> SourceTrial | None:
        """The trial that one with this seed, whose fold tests these groups, starts from: of several
        the one with the same seed and the same test groups, so that nobody in test was seen; None:
        a folder. Raises ConfigError where none of several fits."""
        fitting = self.trials
        if len({trial.test for trial in fitting}) > 1:
            wanted = None if test is None else set(test)
            fitting = tuple(t for t in fitting if t.test and set(t.test) == wanted)
            if not fitting:
                raise ConfigError.at(KEY, self._other_folds(test))
        seeds = {trial.seed: trial for trial in fitting}
        if len(seeds) > 1 and seed not in seeds:
            known = ", ".join(map(str, sorted(seeds)))
            fix = f"set seeds to some of these, or name one of its trials, {_named(self.trials)}"
            raise ConfigError.at(KEY, f"{self.title} has the seeds {known} and no {seed}; {fix}")
        return seeds.get(seed) or next(iter(seeds.values()), None)

    def _other_folds(self, test: tuple[str, ...] | None) -> str:
        count = len({trial.test for trial in self.trials})
        fault = f"{self.title} has a student for each of {count} folds"
        if test is None:
            lacks = "the data set trained on here has none"
        else:
            lacks = f"none of them tests exactly {', '.join(test)}, as a fold does here"
        fix = "use the same data set with the same split_by_group, or name one of its trials"
        return f"{fault}, but {lacks}; {fix}, {_named(self.trials)}"


def _named(trials: tuple[SourceTrial, ...]) -> str:
    return f"such as from: {trials[0].key}"


class Sources(dict[str, Source]):
    """The students that were found, by what sweep files write; others are looked up."""

    def __init__(
        self, known: Mapping[str, Source], find: Callable[[str], Source] | None = None
    ) -> None:
        """`find` raises ValueError, whose text is the reason and the fix."""
        super().__init__(known)
        self._find = find

    def __missing__(self, name: str) -> Source:
        if self._find is None:
            raise ValueError(f"'{name}' is found in a store, and none was given to look in")
        self[name] = self._find(name)
        return self[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return Sources, (dict(self), self._find)

    @classmethod
    def read_back(cls, recorded: Mapping[str, Any]) -> Self:
        """Those that a sweep had, as `asdict` of each."""
        return cls({name: Source.of(content) for name, content in recorded.items()})

    def recorded(self) -> dict[str, Any]:
        return {name: asdict(source) for name, source in self.items()}
