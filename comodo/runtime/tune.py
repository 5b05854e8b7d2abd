"""The trials of a ledger, run by Ray Tune."""

import os
import shutil
import tempfile
import traceback
from contextlib import suppress
from typing import Any

import ray.exceptions
import ray.train
import torch
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import PreemptionError
from ray.tune import tune as tune_run
from ray.tune.execution import tune_controller
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from comodo.config import ConfigError, Resources, Sweep
from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS
from comodo.core.console import console
from comodo.core.errors import StoreError
from comodo.core.lease import Lease, LeaseError
from comodo.core.redaction import redacted
from comodo.core.store import atomic
from comodo.runtime.callbacks import PREEMPTED, SweepCallback, TrialLeft
from comodo.runtime.cluster import Notice, this_node, trial_resources
from comodo.runtime.progress import Progress
from comodo.runtime.rendezvous import FileRendezvous
from comodo.runtime.worker import run_trial
from comodo.search.budget import BudgetTracker
from comodo.search.capacity import cluster_address
from comodo.search.ledger import Ledger
from comodo.tracking.tracker import Tracker
from comodo.training.checkpoint import Paused

POLL_SECONDS = 0.5  # seconds after which Tune looks whether it was interrupted


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Ray Tune, until a limit is reached."""

    def __init__(self, ledger: Ledger, limits: BudgetTracker, scratch: str) -> None:
        super().__init__()
        self._ledger, self._limits, self._scratch = ledger, limits, scratch

    def suggest(self, trial_id: str) -> Any:
        if self._limits.reason is not None:
            return Searcher.FINISHED
        try:
            trial = self._ledger.next_trial()
        except (ConfigError, StoreError) as error:
            self._limits.reason = str(error)
            return Searcher.FINISHED
        if trial is None:  # there may be more when those that run have ended: Tune asks again
            return None if self._ledger.held_back else Searcher.FINISHED
        return {
            "key": trial.key,
            "reference": trial.key in self._ledger.references,
            "trial": trial,
            "store": self._ledger.store,
            "resources": self._ledger.sweep.resources,
            "scratch": self._scratch,
            "here": cluster_address() is None,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Endings are noted by the watcher, which Tune also tells of them."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is read from disk."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy for its own way of resuming, which is not used


class StudentsASHA(ASHAScheduler):
    """Judges a trial among the configurations' alone, and while there is something to save.

    What students are compared with is always trained to its end, and a trial that has come to its
    last epoch is measured.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        last = trial.config["trial"].config.epochs
        if trial.config["reference"] or result.get("epoch", 0) >= last:
            return ASHAScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing: each epoch was judged as it came."""


class AtLimits(Stopper):
    """Once a limit is reached, stops each trial after its next epoch, when its checkpoint is
    safe; and with the last of them those that Tune has lined up."""

    def __init__(self, limits: BudgetTracker, progress: Progress) -> None:
        self._limits, self._progress = limits, progress

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        idle = TRAIN_LOSS in result or "waiting" in result
        return self._limits.reason is not None and idle

    def stop_all(self) -> bool:
        return self._limits.reason is not None and not self._progress.running

    def __getstate__(self) -> dict[str, Any]:
        return {}


def train(config: dict[str, Any]) -> None:
    """One trial as Ray Tune runs it: the loop under Ray Train.

    A trial's own exceptions end it with a reason; only lost processes are retried, and those that
    had to leave.
    """
    config = {**config, "driver_node": this_node()}
    try:
        TorchTrainer(train_loop, train_loop_config=config, **_workers(config)).fit()
    except Exception as error:  # whatever it is, this trial failed and the others go on
        cause = _cause(error)
        if isinstance(cause, _LOST):
            raise cause from None
        if isinstance(cause, Paused | PreemptionError | LeaseError):
            if isinstance(cause, LeaseError):
                raise TrialLeft(error_msg=str(cause)) from None
            # Tune does not count this as a failure.
            raise TrialLeft(error_msg=PREEMPTED, preempted=True) from None
        folder = config["store"].folder("trials", config["trial"].key)
        with suppress(StoreError), atomic(folder / "failed.txt") as path:
            path.write_text(redacted("".join(traceback.format_exception(error))))
        tune.report({"failed": _reason(cause), "store": isinstance(cause, StoreError)})
        # Tune gives a process that ended well to the next trial. This one may be broken for
        # others too (a GPU's context is, after some errors), so it does not end well.
        raise


_LOST = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError)


class TrialProcesses(RayActorManager):
    """Ray's, but for what its memory monitor kills: Ray 2.60's Tune does not know that error and
    ends altogether. Here it is told of it as of any other process that is lost.

    And but for looking up ten times a second while nothing happens, which the trials' cores pay."""

    def next(self, timeout: float | None = None) -> bool:
        return super().next(None if timeout is None else max(timeout, POLL_SECONDS))

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        super()._actor_task_failed(tracked_actor_task, _as_lost(exception))

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
        super()._actor_start_failed(tracked_actor, _as_lost(exception))


def _as_lost(exception: Exception) -> Exception:
    if isinstance(exception, ray.exceptions.OutOfMemoryError):
        return ray.exceptions.RayActorError(error_msg=str(exception))
    return exception


