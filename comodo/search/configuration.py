"""The trials of one configuration: for each seed one, or one for each fold of its data set, those
that they are compared with, and in which stages they run. Knows no ledger and no results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from comodo.config import Sweep, TrialConfig
from comodo.config.space import Point
from comodo.core.store import Fingerprint
from comodo.search.trial import Evaluation, Trial, Versions


def trials_of(
    config: TrialConfig,
    seeds: Iterable[int],
    arrays: tuple[str, str],
    evaluation: Evaluation,
    weights: Fingerprint | None = None,
    versions: Versions | None = None,
) -> list[Trial]:
    """All trials of a configuration, seed by seed; `arrays`: keys of the packed windows and of the
    packed features."""
    return [
        Trial(config, seed, *arrays, evaluation, weights, versions, fold=fold)
        for seed in seeds
        for fold in evaluation.folds.get(config.dataset) or (None,)
    ]


def references(sweep: Sweep, trials: list[Trial]) -> list[Trial]:
    """The trials that the sweep compares these trials' students with: those that can be trained,
    and of which something is measured."""
    found = []
    for name in sweep.references:
        for trial in trials:
            if name == "supervised":
                if trial.config.dataset not in trial.evaluation.unlabelled:
                    found.append(trial.supervised(sweep.supervised_like(trial.config)))
            elif name == "features":
                hand_crafted = trial.hand_crafted
                if any(hand_crafted.measures()):
                    found.append(hand_crafted)
            elif not trial.config.student.is_baseline:  # untrained, these have nothing to measure
                found.append(trial.untrained)
    return found


def trials_each(sweep: Sweep, folds: Mapping[str, int]) -> int:
    """How many trials a configuration has: seeds times folds, of data sets with unequal numbers of
    them (by name) the most."""
    return len(sweep.seeds) * max(folds.get(name, 1) for name, _ in sweep.trained_on())


def stages(sweep: Sweep, trials: list[Trial]) -> list[list[Trial]]:
    """The first trials of a configuration, more in each stage and in the last one all: a stage runs
    only if the trials of the one before it were good enough. With early stopping of trials in folds
    the first stage is the trial that is judged by it; with `hopeless_below` a stage ends with the
    first seed."""
    ends = {len(trials)}
    if sweep.early_stopping is not None and trials[0].fold is not None:
        ends.add(1)
    if sweep.search.hopeless_below is not None:
        ends.add(trials[0].in_each_seed)
    return [trials[:end] for end in sorted(ends)]


@dataclass
class OpenConfiguration:
    """A proposed point whose trials have not all ended."""

    point: Point
    trials: list[Trial]
    held: list[Trial] = field(default_factory=list)
    """Trials of later stages, which wait until those before them have ended."""
