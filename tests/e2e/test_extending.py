"""docs/extending.md as a user follows it: a reader, a student, a loss and a measure of files, from
a sweep to a program; in workers of Ray, and on another machine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.paths import ROOT
from tests.test_docs import BLOCKS
from tests.training.test_own_loss import ALONE

LIMIT = 600
FILES = {block.file: block.text for block in BLOCKS if block.page == "docs/extending.md"}


def comodo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comodo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )


def trained(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("trials/*/trained.json")}


def measured(store: Path) -> list[Path]:
    """What the measure of the page gave, of each student and content of its file."""
    return sorted(store.glob("trials/*/measures/*/nearest-*.json"))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The page's files, with recordings of four people that are easily told apart."""
    folder = tmp_path / "sweep"
    (folder / "recordings/npz").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for person in ("anna", "ben", "carl", "dora"):
        for speed, activity in enumerate(("sit", "walk")):
            seconds = np.arange(400) / 20
            waves = np.sin(2 * np.pi * (speed + 1) * seconds)[:, None]
            arrays: Any = {"seconds": seconds, "imu": waves + 0.1 * rng.normal(size=(400, 6))}
            np.savez(folder / "recordings/npz" / f"{person}-{activity}.npz", **arrays)
    (folder / "my_encoder.py").write_text(FILES["my_encoder.py"])
    (folder / "my_reader.py").write_text(FILES["my_reader.py"])
    (folder / "my_loss.py").write_text(ALONE)
    (folder / "my_measure.py").write_text(FILES["my_measure.py"])
    *_, nearest = yaml.safe_load(FILES["measure.yaml"])["measures"]
    mine = yaml.safe_load(FILES["reader.yaml"])["datasets"]["mine"]
    student = yaml.safe_load(FILES["own.yaml"])["trial"]["student"]
    content = {
        "name": "own",
        "allow_code": ["my_encoder.py", "my_loss.py", "my_measure.py", "my_reader.py"],
        "datasets": {"mine": mine | {"window_seconds": 2.0, "imu_rate": 20.0}},
        "trial": {
            "dataset": "mine",
            "student": student | {"size": {"width": 8}},
            "method": {
                "terms": {"supervised": {}, "mine": {"file": "my_loss.py", "class": "Alone"}}
            },
            "epochs": 2,
            "batch_size": 8,
        },
        "references": ["none"],
        "measures": ["probe", nearest | {"settings": {"k": 3}}],
        "objective": {"metric": "test/nearest/precision"},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(4 * LIMIT)
def test_a_reader_a_student_a_loss_and_a_measure_of_files(sweep: Path, tmp_path: Path) -> None:
    file, store = sweep / "own.yaml", tmp_path / "store"
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine: 8 of 8 recordings" in done.stdout
    assert "supervised+mine" in done.stdout and "untrained" in done.stdout
    first = trained(store)
    assert len(first) == 2
    again = comodo("sweep", file, "--store", store)
    assert "are done already" in again.stdout, again.stdout + again.stderr

    # Another measure, of the same students.
    assert len(measured(store)) == 2
    with (sweep / "my_measure.py").open("a") as code:
        code.write("\n")
    measured_again = comodo("sweep", file, "--store", store)
    assert measured_again.returncode == 0, measured_again.stdout + measured_again.stderr
    assert (trained(store), len(measured(store))) == (first, 4)

    # On another machine, which has the store alone.
    elsewhere, kept = tmp_path / "elsewhere", tmp_path / "kept"
    store.rename(elsewhere)
    sweep.rename(kept)
    report = comodo("report", "own", "--store", elsewhere)
    assert report.returncode == 0, report.stdout + report.stderr
    (page,) = elsewhere.glob("sweeps/own/report/report.html")
    assert "Sorted by test/nearest/precision, which selects" in page.read_text()
    refused = comodo("export", "own", "--store", elsewhere)
    assert refused.returncode == 1
    assert "then add --allow-code" in " ".join(refused.stderr.split())
    exported = comodo("export", "own", "--allow-code", "--store", elsewhere)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert list(elsewhere.glob("exports/*/model.onnx"))
    profiled = comodo("profile", "own", "--allow-code", "--store", elsewhere)
    assert profiled.returncode == 0, profiled.stdout + profiled.stderr
    assert "student: not measured" not in profiled.stdout

    # A changed byte is a new trial, and the windows stay.
    kept.rename(sweep)
    with (sweep / "my_encoder.py").open("a") as code:
        code.write("\n")
    windows = {path.name for path in elsewhere.glob("windows/*")}
    changed = comodo("sweep", file, "--store", elsewhere)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert len(trained(elsewhere) - first) == 2
    assert {path.name for path in elsewhere.glob("windows/*")} == windows