class Controller(tune_controller.TuneController):
    """Ray's, but for trials that have ended: Ray 2.60's Tune keeps them all, with figures and
    settings some 80 KB each, and goes through them at every step. Here they are let go.

    And but for a process of an earlier trial that is lost while it is given to the next: there Tune
    begins that trial again, and then gives it up. Here it is only begun again."""

    def _process_trial_failure(self, trial: Any, exception: Any) -> None:
        lost = isinstance(exception, ray.exceptions.RayActorError)
        if lost and trial in self._resetting_trials and trial.status != trial.RUNNING:
            # The loss of the process was told, and is dealt with; this is that of its task.
            self._resetting_trials.remove(trial)
            return
        super()._process_trial_failure(trial, exception)

    def on_step_end(self) -> None:
        super().on_step_end()
        if ended := self._stopped_trials | self._failed_trials:
            self._trials = [trial for trial in self._trials if trial not in ended]
            self._trials_to_cache -= ended
            self._stopped_trials.clear()
            self._failed_trials.clear()


tune_controller.RayActorManager = TrialProcesses  # type: ignore[attr-defined]
tune_run.TuneController = Controller  # type: ignore[attr-defined]


def _cause(error: BaseException) -> BaseException:
    """What a trial failed of: of several workers a lost one, or else what was not only the
    others' remark that one is gone."""
    failures = list(getattr(error, "worker_failures", {}).values())
    if failures:
        causes = [failure.__cause__ or failure for failure in failures]
        return min(causes, key=lambda c: (not isinstance(c, _LOST), type(c) is RuntimeError))
    return error.__cause__ or error


def _reason(cause: BaseException) -> str:
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:400]
    if isinstance(cause, MemoryError | torch.OutOfMemoryError):
        reason += "; lower batch_size, or raise resources (fewer trials share a GPU or machine)"
    return redacted(reason)


def train_loop(config: dict[str, Any]) -> None:
    """What each of a trial's workers does."""
    resources: Resources = config["resources"]
    torch.set_num_threads(max(1, int(resources.cpus_per_worker)))
    report = tune.report if resources.workers == 1 else ray.train.report
    # Of several workers the trial's own process, which they cannot do without, may be elsewhere.
    with Notice({this_node(), config["driver_node"]}) as notice:
        run_trial(config["trial"], config["store"], report, notice.given)


def _workers(config: dict[str, Any]) -> dict[str, Any]:
    """How Ray Train spreads a trial.

    With one worker, its local mode runs the loop in the trial's own process: a worker group of its
    own would cost half a minute for each trial.
    """
    asked: Resources = config["resources"]
    if asked.workers == 1:
        return {"scaling_config": ScalingConfig(num_workers=0)}
    train_api: Any = ray.train  # whose types are those of its first version
    return {
        "scaling_config": ScalingConfig(
            num_workers=asked.workers,
            use_gpu=asked.gpus_per_worker > 0,
            resources_per_worker={"CPU": asked.cpus_per_worker, "GPU": asked.gpus_per_worker},
        ),
        "torch_config": FileRendezvous(folder=config["scratch"]) if config["here"] else None,
        "run_config": train_api.RunConfig(
            storage_path=config["scratch"],
            callbacks=[TuneReportCallback()],
            # Without a limit a group that cannot start is tried for ever.
            failure_config=train_api.FailureConfig(
                controller_failure_limit=asked.retries,
                max_preemption_failures=0,  # Tune begins the trial again
            ),
        ),
    }


def run_missing(
    ledger: Ledger, tracker: Tracker, limits: BudgetTracker, concurrent: int, lease: Lease
) -> str | None:
    """Runs the ledger's trials until all have ended or a limit is reached.

    Returns why trials are left; None if none are.

    Raises:
        KeyboardInterrupt: it was interrupted; what ran is half done.
        LeaseError: another driver has taken the sweep.
        StoreError: the store takes nothing more.
    """
    progress = Progress(ledger, limits)
    first = ledger.next_trial()
    if first is None:
        progress.save("finished")
        console.print(f"all {ledger.done()} trials are done already")
        return None
    ledger.put_back(first)
    if limits.reason is not None:
        progress.save(f"stopped: {limits.reason}")
        return limits.reason
    sweep = ledger.sweep
    console.print(f"up to {concurrent} trials at once")
    scratch = tempfile.mkdtemp(prefix="comodo-tune-")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # whose display cannot be replaced
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "inf"  # the ledger is on disk
    # A trial that failed reports its reason and no measure; ASHA then leaves it alone.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    with progress.shown():
        tuner = tune.Tuner(
            tune.with_resources(train, trial_resources(sweep.resources)),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(ledger, limits, scratch),
                scheduler=_scheduler(sweep),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=sweep.resources.retries),
                callbacks=[SweepCallback(ledger, tracker, limits, progress, lease)],
                stop=AtLimits(limits, progress),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            limits.save()
    # Tune takes Ctrl-C itself, stops the trials and returns.
    if progress.running or (limits.reason is None and ledger.unfinished()):
        for trial in ledger.unfinished():
            tracker.end(trial, "KILLED", "interrupted")
        progress.save("stopped: interrupted")
        raise KeyboardInterrupt
    # Only a grid is known to be whole; a search might have asked for more.
    whole = ledger.sweep.search.sampler == "grid" and ledger.done() == len(ledger.planned())
    stopped = None if whole else limits.reason
    progress.save("finished" if stopped is None else f"stopped: {stopped}")
    return stopped


def _scheduler(sweep: Sweep) -> StudentsASHA | None:
    if sweep.early_stopping is None:
        return None
    return StudentsASHA(
        time_attr="epoch",
        metric=QUICK_ACCURACY,
        mode="max",
        max_t=1_000_000,  # a trial ends by itself, after its probe
        grace_period=sweep.early_stopping.grace_epochs,
        reduction_factor=sweep.early_stopping.reduction_factor,
    )
