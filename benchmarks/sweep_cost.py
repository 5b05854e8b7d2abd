"""What a whole sweep costs in CPU time: against plain scripts, and against its training alone.

    python -m benchmarks.sweep_cost small
    python -m benchmarks.sweep_cost large

small   24 trials of a small student against the same 24 one after the other, each a process of
        `benchmarks.plain_trial`. Plain trials have similar costs, so only a few are run, spread
        over the grid and before and after the sweep; `--baseline-trials 24` runs all.
large   Trials of Mantis-8M's size against bare training compute: the time of a step (student,
        head, loss, AdamW, on one batch in memory) times the number of steps. Bare steps are timed
        before and after the sweep, in as many processes at once as trials run.

The sweep is a real command, from recordings and precomputed teacher features to the report.
Counted is the CPU time, user and system, of all its processes: driver, Ray's daemons, workers. A
trial and a plain trial compute with one thread each. Recordings are simulated: IMU files, each
with a link to one clip that is easy to decode. Needs Linux.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.bare import BareTraining
from benchmarks.common import Row, machine, show
from benchmarks.cpu_time import Spent, cpu_time
from comodo import load_sweep
from comodo.config import CHANNELS, ComodoMethod, read_sweep_file
from comodo.data.simulation.scenarios import SimulatedRecording, plan_recordings
from comodo.data.simulation.simulator import measured_imu, trajectory
from comodo.training.schedule import schedule_of
from tests.conftest import write_video

ACTIVITIES = 12  # that the simulator knows
WINDOW_SECONDS, RATE, PER_RECORDING = 5, 200, 4
NOISE_C = [0.2] * 3 + [20.0] * 3  # g, deg/s; without it students would know every activity
FEATURE = 768  # of a ViT-base
QUEUES, TEMPERATURES, SEEDS = [256, 512, 1024, 2048], [0.05, 0.1], [0, 1, 2]
STUDENT = {  # but for width and depth that of sweeps/demo.yaml
    "seq_len": 256, "num_patches": 16, "transf_num_heads": 4, "transf_mlp_dim": 128,
    "transf_dim_head": 32,
}  # fmt: skip
STEP = "step"


def write_recordings(folder: Path, windows: dict[str, int], people: int | None = None) -> None:
    """So many windows of each split, or of so many people: IMU files, links to one video, manifest,
    features.npz.

    A feature is its activity's own vector and as much noise, as if a teacher had seen the video.
    """
    for name in ("imu", "videos"):
        (folder / name).mkdir(parents=True)
    length = PER_RECORDING * WINDOW_SECONDS
    write_video(folder / "clip.mp4", length, fps=10, size=224)
    splits = [split for split, count in windows.items() for _ in range(count // PER_RECORDING)]
    plans = plan_recordings(max(3, -(-len(splits) // ACTIVITIES)), 1, length, labelled=1.0, seed=0)
    rng = np.random.default_rng(0)
    activities = sorted({row.activity for row in plans})
    of_activity = dict(zip(activities, rng.normal(size=(ACTIVITIES, FEATURE)), strict=True))
    ids, features, manifest = [], [], []
    for place, (split, row) in enumerate(zip(splits, plans, strict=False)):
        sensed = measured_imu(SimulatedRecording(row.id, (row,)), [trajectory(row)])
        time_N = np.arange(length * RATE) / RATE
        imu_NC = np.stack([np.interp(time_N, sensed[:, 0], sensed[:, 1 + c]) for c in range(6)], 1)
        imu_NC += rng.normal(size=imu_NC.shape) * NOISE_C
        np.save(folder / f"imu/{row.id}.npy", imu_NC.astype(np.float32))
        os.link(folder / "clip.mp4", folder / f"videos/{row.id}.mp4")
        manifest.append(
            {"recording": row.id, "imu": f"imu/{row.id}.npy", "video": f"videos/{row.id}.mp4",
             "label": row.activity, "split": split, "acc_unit": "g", "gyro_unit": "deg/s",
             "imu_rate": RATE}
        )  # fmt: skip
        if people is not None:
            del manifest[-1]["split"]
            manifest[-1]["group"] = f"person {place // ACTIVITIES % people}"
        for number in range(PER_RECORDING):
            ids.append(f"{row.id}:{number}")
            features.append(of_activity[row.activity] + rng.normal(size=FEATURE))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(manifest[0]))
        writer.writeheader()
        writer.writerows(manifest)
    np.savez(folder / "features.npz", id=ids, feature=np.array(features, np.float32))


def write_sweep(
    folder: Path,
    trial: dict[str, Any],
    space: dict[str, Any],
    seeds: int,
    folds: bool = False,
) -> Path:
    """The sweep file next to the recordings; without references, so it has only these trials. With
    `folds` each person is left out once."""
    content: dict[str, Any] = {
        "name": "cost",
        "datasets": {
            "recorded": {
                "kind": "folder", "path": "manifest.csv", "window_seconds": WINDOW_SECONDS,
                "imu_rate": RATE,
            }
        },
        "trial": {
            "dataset": "recorded", "teacher": {"name": "precomputed", "path": "features.npz"},
            **trial,
        },
        "search": {"space": space},
        "seeds": list(range(seeds)),
        "references": [],
    }  # fmt: skip
    if folds:
        content["datasets"]["recorded"]["split_by_group"] = {"folds": "all"}
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def run_sweep(file: Path) -> Spent:
    """The command line's sweep in a new store."""
    store = file.parent / "store"
    command = [sys.executable, "-m", "comodo", "sweep", str(file), "--store", str(store)]
    spent = cpu_time(command, file.parent / "sweep.txt")
    trials = load_sweep("cost", store).trials
    if not (trials["state"] == "finished").all():
        raise RuntimeError(trials[["state", "reason"]].to_string())
    by_name = sorted(spent.seen.items(), key=lambda item: -item[1])[:6]
    print(
        f"sweep: {len(trials)} trials, {spent.total:.1f} CPU s in {spent.wall:.0f} s; by the clock "
        f"its trials trained for {trials['seconds'].sum():.1f} s and were measured for "
        f"{trials['measuring_seconds'].sum():.1f} s"
    )
    print("  CPU s by process: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in by_name))
    print(f"  test Acc@1: mean {trials['test/acc1'].mean():.1%}", flush=True)
    return spent


def small(args: argparse.Namespace, folder: Path) -> Row:
    size = {**STUDENT, "hidden_dim": args.width, "transf_depth": args.depth}
    trial = {
        "student": {"name": "mantis", "size": size},
        "method": {"name": "comodo"},
        "epochs": args.epochs,
        "batch_size": args.batch,
        "learning_rate": 1e-3,
    }
    queues = [queue for queue in QUEUES if queue <= args.windows - 2]
    space = {"method.queue_size": queues, "method.teacher_temperature": TEMPERATURES}
    file = write_sweep(folder, trial, space, len(SEEDS))
    grid = list(product(queues, TEMPERATURES, SEEDS))
    places = np.linspace(0, len(grid) - 1, min(args.baseline_trials, len(grid))).round().astype(int)
    chosen = iter([grid[place] for place in places])
    plain = [run_plain(folder, args, size, *one) for one in islice(chosen, len(places) // 2)]
    spent = run_sweep(file)
    plain += [run_plain(folder, args, size, *one) for one in chosen]

    totals = [one["total"] for one in plain]
    mean, count = statistics.mean(totals), len(grid)
    decoding = statistics.mean(one["parts"]["decode val videos"] for one in plain)
    print(
        f"plain: {len(plain)} of {count} trials were run, {min(totals):.1f} to {max(totals):.1f} "
        f"CPU s each, mean {mean:.1f}; times {count}: {mean * count:.0f} CPU s"
    )
    for part in plain[0]["parts"]:
        each = statistics.mean(one["parts"][part] for one in plain)
        print(f"  {part}: {each:.1f} CPU s, {each / mean:.0%}")
    accuracies = [one["test/acc1"] for one in plain]
    print(f"  test Acc@1: mean {statistics.mean(accuracies):.1%}")
    without = (mean - decoding) * count / spent.total
    print(f"ratio {mean * count / spent.total:.1f}; without decoding val videos {without:.1f}")
    return Row(
        f"a sweep of {count} trials of a small student (Mantis, {args.depth} layers, {args.width} "
        f"wide), {args.windows:,} windows, {args.epochs} epochs, total CPU",
        f"each trial a process, as published: {mean * count:,.0f} s ({len(plain)} of {count} run)",
        f"{spent.total:,.0f} s",
        f"{mean * count / spent.total:.1f}x ({without:.1f}x without its decoding of val videos)",
        "10x",
    )


def run_plain(
    folder: Path,
    args: argparse.Namespace,
    size: dict[str, int],
    queue: int,
    temperature: float,
    seed: int,
) -> dict[str, Any]:
    """One plain trial: its `parts` and `test/acc1`, and its `total` CPU seconds."""
    settings = {
        "folder": str(folder), "features": str(folder / "features.npz"),
        "window_seconds": WINDOW_SECONDS, "size": size, "seed": seed, "queue_size": queue,
        "teacher_temperature": temperature, "student_temperature": 0.05, "learning_rate": 1e-3,
        "epochs": args.epochs, "batch_size": args.batch,
    }  # fmt: skip
    (folder / "plain.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "benchmarks.plain_trial", str(folder / "plain.json")]
    spent = cpu_time(command, folder / "plain.txt")
    found = json.loads((folder / "plain.txt").read_text().splitlines()[-1])
    return {**found, "total": spent.total}


def large(args: argparse.Namespace, folder: Path) -> Row:
    trial = {
        "student": {"name": "mantis"},  # of Mantis-8M's size, from scratch
        "method": {"name": "comodo", "queue_size": min(1024, args.windows // 2)},
        "epochs": args.epochs,
        "batch_size": args.batch,
    }
    file = write_sweep(folder, trial, {}, args.trials)
    before = bare_steps(file, args)
    spent = run_sweep(file)
    after = bare_steps(file, args)
    step = statistics.median(before + after)
    each = schedule_of(read_sweep_file(file).trial, args.windows).windows / args.batch
    steps = each * args.trials
    bare = step * steps
    shown = [", ".join(f"{one:.2f}" for one in some) for some in (before, after)]
    print(f"bare step of {args.batch} windows: {shown[0]} CPU s before, {shown[1]} after")
    print(f"bare: median {step:.2f} CPU s x {steps:g} batches = {bare:.1f} CPU s")
    print(
        f"The sweep took {spent.total - bare:.1f} CPU s more. What it takes once (Ray's start, "
        "report) weighs the less the more trials and windows there are."
    )
    return Row(
        f"a sweep of {args.trials} trials of Mantis-8M's size, {args.windows:,} windows, "
        f"{args.epochs} epochs, total CPU",
        f"bare training compute: {bare:,.0f} s ({step:.2f} s a step)",
        f"{spent.total:,.0f} s",
        f"{spent.total / bare:.2f}x the baseline",
        "within 1.1x",
    )


def bare_steps(file: Path, args: argparse.Namespace) -> list[float]:
    """CPU seconds of a step in each of as many processes as trials run at once."""
    command = [sys.executable, "-m", "benchmarks.sweep_cost", STEP, "--file", str(file)]
    command += ["--repeats", str(args.repeats)]
    together = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(min(args.trials, os.cpu_count() or 1))
    ]
    return [float(process.communicate()[0]) for process in together]


def bare_step(file: Path, repeats: int) -> float:
    """Median CPU seconds of training on one batch in memory, at the student's input length."""
    torch.set_num_threads(1)
    config = read_sweep_file(file).trial
    assert config.student.samples is not None and isinstance(config.method, ComodoMethod)
    bare = BareTraining(config, torch.randn(config.method.queue_size, FEATURE))
    imu_BCT = torch.randn(config.batch_size, len(CHANNELS), config.student.samples)
    feature_BF = torch.randn(config.batch_size, FEATURE)
    taken = []
    for _ in range(repeats + 1):
        began = time.process_time()
        bare.step(imu_BCT, feature_BF, config.learning_rate)
        taken.append(time.process_time() - began)
    return statistics.median(taken[1:])  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    for name, windows, measured, epochs in (("small", 2500, 300, 5), ("large", 768, 64, 20)):
        part = parts.add_parser(name)
        part.add_argument("--windows", type=int, default=windows, help="to train on")
        part.add_argument("--measured", type=int, default=measured, help="windows of val, of test")
        part.add_argument("--epochs", type=int, default=epochs)
        part.add_argument("--batch", type=int, default=128)
        if name == "small":
            part.add_argument("--width", type=int, default=128, help="of the student, hidden_dim")
            part.add_argument("--depth", type=int, default=1, help="its layers, transf_depth")
            part.add_argument("--baseline-trials", type=int, default=3, help="that are run")
        else:
            part.add_argument("--trials", type=int, default=2)
            part.add_argument("--repeats", type=int, default=8, help="bare steps that are timed")
    step = parts.add_parser(STEP, help="one process of bare steps; large starts it")
    step.add_argument("--file", type=Path)
    step.add_argument("--repeats", type=int)
    args = parser.parse_args()
    if args.part == STEP:
        print(bare_step(args.file, args.repeats))
        return
    print(machine("cpu", "ray", "mlflow", "mantis-tsfm", "scikit-learn"))
    counts = {"train": args.windows, "val": args.measured, "test": args.measured}
    if any(count % PER_RECORDING for count in counts.values()):
        parser.error(f"--windows and --measured: multiples of {PER_RECORDING}, of a recording")
    print(f"{args.part}: windows {counts}, {args.epochs} epochs, batch {args.batch}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_recordings(data, counts)
        show({"small": small, "large": large}[args.part](args, data))


if __name__ == "__main__":
    main()
