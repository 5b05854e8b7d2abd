"""Which trials a sweep runs, in which order, and how each ended.

Turns each proposed point into one trial for each seed and fold, adds the reference students, and
reports the mean over seeds and folds to the proposals. Knows neither Ray nor MLflow.
"""

import math
import statistics
from collections import deque
from functools import cached_property
from itertools import chain, pairwise

from comodo.config import ConfigError, Sweep
from comodo.config.space import Point, canonical
from comodo.core.console import console
from comodo.core.store import Store, fetched
from comodo.search import records
from comodo.search.configuration import (
    OpenConfiguration,
    references,
    stages,
    trials_each,
    trials_of,
)
from comodo.search.proposals import GridProposals, OptunaProposals, Outcome, Proposals
from comodo.search.trial import Evaluation, Trial, read_result, weights_id
from comodo.search.warm_start import Arrays, learn, refuse_unknown_sweeps

MAX_REJECTED_DRAWS = 20  # consecutive draws without a valid trial, after which the search gives up


class Ledger:
    """The trials of one sweep, stored in its folder: `asked.json` has the points and the keys of
    their trials and references, in order, `ended.json` the trials that were pruned or failed, with
    the reason.

    `own` has the keys of the configurations' trials, `references` those of the trials that they are
    compared with; a trial may be in both. Raises ConfigError for a `warm_start` that the store does
    not have.
    """

    leads = True
    """Whether its driver writes the sweep's report and records; several may run it, see
    `shared_ledger`."""

    def __init__(self, sweep: Sweep, store: Store, arrays: Arrays, evaluation: Evaluation) -> None:
        self.sweep, self.store, self._arrays = sweep, store, arrays
        self._evaluation = evaluation
        self._trials_each = trials_each(sweep, {n: len(f) for n, f in evaluation.folds.items()})
        self._scores: dict[str, tuple[float, ...]] = {}  # of trials with a result
        self.folder = store.folder("sweeps", sweep.name)
        self.trials: dict[str, Trial] = {}
        self.own: set[str] = set()
        self.references: set[str] = set()
        self._of_point: dict[str, list[Trial]] = {}
        self._waiting: deque[Trial] = deque()
        self.elsewhere: dict[str, Trial] = {}  # trials that other drivers run, by key
        self._open: dict[str, list[OpenConfiguration]] = {}  # by key of each of their trials
        self._given_up: set[str] = set()
        self._all_asked = False
        self._best: float | None = None  # mean of the first objective, times its sign
        folder = fetched(self.folder, records.ASKED_FILE, records.ENDED_FILE)
        self._asked = {canonical(asked.values): asked for asked in records.read_asked(folder)}
        self._ends = records.read_ended(folder)
        self.ended = self._still_ended()
        is_grid = sweep.search.sampler == "grid"
        points = list(sweep.grid()) if is_grid else [asked.values for asked in self._asked.values()]
        if not is_grid:  # the space may have been changed since they were proposed
            points = [point for point in points if point in sweep.space]
        own, known = [self._trials_of(point) for point in points], dict[str, Trial]()
        for trials in [list(chain.from_iterable(own))] if is_grid else own:
            known |= {trial.key: trial for trial in self._with_references(trials)}
        store.fetch("trials", known.keys(), "**/*.json")
        self._grid = list(known.values()) if is_grid else []
        for trial in self._grid:
            self.scores(trial)
        outcomes = list(map(self._outcome, own))
        for outcome in outcomes:
            self._note_best(outcome)
        self._earlier, self._learnt = list[tuple[Point, Outcome | None]](), []
        if not is_grid:
            self.trials |= {key: trial for key, trial in known.items() if self.is_over(trial)}
            found = zip(points, own, outcomes, strict=True)
            self._earlier = [(point, end or self._abandoned(of)) for point, of, end in found]
            self._learnt = self._learn()

    def record_keys(self) -> None:
        """Records the trials' keys of what earlier runs proposed, as this run has them."""
        known = [a.values for name, a in self._asked.items() if name in self._of_point]
        self._record(known)

    def next_trial(self) -> Trial | None:
        """The next trial to run, of those without a result; None if there is none at the moment
        (see `held_back`). Raises ConfigError, with the last one's reason, when many consecutive
        draws were no valid trials."""
        rejected = 0
        while not self._waiting:
            if (point := self._proposals.ask()) is None:
                self._all_asked = True
                return None
            try:
                self._take(point)
                rejected = 0
            except ConfigError as error:  # a combination that no check of the sweep file covers
                console.print(f"skipped: {error}", style="yellow")
                self._proposals.tell(point, Outcome("rejected"))
                rejected += 1
                if rejected == MAX_REJECTED_DRAWS:
                    fix = "narrow the space, or give its keys conditions"
                    reason = f"{error}; {rejected} draws in a row were invalid: {fix}"
                    raise ConfigError(error.code, reason) from None
        return self._waiting.popleft()

    @property
    def held_back(self) -> bool:
        """Whether more trials may follow once some of the running ones have ended."""
        return any(c.held for configurations in self._open.values() for c in configurations)

    def is_judged(self, trial: Trial) -> bool:
        """Whether early stopping may stop a trial: not a reference, which is trained to its end. Of
        a configuration in folds only its first trial, because folds are not equally hard."""
        first = trial.fold is None or trial.number == (self.sweep.seeds[0], 1)
        return first and trial.key not in self.references

    def end(
        self, trial: Trial, state: str, reason: str, reached: tuple[int, float] | None = None
    ) -> None:
        """Records how a running trial ended: `finished`, `pruned` or `failed`; `reached`: the
        epochs and the latest quick accuracy of a pruned one."""
        if state != "finished":
            by = self.sweep.early_stopping if state == "pruned" else None
            self.ended[trial.key] = self._ends[trial.key] = records.EndedTrial(
                state, reason, reached, None if by is None else by.model_dump(mode="json")
            )
            records.write_ended(self.folder, self._ends)
        elif self._ends.pop(trial.key, None) is not None:
            records.write_ended(self.folder, self._ends)
        self.scores(trial)
        for configuration in list(self._open.get(trial.key, ())):
            self._settle(configuration)

    def scores(self, trial: Trial) -> tuple[float, ...] | None:
        """The values of a trial's objectives, NaN where one is missing; None without a result.
        Cached, because they do not change; the rest of a result stays on disk."""
        if trial.key not in self._scores:
            if (result := read_result(trial, self.store)) is None:
                return None
            self._scores[trial.key] = tuple(
                result.metrics.get(o.metric, math.nan) for o in self.sweep.objectives
            )
        return self._scores[trial.key]

    def is_over(self, trial: Trial) -> bool:
        """Whether the trial has a result, or has been pruned or failed in this run."""
        return trial.key in self.ended or self.scores(trial) is not None

    def unfinished(self) -> list[Trial]:
        """Trials that were started or queued and have not ended."""
        return [trial for trial in self.trials.values() if not self.is_over(trial)]

    def release(self) -> None:
        """Gives back what it keeps from other drivers: nothing, if the sweep has one driver."""

    def put_back(self, trial: Trial) -> None:
        """Makes the trial the next one again."""
        self._waiting.appendleft(trial)

    def planned(self) -> list[Trial]:
        """In a grid, all trials that were not given up; in a search, those proposed so far."""
        if self.sweep.search.sampler != "grid":
            return list(self.trials.values())
        return [t for t in self._grid if t.key not in self._given_up or t.key in self.trials]

    def proposed(self) -> list[Trial]:
        """The trials of all configurations that were proposed, without references."""
        return list({t.key: t for trials in self._of_point.values() for t in trials}.values())

    def to_come(self) -> int:
        """How many trials a search may add to the planned ones, not counting references."""
        if self.sweep.search.sampler == "grid":
            return 0
        opened = list(self._open.values())  # Ray's loop may change it meanwhile
        held = {t.key for configurations in opened for c in configurations for t in c.held}
        assert self.sweep.budget.trials is not None
        each = self._trials_each
        left = 0 if self._all_asked else self.sweep.budget.trials // each - len(self._of_point)
        return max(0, left) * each + len(held - self.trials.keys())

    def over(self) -> list[Trial]:
        """The planned trials that are over, as far as this ledger has seen."""
        return [t for t in self.planned() if t.key in self.ended or t.key in self._scores]

    def done(self) -> int:
        return len(self.over())

    def _still_ended(self) -> records.Ends:
        """Without failed trials, which are run again, and those pruned by a stricter rule."""
        return records.still_pruned(self._ends, self.sweep.early_stopping)

    @cached_property
    def _proposals(self) -> Proposals:
        """Made when the first is asked for: a plan asks for none."""
        if self.sweep.search.sampler == "grid":
            return GridProposals(self.sweep)
        assert self.sweep.budget.trials is not None
        limit = self.sweep.budget.trials // self._trials_each
        return OptunaProposals(self.sweep, limit, self._earlier, self._learnt)

    def _learn(self) -> list[tuple[Point, Outcome]]:
        """From earlier sweeps, and from points of this one that are no longer in its space."""
        refuse_unknown_sweeps(self.sweep, self.store)
        of_sweeps = {
            name: records.read_asked(fetched(self.store.folder("sweeps", name), records.ASKED_FILE))
            for name in self.sweep.search.warm_start
        }
        if self.sweep.search.sampler == "tpe":
            of_sweeps[self.sweep.name] = [
                asked for asked in self._asked.values() if asked.values not in self.sweep.space
            ]
        outcomes = []
        for name, asked in of_sweeps.items():
            learnt = learn(asked, self.sweep, self.store, self._arrays, self._evaluation)
            outcomes += [(point, Outcome("finished", scores)) for point, scores in learnt.points]
            if asked:
                of = f"{len(learnt.points)} of {len(asked)} configurations of {name}"
                reasons = [f"; {count} {why}" for why, count in learnt.passed_over.items()]
                console.print(f"learnt from {of}{''.join(reasons)}")
        return outcomes

    def _trials_of(self, point: Point) -> list[Trial]:
        if (name := canonical(point)) not in self._of_point:
            config = self.sweep.with_values(point)
            arrays, weights = (
                self._arrays[config.dataset, config.teacher],
                weights_id(config.student),
            )
            self._of_point[name] = trials_of(
                config, self.sweep.seeds, arrays, self._evaluation, weights
            )
            self.own |= {trial.key for trial in self._of_point[name]}
        return self._of_point[name]

    def _take(self, point: Point) -> None:
        """Queues the trials of a configuration that are not done yet. Those of later `stages` that
        were not started are held back until the trials before them have ended."""
        trials = self._trials_of(point)
        self._record([point])
        later = trials[len(stages(self.sweep, trials)[0]) :]
        held = [t for t in later if not self.is_over(t) and not self._is_half_done(t)]
        configuration = OpenConfiguration(point, trials, held)
        for trial in trials:
            self._open.setdefault(trial.key, []).append(configuration)
        self._waiting += self._new([trial for trial in trials if trial not in held])
        self._settle(configuration)

    def _record(self, points: list[Point]) -> None:
        """Records configurations as proposed, with the keys of their trials and references."""
        asked = {}
        for point in points:
            trials = self._trials_of(point)
            keys = ([t.key for t in named] for named in (trials, references(self.sweep, trials)))
            asked[canonical(point)] = records.AskedConfiguration(point, *keys)
        if not asked.items() <= self._asked.items():
            self._asked |= asked
            records.write_asked(self.folder, self._asked.values())

    def _new(self, trials: list[Trial]) -> list[Trial]:
        """Those of the trials and their references that are neither queued nor done."""
        new = [t for t in self._with_references(trials) if t.key not in self.trials]
        self.trials |= {trial.key: trial for trial in new}
        return [trial for trial in new if not self.is_over(trial)]

    def _settle(self, configuration: OpenConfiguration) -> None:
        """Reports to the search how a configuration ended, if it has; once a stage has ended,
        queues the trials of the next that were held back, or drops all that are left."""
        trials, held = configuration.trials, configuration.held
        outcome = self._outcome(trials)
        for stage, following in pairwise(stages(self.sweep, trials)):
            if not held or not all(map(self.is_over, stage)):
                break
            given_up = None if outcome is not None else self._given_up_after(stage)
            outcome = outcome or given_up
            if given_up is not None:
                self._given_up |= {t.key for t in self._with_references(held)}
                held = []
            self._waiting.extendleft(reversed(self._new([t for t in held if t in following])))
            held = [trial for trial in held if trial not in following]
        configuration.held = held
        if outcome is not None:
            self._note_best(outcome)
            self._proposals.tell(configuration.point, outcome)
            for key in {trial.key for trial in trials}:
                self._open[key].remove(configuration)
                if not self._open[key]:
                    del self._open[key]

    def _is_half_done(self, trial: Trial) -> bool:
        """Whether a trial that is not over was started, by this run or an earlier one."""
        if self.is_over(trial):
            return False
        begun = ("checkpoint.pt", records.TrainedRecord.FILE)
        return any(self.store.files("trials", f"{trial.key}/{name}") for name in begun)

    def _outcome(self, trials: list[Trial]) -> Outcome | None:
        """How a configuration ended; None while one of its trials has not ended."""
        if not all(map(self.is_over, trials)):
            return None
        ends = [self.ended[trial.key] for trial in trials if trial.key in self.ended]
        if any(end.state == "failed" for end in ends):
            return Outcome("failed")
        if ends:
            reached = [end.reached for end in ends if end.reached]
            known = reached and self.sweep.objective.mode == "max"  # as the quick accuracy is
            return Outcome("pruned", reached=max(reached) if known else None)
        scores = [scores for t in trials if (scores := self.scores(t)) is not None]
        means = tuple(map(statistics.mean, zip(*scores, strict=True)))
        return Outcome("finished", means) if all(map(math.isfinite, means)) else Outcome("failed")

    def _abandoned(self, trials: list[Trial]) -> Outcome | None:
        """The outcome of a configuration of which no more trials will run; None if some may."""
        if any(map(self._is_half_done, trials)):
            return None
        *first, _ = stages(self.sweep, trials)
        return next(filter(None, map(self._given_up_after, first)), None)

    def _given_up_after(self, stage: list[Trial]) -> Outcome | None:
        """The outcome of a configuration of which a stage is too bad to run the next; else None."""
        outcome, margin = self._outcome(stage), self.sweep.search.hopeless_below
        if outcome is None or outcome.state != "finished":
            return outcome
        if margin is None or self._best is None or len(stage) < stage[0].in_each_seed:
            return None
        score = outcome.scores[0]
        if self._best - self.sweep.objectives[0].sign * score <= margin:
            return None
        return Outcome("pruned", reached=(stage[0].config.epochs, score))

    def _note_best(self, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.state == "finished":
            score = self.sweep.objectives[0].sign * outcome.scores[0]
            self._best = score if self._best is None else max(self._best, score)

    def _with_references(self, trials: list[Trial]) -> list[Trial]:
        """The trials, preceded by the references that each student is compared with."""
        before = references(self.sweep, trials)
        self.references |= {reference.key for reference in before}
        return list({trial.key: trial for trial in before + trials}.values())
