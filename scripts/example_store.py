"""Writes an archive of a small store of this version, which every later version has to read.

    python -m scripts.example_store tests/stores/VERSION.tar.xz

Runs a grid and a search with tiny students on simulated recordings, and keeps what report, export
and `comodo.load_sweep` read; tests/test_example_stores.py reads it. Knows nothing of
what the files contain.
"""

import os
import socket
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

STUDENT = {
    "name": "mantis",
    "size": {
        "seq_len": 32, "num_patches": 4, "hidden_dim": 8, "hidden_dim_scalar_enc": 4,
        "transf_depth": 1, "transf_num_heads": 2, "transf_mlp_dim": 16, "transf_dim_head": 4,
    },
}  # fmt: skip
SIMULATED = {"kind": "simulated", "subjects": 5, "window_seconds": 2, "imu_rate": 16}
GRID: dict[str, Any] = {
    "name": "grid",
    "datasets": {
        "here": {**SIMULATED, "seconds": 4, "labelled": 1},
        "there": {**SIMULATED, "seconds": 2, "labelled": 1, "seed": 1},
    },
    "trial": {
        "dataset": "here",
        "teacher": {"name": "efficientnet-lite0", "frames": 1},
        "student": STUDENT,
        "method": {
            "name": "comodo",
            "queue_size": 8,
            "head": {"hidden_dim": 8, "output_dim": 8},
        },
        "epochs": 2,
        "batch_size": 8,
    },
    "search": {"space": {"method.queue_size": [8, 12]}},
    "seeds": [0, 1],
    "measures": ["probe", "zero-shot", "alignment", "classifier", "direct"],
    "evaluate_on": ["there"],
}
SEARCH: dict[str, Any] = {
    **GRID,
    "name": "search",
    "search": {"sampler": "random", "space": {"learning_rate": {"min": 1e-4, "max": 1e-2}}},
    "budget": {"trials": 2},
    "seeds": [0],
    "measures": ["probe"],
    "evaluate_on": [],
}
KEPT = (
    "sweeps/*/*.json",
    "sweeps/*/report/results.parquet",
    "trials/**/*.json",
    "trials/**/*.parquet",
    "trials/**/*.safetensors",
    "windows/*/*.json",
    "windows/*/quality-*.parquet",
    "features/*/meta.json",
    "arrays/**/*.json",
    "arrays/**/*.safetensors",
)
"""What is read of a finished sweep. Recordings and windows have been packed; features, their arrays
and projectors are for training."""


def write_archive(path: Path) -> None:
    """Runs both sweeps and archives their store, without the name of this machine."""
    from comodo.config import read_sweep_file
    from comodo.core.store import Store
    from comodo.runtime.run import run_sweep

    with tempfile.TemporaryDirectory(prefix="comodo-example-") as folder:
        os.chdir(folder)
        store = Store(Path(folder, "store"))
        for content in (GRID, SEARCH):
            file = Path(folder, f"{content['name']}.yaml")
            file.write_text(yaml.safe_dump(content))
            run_sweep(read_sweep_file(file), store, f"comodo sweep {file.name}")
        files = sorted({file for pattern in KEPT for file in store.root.glob(pattern)})
        with tarfile.open(path, "w:xz", preset=9) as archive:
            for file in files:
                hide_host(file, socket.gethostname())
                if not _are_features(file):
                    archive.add(file, file.relative_to(store.root), filter=_anonymous)


def hide_host(file: Path, host: str) -> None:
    """Replaces the name of a machine in a JSON file and in results.parquet."""
    if file.suffix == ".json":
        file.write_text(file.read_text().replace(f'"{host}"', '"example"'))
    elif file.name == "results.parquet":
        pd.read_parquet(file).replace({"made_by.host": {host: "example"}}).to_parquet(file)


def _are_features(file: Path) -> bool:
    meta = file.with_name("meta.json")
    return file.suffix == ".safetensors" and meta.exists() and "dim" in meta.read_text()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]).resolve())
