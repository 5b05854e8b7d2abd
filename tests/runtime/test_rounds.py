"""What the trials of a round get, and what they see of it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from comodo.core.store import Store, write_json
from comodo.runtime.rounds import ROUND_TRIALS_PER_PLACE, Rounds
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import make_arrays, trained_record
from tests.paths import ROOT

GIB = 1 << 30


@pytest.mark.usefixtures("ray_cluster")
def test_a_gpu_is_shared_once_the_first_trials_have_shown_their_memory(tmp_path: Path) -> None:
    store, resources = Store(tmp_path), {"cpus_per_worker": 0.25}
    make_arrays(store)
    ledger = ledger_of(store, sweep_of({"seeds": list(range(8)), "resources": resources}))
    rounds = Rounds(ledger)
    first = rounds.next()
    assert (first.resources.gpus, first.concurrent, first.trials) == (1, 1, 1)
    trial = ledger.next_trial()
    assert trial is not None
    record = replace(trained_record(trial), peak_memory={"cuda": GIB}, gpu_memory=16 * GIB)
    record.write(store.folder("trials", trial.key))
    later = rounds.next()
    assert (later.resources.gpus, later.concurrent) == (0.25, 4)
    assert later.trials == 4 * ROUND_TRIALS_PER_PLACE


@pytest.mark.usefixtures("ray_cluster")
def test_a_student_that_never_shows_its_memory_does_not_keep_rounds_short(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make_arrays(store)
    rounds = Rounds(ledger_of(store, sweep_of({})))
    assert [rounds.next().trials for _ in range(4)] == [1, 1, 1, ROUND_TRIALS_PER_PLACE]


DRIVER = """
import sys
from pathlib import Path

import ray

from comodo.core.lease import Lease
from comodo.core.store import Store
from comodo.runtime import tune
from comodo.search.budget import BudgetTracker
from comodo.tracking.tracker import Tracker
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import make_arrays
from tests.runtime.test_rounds import seen_train

ray.init(num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False)
store = Store(Path(sys.argv[1]))
make_arrays(store)
sweep = sweep_of({"seeds": list(range(8)), "trial": {"epochs": 1}})
ledger, tracker = ledger_of(store, sweep), Tracker(store, sweep.name, {})
tune.train = seen_train
limits, lease = BudgetTracker(sweep, ledger.folder), Lease(store, "sweeps", sweep.name)
assert tune.run_missing(ledger, tracker, limits, lease) is None
tracker.close()
assert limits.gpu_hours > 0
"""


def seen_train(config: dict) -> None:  # type: ignore[type-arg]
    """`train`, after a note of what the trial sees."""
    import ray

    from comodo.runtime.trainable import train

    seen = {
        "gpus": ray.get_gpu_ids(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "reserved": config["resources"].gpus,
    }
    write_json(config["store"].folder("seen", f"{config['trial'].seed}.json"), seen)
    train(config)


@pytest.mark.slow
def test_eight_trials_on_four_gpus_have_one_each(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=400, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "up to 4 trials at once, each on 1 GPU" in done.stdout
    seen = [json.loads(file.read_text()) for file in (tmp_path / "seen").glob("*.json")]
    assert len(seen) == 8
    for one in seen:
        assert one["visible"] == ",".join(map(str, one["gpus"]))
        assert (len(one["gpus"]), one["reserved"]) == (1, 1.0)
    assert {one["visible"] for one in seen} == {"0", "1", "2", "3"}
    records = [
        json.loads(file.read_text()) for file in (tmp_path / "trials").glob("*/trained.json")
    ]
    assert [(record["gpus"], record["device"]) for record in records] == [(1.0, "cpu")] * 8
