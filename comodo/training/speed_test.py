"""A student's training speed on this machine, measured on a few random batches.

Does not know the plan that uses the speed, nor the store.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comodo.config import Resources, TrialConfig
from comodo.config.methods import queue_key
from comodo.config.metric import WINDOWS_PER_SECOND
from comodo.config.overrides import apply_overrides


@dataclass(frozen=True)
class SpeedRecord:
    """One student's training, as measured. None: not recorded."""

    trial: TrialConfig
    speeds: list[float]  # windows per second of each epoch
    samples: int | None = None  # length of the windows
    device: str | None = None
    workers: int | None = None
    threads: int | None = None
    peak_memory: dict[str, int] | None = None  # bytes on `cpu` and `cuda`
    gpu_memory: int | None = None  # bytes of the GPU
    measured: tuple[frozenset[str], float] | None = None
    """Measures that were taken together, and the seconds that they took."""
    kept: int | None = None  # bytes of a student that `measure_speed` trained
    key: str = ""  # of the trial in the store; empty for `measure_speed`
    is_speed_test: bool = False  # measured by `measure_speed`, not in a trial


def measure_speed(
    trial: TrialConfig, resources: Resources, samples: int, feature_dim: int, seconds: float
) -> SpeedRecord:
    """Trains the trial's student on random windows for some seconds on this machine.

    Raises ValueError for a student whose weights are not on this machine; it downloads nothing.
    """
    import numpy as np
    import torch
    from huggingface_hub import try_to_load_from_cache
    from safetensors.numpy import save_file

    from comodo.data.arrays import FeatureArrays, Split, WindowArrays
    from comodo.data.shards import Shards
    from comodo.models.encoders import WEIGHTS_FILE
    from comodo.models.students import build_student
    from comodo.training.distill import Distillation
    from comodo.training.peaks import peaks, reset_peaks

    config, weights = trial, trial.student.weights
    if weights is not None and not Path(weights).exists():
        cached = try_to_load_from_cache(weights, WEIGHTS_FILE, revision=trial.student.revision)
        if not isinstance(cached, str):
            raise ValueError(f"trial.student: {weights} is not on this machine; hf download it")
    device = "cuda" if resources.gpus and torch.cuda.is_available() else "cpu"
    threads, used = torch.get_num_threads(), max(1, int(resources.cpus_per_worker))
    torch.set_num_threads(used)
    reset_peaks(device)
    count = 4 * trial.batch_size
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "imu": rng.normal(size=(count, len(trial.student.channels), samples)).astype(np.float32),
        "label": np.arange(count) % 2,
        "group": np.zeros(count, np.int64),
        "last": np.zeros(count, bool),
        "feature": rng.normal(size=(count, feature_dim)).astype(np.float32),
    }
    if (loss := trial.method.queue) is not None:
        size = queue_key(trial.method)
        hold_out = size.replace("queue_size", "hold_out_queue")
        data = {"method": trial.method.model_dump(mode="json")}
        fitting = {size: min(loss.queue_size, count - trial.batch_size), hold_out: False}
        apply_overrides(data, fitting, "")
        context = {"code": trial.method.code}
        method = type(trial.method).model_validate(data["method"], context=context)
        trial = trial.model_copy(update={"method": method})
    trial = trial.model_copy(update={"schedule": "steps", "epochs": 1_000})
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.safetensors"
            save_file(arrays, path)
            shards = Shards(path.parent, [path.name])
            windows = WindowArrays(
                {"train": Split(shards, True, stored=trial.student.channels)}, ["a", "b"], ["g"]
            )
            features = FeatureArrays(feature_dim, {"train": torch.arange(count)}, {"train": shards})
            student = build_student(trial.student.network)
            run = Distillation(trial, 0, windows, features, student, device)
            end, speeds = time.monotonic() + seconds, [run.train_epoch()[WINDOWS_PER_SECOND]]
            while time.monotonic() < end:
                speeds.append(run.train_epoch()[WINDOWS_PER_SECOND])
    finally:
        torch.set_num_threads(threads)
    kept = sum(p.numel() * p.element_size() for p in student.parameters())
    peak = {"cuda": peaks(device)["cuda"]} if device == "cuda" else None
    total = torch.cuda.mem_get_info()[1] if device == "cuda" else None
    speeds = speeds[1:] or speeds  # the first epoch warms up; it counts if there is no other
    return SpeedRecord(
        config, speeds, samples, device, 1, used, peak, total, None, kept, is_speed_test=True
    )
