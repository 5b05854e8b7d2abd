"""Names, table, figure and page of a sweep."""

import csv
from pathlib import Path
from typing import Any

from PIL import Image

from comodo.config import Sweep, load_sweep
from comodo.console import console
from comodo.report import MEASURES, Row, configuration_label, table, trial_name, write
from comodo.trial import Trial
from tests.test_config import sweep_file

SPACE: dict[str, Any] = {
    "method": [{"name": "comodo", "queue_size": q} for q in (8, 16)] + ["infonce"]
}


def rows_of(sweep: Sweep) -> list[Row]:
    rows: list[Row] = []
    for values in [{"method": "none"}, *sweep.grid()]:
        for seed in (0, 1):
            trial = Trial(sweep.with_values(values), seed, "w", "f")
            metrics = {m: (len(rows) + 1) / 20 for m in MEASURES if not m.startswith("val/acc3")}
            rows.append(Row(trial, configuration_label(trial, sweep), "finished", metrics))
    rows[-1] = Row(rows[-1].trial, rows[-1].label, "failed", {})
    return rows


def test_names_say_what_varies(tmp_path: Path) -> None:
    sweep = load_sweep(sweep_file(tmp_path, search__space=SPACE))
    labels = [row.label for row in rows_of(sweep)]
    assert labels[::2] == ["untrained", "comodo queue_size=8", "comodo queue_size=16", "infonce"]
    trial = Trial(sweep.with_values({"method": SPACE["method"][1]}), 4, "w", "f")
    assert trial_name(trial, sweep) == "comodo queue_size=16 seed 4"


def test_models_are_named_and_channels_are_short(tmp_path: Path) -> None:
    channels = [["acc_x", "acc_y", "acc_z"], ["acc_x", "gyro_x", "gyro_z"]]
    teachers = ["efficientnet-lite0", "timesformer-base-k400"]
    space = {"student.channels": channels, "teacher": teachers}
    sweep = load_sweep(sweep_file(tmp_path, search__space=space))
    trials = [Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid()]
    labels = [configuration_label(trial, sweep) for trial in trials]
    assert labels[0] == "comodo efficientnet-lite0 acc_xyz"
    assert labels[3] == "comodo timesformer acc_x+gyro_xz"
    assert configuration_label(trials[3].untrained, sweep) == "untrained acc_x+gyro_xz"


def test_files(tmp_path: Path) -> None:
    sweep = load_sweep(sweep_file(tmp_path, search__space=SPACE))
    folder = write(sweep, tmp_path / "out", rows_of(sweep))
    page = (folder / "report.md").read_text()
    assert "**A demonstration**: demo is simulated" in page
    assert "| untrained | 2 | 7.5 (5.0–10.0) | – |" in page
    assert "| infonce | 1 |" in page  # one of its two seeds failed
    with (folder / "trials.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["state"] for row in listed].count("failed") == 1
    assert float(listed[2]["test/acc1"]) == 0.15
    with Image.open(folder / "accuracy.png") as picture:
        assert picture.width > 500


def test_selection_on_test_is_said(tmp_path: Path) -> None:
    search = {"sampler": "tpe", "space": {"epochs": [1, 2]}}
    objective = {"metric": "test/acc1"}
    file = sweep_file(tmp_path, objective=objective, search=search, budget={"trials": 2})
    sweep = load_sweep(file)
    folder = write(sweep, tmp_path, [])
    assert "**Selected on the test split**" in (folder / "report.md").read_text()


def test_table_fits_a_narrow_terminal(tmp_path: Path) -> None:
    sweep = load_sweep(sweep_file(tmp_path, search__space=SPACE))
    with console.capture() as capture:
        console.print(table(rows_of(sweep)), width=80)
    text = capture.get()
    assert "5.0 / – / 5.0" in text
    assert "failed" in text
    assert max(map(len, text.splitlines())) <= 80
