"""Comodo runs its trials with Ray Tune and leaves Ray as it was for everybody else."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray.tune

import comodo.runtime.tune
from comodo.core.lease import Lease
from comodo.core.store import Store
from comodo.search.budget import BudgetTracker
from comodo.tracking.tracker import Tracker
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import make_arrays


def square(config: dict[str, Any]) -> None:
    ray.tune.report({"score": config["x"] ** 2})


def plain_scores(folder: Path) -> list[float]:
    """The scores of a Tuner that knows nothing of comodo, one for each of four points."""
    results = ray.tune.Tuner(
        square,
        param_space={"x": ray.tune.grid_search([1, 2, 3, 4])},
        run_config=ray.tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()
    metrics = [results[number].metrics or {} for number in range(len(results))]
    return sorted(one["score"] for one in metrics)


def settings_of_ray() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith(("RAY_", "TUNE_"))}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_plain_tuner_gets_its_metrics_next_to_comodo(tmp_path: Path) -> None:
    assert plain_scores(tmp_path / "before") == [1, 4, 9, 16]
    store = Store(tmp_path / "store")
    make_arrays(store)
    sweep = sweep_of(
        {
            "seeds": [0, 1],
            "trial": {"epochs": 1},
            "resources": {"max_concurrent_trials": 1, "gpus_per_worker": 0},
        }
    )
    ledger, tracker = ledger_of(store, sweep), Tracker(store, sweep.name, {})
    limits, lease = BudgetTracker(sweep, ledger.folder), Lease(store, "sweeps", sweep.name)
    environment, on_interrupt = settings_of_ray(), signal.getsignal(signal.SIGINT)
    assert comodo.runtime.tune.run_missing(ledger, tracker, limits, lease) is None
    assert ledger.done() == 2
    assert settings_of_ray() == environment
    assert signal.getsignal(signal.SIGINT) is on_interrupt
    assert plain_scores(tmp_path / "after") == [1, 4, 9, 16]
