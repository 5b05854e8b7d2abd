"""A student that is trained in two stages as a user does it: distilled, then with labels."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import comodo
from comodo.core.store import Store, read_json
from comodo.models.students import load_student
from tests.e2e.test_folds import PEOPLE
from tests.e2e.test_sweep import comodo as command
from tests.e2e.test_sweep import sweep_file
from tests.helpers import weights_equal


def second_file(folder: Path, first: Path, **changes: Any) -> Path:
    """A sweep that trains the students of the first one with labels."""
    content = yaml.safe_load(first.read_text())
    trial = {"dataset": "mine", "student": {"from": "small"}, "method": "supervised"}
    content |= {"name": "second", "trial": {**trial, "epochs": 2, "batch_size": 16}, "search": {}}
    file = folder / "second.yaml"
    file.write_text(yaml.safe_dump(content | changes))
    return file


@pytest.mark.slow
def test_each_fold_goes_on_from_the_student_that_has_not_seen_its_people(tmp_path: Path) -> None:
    store = tmp_path / "store"
    simulated = {"kind": "simulated", "subjects": PEOPLE, "seconds": 8.0, "recordings": 1}
    simulated |= {"window_seconds": 2.0, "labelled": 1.0, "imu_rate": 32.0}
    simulated |= {"split_by_group": {"folds": "all"}}
    changes = {"datasets": {"mine": simulated}, "seeds": [0], "search": {}}
    first = sweep_file(tmp_path, tmp_path, **changes, references=["none"])
    second = second_file(tmp_path, first)
    early = command("plan", second, "--store", store)
    assert early.returncode == 2 and "trial.student.from: no sweep" in early.stderr
    done = command("sweep", first, "--store", store, "--no-mlflow")
    assert done.returncode == 0, done.stdout + done.stderr

    planned = " ".join(command("plan", second, "--store", store).stdout.split())
    assert f"starts from sweep small (comodo, the best by val/acc1): {PEOPLE} trials" in planned
    assert "for each fold its own" in planned and "leakage" not in planned
    trained = command("sweep", second, "--store", store, "--no-mlflow")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    frames = {name: comodo.load_sweep(name, store).trials for name in ("small", "second")}
    of_first = frames["small"].query("configuration == 'comodo'").set_index("fold")
    before = frames["second"].query("configuration == 'before this stage'").set_index("fold")
    assert len(before) == PEOPLE
    place = Store(store)
    for fold in before.index:
        keys = of_first.trial[fold], before.trial[fold]
        folders = [place.folder("trials", key) for key in keys]
        assert weights_equal(*(load_student(folder / "student") for folder in folders))
        assert read_json(folders[1] / "trained.json")["start"] == {"trial": keys[0]}
        assert before["test/acc1"][fold] == of_first["test/acc1"][fold]
    page = (store / "sweeps/second/report/report.md").read_text()
    assert "Students start from a trained one: sweep small (comodo" in page
    assert "leakage: " not in page.split("## Accuracy")[0]

    key = of_first.trial[1]
    leaking = second_file(tmp_path, first, name="leaking")
    changed = ("--set", f"trial.student.from={key}")
    planned = " ".join(command("plan", leaking, "--store", store, *changed).stdout.split())
    assert f"mine: leakage: 2 of {PEOPLE} groups of test" in planned
    again = command("sweep", second, "--store", store, "--no-mlflow")
    assert f"all {2 * PEOPLE} trials are done already" in again.stdout
    assert key not in command("clean", "--store", store).stdout
