"""The limits of a sweep, what it has spent, and what stops it before all trials have run. Knows
neither Ray nor which trials there are."""

import re
import time
from pathlib import Path

from comodo.config import ConfigError, Sweep
from comodo.core.store import fetched
from comodo.search.records import SpentRecord


def refuse_shared(sweep: Sweep) -> None:
    """Raises ConfigError for a limit that several drivers of one sweep cannot keep together."""
    if sweep.budget.gpu_hours is not None:
        raise ConfigError.at(
            "budget.gpu_hours",
            "drivers that share a sweep (--shared, comodo slurm --array) do not know what the "
            "others spend; remove it, or limit each by its time limit or budget.hours",
        )


class BudgetTracker:
    """Budget and failures of one run of a sweep; `spent.json` has what all its runs spent, except
    those that do not `save` it, of drivers that help another one."""

    def __init__(self, sweep: Sweep, folder: Path, saves: bool = True) -> None:
        self._budget, self._folder, self._saves = sweep.budget, folder, saves
        self.gpus_per_trial = 0.0
        self._began: float | None = None
        self._last = 0.0
        self._kind, self._failures = "", 0  # the latest failures, all of one kind
        self.hours = 0.0
        """Wall-clock time of this run, from its first trial on."""
        spent = SpentRecord.find(fetched(folder, SpentRecord.FILE)) or SpentRecord()
        self._hours_before, self.gpu_hours = spent.hours or 0.0, spent.gpu_hours
        self.reason: str | None = None
        """Why no trial starts and running ones stop at a checkpoint; None: no limit is reached."""
        self._check()

    def spend(self, running: int) -> None:
        """Counts the time since the last call, during which `running` trials ran."""
        now = time.monotonic()
        if self._began is None:
            if not running:
                return
            self._began = self._last = now
        self.hours = (now - self._began) / 3600
        self.gpu_hours += running * self.gpus_per_trial * (now - self._last) / 3600
        self._last = now
        self._check()

    def save(self) -> None:
        if self._saves:
            SpentRecord(self._hours_before + self.hours, self.gpu_hours).write(self._folder)

    def ended(self, failure: str | None) -> None:
        """Counts consecutive failures of one kind, whose messages differ only in numbers;
        `failure` is the message, None if the trial did not fail."""
        kind = "" if failure is None else re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", failure)
        self._failures = self._failures + 1 if kind == self._kind else 1
        self._kind = kind
        if kind and self._failures >= self._budget.failures and self.reason is None:
            self.reason = (
                f"{self._failures} trials in a row failed in the same way ({failure}); fix it "
                "and run the same command again, or raise budget.failures"
            )

    def _check(self) -> None:
        for key, spent in (("hours", self.hours), ("gpu_hours", self.gpu_hours)):
            limit = getattr(self._budget, key)
            if limit is not None and spent >= limit and self.reason is None:
                fix = "with a higher limit the same command continues"
                self.reason = f"budget.{key}: {limit:g} is reached; {fix}"
