"""What happens to running trials, as Ray Tune tells it: shown, noted in the ledger, recorded."""

from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback
from rich.progress import Progress, TaskID

from comodo.config import NoneMethod
from comodo.console import console
from comodo.ledger import Ledger
from comodo.names import Names
from comodo.tracking import Tracker
from comodo.trial import Trial


class Watcher(TrialProgressCallback):
    """Follows the trials of one sweep.

    It derives from Tune's own display because Tune adds that when it finds none.
    """

    def __init__(self, ledger: Ledger, tracker: Tracker, bar: Progress, retries: int) -> None:
        self._ledger, self._tracker, self._bar, self._retries = ledger, tracker, bar, retries
        self._names = Names(ledger.sweep)
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, int] = {}  # epochs of each trial that the first bar counts already
        # Trials differ in length, so the time that is left is estimated from epochs.
        grid = ledger.sweep.search.sampler == "grid"
        total = sum(map(_work, ledger.planned())) if grid else None
        self._all = bar.add_task("", total=total)
        for trial in ledger.planned():
            if ledger.is_over(trial):
                self._advance(trial, _work(trial))
        self._describe()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._ledger.trials[trial.config["key"]]
        if mine.key not in self._tasks:
            name = f"  {self._name(mine)}"
            self._tasks[mine.key] = self._bar.add_task(name, total=_work(mine) - 1 or None)
        self._tracker.start(mine, self._name(mine))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "train/loss" not in result:
            return
        mine = self._ledger.trials[trial.config["key"]]
        self._bar.update(self._tasks[mine.key], completed=result["epoch"])
        self._advance(mine, result["epoch"])
        kept = ("epoch", "train/", "val/")  # Tune adds figures of its own
        self._tracker.epoch(mine, {k: v for k, v in result.items() if k.startswith(kept)})

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._ledger.trials[trial.config["key"]]
        result = self._ledger.result(mine)
        last = trial.last_result or {}
        if result is not None:
            folder = self._ledger.store.folder("trials", mine.key)
            self._tracker.finish(mine, self._name(mine), result, folder)
            accuracy = result["metrics"].get("test/acc1", result["metrics"].get("val/acc1"))
            self._end(mine, "finished", f"Acc@1 {accuracy:.3f}" if accuracy is not None else "")
        elif "failed" in last:
            self._tracker.end(mine, "FAILED", last["failed"])
            self._end(mine, "failed", last["failed"])
        else:
            reason = f"stopped after epoch {last.get('epoch')}"
            self._tracker.end(mine, "KILLED", reason)
            self._end(mine, "pruned", reason)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        mine = self._ledger.trials[trial.config["key"]]
        reason = f"its process was lost {self._retries + 1} times"
        self._tracker.end(mine, "FAILED", reason)
        self._end(mine, "failed", reason)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used

    def _name(self, trial: Trial) -> str:
        return self._names.trial(trial)

    def _end(self, trial: Trial, state: str, note: str) -> None:
        self._ledger.end(trial, state, note)
        if trial.key in self._tasks:
            self._bar.remove_task(self._tasks.pop(trial.key))
        self._advance(trial, _work(trial))
        self._describe()
        style = "red" if state == "failed" else None
        console.print(f"{self._name(trial)}: {state}{', ' if note else ''}{note}", style=style)

    def _advance(self, trial: Trial, epochs: int) -> None:
        self._bar.advance(self._all, epochs - self._shown.get(trial.key, 0))
        self._shown[trial.key] = epochs

    def _describe(self) -> None:
        done, planned = self._ledger.done(), len(self._ledger.planned())
        self._bar.update(self._all, description=f"{done} of {planned} trials, epochs")


def _work(trial: Trial) -> int:
    """Epochs of a trial, with one more for its probe."""
    return 1 + (0 if isinstance(trial.config.method, NoneMethod) else trial.config.epochs)
