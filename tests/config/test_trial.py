"""A trial's settings: their defaults."""

from pathlib import Path

from comodo.config import read_sweep_file
from tests.config.test_load import sweep_file


def test_defaults_are_the_published_ones(tmp_path: Path) -> None:
    trial = read_sweep_file(sweep_file(tmp_path)).trial
    assert (trial.epochs, trial.batch_size, trial.learning_rate) == (20, 128, 3e-4)
    assert trial.method.name == "comodo"
    assert (trial.method.teacher_temperature, trial.method.student_temperature) == (0.1, 0.05)
