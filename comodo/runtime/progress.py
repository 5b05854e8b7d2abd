"""How far a sweep has got: a live table on a terminal, lines elsewhere, and `progress.json` in the
sweep's folder, which `comodo status` reads from elsewhere.

Knows the ledger and the budget, nothing of Ray or MLflow.
"""

import math
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from comodo.config import NoneMethod, SupervisedMethod
from comodo.config.metric import QUICK_ACCURACY
from comodo.core.console import console, watching
from comodo.core.errors import StoreError
from comodo.core.lease import Holder
from comodo.core.redaction import redacted
from comodo.core.store import Store, fetched
from comodo.core.units import format_duration
from comodo.search.budget import BudgetTracker
from comodo.search.labels import Labels
from comodo.search.ledger import Ledger
from comodo.search.records import (
    BestConfiguration,
    ProgressRecord,
    RunningTrial,
    StageRecord,
)
from comodo.search.status import budget_used
from comodo.search.trial import Trial

HEARTBEAT_SECONDS = 10.0  # seconds between two writes of progress.json
LINE_SECONDS = 300.0  # seconds between two lines about the trials, where there is no terminal


@contextmanager
def stages_recorded(sweep: str, store: Store, alone: bool = False) -> Iterator[None]:
    """Records the stages before the trials in progress.json while the block runs, next to what it
    has of earlier trials. `alone`: no trials follow; so nothing is recorded if another process runs
    the sweep, and a record of trials is restored."""
    folder = store.folder("sweeps", sweep)
    if alone and fetched(folder / Holder.FILE).exists():
        yield
        return
    before = ProgressRecord.find(fetched(folder, ProgressRecord.FILE))
    record = before or ProgressRecord(updated="", pid=0, host="", done=0, planned=0)
    record = replace(record, pid=os.getpid(), host=socket.gethostname(), running=[])
    stage, over = StageRecord("starting", 0, 0, None), threading.Event()

    def note(what: str, done: int, total: int, left: float | None) -> None:
        nonlocal stage
        stage = StageRecord(what, done, total, left)

    def save(state: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError, StoreError):  # what cannot do without the store says so
            replace(record, updated=now, state=state, stage=stage).write(folder)

    def beat() -> None:
        save("running")
        while not over.wait(HEARTBEAT_SECONDS):
            save("running")

    thread = threading.Thread(target=beat, name="stages", daemon=True)
    thread.start()
    state = "stopped: interrupted"
    try:
        with watching(note):
            yield
        state = "finished" if alone else "running"
    except Exception as error:
        state = f"stopped: {redacted(str(error))}"
        raise
    finally:
        over.set()
        thread.join()
        save(state)
        if alone and before is not None:
            with suppress(OSError, StoreError):
                before.write(folder)


@dataclass
class Running:
    """A trial that has a process."""

    last: RunningTrial
    """What it last reported."""
    times: list[tuple[int, float]] = field(default_factory=list)
    """Epochs, and when the first and the latest of this run were reported (monotonic seconds)."""

    def left(self) -> float | None:
        """Seconds until its last epoch; None before two epochs have been seen."""
        if len(self.times) < 2:
            return None
        (first, began), (latest, now) = self.times
        return (now - began) / (latest - first) * (self.last.epochs - latest)


