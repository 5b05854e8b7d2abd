"""What `comodo plan` and `comodo report` cost as the finished trials of a store grow.

    python -m benchmarks.many_trials --trials 1000 3000 10000
    python -m benchmarks.many_trials --kind ablation --trials 1000 3000

Two trials are run; the others get their records, and predictions drawn at random: 200 windows of
each split, 12 classes, 6 groups. Each point is a store of its own, of

- search: a TPE search over six keys, each configuration with one seed;
- ablation: a grid of 12 configurations; what is left of the trials are their seeds.

Counted is the CPU time, user and system, of one process with one thread, and its largest resident
memory. MLflow's records are not made. `--checkout FOLDER` measures another version of comodo on
the same stores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.common import Row, machine, show
from comodo.config import Sweep, read_sweep_file
from comodo.config.space import Choices, Point
from comodo.core.json_record import JsonRecord
from comodo.core.store import Store
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.search import records
from comodo.search.configuration import references, trials_of
from comodo.search.trial import Trial, read_result, weights_id
from scripts.example_store import STUDENT

WINDOWS, GROUPS, CLASSES = 200, 6, 12
LOGS = {
    "learning_rate": (1e-5, 1e-2),
    "weight_decay": (1e-6, 1e-1),
    "method.student_temperature": (0.02, 0.2),
    "method.teacher_temperature": (0.02, 0.2),
}
LISTS: dict[str, list[Any]] = {"method.queue_size": [4, 8, 12], "method.head.hidden_dim": [4, 8]}
SEARCH = {
    "sampler": "tpe",
    "space": LISTS | {k: {"min": low, "max": high, "log": True} for k, (low, high) in LOGS.items()},
}
ABLATION = {"space": LISTS | {"learning_rate": [1e-3, 1e-2]}}
CONFIGURATIONS = 12  # of the ablation


MEASURED = """
import os, subprocess, sys
with open(sys.argv[1], "w") as output:
    started = subprocess.Popen(sys.argv[2:], stdout=output, stderr=output)
    _, status, used = os.wait4(started.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""A small process between this one and the command: a process counts the memory that the one which
started it had at that moment, here of all its libraries, as its own."""


class Spent(NamedTuple):
    """Of one process."""

    seconds: float
    megabytes: float


def content_of(kind: str, trials: int) -> dict[str, Any]:
    """The sweep file."""
    is_search = kind == "search"
    return {
        "name": "many",
        "datasets": {
            "here": {"kind": "simulated", "subjects": 5, "seconds": 4, "window_seconds": 2,
                     "imu_rate": 16, "labelled": 1}
        },
        "trial": {
            "dataset": "here",
            "teacher": {"name": "efficientnet-lite0", "frames": 1},
            "student": STUDENT,
            "method": {"name": "comodo", "queue_size": 8, "head": {"output_dim": 8}},
            "epochs": 5,
            "batch_size": 8,
        },
        "search": SEARCH if is_search else ABLATION,
        **({"budget": {"trials": trials}} if is_search else {}),
        "seeds": list(range(1 if is_search else max(1, trials // CONFIGURATIONS))),
        "measures": ["probe", "alignment"],
    }  # fmt: skip


def write_file(folder: Path, kind: str, trials: int) -> Path:
    file = folder / f"{kind}-{trials}.yaml"
    file.write_text(yaml.safe_dump(content_of(kind, trials), sort_keys=False))
    return file


def grow(file: Path, store: Store) -> int:
    """Writes finished trials for all that the sweep file asks for, from those that have run, and
    returns how many they are."""
    sweep, ran = read_sweep_file(file), read_sweep_record("many", store)
    rng = np.random.default_rng(0)
    points = list(sweep.grid()) if sweep.search.sampler == "grid" else _drawn(sweep, rng)
    folder, asked, written = store.folder("sweeps", "many"), [], dict[str, Trial]()
    examples = {row.trial.config.student.name + row.trial.config.method.name: row.trial
                for row in ran.results(store).rows if row.state == "finished"}  # fmt: skip
    for point in points:
        config = sweep.with_values(point)
        arrays = ran.arrays[config.dataset, config.teacher]
        own = trials_of(config, sweep.seeds, arrays, ran.evaluation, weights_id(config.student))
        compared = references(sweep, own)
        keys = ([trial.key for trial in named] for named in (own, compared))
        asked.append(records.AskedConfiguration(point, *keys))
        written |= {trial.key: trial for trial in [*compared, *own]}
    for trial in written.values():
        _finish(trial, examples, store, rng)
    records.write_asked(folder, asked)
    SweepRecord.of(sweep, ran.command, ran.arrays, ran.evaluation, ran.windows, False).write(store)
    return len(written)


def _drawn(sweep: Sweep, rng: np.random.Generator) -> list[Point]:
    assert sweep.budget.trials is not None
    spans = sweep.search.space.items()
    return [
        {
            key: span.values[rng.integers(len(span.values))]
            if isinstance(span, Choices)
            else float(np.exp(rng.uniform(np.log(span.min), np.log(span.max))))
            for key, span in spans
        }
        for _ in range(sweep.budget.trials)
    ]


def _finish(
    trial: Trial, examples: dict[str, Trial], store: Store, rng: np.random.Generator
) -> None:
    """The folder of a finished trial, from that of one of the same student and method."""
    config, folder = trial.config, store.folder("trials", trial.key)
    if read_result(trial, store) is not None and trial in examples.values():
        return
    example = examples[config.student.name + config.method.name]
    source = store.folder("trials", example.key)
    trained = records.TrainedRecord.read(source)
    settings = config.model_dump(mode="json")
    (folder / "student").mkdir(parents=True, exist_ok=True)
    _write(folder, replace(trained, key=trial.key, trial=settings, seed=trial.seed))
    for name in ("student.json", "model.safetensors"):
        if (source / "student" / name).exists() and not (folder / "student" / name).exists():
            os.link(source / "student" / name, folder / "student" / name)
    measuring = records.MeasuringRecord.read(source)
    _write(folder, replace(measuring, seconds=float(rng.uniform(1, 2))))
    share = 0.5 + 0.04 * np.log10(config.learning_rate) + 0.02 * rng.normal()
    for (_, measure, place), (*_, of_example) in zip(
        trial.measures(), example.measures(), strict=True
    ):
        metrics = json.loads((source / f"{of_example}.json").read_text())
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if measure == "probe":
            table, found = _predictions(share, rng)
            pq.write_table(table, folder / f"{place}.parquet")
            metrics |= found
        (folder / f"{place}.json").write_text(json.dumps(metrics, indent=1))


def _write(folder: Path, record: JsonRecord) -> None:
    """As `JsonRecord.write`, but the disk need not keep its promises: there are thousands."""
    (folder / record.FILE).write_text(json.dumps(asdict(record), indent=1))


def _predictions(share: float, rng: np.random.Generator) -> tuple[pa.Table, dict[str, float]]:
    """Predictions of which about this share is right, and the metrics that a report shows."""
    truth_N = np.arange(2 * WINDOWS) % CLASSES
    rank_N = np.where(rng.random(2 * WINDOWS) < share, 0, rng.integers(1, CLASSES, 2 * WINDOWS))
    group_N = np.arange(2 * WINDOWS) % WINDOWS * GROUPS // WINDOWS
    split_N = np.repeat(["val", "test"], WINDOWS)
    columns = {
        "split": split_N,
        "group": [f"{split} s{group}" for split, group in zip(split_N, group_N, strict=True)],
        "label": [f"activity {c}" for c in truth_N],
        "predicted": [f"activity {c}" for c in (truth_N + rank_N) % CLASSES],
        "rank": rank_N,
    }
    metrics = {
        f"{split}/acc{k}": float((rank_N[split_N == split] < k).mean())
        for split in ("val", "test")
        for k in (1, 3, 5)
    }
    return pa.table(columns), metrics


def run(arguments: list[str], folder: Path, checkout: Path) -> Spent:
    """One command of comodo, in a process of its own."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout),
        "MLFLOW_TRACKING_URI": "", "COLUMNS": "120",
    }  # fmt: skip
    output = folder.resolve() / "output.txt"
    command = [
        sys.executable,
        "-c",
        MEASURED,
        str(output),
        sys.executable,
        "-m",
        "comodo",
        *arguments,
    ]
    measured = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=checkout
    )
    status, seconds, kilobytes = measured.stdout.split()
    if status != "0":
        raise RuntimeError(output.read_text()[-3000:])
    return Spent(float(seconds), int(kilobytes) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--kind", choices=["search", "ablation"], default="search")
    parser.add_argument("--checkout", type=Path, action="append", help="of other versions too")
    parser.add_argument("--keep", type=Path, help="a folder for the stores, made if not there")
    parser.add_argument("--commands", nargs="+", default=["plan", "report"])
    args = parser.parse_args()
    here = Path(__file__).parents[1]
    print(machine("cpu", "optuna", "scikit-learn", "matplotlib"), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        found: dict[tuple[str, int], Spent] = {}
        for trials in args.trials:
            store, file, grown = _store(folder, args.kind, trials)
            if grown:
                print(f"{args.kind}, {grown} trials", flush=True)
            for command in args.commands:
                for checkout in [*(args.checkout or ()), here]:
                    subject = str(file) if command == "plan" else "many"
                    spent = run([command, subject, "--store", str(store)], folder, checkout)
                    found[command, trials] = spent
                    print(
                        f"{command} of {trials} trials, {checkout.name}: {spent.seconds:.1f} CPU s,"
                        f" {spent.megabytes:.0f} MB, load {os.getloadavg()[0]:.1f}",
                        flush=True,
                    )
        for command in args.commands:
            _show(command, args.kind, found, args.trials)


def _store(folder: Path, kind: str, trials: int) -> tuple[Path, Path, int]:
    """The store, the sweep file, and how many trials were written; 0 if they were there."""
    place = folder / f"{kind}-{trials}"
    file = folder / f"{kind}-{trials}.yaml"
    if place.exists():
        return place, file, 0
    place.parent.mkdir(parents=True, exist_ok=True)
    first, ran = write_file(folder, kind, 2), folder / f"{kind}-2"
    if not ran.exists():
        command = [sys.executable, "-m", "comodo", "sweep", str(first), "--store", str(ran)]
        subprocess.run([*command, "--no-mlflow"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cp", "-r", str(ran), str(place)], check=True)
    file = write_file(folder, kind, trials)
    return place, file, grow(file, Store(place))


def _show(command: str, kind: str, found: dict[tuple[str, int], Spent], trials: list[int]) -> None:
    few, many = found[command, trials[0]], found[command, trials[-1]]
    goal = {"plan": "2 s", "report": "20 s"}[command]
    show(
        Row(
            f"comodo {command} as the finished trials of a {kind} grow from {trials[0]:,} to "
            f"{trials[-1]:,}, CPU time and memory",
            f"{few.seconds:.1f} s; {few.megabytes:.0f} MB",
            f"{many.seconds:.1f} s; {many.megabytes:.0f} MB",
            f"{many.seconds / few.seconds:.1f}x",
            f"{goal} for 10,000; memory flat",
        )
    )


if __name__ == "__main__":
    main()
