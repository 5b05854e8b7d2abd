"""`comodo sweep` without a video, without labels, and where only some recordings have them."""

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

pytestmark = pytest.mark.slow
LABELS = ("walking", "running")
TEACHER = {"name": "efficientnet-lite0", "frames": 1}
COMODO = {"name": "comodo", "queue_size": 8, "head": {"hidden_dim": 16, "output_dim": 8}}


def write_set(
    folder: Path,
    people: int = 3,
    seconds: float = 16,
    has_video: Callable[[int], bool] = lambda number: False,
    has_label: Callable[[int], bool] = lambda number: True,
) -> str:
    """Two recordings of each person, of whom the last but one is val and the last test; returns
    the manifest. `has_video`, `has_label`: by the number of a recording."""
    lines = ["recording,video,imu,label,split,group"]
    for number in range(2 * people):
        person, activity = divmod(number, 2)
        name, video = f"p{person}_{activity}", ""
        write_imu(folder / f"imu/{name}.csv", seconds, pitch=1.5 + 2 * activity + 0.05 * person)
        if has_video(number):
            video = f"videos/{name}.mp4"
            write_video(folder / video, seconds, shade=40 + 160 * activity)
        split = ("train", "val", "test")[max(0, person - people + 3)]
        label = LABELS[activity] if has_label(number) else ""
        lines.append(f"{name},{video},imu/{name}.csv,{label},{split},p{person}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "manifest.csv")


def run(tmp_path: Path, command: str, status: int = 0, **content: Any) -> str:
    """Runs a command on a sweep file with these contents; returns what it prints, or the error of a
    refusal, in one line."""
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({"name": "s", **content}))
    words = [sys.executable, "-m", "comodo", command, str(file), "--store", str(tmp_path / "s")]
    environment = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return " ".join((done.stderr if status else done.stdout).split())


def reported(tmp_path: Path) -> tuple[str, pd.DataFrame]:
    """The page and the table of trials, which are all finished."""
    folder = tmp_path / "s/sweeps/s/report"
    trials = pd.read_parquet(folder / "results.parquet")
    assert set(trials.state) == {"finished"}
    return (folder / "report.md").read_text(), trials.set_index("configuration")


def folder_set(manifest: str) -> dict[str, Any]:
    return {"kind": "folder", "path": manifest, "window_seconds": 1, "imu_rate": 50}


def trial(dataset: str, **changes: Any) -> dict[str, Any]:
    content = {"dataset": dataset, "student": TINY_MANTIS, "epochs": 2, "batch_size": 16}
    return content | changes


@pytest.fixture(autouse=True)
def records(tmp_path: Path, new_records: Callable[[Path], None]) -> None:
    new_records(tmp_path / "s/mlflow/mlflow.db")


def test_without_video(tmp_path: Path) -> None:
    """Supervised, untrained and hand-crafted, without a teacher; distilling is refused."""
    datasets = {"wrist": folder_set(write_set(tmp_path / "wrist"))}
    plain = trial("wrist", method="supervised")
    search = {"space": {"method": ["supervised", "infonce"]}}
    taught = {"datasets": datasets, "trial": {**plain, "teacher": TEACHER}, "search": search}
    refused = run(tmp_path, "sweep", 2, **taught)
    assert "datasets.wrist: no recording has a video, which the method infonce needs;" in refused
    assert not (tmp_path / "s/windows").exists()
    said = run(tmp_path, "plan", datasets=datasets, trial=plain)
    assert "none needed" in said and "encoding" not in said
    said = run(tmp_path, "sweep", datasets=datasets, trial=plain)
    assert "teacher" not in said and "features by" not in said
    page, trials = reported(tmp_path)
    assert set(trials.index) == {"supervised", "untrained", "hand-crafted features"}
    assert trials["test/acc1"].between(0, 1).all()
    assert "teacher" not in page.replace("teacher's weights", "")
    assert not (tmp_path / "s/features").exists()