class Progress:
    """The trials of one sweep as they run and end."""

    def __init__(self, ledger: Ledger, limits: BudgetTracker) -> None:
        self.ledger, self.limits = ledger, limits
        self._names = Labels(ledger.sweep)
        self._scores: dict[str, dict[tuple[int, int], float]] = {}
        """Of finished trials: by configuration, then by seed and fold."""
        self._needed: dict[str, int] = {}  # trials of each of these configurations
        self._seen: set[str] = set()  # keys of trials that are over
        self._saved, self._others = -HEARTBEAT_SECONDS, 0
        self._began = self._line = time.monotonic()
        self.running: dict[str, Running] = {}
        for trial in ledger.planned():
            if ledger.is_over(trial):
                self._count(trial)
        self._before = self._work_done()

    def name(self, trial: Trial) -> str:
        return self._names.trial(trial)

    def start(self, trial: Trial) -> None:
        for over in self.ledger.over():
            if over.key not in self._seen:  # another sweep's trial that now belongs to this one too
                self._count(over)
                self._before += work(over)
        first = RunningTrial(trial.key, self.name(trial), 0, work(trial) - 1, None)
        self.running[trial.key] = Running(first)

    def epoch(self, trial: Trial, epoch: int, metric: float | None) -> None:
        if (running := self.running.get(trial.key)) is not None:
            if not running.times:  # an earlier run did the epochs before
                self._before += epoch - 1
            running.last = replace(running.last, epoch=epoch, metric=metric)
            running.times = [*running.times[:1], (epoch, time.monotonic())]

    def end(self, trial: Trial, over: bool) -> None:
        """A trial's process has ended; `over`: the trial is not half done."""
        self.running.pop(trial.key, None)
        if over:
            self._count(trial)

    def beat(self) -> None:
        """Writes progress.json and the budget used, every HEARTBEAT_SECONDS."""
        if time.monotonic() - self._saved >= HEARTBEAT_SECONDS:
            self.save("running")
            self.limits.save()
        if not console.is_terminal and time.monotonic() - self._line >= LINE_SECONDS:
            self._line = time.monotonic()
            console.print(f"{self._count_done()}, left: {_time(self._left()) or 'not known yet'}")

    def wait_for(self, others: int) -> None:
        """There is nothing to do here while other drivers run so many trials."""
        if others != self._others:
            self._others = others
            console.print(f"waiting for {others} trials that other drivers run")
        self.beat()

    def save(self, state: str) -> None:
        """Writes progress.json, if this driver leads; `state`: running, finished, or stopped with
        the reason."""
        self._saved = time.monotonic()
        if not self.ledger.leads:
            return
        ProgressRecord(
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            state=state,
            pid=os.getpid(),
            host=socket.gethostname(),
            running=[running.last for running in self.running.values()],
            done=self.ledger.done(),
            planned=self._trials(),
            best=self.best(),
            budget=self._budget(),
            left=self._left() if state == "running" else None,
        ).write(self.ledger.folder)

    def best(self) -> BestConfiguration | None:
        """The best configuration of those with all seeds and folds, with its mean."""
        objective = self.ledger.sweep.objective
        scores = list(self._scores.items())  # Ray's loop may change it meanwhile
        complete = [(label, s) for label, s in scores if len(s) == self._needed[label]]
        means = {label: statistics.mean(s.values()) for label, s in complete}
        if not means:
            return None
        label = (max if objective.mode == "max" else min)(means, key=lambda label: means[label])
        return BestConfiguration(label, objective.metric, means[label])

    def shown(self) -> AbstractContextManager[object]:
        """Shows the live table while the block runs, if the output is a terminal."""
        if not console.is_terminal:
            return nullcontext()
        return Live(
            get_renderable=self._table, console=console, refresh_per_second=2, transient=True
        )

    def _count(self, trial: Trial) -> None:
        self._seen.add(trial.key)
        scores, sweep = self.ledger.scores(trial), self.ledger.sweep
        reference = trial.is_hand_crafted or (
            isinstance(trial.config.method, SupervisedMethod) and "supervised" in sweep.references
        )
        if scores is not None and math.isfinite(scores[0]) and not reference:
            label = self._names.configuration(trial)
            self._needed[label] = len(sweep.seeds) * trial.in_each_seed
            self._scores.setdefault(label, {})[trial.number] = scores[0]

    def _trials(self) -> int:
        """The number of trials that there will be, as far as known."""
        return len(self.ledger.planned()) + self.ledger.to_come()

    def _budget(self) -> dict[str, list[float | None]]:
        limit = self.ledger.sweep.budget
        return {
            "trials": [sum(t.key in self.ledger.own for t in self.ledger.over()), limit.trials],
            "hours": [round(self.limits.hours, 4), limit.hours],
            "gpu_hours": [round(self.limits.gpu_hours, 4), limit.gpu_hours],
        }

    def _work_done(self) -> int:
        over = sum(map(work, self.ledger.over()))
        return over + sum(running.last.epoch for running in list(self.running.values()))

    def _count_done(self) -> str:
        return f"{self.ledger.done()} of {self._trials()} trials done"

    def _total(self) -> int:
        """Epochs of all trials, as far as known."""
        planned = self.ledger.planned()
        return round(sum(map(work, planned)) * self._trials() / max(1, len(planned)))

    def _left(self) -> float | None:
        """Seconds until the last trial ends; None before an epoch has been seen."""
        done = self._work_done()
        new, passed = done - self._before, time.monotonic() - self._began
        return passed / new * (self._total() - done) if new > 0 else None

    def _table(self) -> Group:
        columns = ("epoch", QUICK_ACCURACY, "left")
        numbers = [Column(name, justify="right", no_wrap=True) for name in columns]
        trials = Table(Column("running", overflow="fold"), *numbers, box=None, pad_edge=False)
        for running in list(self.running.values()):  # Ray's loop may change it meanwhile
            last = running.last
            metric = "" if last.metric is None else f"{last.metric:.3f}"
            epoch = f"{last.epoch}/{last.epochs}" if last.epochs else ""
            trials.add_row(Text(last.name), epoch, metric, _time(running.left()))
        done, total = self._work_done(), self._total()
        lines = [self._count_done()]
        if (best := self.best()) is not None:
            lines.append(f"best so far: {best.name}, {best.metric} {best.value:.3f}")
        lines.append(budget_used(self._budget()))
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(1, total), completed=done, width=40),
            f"{done}/{total} epochs",
            f"{_time(time.monotonic() - self._began)} elapsed",
            f"left: {_time(self._left()) or 'not known yet'}",
        )
        return Group(trials, *(Text(line) for line in lines if line), bar)


def work(trial: Trial) -> int:
    """Epochs of a trial, with one more for its measures."""
    return 1 + (0 if isinstance(trial.config.method, NoneMethod) else trial.config.epochs)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)
