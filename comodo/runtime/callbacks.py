"""What happens to running trials, as Ray Tune tells it: noted in the ledger, recorded, shown."""

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
from comodo.runtime.progress import Progress
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Trial
from comodo.search.trial_folder import read_result
from comodo.tracking.tracker import Tracker

PREEMPTED = "its machine is being taken away"


class TrialLeft(ray.exceptions.RayActorError):
    """A trial's process that ended by itself, for another to go on from its checkpoint."""


class SweepCallback(TrialProgressCallback):
    """Follows the trials of one sweep.

    It derives from Tune's own display because Tune adds that when it finds none.
    """

    def __init__(
        self,
        ledger: Ledger,
        tracker: Tracker,
        limits: BudgetTracker,
        progress: Progress,
        lease: Lease,
    ) -> None:
        self._ledger, self._tracker = ledger, tracker
        self._limits, self._progress = limits, progress
        self._lease = lease
        self._waiting: set[str] = set()  # keys of trials that another process trains, said already

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self._lease.check()
        self._limits.spend(len(self._progress.running))
        with self._stopping():
            self._progress.beat()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        self._progress.start(mine)
        self._tracker.start(mine, self._progress.name(mine))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        mine = self._mine(trial)
        if "failed" in result:
            trial.max_failures = 0  # what failed by itself would fail again
        if result.get("store"):  # what cannot be kept need not be computed
            self._limits.reason = self._limits.reason or result["failed"]
        if "waiting" in result and mine.key not in self._waiting:
            self._waiting.add(mine.key)
            self._say(mine, "waits", f"it is trained by {result['waiting']}")
        if TRAIN_LOSS in result:
            self._progress.epoch(mine, result["epoch"], result.get(QUICK_ACCURACY))
            kept = ("epoch", "train/", "val/")  # Tune adds figures of its own
            self._tracker.epoch(mine, {k: v for k, v in result.items() if k.startswith(kept)})

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        self._progress.end(mine, over=False)
        error, why = _error(trial), "its process was lost"
        if isinstance(error, TrialLeft):
            why = str(error)
        elif isinstance(error, ray.exceptions.RayActorError) and error.preempted:
            why = PREEMPTED
        console.print(
            f"{self._progress.name(mine)}: {why}; begun again from its checkpoint",
            style="yellow",
            markup=False,
        )

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        self._ledger.store.fetch(
            "trials", [mine.key], "**/*.json"
        )  # another machine may have run it
        result = read_result(mine, self._ledger.store)
        last = trial.last_result or {}
        if result is not None:
            folder = self._ledger.store.folder("trials", mine.key)
            with suppress(OSError, StoreError):  # a store that may not be written
                remove(folder / "failed.txt")
            self._tracker.finish(mine, self._progress.name(mine), result, folder)
            val, test = (result.metrics.get(str(accuracy(split))) for split in ("val", "test"))
            acc1 = val if test is None else test
            self._end(mine, "finished", f"Acc@1 {acc1:.3f}" if acc1 is not None else "")
        elif (limit := self._limits.reason) is not None:
            self._tracker.end(mine, "KILLED", limit)
            self._progress.end(mine, over=False)
            self._say(mine, "half done", f"stopped after epoch {last.get('epoch')}")
        else:
            epoch, quick = last.get("epoch"), last.get(QUICK_ACCURACY)
            reason = f"stopped after epoch {epoch}"
            self._tracker.end(mine, "KILLED", reason)
            reached = None if epoch is None or quick is None else (int(epoch), float(quick))
            self._end(mine, "pruned", reason, reached)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._mine(trial)
        reason = (trial.last_result or {}).get("failed")
        if reason is None:
            times = "once" if trial.num_failures == 1 else f"{trial.num_failures} times"
            reason = f"its process was lost {times}, {_why(trial)}"
            folder = self._ledger.store.folder("trials", mine.key)
            with self._stopping(), atomic(folder / "failed.txt") as path:
                path.write_text(redacted(f"{reason}\n\n{_error(trial)}\n"))
        self._tracker.end(mine, "FAILED", reason)
        self._end(mine, "failed", reason)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used

    def _mine(self, trial: Any) -> Trial:
        return self._ledger.trials[trial.config["key"]]

    def _end(
        self, trial: Trial, state: str, note: str, reached: tuple[int, float] | None = None
    ) -> None:
        with self._stopping():
            self._ledger.end(trial, state, note, reached)
        self._limits.ended(note if state == "failed" else None)
        self._progress.end(trial, over=True)
        self._say(trial, state, note)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """A store that takes nothing more ends the sweep as a limit does, not Tune's loop amid
        running trials."""
        try:
            yield
        except StoreError as error:
            self._limits.reason = self._limits.reason or str(error)

    def _say(self, trial: Trial, state: str, note: str) -> None:
        line = f"{self._progress.name(trial)}: {state}{', ' if note else ''}{note}"
        console.print(line, style="red" if state == "failed" else None, markup=False)


def _error(trial: Any) -> BaseException | None:
    """Why Tune gave a trial up, or begins it again."""
    # From where Tune writes them: its own getters read a copy that it makes later.
    if trial.pickled_error_file is not None:
        error: BaseException = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return getattr(error, "cause", None) or error
    return None if trial.error_file is None else TuneError(Path(trial.error_file).read_text())


def _why(trial: Any) -> str:
    """What became of a lost process, as far as Ray knows."""
    error = _error(trial)
    if "low on memory" in str(error):
        return (
            "killed by Ray for want of memory (OutOfMemoryError); lower batch_size, or raise "
            "resources so that fewer trials run at once"
        )
    if isinstance(error, TrialLeft):
        return str(error)
    if isinstance(error, ray.exceptions.RayActorError):
        if "its node has died" in str(error):
            return f"with its node ({type(error).__name__})"
        return f"killed or crashed ({type(error).__name__}); out of memory?"
    return redacted(" ".join(f"{type(error).__name__}: {error}".split()))[:400]
