"""Small packed arrays for tests of training, made without video, Ray or the store."""

import math
import multiprocessing
from collections.abc import Iterable
from dataclasses import asdict, replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.numpy import load_file, save_file

from comodo.config import TrialConfig
from comodo.core.parts import write_table
from comodo.core.store import Store, read_json, write_json
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import report, style
from comodo.runtime.worker import run_trial
from comodo.search.records import TrainedRecord
from comodo.search.trial import Evaluation, Trial, TrialResult
from comodo.training.distill import Report

TINY_MANTIS = {
    "name": "mantis",
    "size": {
        "hidden_dim": 8,
        "num_patches": 4,
        "seq_len": 32,
        "transf_depth": 1,
        "transf_num_heads": 2,
        "transf_mlp_dim": 16,
        "transf_dim_head": 4,
    },
}


def forkserver() -> ForkServerContext:
    """Its processes are forked from one that has imported this: to import PyTorch and SciPy takes
    each process seconds, and most do little else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def make_arrays(
    store: Store, windows: int = 40, classes: int = 3, dtype: type = np.float32, name: str = "w"
) -> tuple[str, str]:
    """Splits train, val and test of windows whose IMU and feature both know the class.

    Returns the keys of the packed windows and features; training windows 0 and 1 have no feature.
    """
    rng = np.random.default_rng(0)
    centre_KF = rng.normal(size=(classes, 12))
    time_T = np.arange(64) / 20
    files = {split: [f"{split}-00000.safetensors"] for split in ("train", "val", "test")}
    for split, (file,) in files.items():
        count = windows + 2 if split == "train" else windows // 2
        label_N = np.arange(count) % classes
        phase_NC = rng.uniform(0, 6, (count, 6))
        wave = np.sin((1 + label_N[:, None, None]) * time_T * 6 + phase_NC[..., None])
        for kind, arrays in {
            name: {
                "imu": (wave + rng.normal(0, 0.3, wave.shape)).astype(dtype),
                "length": np.full(count, 64),
                "label": label_N,
                "group": np.arange(count) % 4,
                "last": np.arange(count) % 5 == 4,
            },
            "f": {
                "feature": (centre_KF[label_N] + rng.normal(0, 0.5, (count, 12))).astype(dtype),
                "encoded": np.arange(count) >= 2 * (split == "train"),
            },
        }.items():
            folder = store.folder("arrays", kind)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(arrays, folder / file)
    names = {"classes": [f"c{k}" for k in range(classes)], "groups": [f"g{k}" for k in range(4)]}
    write_json(
        store.folder("arrays", name) / "meta.json", names | {"uniform": True, "files": files}
    )
    write_json(store.folder("arrays", "f") / "meta.json", {"dim": 12, "files": files})
    return name, "f"


def make_folded_arrays(store: Store) -> None:
    """The windows `w` and features `f` of `make_arrays` together, as of a data set with folds."""
    make_arrays(store)
    for key in ("w", "f"):
        put_together(store.folder("arrays", key))


def put_together(folder: Path) -> None:
    """Makes arrays those of a data set with folds."""
    meta = read_json(folder / "meta.json")
    parts = [load_file(folder / file) for (file,) in meta["files"].values()]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    save_file(whole, folder / "all-00000.safetensors")
    write_json(folder / "meta.json", meta | {"files": {"all": ["all-00000.safetensors"]}})


def trial_config(**changes: object) -> TrialConfig:
    """A tiny comodo trial; `changes` replace top-level keys."""
    content: dict[str, object] = {
        "dataset": "d",
        "teacher": "efficientnet-lite0",
        "student": TINY_MANTIS,
        "method": {
            "name": "comodo",
            "queue_size": 10,
            "head": {"hidden_dim": 16, "output_dim": 8},
        },
        "epochs": 4,
        "batch_size": 7,
        "learning_rate": 1e-2,
    }
    return TrialConfig.model_validate({**content, **changes})


def trained_record(trial: Trial, /, **changes: Any) -> TrainedRecord:
    """What a trial would have written, had it been trained; `changes` replace fields."""
    record = TrainedRecord(
        key=trial.key,
        trial=trial.config.model_dump(mode="json"),
        seed=trial.seed,
        windows=trial.windows,
        features=trial.features,
        history=[],
        parameters=9,
        fold=None if trial.fold is None else asdict(trial.fold),
    )
    return replace(record, **changes)


def ignore(metrics: dict[str, Any]) -> None:
    """A report of `run_trial` that nobody reads."""


def run_whole(trial: Trial, store: Store, report: Report = ignore) -> TrialResult:
    """`run_trial` with one worker, which has the result."""
    result = run_trial(trial, store, report)
    assert result is not None
    return result


def answer(store: Store, trial: Trial, accuracy: float, dataset: str = "", groups: int = 8) -> None:
    """Writes a finished trial whose probe gets about this share of each group's test windows right;
    of a trial in a fold the groups of that fold, `g0`, `g1` and so on.

    Groups differ, in the same way for all trials, by up to 5 points either way.
    """
    folder = store.folder("trials", trial.key)
    speed = {"train/windows_per_second": 100.0}
    history = [{"epoch": e, "train/loss": 1 / e, "val/quick_acc1": e / 9, **speed} for e in (1, 2)]
    if trial.config.method.name == "none":
        history = []
    trained_record(trial, history=history, seconds=1.0).write(folder)
    rng = np.random.default_rng([trial.seed, round(1000 * accuracy)])
    for name, measure, place in trial.measures():
        if name != (dataset or trial.config.dataset) or measure not in ("probe", "direct"):
            continue
        rows = []
        for split in ("val", "test"):
            in_split: Iterable[int] = range(groups)
            if trial.fold is not None and name == trial.config.dataset:
                in_split = [int(g.removeprefix("g")) for g in getattr(trial.fold, split)]
            for group in in_split:
                share = accuracy + 0.05 * math.cos(group)
                for window in range(40):
                    rank = 0 if rng.random() < share else 1 + window % 4
                    truth = window % 3
                    predicted = (truth + rank) % 3 if rank else truth
                    rows.append((split, f"g{group}", f"c{truth}", f"c{predicted}", rank))
        columns = ("split", "group", "label", "predicted", "rank")
        table = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
        write_table(folder / f"{place}.parquet", table)
        prefix = "direct/" if measure == "direct" else ""
        metrics: dict[str, float] = {}
        for split in ("val", "test"):
            ranks = np.array([row[4] for row in rows if row[0] == split])
            metrics |= {f"{prefix}{split}/acc{k}": float((ranks < k).mean()) for k in (1, 3, 5)}
        write_json(folder / f"{place}.json", metrics)


def write_report(results: Results, store: Store, pictures: bool = False) -> Path:
    """Of a sweep whose windows are gone, and without records; returns its folder. Without
    `pictures` its figures are drawn, but saved as a small one: to save them takes as long as all
    else."""
    saved = SweepRecord(results.sweep, "comodo sweep FILE", {}, Evaluation(), {}, {})
    save = style.save_figure
    with pytest.MonkeyPatch.context() as patch:
        if not pictures:
            patch.setattr(style, "save_figure", lambda _, path: save(Figure((1, 1)), path))
        return report.write_report(results, saved, store)


def weights_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two modules are bit for bit the same."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(n == m and torch.equal(x, y) for (n, x), (m, y) in pairs)
