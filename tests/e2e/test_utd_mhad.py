"""A sweep on 861 real clips: features given, or decoded from the videos."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from comodo.core.store import read_json
from tests.helpers import TINY_MANTIS

CHANCE = 1 / 27


def run(tmp_path: Path, shared_data: Path, teacher: Any) -> dict[str, dict[str, float]]:
    """Both sets of channels, two epochs; the measures of each trial by method and channels."""
    content = {
        "name": "utd",
        "datasets": {"utd": {"kind": "utd-mhad", "path": "$UTD_MHAD"}},
        "trial": {
            "dataset": "utd",
            "teacher": teacher,
            "student": TINY_MANTIS,
            "method": {"name": "comodo", "queue_size": 256},
            "epochs": 2,
        },
        "search": {
            "space": {
                "student.channels": [
                    ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"],
                    ["acc_x", "acc_y", "acc_z"],
                ]
            }
        },
    }
    file, store = tmp_path / "utd.yaml", tmp_path / "store"
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "comodo", "sweep", str(file), "--store", str(store)]
    environment = {**os.environ, "UTD_MHAD": str(shared_data / "utd_mhad")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "861 of 861 recordings, windows: 430 test, 431 train" in done.stdout
    found = {}
    for path in store.glob("trials/*/trained.json"):
        trial = read_json(path)["trial"]
        (measure,) = path.parent.glob("measures/*/probe-*.json")
        student, name = trial["student"], trial["method"]["name"]
        name = "features" if student["name"] == "hand-crafted" else name
        found[f"{name} {len(student['channels'])}"] = read_json(measure)
    page = (store / "sweeps/utd/report/report.md").read_text()
    assert page.splitlines()[2].startswith("**No student beats hand-crafted features")
    return found


def check(measures: dict[str, dict[str, float]]) -> None:
    names = ("none", "features", "comodo")
    assert measures.keys() == {f"{name} {channels}" for name in names for channels in (3, 6)}
    for metrics in measures.values():
        assert metrics["test/acc1"] > 5 * CHANCE
        assert metrics["test/acc1"] < metrics["test/acc3"] < metrics["test/acc5"]
        assert "val/acc1" not in metrics  # the data set has no validation split
    assert measures["none 6"]["test/acc1"] > measures["none 3"]["test/acc1"]
    # A plain script with scikit-learn on the raw files: 0.895 and 0.812.
    assert measures["features 6"]["test/acc1"] > 0.85
    assert measures["features 3"]["test/acc1"] > 0.78


@pytest.mark.slow
def test_with_given_features(tmp_path: Path, shared_data: Path) -> None:
    path = "$UTD_MHAD/i3d_features_f16.npz"
    teacher = {"name": "precomputed", "path": path, "ids": "names", "features": "mixed_4f"}
    check(run(tmp_path, shared_data, teacher))


@pytest.mark.slow
def test_decoding_the_clips(tmp_path: Path, shared_data: Path) -> None:
    check(run(tmp_path, shared_data, {"name": "efficientnet-lite0", "frames": 2}))
