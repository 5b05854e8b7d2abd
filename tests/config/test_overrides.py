"""Values of a point put into a trial's settings."""

from pathlib import Path

from comodo.config import read_sweep_file
from tests.config.test_load import sweep_file


def test_grid_replaces_dotted_keys_and_whole_objects(tmp_path: Path) -> None:
    space = {"method": ["none", {"name": "comodo", "queue_size": 8}], "learning_rate": [0.1, 0.2]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    trials = [sweep.with_values(values) for values in sweep.grid()]
    assert [(t.method.name, t.learning_rate) for t in trials] == [
        ("none", 0.1),
        ("none", 0.2),
        ("comodo", 0.1),
        ("comodo", 0.2),
    ]


def test_models_of_another_name_leave_out_what_they_do_not_have(tmp_path: Path) -> None:
    student = {"name": "mantis", "size": {"hidden_dim": 8, "seq_len": 32}, "pooling": "mean"}
    teachers = ["efficientnet-lite0", "timesformer"]
    space = {
        "student.name": ["mantis", "moment"],
        "teacher.name": teachers,
        "teacher.weights": {"values": ["a/b"], "when": {"teacher.name": "timesformer"}},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, trial__student=student))
    trials = [sweep.with_values(point) for point in sweep.grid()]
    sizes = {trial.student.name: trial.student.size for trial in trials}
    assert sizes == {"mantis": {"hidden_dim": 8, "seq_len": 32}, "moment": {"seq_len": 32}}
    assert {trial.student.pooling for trial in trials} == {"mean"}
    asked = [(teacher.name, teacher.weights) for _, teacher in sweep.trained_on()]
    assert asked == [("efficientnet-lite0", None), ("timesformer", "a/b")]
