"""Runs the trials of a ledger with Ray Tune.

Uses Ray's public API only and leaves Ray unchanged for others in the process. Does not know what a
trial computes, nor which one is next.
"""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import _exit
from types import SimpleNamespace
from typing import Any

import ray.exceptions
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from comodo.config import ConfigError, Resources, Sweep
from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS
from comodo.core.console import Terminated, console, handling, show_interrupted
from comodo.core.errors import StoreError
from comodo.core.lease import RETRY_SECONDS, Lease, LeaseError
from comodo.core.redaction import redacted
from comodo.runtime.callbacks import SweepCallback
from comodo.runtime.cluster import trial_resources
from comodo.runtime.progress import Progress
from comodo.runtime.rounds import Round, Rounds
from comodo.runtime.trainable import train
from comodo.search.budget import BudgetTracker
from comodo.search.capacity import cluster_address
from comodo.search.ledger import Ledger
from comodo.search.trial import Trial
from comodo.tracking.tracker import Tracker

# After SIGTERM, in which Ray has to stop the trials. SIGKILL mostly follows after 30.
STOP_SECONDS = 20.0

TUNE_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # whose display cannot be replaced
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it stays installed after the run
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # the ledger is on disk
    # A trial that failed reports its reason and no measure; ASHA then ignores it.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Ray Tune until a limit is reached."""

    def __init__(
        self, ledger: Ledger, limits: BudgetTracker, resources: Resources, scratch: str
    ) -> None:
        super().__init__()
        self._ledger, self._limits = ledger, limits
        self._resources, self._scratch = resources, scratch
        self.not_ended: dict[str, Trial] = {}
        """Trials that were handed out and have not ended, by Tune's id."""

    def suggest(self, trial_id: str) -> Any:
        trial = next_trial(self._ledger, self._limits)
        if trial is None:
            # More may follow when a trial ends that runs here: Tune then asks again.
            held_back = self._limits.reason is None and self._ledger.held_back and self.not_ended
            return None if held_back else Searcher.FINISHED
        self.not_ended[trial_id] = trial
        return {
            "key": trial.key,
            "judged": self._ledger.is_judged(trial),
            "trial": trial,
            "store": self._ledger.store,
            "resources": self._resources,
            "scratch": self._scratch,
            "here": cluster_address() is None,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """SweepCallback, which Tune calls as well, records how the trial ended."""
        self.not_ended.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is on disk."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used


def next_trial(ledger: Ledger, limits: BudgetTracker) -> Trial | None:
    """The ledger's next trial; None at a limit, also if the space or the store fails."""
    if limits.reason is not None:
        return None
    try:
        return ledger.next_trial()
    except (ConfigError, StoreError) as error:
        limits.reason = str(error)
        return None


class InOrder(FIFOScheduler):
    """Starts each trial once, in the order that they come in.

    Tune's own order gives the process of a trial that ended to the one that waits longest, though a
    process is about to start for that one, which it ends, and starts another for the next: trials
    that end sooner than processes start, as untrained students do, would run one at a time."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._chosen = set[str]()

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that was not chosen before; a process is started for those that were."""
        for trial in tune_controller.get_trials():
            if trial.status == "PENDING" and trial.trial_id not in self._chosen:
                self._chosen.add(trial.trial_id)
                return trial
        return None


class StudentsASHA(InOrder, ASHAScheduler):
    """ASHA of the trials that the ledger lets it judge, which stops one only while that saves
    something.

    Other trials are trained to their end and compared with nothing, and a trial that reached its
    last epoch is measured. The scheduler can be passed from one Tuner to the next: a trial that
    runs again there is the same trial.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _named_by_key(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        last = trial.config["trial"].config.epochs
        if not trial.config["judged"] or result.get("epoch", 0) >= last:
            return ASHAScheduler.CONTINUE
        return super().on_trial_result(tune_controller, _named_by_key(trial), result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing: each epoch was judged when it was reported."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _named_by_key(trial))


def _named_by_key(trial: Any) -> Any:
    """What ASHA reads of a trial. Tune's own id of it would be another in the next round."""
    return SimpleNamespace(trial_id=trial.config["key"])


class Interrupt(threading.Event):
    """Set by the first Ctrl-C or SIGTERM."""

    error: type[KeyboardInterrupt] = KeyboardInterrupt


class AtLimits(Stopper):
    """Once a limit is reached, stops each trial after its next epoch, when its checkpoint is
    written, and with the last of them the trials that Tune has queued. An interrupt stops all at
    once."""

    def __init__(self, progress: Progress, interrupted: Interrupt) -> None:
        self._progress, self._interrupted = progress, interrupted

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        idle = TRAIN_LOSS in result or "waiting" in result
        return self._progress.limits.reason is not None and idle

    def stop_all(self) -> bool:
        at_limit = self._progress.limits.reason is not None and not self._progress.running
        return at_limit or self._interrupted.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_missing(
    ledger: Ledger, tracker: Tracker, limits: BudgetTracker, lease: Lease
) -> str | None:
    """Runs the ledger's trials until all have ended or a limit is reached.

    Returns why trials are left; None if none are.

    Raises:
        ClusterError: the cluster has no longer room for a trial.
        KeyboardInterrupt: it was interrupted, by SIGTERM if it is `Terminated`; running trials are
            half done.
        LeaseError: another driver has taken the sweep.
        StoreError: the store can no longer be written.
    """
    progress = Progress(ledger, limits)
    first = ledger.next_trial()
    if first is None and not ledger.elsewhere:
        progress.save("finished")
        console.print(f"all {ledger.done()} trials are done already")
        return None
    if first is not None:
        ledger.put_back(first)
    if limits.reason is not None:
        progress.save(f"stopped: {limits.reason}")
        return limits.reason
    callback, rounds = SweepCallback(progress, tracker, lease), Rounds(ledger)
    scheduler = _scheduler(ledger.sweep)  # one for all rounds, so that ASHA knows all trials
    in_order = _on_interrupt(lambda: progress.save("stopped: interrupted"))
    with progress.shown(), _environment(TUNE_SETTINGS), in_order as interrupted:
        stopper = AtLimits(progress, interrupted)
        try:
            while not interrupted.is_set():
                if (trial := next_trial(ledger, limits)) is not None:
                    ledger.put_back(trial)
                    _run_round(rounds.next(), ledger, limits, scheduler, stopper, callback)
                elif not _await_others(ledger, limits, interrupted, progress):
                    break
        except LeaseError:  # the record belongs to another driver now
            raise
        except BaseException as error:
            # What sends SIGTERM to this process may have sent it to Ray's too, which then fails.
            if not interrupted.is_set():
                with suppress(StoreError):  # which may be the error
                    progress.save(f"stopped: {redacted(str(error)) or 'interrupted'}")
                raise
        finally:
            limits.save()
    if not ledger.leads and not interrupted.is_set():
        return limits.reason
    if interrupted.is_set() or progress.running or (limits.reason is None and ledger.unfinished()):
        for trial in ledger.unfinished():
            tracker.end(trial, "KILLED", "interrupted")
        progress.save("stopped: interrupted")
        raise interrupted.error
    # Only a grid is known to be complete; a search might have asked for more.
    complete = ledger.sweep.search.sampler == "grid" and ledger.done() == len(ledger.planned())
    stopped = None if complete else limits.reason
    progress.save("finished" if stopped is None else f"stopped: {stopped}")
    return stopped


def _await_others(
    ledger: Ledger, limits: BudgetTracker, interrupted: Interrupt, progress: Progress
) -> bool:
    """Waits a moment if there may be more to do once other drivers have ended trials: for the one
    that leads until none is left, for others while later stages of configurations may follow."""
    more = ledger.elsewhere and (ledger.leads or ledger.held_back)
    if limits.reason is not None or not more:
        return False
    progress.wait_for(len(ledger.elsewhere))
    interrupted.wait(RETRY_SECONDS)
    return True


def _run_round(
    this: Round,
    ledger: Ledger,
    limits: BudgetTracker,
    scheduler: InOrder,
    stopper: AtLimits,
    callback: SweepCallback,
) -> None:
    """Runs a bounded number of the ledger's trials."""
    sweep, scratch = ledger.sweep, tempfile.mkdtemp(prefix="comodo-tune-")
    limits.gpus_per_trial = this.resources.workers * this.resources.gpus
    searcher = LedgerSearcher(ledger, limits, this.resources, scratch)
    tuner = tune.Tuner(
        tune.with_resources(train, trial_resources(this.resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=this.trials,
            max_concurrent_trials=this.concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=sweep.name,
            storage_path=scratch,
            failure_config=tune.FailureConfig(max_failures=sweep.resources.retries),
            callbacks=[callback],
            stop=stopper,
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except RuntimeError as error:
        # Tune does not know the error of a process that Ray killed for its memory, and ends.
        if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
            raise
        callback.on_memory_kill(error.__cause__, list(searcher.not_ended.values()))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scheduler(sweep: Sweep) -> InOrder:
    if sweep.early_stopping is None:
        return InOrder()
    return StudentsASHA(
        time_attr="epoch",
        metric=QUICK_ACCURACY,
        mode="max",
        max_t=1_000_000,  # a trial ends by itself, after its probe
        grace_period=sweep.early_stopping.grace_epochs,
        reduction_factor=sweep.early_stopping.reduction_factor,
    )


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Sets environment variables while the block runs."""
    before = {name: os.environ[name] for name in settings if name in os.environ}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _on_interrupt(record: Callable[[], None]) -> Iterator[Interrupt]:
    """An event that the first Ctrl-C or SIGTERM sets while the block runs; a second Ctrl-C raises
    as usual. If the block does not end soon after SIGTERM, the process does, after `record`."""
    interrupted = Interrupt()

    def give_up() -> None:
        record()
        show_interrupted()
        _exit(128 + signal.SIGTERM)

    timer = threading.Timer(STOP_SECONDS, give_up)
    timer.daemon = True

    def stop(number: int, frame: object) -> None:
        if number == signal.SIGINT and interrupted.is_set():
            raise KeyboardInterrupt
        if number == signal.SIGTERM and interrupted.error is not Terminated:
            interrupted.error = Terminated
            timer.start()
        interrupted.set()

    with handling(stop, signal.SIGINT, signal.SIGTERM):
        try:
            yield interrupted
        finally:
            timer.cancel()
