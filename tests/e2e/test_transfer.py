"""`comodo sweep` on a set that has no video, another rate, other units and other class names."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.helpers import TINY_MANTIS


def write_watch_set(folder: Path, recordings: int = 12, rate: float = 100) -> Path:
    """Recordings of the IMU alone in m/s^2 and rad/s on a clock in milliseconds."""
    (folder / "imu").mkdir(parents=True)
    names = [f"acc_{axis} [m/s^2]" for axis in "xyz"] + [f"gyro_{axis} [rad/s]" for axis in "xyz"]
    lines = ["imu,label,split,group"]
    for i in range(recordings):
        label = ("walk", "run", "sit")[i % 3]
        time_N = np.arange(round(6 * rate)) / rate
        swing_N = np.sin(2 * np.pi * (1.5, 3.5, 0.1)[i % 3] * time_N)
        columns = [1000 * time_N + 5000, *(swing_N * (c + 1) + 9.8 * (c == 2) for c in range(6))]
        np.savetxt(
            folder / f"imu/w{i}.csv",
            np.stack(columns, 1),
            delimiter=",",
            header=",".join(["time_ms", *names]),
            comments="",
        )
        split = "train" if i < recordings // 2 else "test"
        lines.append(f"imu/w{i}.csv,{label},{split},p{i // 3}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


@pytest.mark.slow
def test_transfer_to_a_watch(
    tmp_path: Path, make_folder: Callable[..., Path], new_records: Callable[[Path], None]
) -> None:
    new_records(tmp_path / "s/mlflow/mlflow.db")
    video, watch = make_folder(tmp_path / "video", recordings=20), write_watch_set(tmp_path / "w")
    every = ["probe", "linear", "knn", "few-shot", "zero-shot", "alignment", "direct"]
    every += ["fine-tuned", "robustness", "calibration"]
    content: dict[str, Any] = {
        "name": "transfer",
        "datasets": {
            "video": {"kind": "folder", "path": str(video), "window_seconds": 1, "imu_rate": 50},
            "watch": {"kind": "folder", "path": str(watch), "window_seconds": 2, "imu_rate": 100},
        },
        "trial": {
            "dataset": "video",
            "teacher": {"name": "efficientnet-lite0", "frames": 1},
            "student": TINY_MANTIS,
            "method": {"name": "comodo", "queue_size": 8, "head": {"hidden_dim": 16}},
            "epochs": 2,
            "batch_size": 16,
        },
        "measures": every,
        "evaluate_on": ["watch"],
        "label_map": {"watch": {"walk": "walking", "run": "running"}},
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "comodo", "sweep", str(file), "--store", str(tmp_path / "s")]
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "watch: 12 of 12 recordings, windows: 18 test, 18 train" in done.stdout
    report = tmp_path / "s/sweeps/transfer/report"
    page = (report / "report.md").read_text()
    assert "| trained on | student | tested on video | tested on watch |" in page
    for line in ("| video | supervised | ", "| video | comodo | "):
        assert page.count(line) == 2  # with a probe of the target's own, and directly
    for name in ("untrained", "hand-crafted features"):
        assert page.count(f"| – | {name} | ") == page.count(f"| video | {name} | ") == 1
    assert " | on/watch/test/knn/acc1 |" in page
    trials = pd.read_parquet(report / "results.parquet")
    trial = trials[trials.configuration == "comodo"].iloc[0]
    for name in ("zero_shot/acc1", "knn/acc1", "few_shot/5", "alignment/cka", "macro_f1"):
        assert pd.notna(trial[f"test/{name}"])
    for name in (
        "fine_tuned/all",
        "fine_tuned/frozen_all",
        "robustness/shifted",
        "calibration/ece",
    ):
        assert 0 <= trial[f"test/{name}"] <= 1
        assert 0 <= trial[f"on/watch/test/{name}"] <= 1
    for name in ("test/acc1", "direct/test/acc1", "test/linear/acc1"):
        assert 0 <= trial[f"on/watch/{name}"] <= 1
    assert "## Frozen and fine-tuned" in page
    for name in ("transfer.png", "few_shot.png", "fine_tuned.png"):
        assert (report / name).exists()


@pytest.mark.slow
def test_what_cannot_transfer_is_refused(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    video, watch = make_folder(tmp_path / "video", recordings=20), write_watch_set(tmp_path / "w")
    content: dict[str, Any] = {
        "name": "transfer",
        "datasets": {
            "video": {"kind": "folder", "path": str(video), "window_seconds": 1},
            "watch": {"kind": "folder", "path": str(watch), "window_seconds": 2},
        },
        "trial": {
            "dataset": "watch",
            "teacher": "efficientnet-lite0",
            "student": TINY_MANTIS,
            "method": {"name": "comodo", "queue_size": 8},
        },
    }

    def told(**changes: Any) -> str:
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump({**content, **changes}))
        command = [sys.executable, "-m", "comodo", "sweep", str(file), "--store", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr.splitlines()[-1]

    assert "datasets.watch: no recording has a video, which the method comodo needs" in told()
    trial = {**content["trial"], "dataset": "video"}
    direct = {"measures": ["probe", "direct"], "evaluate_on": ["watch"]}
    assert (
        "label_map: trained on 'video' (running, walking) and tested on 'watch' (run, sit, walk), "
        "the measure direct has too few classes" in told(trial=trial, **direct)
    )
    typo = {"label_map": {"watch": {"wlak": "walking"}}}
    assert "label_map.watch.wlak: no class of 'watch'; did you mean 'walk'?" in (
        told(trial=trial, **direct, **typo)
    )


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"measures": ["knn"]}, "measures: must include probe"),
        ({"measures": ["probe", "direct"]}, "measures: direct needs evaluate_on"),
        ({"evaluate_on": ["wach"]}, "did you mean 'watch'?"),
        ({"label_map": {"watch": {}}, "evaluate_on": ["watch"]}, "add it to measures"),
        ({"measures": ["prob"]}, "'probe'"),
    ],
)
def test_wrong_keys_are_refused_at_once(changes: dict[str, Any], mend: str, tmp_path: Path) -> None:
    from comodo.config import ConfigError, read_sweep_file
    from tests.config.test_load import sweep_file

    datasets = {name: {"kind": "simulated"} for name in ("demo", "watch")}
    with pytest.raises(ConfigError) as error:
        read_sweep_file(sweep_file(tmp_path, datasets=datasets, **changes))
    assert mend in str(error.value)
