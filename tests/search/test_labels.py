"""What trials are called."""

from pathlib import Path
from typing import Any

from comodo.config import read_sweep_file
from comodo.config.space import flatten
from comodo.search.labels import Labels
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file

SPACE: dict[str, Any] = {
    "method": [{"name": "comodo", "queue_size": q} for q in (8, 16)] + ["infonce", "supervised"]
}


def test_names_say_what_varies(tmp_path: Path) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=SPACE))
    names = Labels(sweep)
    trials = [Trial(sweep.with_values(values), 4, "w", "f") for values in sweep.grid()]
    labels = [names.configuration(trial) for trial in trials]
    assert labels == ["comodo queue_size=8", "comodo queue_size=16", "infonce", "supervised"]
    assert names.configuration(trials[0].untrained) == "untrained"
    assert names.trial(trials[1]) == "comodo queue_size=16 seed 4"


def test_models_are_named_and_channels_are_short(tmp_path: Path) -> None:
    channels = [["acc_x", "acc_y", "acc_z"], ["acc_x", "gyro_x", "gyro_z"]]
    teachers = ["efficientnet-lite0", "timesformer-base-k400"]
    space = {"student.channels": channels, "teacher": teachers}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    names = Labels(sweep)
    trials = [Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid()]
    assert names.configuration(trials[0]) == "comodo efficientnet-lite0 acc_xyz"
    assert names.configuration(trials[3]) == "comodo timesformer acc_x+gyro_xz"
    assert names.configuration(trials[3].untrained) == "untrained acc_x+gyro_xz"
    labelled = trials[3].supervised(sweep.trial)
    assert names.configuration(labelled) == "supervised acc_x+gyro_xz"  # no teacher taught it


def test_untrained_students_measured_in_two_ways_have_two_names(tmp_path: Path) -> None:
    for space in ({"protocol": ["corrected", "published"]}, {"probe_ties": ["middle", "smallest"]}):
        sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
        twins = [Trial(sweep.with_values(v), 0, "w", "f").untrained for v in sweep.grid()]
        assert twins[0].key != twins[1].key
        names = Labels(sweep)
        assert names.configuration(twins[0]) != names.configuration(twins[1])


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2], "e": {}}
