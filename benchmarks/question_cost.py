"""What a whole question costs in CPU time against its bare compute: the steps and the probes.

    python -m benchmarks.question_cost              24 trials of a small student
    python -m benchmarks.question_cost --people 8   one person left out at a time: 72 trials

The sweep is a real command, from recordings and precomputed teacher features to the report; counted
is the CPU time of all its processes (as `benchmarks.sweep_cost`, whose recordings these are). Bare
compute of its trials is, in memory and with one thread:

- training: the time of a step (student, head, loss, AdamW) times the number of steps;
- the probe: extracting the features of train, val and test with a student that the sweep trained,
  fitting on train, and the probabilities of val and test. It is timed for some of the trials,
  spread over the sweep, and their mean is taken for all.

Both are timed after the sweep, in as many processes at once as trials ran. The rest is said: what
is done once (starting Ray, preparing, packing, report), and what each trial adds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Row, machine, show
from benchmarks.sweep_cost import STUDENT, bare_step, run_sweep, write_recordings, write_sweep
from comodo import SVMProbe, load_sweep
from comodo.core.store import Store, fetched
from comodo.data.arrays import WindowArrays
from comodo.models.students import extract_features
from comodo.search.trial import Trial
from comodo.training.schedule import schedule_of

TEMPERATURES = [0.05, 0.1]
PARTS = ("step", "extract", "fit", "score")


def seconds_of(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returns."""
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def bare_probe(store: Store, trial: Trial) -> dict[str, float]:
    """CPU seconds of the probe of a finished trial."""
    student = load_sweep("cost", store.root).student(trial.key).network
    folder = fetched(store.folder("arrays", trial.windows))
    windows = WindowArrays.load(folder, student.encoder.samples, trial.fold, student.channels)
    splits = {name: part for name, part in windows.splits.items() if len(part)}
    label_of = {name: part.label_N[part.labelled_N].numpy() for name, part in splits.items()}

    def extract() -> dict[str, Any]:
        return {
            name: extract_features(student, part, part.labelled_N).numpy()
            for name, part in splits.items()
        }

    extracting, features = seconds_of(extract)
    fit = SVMProbe(seed=trial.seed).fit
    fitting, probe = seconds_of(lambda: fit(features["train"], label_of["train"]))
    scoring, _ = seconds_of(
        lambda: [
            probe.accuracy(features[name], label_of[name]) for name in splits if name != "train"
        ]
    )
    return {"extract": extracting, "fit": fitting, "score": scoring}


def bare(file: Path, numbers: list[int]) -> None:
    """Prints the CPU seconds of some trials as JSON lines."""
    torch.set_num_threads(1)
    store = Store(file.parent / "store")
    trials = [row.trial for row in load_sweep("cost", store.root).results.rows]
    step = bare_step(file, repeats=8)
    for number in numbers:
        trial = trials[number]
        steps = schedule_of(trial.config, train_windows(store, trial)).real
        print(json.dumps({"step": step * steps, **bare_probe(store, trial)}), flush=True)


def train_windows(store: Store, trial: Trial) -> int:
    folder = fetched(store.folder("arrays", trial.windows))
    return len(WindowArrays.load(folder, fold=trial.fold).splits["train"])


def measured(file: Path, trials: int, timed: int) -> list[dict[str, float]]:
    """`bare` of trials spread over the sweep, in as many processes as trials ran at once."""
    processes = min(timed, os.cpu_count() or 1)
    numbers = [round(place * (trials - 1) / max(1, timed - 1)) for place in range(timed)]
    command = [sys.executable, "-m", "benchmarks.question_cost", "--bare", str(file)]
    started = [
        subprocess.Popen(
            [*command, "--of", *map(str, numbers[first::processes])],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(processes)
    ]
    return [json.loads(line) for one in started for line in one.communicate()[0].splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=2_500, help="of all splits together")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=128, help="of the student, hidden_dim")
    parser.add_argument("--people", type=int, help="each of whom is the test split of a fold")
    parser.add_argument("--timed", type=int, default=4, help="trials whose bare compute is timed")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        bare(args.bare, args.of)
        return
    print(machine("cpu", "ray", "mlflow", "mantis-tsfm", "scikit-learn"))
    with tempfile.TemporaryDirectory() as name:
        show(measure(args, Path(name) / "data"))


def measure(args: argparse.Namespace, folder: Path) -> Row:
    size = {**STUDENT, "hidden_dim": args.width, "transf_depth": 1}
    trial = {
        "student": {"name": "mantis", "size": size},
        "method": {"name": "comodo"},
        "epochs": args.epochs,
        "batch_size": args.batch,
        "learning_rate": 1e-3,
    }
    queues = [256, 512, 1024] if args.people else [256, 512, 1024, 2048]
    space: dict[str, Any] = {"method.queue_size": queues}
    if args.people:
        counts = {"train": args.windows}
        what = f"each of {args.people} people left out, {len(queues)} configurations, 3 seeds"
    else:
        space["method.teacher_temperature"] = TEMPERATURES
        val = args.windows // 10 // 4 * 4
        counts = {"train": args.windows - 2 * val, "val": val, "test": val}
        what = f"{len(queues) * len(TEMPERATURES)} configurations, 3 seeds"
    write_recordings(folder, counts, args.people)
    file = write_sweep(folder, trial, space, 3, folds=bool(args.people))
    spent = run_sweep(file)
    trials = len(load_sweep("cost", folder / "store").trials)
    found = measured(file, trials, args.timed)
    mean = {part: statistics.mean(one[part] for one in found) for part in PARTS}
    total = trials * sum(mean.values())
    print("bare CPU s of a trial: " + ", ".join(f"{part} {mean[part]:.2f}" for part in PARTS))
    for part in PARTS:
        shown = ", ".join(f"{one[part]:.2f}" for one in found)
        print(f"  {part}: {shown}")
    print(f"bare: {total:.1f} CPU s; the sweep {spent.total:.1f}", flush=True)
    return Row(
        f"{what}: {trials} trials of a small student (Mantis, 1 layer, {args.width} wide), "
        f"{args.windows:,} windows, {args.epochs} epochs, total CPU",
        f"bare training and probes: {total:,.0f} s",
        f"{spent.total:,.0f} s",
        f"{spent.total / total:.2f}x the baseline",
        "within 1.15x" if args.people else "within 1.25x",
    )


if __name__ == "__main__":
    main()
