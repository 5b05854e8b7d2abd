"""Small packed arrays for tests of training, made without video, Ray or the store."""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from comodo.arrays import Arrays
from comodo.config import TrialConfig
from comodo.store import write_json

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


def make_arrays(folder: Path, windows: int = 40, classes: int = 3, feature_dim: int = 12) -> Path:
    """Splits train, val and test of windows whose IMU and feature both know the class."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    centre_KF = rng.normal(size=(classes, feature_dim))
    time_T = np.arange(64) / 20
    files = {}
    for split, count in (("train", windows), ("val", windows // 2), ("test", windows // 2)):
        label_N = np.arange(count) % classes
        phase_NC = rng.uniform(0, 6, (count, 6))
        wave = np.sin((1 + label_N[:, None, None]) * time_T * 6 + phase_NC[..., None])
        files[split] = [f"{split}-00000.safetensors"]
        save_file(
            {
                "imu": (wave + rng.normal(0, 0.3, wave.shape)).astype(np.float32),
                "length": np.full(count, 64),
                "feature": (centre_KF[label_N] + rng.normal(0, 0.5, (count, feature_dim))).astype(
                    np.float32
                ),
                "label": label_N,
                "group": np.arange(count) % 4,
            },
            folder / files[split][0],
        )
    write_json(
        folder / "meta.json",
        {
            "classes": [f"c{k}" for k in range(classes)],
            "groups": [f"g{k}" for k in range(4)],
            "feature_dim": feature_dim,
            "uniform": True,
            "files": files,
        },
    )
    return folder


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


def load(folder: Path) -> Arrays:
    return Arrays.load(folder)


def weights_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two modules are bit for bit the same."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(n == m and torch.equal(x, y) for (n, x), (m, y) in pairs)
