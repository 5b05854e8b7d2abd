"""What measuring a student costs: the quick check beside an epoch, and each measure after training.

    OMP_NUM_THREADS=1 python benchmarks/measures.py --windows 2500 --samples 1000

The quick check is timed against the epoch that it follows, taking turns, and its share of both is
printed. Then each measure of a student is timed with the extraction that all of them share, once.
Windows are noise: costs do not depend on what is in them. Knows neither Ray nor MLflow.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from comodo.arrays import Features, Windows
from comodo.config import TrialConfig
from comodo.distill import Distillation
from comodo.evaluate import MEASURES, Subject, Teacher
from comodo.store import write_json
from comodo.students import build_student

CLASSES, FEATURE = 8, 768


def make_arrays(folder: Path, windows: int, samples: int) -> tuple[Windows, Features]:
    """Three splits: `windows` to train, a quarter as many each to validate and to test."""
    rng = np.random.default_rng(0)
    files = {split: [f"{split}.safetensors"] for split in ("train", "val", "test")}
    for split, (name,) in files.items():
        count = windows if split == "train" else windows // 4
        label_N = np.arange(count) % CLASSES
        imu_NCT = rng.standard_normal((count, 6, samples), dtype=np.float32)
        imu_NCT += np.sin(label_N[:, None, None] + 1) / 3
        arrays = {"imu": imu_NCT, "length": np.full(count, samples), "label": label_N}
        arrays |= {"group": np.arange(count) % 20, "last": np.zeros(count, bool)}
        features_NF = rng.standard_normal((count, FEATURE), dtype=np.float32)
        for kind, content in (
            ("windows", arrays),
            ("features", {"feature": features_NF, "encoded": np.ones(count, bool)}),
        ):
            (folder / kind).mkdir(exist_ok=True)
            save_file(content, folder / kind / name)
    names = {"classes": [f"c{k}" for k in range(CLASSES)], "groups": [f"g{k}" for k in range(20)]}
    write_json(folder / "windows/meta.json", names | {"uniform": True, "files": files})
    write_json(folder / "features/meta.json", {"dim": FEATURE, "files": files})
    return Windows.load(folder / "windows"), Features.load(folder / "features")


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {device}, ", end="")
    print(f"{torch.get_num_threads()} torch threads, torch {torch.__version__}")
    print(f"{args.windows} training windows of 6 x {args.samples}, Mantis-8M's size, ", end="")
    print(f"batch {args.batch_size}; medians of {args.repeats}")
    config = TrialConfig.model_validate(
        {
            "dataset": "noise",
            "teacher": "efficientnet-lite0",
            "student": {"name": "mantis"},
            "method": {"name": "comodo", "queue_size": min(1024, args.windows // 4)},
            "epochs": args.repeats + 1,
            "batch_size": args.batch_size,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        windows, features = make_arrays(Path(folder), args.windows, args.samples)
        student = build_student(config.student)
        run = Distillation(config, 0, windows, features, student, device)
        run.train_epoch()  # shorter than the others: the queue's windows are held out
        epochs, checks = [], []
        for _ in range(args.repeats):
            epochs.append(seconds(run.train_epoch))
            checks.append(seconds(run.quick_accuracy))
        epoch, check = statistics.median(epochs), statistics.median(checks)
        print(f"epoch {epoch:.2f} s, quick check {check:.2f} s: {check / epoch:.1%} of it")
        teacher = Teacher(features, (run.head.cpu(), run.teacher_head.cpu()))
        subject = Subject(student, windows, 0, teacher=teacher)
        extraction = seconds(lambda: [subject.labelled(split) for split in windows.splits])
        print(f"{'extraction, for all measures':30} {extraction:8.2f} s")
        for name, measure in MEASURES.items():
            if name != "direct":  # is a probe scored on another data set
                took = seconds(lambda measure=measure: measure(subject))  # type: ignore[misc]
                print(f"{name:30} {took:8.2f} s")


if __name__ == "__main__":
    main()
