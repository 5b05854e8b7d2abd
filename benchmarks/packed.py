"""Packed arrays of any number of random windows, in the layout that `pack` writes.

Knows neither Ray nor MLflow, nor what is measured with them.

Shape letters: N windows, C channels, T samples, F numbers in a feature, K classes.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from comodo.config import CHANNELS
from comodo.core.store import write_json
from comodo.data.keys import resized_key
from comodo.data.shards import SHARD_WINDOWS

CLASSES, GROUPS = 8, 100


def write_arrays(
    folder: Path, windows: dict[str, int], samples: int, dim: int, resized: int | None = None
) -> None:
    """Packed arrays with this many windows per split: `windows` (with `resized`, also a copy of
    that length) and `features`. Both depend on the class; every file has the same noise."""
    rng, time_T = np.random.default_rng(0), np.arange(samples) / 20
    wave_KCT = np.sin((1 + np.arange(CLASSES)[:, None, None]) * time_T).repeat(len(CHANNELS), 1)
    noise_NCT = 0.1 * rng.standard_normal((SHARD_WINDOWS, len(CHANNELS), samples), np.float32)
    centre_KF = rng.standard_normal((CLASSES, dim), np.float32)
    noise_NF = 0.1 * rng.standard_normal((SHARD_WINDOWS, dim), np.float32)
    files: dict[str, list[str]] = {}
    for split, count in windows.items():
        files[split] = []
        for start in range(0, count, SHARD_WINDOWS):
            row_N = np.arange(start, min(start + SHARD_WINDOWS, count))
            label_N, many = row_N % CLASSES, len(row_N)
            imu_NCT = wave_KCT[label_N].astype(np.float32) + noise_NCT[:many]
            arrays = {
                "imu": imu_NCT,
                "length": np.full(many, samples),
                "label": label_N,
                "group": row_N % GROUPS,
                "last": np.zeros(many, bool),
            }
            feature_NF = centre_KF[label_N] + noise_NF[:many]
            name = f"{split}-{len(files[split]):05d}.safetensors"
            files[split].append(name)
            _write(folder / "windows" / name, arrays)
            _write(
                folder / "features" / name, {"feature": feature_NF, "encoded": np.ones(many, bool)}
            )
            if resized is not None:
                longer_NCT = imu_NCT.repeat(-(-resized // samples), 2)[..., :resized]
                copy = {"imu": np.ascontiguousarray(longer_NCT)}
                _write(folder / resized_key("windows", resized) / name, copy)
    names = {
        "classes": [f"c{k}" for k in range(CLASSES)],
        "groups": [f"g{g}" for g in range(GROUPS)],
    }
    write_json(folder / "windows/meta.json", names | {"uniform": True, "files": files})
    write_json(folder / "features/meta.json", {"dim": dim, "files": files})
    if resized is not None:
        write_json(folder / resized_key("windows", resized) / "meta.json", {"samples": resized})


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path)
