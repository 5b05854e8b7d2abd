"""What the engine costs a trial: the same training by a sweep and by a bare loop.

    python -m benchmarks.engine --windows 1024 --epochs 2 --repeats 4

The two take turns, each in a new process, on the CPU with as many threads as there are cores.

bare loop  A plain script: the same student, heads, loss, queue, optimizer and learning rates in
           the same steps, on arrays in memory. No checkpoint, no report, no check after an epoch.
engine     A sweep of one trial: Ray Tune and Train, ledger, lease, MLflow on SQLite, mapped
           arrays.

Compares the speed of training, then the whole training: including building the student, and for
the engine also checkpoints, quick checks and writing the student. benchmarks/overhead.py measures
what a sweep does before and after a trial. The student has Mantis-8M's size and starts from
scratch; there are no real recordings, because costs do not depend on the content of a window.

Shape letters: N windows, B of them in a batch, C channels, T samples, F numbers of a teacher's
feature, D of an embedding.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch

from benchmarks.bare import BareTraining
from benchmarks.common import Row, machine, show
from benchmarks.epoch import CHANNELS, FEATURES, RESIZED, SAMPLES, STUDENT, WINDOWS, make_arrays
from comodo.config import ComodoMethod, Sweep
from comodo.core.store import Store, read_json
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.training.loader import epoch_order
from comodo.training.schedule import learning_rate, schedule_of

GOAL = 5  # percent
CORES = os.cpu_count() or 1


def sweep_of(args: argparse.Namespace) -> Sweep:
    """One trial, with all cores."""
    return Sweep.model_validate(
        {
            "name": f"engine-{args.seed}",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 5}},
            "trial": {
                "dataset": "d",
                "teacher": "timesformer-base-k400",
                "student": STUDENT,
                "method": {"name": "comodo", "queue_size": args.windows // 4},
                "batch_size": args.batch,
                "epochs": args.epochs,
            },
            "seeds": [args.seed],
            "references": [],
            "resources": {"cpus_per_worker": CORES},
        }
    )


def bare_loop(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of training, and of training with loading and building everything it needs."""
    config, store = sweep_of(args).trial, Store(args.store)
    assert isinstance(config.method, ComodoMethod)
    torch.set_num_threads(CORES)
    torch.manual_seed(args.seed)
    began = time.perf_counter()
    train = WindowArrays.load(store.folder("arrays", WINDOWS), RESIZED).splits["train"]
    features = FeatureArrays.load(store.folder("arrays", FEATURES))
    every_N = torch.arange(len(train))
    imu_NCT, feature_NF = train.imu(every_N)[0], features.gather("train", every_N)
    first_keys = torch.randperm(len(train))[: config.method.queue_size]
    bare = BareTraining(config, feature_NF[first_keys])
    planned, step = schedule_of(config, len(train)).planned, 0
    training = time.perf_counter()
    for epoch in range(config.epochs):
        order_N = epoch_order(every_N, seed=epoch)
        if epoch == 0:
            order_N = order_N[~torch.isin(order_N, first_keys)]
        for index_B in order_N.split(config.batch_size):
            rate = learning_rate(step, planned, config.warmup, config.learning_rate)
            bare.step(imu_NCT[index_B], feature_NF[index_B], rate)
            step += 1
    ended = time.perf_counter()
    return {
        "training": ended - training,
        "whole": ended - began,
        "threads": torch.get_num_threads(),
    }


def engine(args: argparse.Namespace) -> dict[str, float]:
    """The same seconds of a trial in a sweep, as the trial records them."""
    # Imported here so that the bare loop's process loads neither Ray nor MLflow.
    from comodo.core.lease import Lease
    from comodo.runtime import tune
    from comodo.runtime.cluster import connect
    from comodo.search.budget import BudgetTracker
    from comodo.search.ledger import Ledger
    from comodo.search.trial import Evaluation
    from comodo.tracking.tracker import Tracker

    sweep, store = sweep_of(args), Store(args.store)
    connect()
    arrays = {("d", sweep.trial.teacher): (WINDOWS, FEATURES)}
    ledger = Ledger(sweep, store, arrays, Evaluation())
    tracker = Tracker(store, sweep.name, {})
    lease = Lease(store, "sweeps", sweep.name)
    tune.run_missing(ledger, tracker, BudgetTracker(sweep, ledger.folder), lease)
    tracker.close()
    (key,) = ledger.trials
    trained = read_json(store.folder("trials", key) / "trained.json")
    seen = [args.windows - args.windows // 4, *[args.windows] * (args.epochs - 1)]
    training = sum(
        windows / epoch["train/windows_per_second"]
        for windows, epoch in zip(seen, trained["history"], strict=True)
    )
    return {"training": training, "whole": trained["seconds"], "threads": trained["threads"]}


SIDES = {"bare loop": bare_loop, "engine": engine}


def in_fresh_process(side: str, store: str, seed: int) -> dict[str, float]:
    """The result of a side, run in a new process."""
    command = [sys.executable, "-m", "benchmarks.engine", *sys.argv[1:]]
    command += ["--side", side, "--store", store, "--seed", str(seed)]
    # Ray sets a trial's threads to its number of CPUs; the bare loop gets the same number.
    settings = os.environ | {"OMP_NUM_THREADS": str(CORES), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=1024, help="to train on")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(SIDES[args.side](args)))
        return
    print(machine("cpu", "ray", "mlflow"))
    seen = args.windows * args.epochs - args.windows // 4
    print(
        f"Mantis-8M's size, batch {args.batch}, {args.windows} windows of {CHANNELS} x {SAMPLES:,} "
        f"samples, {args.epochs} epochs, of which the first leaves out the queue's "
        f"{args.windows // 4} windows; medians of {args.repeats} turns",
        end="\n\n",
    )
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        make_arrays(Store(folder), args.windows, val=args.windows // 8)
        for turn in range(args.repeats):
            for side, times in found.items():
                times.append(took := in_fresh_process(side, folder, turn))
                print(
                    f"{side:9} | {took['threads']} threads | training {took['training']:.2f} s "
                    f"| in all {took['whole']:.2f} s",
                    flush=True,
                )
    middle = {
        side: {part: statistics.median(time[part] for time in times) for part in times[0]}
        for side, times in found.items()
    }
    plain, ours = middle["bare loop"], middle["engine"]
    slower = {part: f"{ours[part] / plain[part] - 1:+.1%}" for part in ("training", "whole")}
    show(
        Row(
            f"training in a sweep: Mantis-8M's size, batch {args.batch}, {args.windows} windows of "
            f"{CHANNELS} x {SAMPLES:,} samples, {args.epochs} epochs, float32, {CORES} threads",
            f"bare loop: {seen / plain['training']:.2f} windows/s, {plain['whole']:.1f} s in all",
            f"{seen / ours['training']:.2f} windows/s, {ours['whole']:.1f} s in all",
            f"time {slower['training']} (in all {slower['whole']})",
            f"at most +{GOAL} %",
        )
    )


if __name__ == "__main__":
    main()
