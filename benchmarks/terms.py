"""A training step with each term next to one with the comodo loss: CPU time, all of the step.

    python -m benchmarks.terms
    python -m benchmarks.terms --batch 32 --repeats 30

A small CNN on windows of 6 x 128 samples, with the projectors of both sides, forward, backward and
optimizer. All terms take turns on the same batch. CPU time of one thread, which other work on the
machine disturbs less than the time that passes; `vicreg` and `nt_xent` encode each window twice.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.common import in_turns, machine
from comodo.config import TrialConfig
from comodo.config.terms import TERMS
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.data.shards import Shards
from comodo.models.students import build_student
from comodo.training.distill import Distillation
from comodo.training.queue import TeacherQueue
from comodo.training.terms import LossModule

QUEUES = (1_024, 16_384, 65_536)
BASELINE = "comodo, queue 16,384"
SAMPLES, FEATURE, WIDTH = 128, 768, 128


def trial_with(term: str, batch: int) -> TrialConfig:
    settings = {"queue_size": batch} if term == "comodo" else {}
    return TrialConfig.model_validate(
        {
            "dataset": "random",
            "teacher": "efficientnet-lite0",
            "student": {"name": "cnn", "size": {"seq_len": SAMPLES, "width": 32}},
            "method": {"terms": {term: settings}},
            "augment": {"noise": 0.1},
            "batch_size": batch,
        }
    )


def arrays_in(folder: Path, batch: int) -> tuple[WindowArrays, FeatureArrays]:
    """Random windows of two classes, and features of a teacher."""
    rng, count = np.random.default_rng(0), 4 * batch
    arrays: dict[str, Any] = {
        "imu": rng.normal(size=(count, 6, SAMPLES)).astype(np.float32),
        "label": np.arange(count) % 2,
        "group": np.zeros(count, np.int64),
        "last": np.zeros(count, bool),
        "feature": rng.normal(size=(count, FEATURE)).astype(np.float32),
    }
    save_file(arrays, folder / "train.safetensors")
    shards = Shards(folder, ["train.safetensors"])
    windows = WindowArrays({"train": Split(shards, True)}, ["a", "b"], ["g"])
    return windows, FeatureArrays(FEATURE, {"train": torch.arange(count)}, {"train": shards})


def step_of(run: Distillation) -> Callable[[], float]:
    """Makes one step on the run's first batch, and returns its CPU seconds."""
    run.student.train()
    batch = next(iter(run.loader.read(run.row_N, run.trial.batch_size, 1, *run._augment())))

    def step() -> float:
        began = time.process_time()
        run._step(batch, 1e-4)
        return time.process_time() - began

    return step


def milliseconds(batch: int, repeats: int) -> dict[str, float]:
    """The median step of each term, by name."""
    sides: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        windows, features = arrays_in(Path(folder), batch)
        for term in TERMS.built_in:
            build = partial(Distillation, trial_with(term, batch), 0, windows, features)
            for queue in QUEUES if term == "comodo" else (None,):
                torch.manual_seed(0)
                run = build(build_student(trial_with(term, batch).student), "cpu")
                name = term
                if queue is not None:
                    keys = TeacherQueue(torch.randn(queue, WIDTH))
                    cast(LossModule, run.terms["comodo"]).queue = keys
                    name = f"comodo, queue {queue:,}"
                sides[name] = step_of(run)
        return {name: 1000 * value for name, value in in_turns(repeats, sides).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(f"median CPU time of {args.repeats} steps in turns; x: of {BASELINE}")
    found = {batch: milliseconds(batch, args.repeats) for batch in args.batch}
    print(f"| term | {' | '.join(f'batch {batch}' for batch in found)} |")
    print("|---" * (1 + len(found)) + "|")
    for name in next(iter(found.values())):
        cells = [f"{ms[name]:.1f} ms, {ms[name] / ms[BASELINE]:.2f}x" for ms in found.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
