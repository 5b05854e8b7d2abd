"""`comodo sweep` on untrimmed recordings of one's own: labelled intervals, parts of files, windows
that overlap, and a null class; from a manifest to the report."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.conftest import write_imu, write_video
from tests.helpers import TINY_MANTIS

LABELS = """start,end,label
0,7.5,walking
7.5,10,null
10,18,running
"""
"""From 18 s on there is no label."""


def write_set(folder: Path) -> Path:
    """Recordings of 20 s: two people in train, whose files are listed whole, one in val and one in
    test, whose files are listed in two parts; returns the manifest."""
    (folder / "labels").mkdir(parents=True)
    lines = ["video,imu,labels,split,group,start,end"]
    for number, split in enumerate(("train", "train", "val", "test")):
        write_imu(folder / f"imu/p{number}.csv", 20.0, pitch=1.5 + number / 10)
        write_video(folder / f"videos/p{number}.mp4", 20.0, shade=40 * number)
        (folder / f"labels/p{number}.csv").write_text(LABELS)
        files = f"videos/p{number}.mp4,imu/p{number}.csv,labels/p{number}.csv,{split},p{number}"
        spans = [",", "0,9", "9,20"]
        lines += [f"{files},{span}" for span in (spans[:1] if split == "train" else spans[1:])]
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


@pytest.mark.slow
def test_from_intervals_to_the_report(tmp_path: Path, new_records: Callable[[Path], None]) -> None:
    new_records(tmp_path / "s/mlflow/mlflow.db")
    recorded: dict[str, Any] = {"kind": "folder", "path": str(write_set(tmp_path / "own"))}
    recorded |= {"window_seconds": 1, "stride_seconds": 0.5, "imu_rate": 50, "boundary": "drop"}
    recorded["null_class"] = {"label": "null"}
    head = {"hidden_dim": 16, "output_dim": 8}
    content = {
        "name": "s",
        "datasets": {"own": recorded},
        "trial": {
            "dataset": "own",
            "teacher": {"name": "efficientnet-lite0", "frames": 1},
            "student": TINY_MANTIS,
            "method": {"name": "comodo", "queue_size": 8, "head": head},
            "epochs": 2,
            "batch_size": 16,
        },
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    words = [sys.executable, "-m", "comodo", "sweep", str(file), "--store", str(tmp_path / "s")]
    environment = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Starts in a whole file every 0.5 s: walking 0 to 6.5, null 7.5 to 9, running 10 to 17, without
    # a label from 18 to 19; those of null are unlabelled, and others are over a boundary.
    walking, null, running, none = 14, 4, 15, 3
    whole = walking + null + running + none
    # In parts 0 to 9 and 9 to 20, one of null, from 8.5, is in neither.
    assert f"{whole - 1} test, {2 * whole} train, {whole - 1} val" in done.stdout
    # Nothing reads the teacher's features of val and test.
    assert f"own: {2 * whole} features by efficientnet-lite0" in done.stdout
    folder = tmp_path / "s/sweeps/s/report"
    page, trials = (folder / "report.md").read_text(), pd.read_parquet(folder / "results.parquet")
    assert set(trials.state) == {"finished"}
    assert set(trials.configuration) == {"comodo", "untrained", "hand-crafted features"}
    assert trials["test/acc1"].between(0, 1).all()
    assert f"| own | folder | 6 | 0 | {2 * whole} | {whole - 1} | {whole - 1} | 2 |" in page
    predicted = [pd.read_parquet(path) for path in (tmp_path / "s/trials").rglob("probe-*.parquet")]
    assert predicted
    for table in predicted:
        labels = table[table.split == "test"].label.value_counts().to_dict()
        assert labels == {"walking": walking, "running": running}
