"""What `--json` prints, parsed again, against docs/terminal.md."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from comodo.cli import app
from comodo.config import Sweep
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report.as_json import (
    ConfigurationJson,
    PlanJson,
    ReportJson,
    StatusJson,
    as_text,
    report_json,
)
from comodo.search.labels import Labels
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation
from tests.config.test_load import sweep_file
from tests.helpers import answer, trial_config
from tests.paths import ROOT
from tests.search.test_status import beat


def printed(*arguments: str) -> Any:
    """Whatever the command prints has to be JSON and nothing else."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def names(structure: type) -> list[str]:
    return [field.name for field in fields(structure)]


@pytest.mark.parametrize("structure", [StatusJson, PlanJson, ReportJson, ConfigurationJson])
def test_every_key_is_described(structure: type) -> None:
    page = (ROOT / "docs/terminal.md").read_text()
    for name in names(structure):
        assert re.search(rf"`{name}`", page), name


def test_status(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert printed("status", "--json", "--store", str(tmp_path)) == []
    beat(store, left=125.0)
    one = printed("status", "mine", "--json", "--store", str(tmp_path))
    assert list(one) == names(StatusJson)
    assert (one["state"], one["done"], one["planned"]) == ("running", 3, 8)
    assert (one["seconds_left"], one["hours"], one["best_value"]) == (125.0, 0.5, 0.5)
    assert one["running"] == ["comodo a=1", "untrained"]
    stage = {"name": "encode demo", "done": 40, "total": 120, "left": 90.0}
    beat(store, stage=stage, left=None)
    (same,) = printed("status", "--json", "--store", str(tmp_path))
    assert (same["stage"], same["done"], same["planned"]) == ("encode demo", 40, 120)
    assert same["seconds_left"] == 90.0
    beat(store, state="finished", left=125.0)
    ended = printed("status", "mine", "--json", "--store", str(tmp_path))
    assert (ended["seconds_left"], ended["running"]) == (None, [])


def test_plan(tmp_path: Path) -> None:
    space = {"method.queue_size": [8, 16]}
    file = sweep_file(tmp_path, search__space=space, seeds=[0, 1])
    found = printed("plan", str(file), "--json", "--store", str(tmp_path / "store"))
    assert list(found) == names(PlanJson)
    assert (found["trials"], found["to_train"], found["configurations"]) == (6, 6, 2)
    assert (found["trial_hours"], found["seeds"]) == (None, 2)
    assert found["windows"]["demo"]["train"] > 0
    small = printed("plan", str(file), "--json", "--smoke", "--store", str(tmp_path / "store"))
    assert small["name"] == "small-smoke"


def test_report(tmp_path: Path) -> None:
    content = {
        "name": "s",
        "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
        "trial": trial_config().model_dump(mode="json"),
        "search": {"space": {"method.queue_size": [10, 20]}},
        "references": [],
    }
    sweep, store = Sweep.model_validate(content), Store(tmp_path)
    ledger = Ledger(sweep, store, {("d", sweep.trial.teacher): ("w", "f")}, Evaluation())
    rows = []
    for trial, accuracy in zip(ledger.planned(), (0.9, 0.5), strict=True):
        answer(store, trial, accuracy)
        rows.append(
            TrialRow(trial, Labels(sweep).configuration(trial), "finished", {"val/acc1": accuracy})
        )
    found = json.loads(as_text(report_json(Results(sweep, rows, store), tmp_path)))
    assert list(found) == names(ReportJson)
    assert (found["objective"], found["states"]) == ("val/acc1", {"finished": 2})
    best, other = found["configurations"]
    assert list(best) == names(ConfigurationJson)
    assert found["selected"] == best["name"] == "comodo queue_size=10"
    mean, low, high = best["metrics"]["test/acc1"]
    assert 0.8 < mean < 1 and (low is None or low <= mean <= high)
    assert other["metrics"]["val/acc1"][0] < best["metrics"]["val/acc1"][0]
