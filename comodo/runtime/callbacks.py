"""Follows running trials through Ray Tune's callbacks: updates the ledger, MLflow and the display.

Decides how often a trial whose process was lost is tried again. Does not know what a trial
computes.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray.cloudpickle
import ray.exceptions
from ray.tune import TuneError
from ray.tune.progress_reporter import TrialProgressCallback

from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS, accuracy
from comodo.core.console import console
from comodo.core.errors import StoreError
from comodo.core.lease import Lease
from comodo.core.redaction import redacted
from comodo.core.store import atomic, remove
from comodo.evaluation.scoring import scored_on
from comodo.runtime.progress import Progress
from comodo.runtime.trainable import PREEMPTED, TrialLeft
from comodo.search.history import drop_checkpoint
from comodo.search.trial import Trial, TrialResult, read_result
from comodo.tracking.tracker import Tracker

LOST = "its process was lost"
NEIGHBOUR_KILLED = "stopped when Ray killed another process, which took too much memory"
_KILLED = re.compile(r"Selected to kill: \(Actor\((\w+)\)")  # in Ray's text


class SweepCallback(TrialProgressCallback):
    """Follows the trials of one sweep. It derives from Tune's own display because Tune adds that
    one if it finds none."""

    def __init__(self, progress: Progress, tracker: Tracker, lease: Lease) -> None:
        self._progress, self._tracker, self._lease = progress, tracker, lease
        self._ledger, self._limits = progress.ledger, progress.limits
        self._retries = self._ledger.sweep.resources.retries
        self._waiting: set[str] = set()  # keys of trials reported as trained by another process
        self._losses = Counter[str]()  # processes lost, by key of their trial
        self._restarted: dict[str, int] = {}  # Tune's step in which a trial's process was lost
        self._processes: dict[str, str] = {}  # Ray's name of a process: key of its latest trial

    def setup(self, *_: Any, **info: Any) -> None:
        self._restarted.clear()  # a round counts its steps from zero

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self._lease.check()
        self._limits.spend(len(self._progress.running))
        with self._stopping():
            self._progress.beat()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        self._progress.start(mine)
        self._tracker.start(mine, self._progress.name(mine))
        self._processes[str(trial.temporary_state.ray_actor)] = mine.key
        # Losses of earlier rounds count too, and Tune does not know them.
        trial.max_failures = trial.num_failures + self._retries - self._losses[mine.key]

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        mine = self._mine(trial)
        if "failed" in result:
            trial.max_failures = 0  # an error of the trial's own would occur again
        if result.get("store"):  # a result that cannot be stored need not be computed
            self._limits.reason = self._limits.reason or result["failed"]
        if "waiting" in result and mine.key not in self._waiting:
            self._waiting.add(mine.key)
            self._say(mine, f"waits, it is trained by {result['waiting']}")
        if TRAIN_LOSS in result:
            self._progress.epoch(mine, result["epoch"], result.get(QUICK_ACCURACY))
            kept = ("epoch", "train/", "val/")  # Tune adds figures of its own
            self._tracker.epoch(mine, {k: v for k, v in result.items() if k.startswith(kept)})

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine, error, why = self._mine(trial), _error(trial), LOST
        left = isinstance(error, ray.exceptions.RayActorError) and error.preempted
        if isinstance(error, TrialLeft):
            why = str(error)
        elif left:
            why = PREEMPTED
        self._losses[mine.key] += not left
        self._restarted[mine.key] = iteration
        self._restart(mine, why)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        # Another machine may have run it.
        self._ledger.store.fetch("trials", [mine.key], "**/*.json")
        result = read_result(mine, self._ledger.store)
        last = trial.last_result or {}
        reason = f"stopped after epoch {last.get('epoch')}"
        if result is not None:
            folder = self._ledger.store.folder("trials", mine.key)
            with suppress(OSError, StoreError):  # in a read-only store it stays
                remove(folder / "failed.txt")
            self._tracker.finish(mine, self._progress.name(mine), result, folder)
            self._end(mine, "finished", self._shown(mine, result))
        elif (limit := self._limits.reason) is not None:
            self._tracker.end(mine, "KILLED", limit)
            self._progress.end(mine, over=False)
            self._say(mine, f"half done, {reason}")
        else:
            epoch, quick = last.get("epoch"), last.get(QUICK_ACCURACY)
            self._tracker.end(mine, "KILLED", reason)
            reached = None if epoch is None or quick is None else (int(epoch), float(quick))
            self._end(mine, "pruned", reason, reached)
            with self._stopping():
                drop_checkpoint(self._ledger.store.folder("trials", mine.key))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        if self._restarted.get(mine.key) == iteration:
            # Its process was lost between two trials. Tune reports that twice in one step: it tries
            # the trial again, then gives it up.
            self._ledger.put_back(mine)
        elif (reason := (trial.last_result or {}).get("failed")) is not None:
            self._fail(mine, reason)
        else:
            self._losses[mine.key] += 1
            self._fail_lost(mine, _error(trial))

    def on_memory_kill(
        self, error: ray.exceptions.OutOfMemoryError, not_ended: list[Trial]
    ) -> None:
        """Puts back the trials that were running when Ray killed the process of one for its memory:
        Tune does not call this, it ends with the error. Only the trial whose process was killed
        counts a lost process; the others just resume from their checkpoints."""
        killed = _KILLED.findall(str(error))
        processes = self._processes.items()
        of_killed = {key for process, key in processes if any(name in process for name in killed)}
        for trial in reversed(not_ended):  # so that the first is the next one again
            # If the text names no known process, all count a loss, or this could repeat forever.
            lost = trial.key in of_killed or not of_killed
            self._losses[trial.key] += lost
            if self._losses[trial.key] > self._retries:
                self._fail_lost(trial, error)
            else:
                self._ledger.put_back(trial)
                self._restart(trial, LOST if lost else NEIGHBOUR_KILLED)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used

    def _shown(self, trial: Trial, result: TrialResult) -> str:
        """Acc@1 on test, or else on val, of the data set with whose labels the trial is judged;
        where no probe is measured the first objective."""
        sweep = self._ledger.sweep
        if (on := scored_on(trial, sweep)) == trial.config.dataset:
            on = ""
        for split in ("test", "val"):
            if (value := result.metrics.get(str(accuracy(split, dataset=on)))) is not None:
                return f"Acc@1 {value:.3f}{f' on {on}' if on else ''}"
        metric = sweep.objective.metric
        value = result.metrics.get(metric)
        return "" if value is None else f"{metric} {value:.3f}"

    def _mine(self, trial: Any) -> Trial:
        return self._ledger.trials[trial.config["key"]]

    def _restart(self, trial: Trial, why: str) -> None:
        self._progress.end(trial, over=False)
        self._say(trial, f"{why}; restarted from its checkpoint", "yellow")

    def _fail_lost(self, trial: Trial, error: BaseException | None) -> None:
        """The trial has lost its process too often, the last time by this error."""
        losses = self._losses[trial.key]
        times = "once" if losses == 1 else f"{losses} times"
        reason = f"its process was lost {times}, {_why_lost(error)}"
        folder = self._ledger.store.folder("trials", trial.key)
        with self._stopping(), atomic(folder / "failed.txt") as path:
            path.write_text(redacted(f"{reason}\n\n{error}\n"))
        self._fail(trial, reason)

    def _fail(self, trial: Trial, reason: str) -> None:
        self._tracker.end(trial, "FAILED", reason)
        self._end(trial, "failed", reason)

    def _end(
        self, trial: Trial, state: str, note: str, reached: tuple[int, float] | None = None
    ) -> None:
        with self._stopping():
            self._ledger.end(trial, state, note, reached)
        self._limits.ended(note if state == "failed" else None)
        self._progress.end(trial, over=True)
        style = "red" if state == "failed" else None
        self._say(trial, f"{state}, {note}" if note else state, style)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """A store that cannot be written ends the sweep as a limit does: an exception would end
        Tune's loop while trials run."""
        try:
            yield
        except StoreError as error:
            self._limits.reason = self._limits.reason or str(error)

    def _say(self, trial: Trial, text: str, style: str | None = None) -> None:
        console.print(f"{self._progress.name(trial)}: {text}", style=style, markup=False)


def _error(trial: Any) -> BaseException | None:
    """Why Tune gave a trial up or tries it again."""
    # From the files that Tune writes: its own getters read a copy that it makes later.
    if trial.error_file is None:
        return None
    latest = Path(trial.error_file).read_text().rpartition("Failure # ")[2]
    if "low on memory" in latest:  # Tune pickles no such error; an older one may exist
        return ray.exceptions.OutOfMemoryError(latest)
    if trial.pickled_error_file is not None:
        error: BaseException = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return getattr(error, "cause", None) or error
    return TuneError(latest)


def _why_lost(error: BaseException | None) -> str:
    """What happened to a lost process, as far as Ray knows."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return (
            "killed by Ray because memory ran out (OutOfMemoryError); lower batch_size, or raise "
            "resources so that fewer trials run at once"
        )
    if isinstance(error, TrialLeft):
        return str(error)
    if isinstance(error, ray.exceptions.RayActorError):
        if "its node has died" in str(error):
            return f"with its node ({type(error).__name__})"
        return f"killed or crashed ({type(error).__name__}); out of memory?"
    return redacted(" ".join(f"{type(error).__name__}: {error}".split()))[:400]