def test_without_labels(tmp_path: Path) -> None:
    """Distilled on recordings without labels, measured on others, which have no video."""
    gopro = write_set(tmp_path / "gopro", 5, 12, lambda _: True, lambda _: False)
    datasets = {"gopro": folder_set(gopro), "watch": folder_set(write_set(tmp_path / "watch"))}
    content: dict[str, Any] = {"datasets": datasets, "evaluate_on": ["watch"]}
    content |= {"trial": trial("gopro", teacher=TEACHER, method=COMODO)}
    content["measures"] = ["probe", "few-shot", "zero-shot", "alignment"]
    refused = run(tmp_path, "sweep", 2, **content)
    assert "which the objective val/acc1 needs; or write" in refused
    assert "objective: {metric: on/watch/val/acc1}" in refused
    content["objective"] = {"metric": "on/watch/val/acc1"}
    note = "gopro: too few labels for a probe: students trained on it are measured on watch"
    said = run(tmp_path, "plan", **content)
    assert note in said and "references 2 trials" in said
    said = run(tmp_path, "sweep", **content)
    assert note in said and "on watch" in said
    page, trials = reported(tmp_path)
    assert set(trials.index) == {"comodo", "untrained", "hand-crafted features"}
    assert trials["on/watch/test/acc1"].between(0, 1).all()
    assert trials["test/alignment/cka"].dropna().between(-1, 1).sum() == 2
    assert "test/acc1" not in trials and "test/zero_shot/acc1" not in trials
    assert "Selected by on/watch/val/acc1: **" in page
    assert "| configuration | seeds | on/watch/test/acc1 | " in page
    assert " | on/watch/val/acc1 |\n" in page
    assert "| test Acc@1 on watch of | points (95 %) |" in page
    assert "Test Acc@1 on watch of " in page.split("trials finished")[0]
    assert f"**{note}" in page


def test_alignment_alone(tmp_path: Path) -> None:
    gopro = write_set(tmp_path / "gopro", 5, 16, lambda _: True, lambda _: False)
    said = run(
        tmp_path,
        "sweep",
        datasets={"gopro": folder_set(gopro)},
        trial=trial("gopro", teacher=TEACHER, method=COMODO),
        measures=["alignment"],
        objective={"metric": "val/alignment/cka"},
    )
    assert "only alignment is measured" in said
    page, trials = reported(tmp_path)
    assert set(trials.index) == {"comodo", "untrained"}
    for split in ("val", "test"):
        assert (trials[f"{split}/alignment/cka"] <= 1).all()
    assert "Selected by val/alignment/cka: **" in page
    assert "No probe is measured, so there are no accuracies." in page


def test_where_some_recordings_have_a_video_and_some_a_label(tmp_path: Path) -> None:
    mixed = write_set(tmp_path / "mixed", 6, 12, lambda n: n % 3 < 2, lambda n: n >= 8 or n % 4 < 2)
    content: dict[str, Any] = {"datasets": {"mixed": folder_set(mixed)}}
    content["trial"] = trial("mixed", teacher=TEACHER, method=COMODO)
    content["search"] = {"space": {"method.name": ["comodo", "supervised"]}}
    use = "have no video: no student is distilled on them, but the probe and supervised use them"
    assert f"mixed: 4 of 12 recordings {use}" in run(tmp_path, "plan", **content)
    said = run(tmp_path, "sweep", **content)
    assert f"48 of 144 windows {use}" in said
    assert "mixed: 72 features by efficientnet-lite0" in said and "no feature for" not in said
    assert f"48 of 144 windows {use}" in run(tmp_path, "plan", **content)
    _, trials = reported(tmp_path)
    assert trials["test/acc1"].between(0, 1).all()
    too_long = {**content["trial"], "method": {**COMODO, "queue_size": 71}}
    refused = run(tmp_path, "sweep", 2, **{**content, "trial": too_long})
    assert "which has 72 windows with video" in refused
