"""A trial's name, and its way from arrays to a result on disk."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file

from comodo.config import StudentConfig
from comodo.distill import seed_of
from comodo.evaluate import EvaluateError
from comodo.store import Store
from comodo.students import build_student, load_student
from comodo.trial import Trial, read_result, run_trial
from tests.helpers import make_arrays, trial_config, weights_equal


def test_name_depends_on_what_is_computed_and_nothing_else() -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    assert trial.key == Trial(trial_config(dataset="another name"), 0, "w", "f").key
    others = [
        Trial(trial_config(), 1, "w", "f"),
        Trial(trial_config(), 0, "v", "f"),
        Trial(trial_config(), 0, "w", "g"),
        Trial(trial_config(epochs=5), 0, "w", "f"),
        Trial(trial_config(method={"name": "comodo", "queue_size": 11}), 0, "w", "f"),
        Trial(trial_config(precision="bf16"), 0, "w", "f"),
        trial.untrained,
    ]
    assert len({trial.key, *(other.key for other in others)}) == 8


def test_untrained_trials_do_not_depend_on_training() -> None:
    one = Trial(trial_config(epochs=3, learning_rate=0.1), 0, "w", "f").untrained
    other = Trial(trial_config(method="infonce"), 0, "w", "f").untrained
    assert one.key == other.key
    assert one.key == Trial(trial_config(), 0, "w", "other").untrained.key  # nor on the teacher
    assert one.key != Trial(trial_config(), 1, "w", "f").untrained.key


def test_name_follows_local_weights(tmp_path: Path) -> None:
    def key() -> str:
        student = StudentConfig(name="mantis", weights=str(tmp_path))
        return Trial(trial_config(student=student.model_dump()), 0, "w", "f").key

    before = key()
    (tmp_path / "model.safetensors").write_bytes(b"1")
    assert key() != before


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_result_student_and_history_are_kept(store: Store) -> None:
    trial, reported = Trial(trial_config(), 0, *make_arrays(store)), list[dict[str, Any]]()
    folder = store.folder("trials", trial.key)
    result = run_trial(trial, store, reported.append)
    assert read_result(folder) == result
    assert result["history"] == reported
    measures = {f"{split}/acc{k}" for split in ("val", "test") for k in (1, 3, 5)}
    assert set(result["metrics"]) == measures | {"probe/C"}
    assert result["metrics"]["test/acc3"] == 1  # there are three classes
    assert not (folder / "checkpoint.pt").exists()
    student = load_student(folder / "student")
    assert student(torch.zeros(2, 6, 64)).shape == (2, student.dim)


def test_untrained_is_where_every_method_starts(store: Store) -> None:
    trial = Trial(trial_config(), 5, *make_arrays(store)).untrained
    run_trial(trial, store, lambda metrics: None)
    torch.manual_seed(seed_of(5, "student"))
    fresh = build_student(trial.config.student)
    assert weights_equal(fresh, load_student(store.folder("trials", trial.key) / "student"))


@pytest.mark.parametrize("epochs_before", [1, 3])
def test_a_killed_trial_ends_as_one_that_never_stopped(
    store: Store, tmp_path: Path, epochs_before: int
) -> None:
    trial = Trial(trial_config(epochs=6), 0, *make_arrays(store))
    torch.set_num_threads(1)
    run_trial(trial, store, lambda metrics: None)
    undisturbed = load_student(store.folder("trials", trial.key) / "student")

    other = Store(tmp_path / "other")
    make_arrays(other)
    program = f"""
import sys, time, torch
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from comodo.store import Store
from comodo.trial import Trial, run_trial
from tests.helpers import trial_config
torch.set_num_threads(1)
def report(metrics):
    print("epoch", metrics["epoch"], flush=True)
    if metrics["epoch"] == {epochs_before}:
        time.sleep(600)
run_trial(Trial(trial_config(epochs=6), 0, "w", "f"), Store({str(other.root)!r}), report)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"epoch {epochs_before}":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = other.folder("trials", trial.key)
    assert (folder / "checkpoint.pt").exists()
    assert read_result(folder) is None
    result = run_trial(trial, other, lambda metrics: None)
    assert [metrics["epoch"] for metrics in result["history"]] == [1, 2, 3, 4, 5, 6]
    assert weights_equal(undisturbed, load_student(folder / "student"))


def test_without_labels_there_is_nothing_to_probe(store: Store) -> None:
    trial = Trial(trial_config(), 0, *make_arrays(store)).untrained
    path = store.folder("arrays", "w") / "train-00000.safetensors"
    content = load_file(path)
    content["label"] = content["label"] * 0 - 1
    save_file(content, path)
    with pytest.raises(EvaluateError, match="no labelled windows"):
        run_trial(trial, store, print)
