"""A sweep some of whose trials run out of memory."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from comodo.config import Sweep
from comodo.core.lease import Lease
from comodo.core.store import Store, read_json
from comodo.runtime import trainable, tune
from comodo.runtime.cluster import connect
from comodo.runtime.worker import run_trial
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation, Trial, TrialResult
from comodo.tracking.tracker import Tracker
from comodo.training.distill import Report
from comodo.training.epoch import ShouldStop
from tests.helpers import make_arrays, trial_config

GIB = 2**30
ALLOWED, HELD = 5, 10  # GiB more than in use at the start: at which Ray kills, and of the hungry
HUNGRY, ON_GPU, ON_CPU = 1, 3, 5  # seeds of the trials that fail; the others between them do not
SEEDS = list(range(8))

_train = trainable.train


def faulty(
    trial: Trial, store: Store, report: Report, leave: ShouldStop, gpus: float
) -> TrialResult | None:
    """`run_trial`, noting each attempt, but for the trials that run out of memory."""
    with (store.root / f"attempts-{trial.seed}").open("a") as attempts:
        attempts.write(trial.config.model_dump_json() + "\n")
    if trial.seed == HUNGRY:
        held = []
        for _ in range(4 * HELD):
            held.append(np.ones(GIB // 4, np.uint8))
            time.sleep(0.05)
        time.sleep(30)
        raise RuntimeError(f"holds {HELD} GiB, and nobody has killed it")
    if trial.seed == ON_GPU:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if trial.seed == ON_CPU:
        raise MemoryError("Unable to allocate 9.00 GiB for an array")
    return run_trial(trial, store, report, leave, gpus)


def faulty_train(config: dict[str, Any]) -> None:
    trainable.run_trial = faulty  # type: ignore[assignment, attr-defined]  # here, in the trial's process
    _train(config)


def ledger_of(store: Store) -> Ledger:
    sweep = Sweep.model_validate(
        {
            "name": "memory",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial_config(epochs=1).model_dump(mode="json"),
            "seeds": SEEDS,
            "references": [],
            "resources": {"max_concurrent_trials": 1, "retries": 1},
        }
    )
    return Ledger(sweep, store, {("d", sweep.trial.teacher): ("w", "f")}, Evaluation())


def drive(root: Path) -> None:
    """Runs the sweep on a Ray whose memory monitor kills.

    It watches the whole machine. Ray's processes and a trial's take about 1 GiB, so that others may
    meanwhile take up to 3 GiB or give back 5.
    """
    log = os.open(root / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + ALLOWED * GIB) / memory.total
    os.environ |= {
        "RAY_memory_usage_threshold": str(threshold),
        "RAY_memory_monitor_refresh_ms": "50",
    }
    connect()
    store = Store(root)
    make_arrays(store)
    ledger = ledger_of(store)
    tracker = Tracker(store, "memory", {})
    tune.train = faulty_train  # type: ignore[attr-defined]
    lease = Lease(store, "sweeps", "memory")
    tune.run_missing(ledger, tracker, BudgetTracker(ledger.sweep, ledger.folder), lease)


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_out_of_memory_fail_alone_and_say_so(tmp_path: Path) -> None:
    if psutil.virtual_memory().available < 14 * GIB:
        pytest.skip(f"needs 14 GiB of free memory, of which one trial takes {HELD}")
    process = multiprocessing.get_context("spawn").Process(target=drive, args=(tmp_path,))
    process.start()
    process.join(540)
    process.kill()
    process.join()
    text = (tmp_path / "log").read_text()
    assert process.exitcode == 0, text
    ledger = ledger_of(Store(tmp_path))
    trials = {trial.seed: trial for trial in ledger.planned()}
    ended = read_json(ledger.folder / "ended.json")
    reasons = {seed: ended[t.key]["reason"] for seed, t in trials.items() if t.key in ended}
    advice = "; lower batch_size, or raise resources "
    assert reasons == {
        HUNGRY: "its process was lost 2 times, killed by Ray because memory ran out "
        f"(OutOfMemoryError){advice}so that fewer trials run at once",
        ON_GPU: "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
        f"{advice}(fewer trials share a GPU or machine)",
        ON_CPU: "MemoryError: Unable to allocate 9.00 GiB for an array"
        f"{advice}(fewer trials share a GPU or machine)",
    }, text
    assert text.count("its process was lost; restarted from its checkpoint") == 1
    for seed, trial in trials.items():  # every attempt with the settings that were asked
        attempts = (tmp_path / f"attempts-{seed}").read_text().splitlines()
        asked = trial.config.model_dump(mode="json")
        assert [json.loads(line) for line in attempts] == [asked] * (1 + (seed == HUNGRY))
        assert (ledger.scores(trial) is not None) == (seed not in reasons)
