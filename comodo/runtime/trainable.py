"""One trial as Ray Tune runs it: its loop under Ray Train, in one worker or several.

What a trial computes is in `worker`, which knows nothing of Ray. Does not know the sweep, nor what
the driver does with a trial's end: each process of trials would wait for MLflow's import.
"""

import traceback
from contextlib import suppress
from typing import Any

import ray.exceptions
import ray.train
import torch
from ray import tune
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from comodo.config import Resources
from comodo.core.errors import StoreError
from comodo.core.lease import LeaseError
from comodo.core.redaction import redacted
from comodo.core.store import atomic
from comodo.runtime.cluster import worker_resources
from comodo.runtime.gpus import refuse_unusable_gpu
from comodo.runtime.notice import notice_of, this_node
from comodo.runtime.rendezvous import FileRendezvous
from comodo.runtime.worker import run_trial
from comodo.training.epoch import Paused

_train_api: Any = ray.train  # whose types are those of its first version
PREEMPTED = "its machine is being taken away"
_LOST = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError)


class TrialLeft(ray.exceptions.RayActorError):
    """A trial's process that ended on purpose, so that another one resumes from its checkpoint."""


def train(config: dict[str, Any]) -> None:
    """Runs one trial; what Ray Tune calls. The trial's own exceptions end it with a reason; it is
    tried again only if its process was lost or had to leave its machine."""
    config = {**config, "driver_node": this_node()}
    try:
        TorchTrainer(train_loop, train_loop_config=config, **_workers(config)).fit()
    except Exception as error:  # whatever it is, this trial failed and the others continue
        cause = _cause(error)
        if isinstance(cause, _LOST):
            raise cause from None
        if isinstance(cause, LeaseError):
            raise TrialLeft(error_msg=str(cause)) from None
        if isinstance(cause, Paused | _train_api.PreemptionError):
            # Tune does not count this as a failure.
            raise TrialLeft(error_msg=PREEMPTED, preempted=True) from None
        folder = config["store"].folder("trials", config["trial"].key)
        with suppress(StoreError), atomic(folder / "failed.txt") as path:
            path.write_text(redacted("".join(traceback.format_exception(error))))
        tune.report({"failed": _reason(cause), "store": isinstance(cause, StoreError)})
        # Tune gives a process that ended well to the next trial. This one may be broken for
        # others too (a GPU's context is, after some errors), so it does not end well.
        raise


def _cause(error: BaseException) -> BaseException:
    """Why a trial failed. With several workers: the error of a lost worker if there is one, else
    an error that does not just report that another worker is gone."""
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
    """What each worker of a trial runs."""
    resources: Resources = config["resources"]
    torch.set_num_threads(max(1, int(resources.cpus_per_worker)))
    if resources.gpus:
        refuse_unusable_gpu()
    report = tune.report if resources.workers == 1 else ray.train.report
    # Several workers cannot do without the trial's own process, which may be on another node.
    with notice_of({this_node(), config["driver_node"]}) as is_given:
        run_trial(config["trial"], config["store"], report, is_given, resources.gpus)


def _workers(config: dict[str, Any]) -> dict[str, Any]:
    """How Ray Train spreads a trial. With one worker, its local mode runs the loop in the trial's
    own process: a worker group would cost half a minute for each trial."""
    resources: Resources = config["resources"]
    if resources.workers == 1:
        return {"scaling_config": ScalingConfig(num_workers=0)}
    return {
        "scaling_config": ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker=worker_resources(resources),
        ),
        "torch_config": FileRendezvous(folder=config["scratch"]) if config["here"] else None,
        "run_config": _train_api.RunConfig(
            storage_path=config["scratch"],
            callbacks=[TuneReportCallback()],
            # Without a limit Ray Train never stops trying to start a group.
            failure_config=_train_api.FailureConfig(
                controller_failure_limit=resources.retries,
                max_preemption_failures=0,  # Tune starts the trial again
            ),
        ),
    }
