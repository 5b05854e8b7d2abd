"""Students that start from trained ones: their settings, and which trial each starts from."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, StudentConfig, Sweep, TrialConfig, read_sweep_file
from comodo.config.channels import CHANNELS
from comodo.config.source import KEY, Source, Sources, SourceTrial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import TINY_MANTIS, trial_config


def settings_of(student: dict[str, Any]) -> dict[str, Any]:
    """What comes with the weights of such a student."""
    left_out = {"source", "weights", "revision", "train_encoder"}
    context = {"read_back": True}
    config = StudentConfig.model_validate(student, context=context)
    return config.model_dump(mode="json", exclude=left_out)


def source(*trials: SourceTrial, **changes: Any) -> Source:
    """A tiny mantis; by default one trial, with key `aaaa` and seed 0."""
    of = trials or (SourceTrial("aaaa", 0),)
    return replace(Source("sweep first (comodo)", settings_of(TINY_MANTIS), of), **changes)


def started(found: Source, name: str = "first", **changes: Any) -> TrialConfig:
    """A tiny trial whose student starts there."""
    content = {**trial_config(**changes).model_dump(mode="json"), "student": {"from": name}}
    return TrialConfig.model_validate(content, context={"sources": Sources({name: found})})


def sweep_of(folder: Path, found: dict[str, Source], **changes: Any) -> Sweep:
    return read_sweep_file(
        sweep_file(folder, **{"trial__student": {"from": "first"}, **changes}),
        sources=Sources(found),
    )


def test_a_student_is_made_as_the_one_that_it_starts_from(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"first": source()})
    student = sweep.trial.student
    assert (student.name, student.size) == ("mantis", TINY_MANTIS["size"])
    assert student.samples == 32 and student.weights is None
    assert sweep.trial.model_dump(mode="json", exclude_unset=True)["student"] == {"from": "first"}
    (point,) = sweep.grid()
    again = sweep.with_values(point).student
    assert (again.start, again.channels) == (source(), CHANNELS)
    assert again.model_dump(mode="json")["from"] == "first"


@pytest.mark.parametrize(
    ("given", "key", "names"),
    [
        ({"size": {"hidden_dim": 9}}, "size", ["sweep first", "'hidden_dim': 8", "remove size"]),
        ({"name": "cnn"}, "name", ["which has mantis", "remove name"]),
        ({"channels": ["acc"]}, "channels", ["gyro_z", "remove channels"]),
        ({"weights": "a/b"}, "weights", ["which decides it; remove weights"]),
        ({"pooling": "mean"}, "pooling", ["which has concat"]),
    ],
)
def test_settings_that_contradict_it_are_refused(
    tmp_path: Path, given: dict[str, Any], key: str, names: list[str]
) -> None:
    with raises(ConfigError, f"trial.student.{key}", "sweep.yaml:", *names):
        sweep_of(tmp_path, {"first": source()}, trial__student={"from": "first", **given})


def test_settings_that_agree_with_it_are_not(tmp_path: Path) -> None:
    given = {"from": "first", "name": "mantis", "channels": ["acc", "gyro"], "train_encoder": False}
    student = sweep_of(tmp_path, {"first": source()}, trial__student=given).trial.student
    assert not student.train_encoder


def test_a_data_set_without_its_channels_is_refused(tmp_path: Path) -> None:
    acc = {"kind": "simulated", "channels": ["acc_x", "acc_y", "acc_z"]}
    with raises(ConfigError, KEY, "sweep first (comodo) sees acc_x", "gyro_x", "demo has acc_x"):
        sweep_of(tmp_path, {"first": source()}, datasets__demo=acc)


def test_what_is_not_found_is_told_at_its_key(tmp_path: Path) -> None:
    def find(name: str) -> Source:
        raise ValueError(f"no {name} anywhere")

    with raises(ConfigError, KEY, "sweep.yaml:", "no first anywhere"):
        read_sweep_file(
            sweep_file(tmp_path, trial__student={"from": "first"}), sources=Sources({}, find)
        )
    with raises(ConfigError, KEY, "none was given to look in"):
        read_sweep_file(sweep_file(tmp_path, trial__student={"from": "first"}))
    with raises(ConfigError, KEY, "absent", "does not exist"):
        sweep_of(tmp_path, {}, trial__student={"from": "./absent"})


def test_published_defaults_do_not_change_it() -> None:
    """A student of MOMENT that was trained as the paper says stays what it is."""
    student = {"name": "moment", "size": {"d_model": 16, "num_heads": 2}}
    found = source(student=settings_of(student))
    published: dict[str, Any] = {"protocol": "published", "student": student}
    assert trial_config(**published).student.padding == "batch"
    mine = started(found, **published).student
    assert (mine.padding, mine.averaged_patches) == ("window", "real")


def test_it_is_searched_as_any_key(tmp_path: Path) -> None:
    other = source(SourceTrial("bbbb", 0), student=settings_of({"name": "cnn"}))
    found = {"first": source(), "again": source(), "other": other}
    space: dict[str, Any] = {"student.from": ["first", "again", "other"]}
    swept = sweep_of(tmp_path, found, search__space=space)
    students = [swept.with_values(point).student for point in swept.grid()]
    assert [(s.source, s.name) for s in students] == [("first", "mantis"), ("other", "cnn")]
    space = {"student": ["mantis-8m", {"from": "other"}]}
    beside = sweep_of(tmp_path, found, trial__student="mantis-8m", search__space=space)
    students = [beside.with_values(point).student for point in beside.grid()]
    assert [(s.source, s.name) for s in students] == [(None, "mantis"), ("other", "cnn")]
    over = sweep_of(
        tmp_path, found, trial__student="mantis-8m", search__space={"student.from": ["other"]}
    )
    (point,) = over.grid()
    assert over.with_values(point).student.name == "cnn"


def test_own_code_has_to_be_allowed(tmp_path: Path) -> None:
    """Whatever the file is called; other code than it was trained with is not that code."""
    text = "class Net:\n    def __init__(self, channels): ...\n"
    (tmp_path / "net.py").write_text(text)
    own = {"name": "custom", "file": "net.py", "class": "Net"}
    first = read_sweep_file(sweep_file(tmp_path, trial__student=own, allow_code=["net.py"]))
    left_out = {"source", "weights", "revision", "train_encoder"}
    found = source(student=first.trial.student.model_dump(mode="json", exclude=left_out))
    with raises(ConfigError, KEY, "is code of the file net.py", "allow_code: [net.py]"):
        sweep_of(tmp_path, {"first": found})
    (tmp_path / "copy.py").write_text(text)
    student = sweep_of(tmp_path, {"first": found}, allow_code=["copy.py"]).trial.student
    assert (student.file, student.texts) == ("copy.py", {"copy.py": text})
    (tmp_path / "net.py").write_text(text + "\n")
    with raises(ConfigError, KEY, "the file with that code"):
        sweep_of(tmp_path, {"first": found}, allow_code=["net.py"])


def test_each_seed_and_fold_starts_from_its_own() -> None:
    folds = [("anna",), ("ben",)]
    trials = [SourceTrial(f"{s}{test[0]}", s, test) for s in (0, 1) for test in folds]
    found = source(*trials)
    assert found.for_key(1, ("ben",)) == {"trial": "1ben"}
    for seed, test, names in (
        (2, ("ben",), ["seeds 0, 1 and no 2", "from: 0anna"]),
        (0, ("carl",), ["each of 2 folds", "tests exactly carl", "split_by_group", "from: 0anna"]),
        (0, None, ["the data set trained on here has none"]),
    ):
        with raises(ConfigError, KEY, *names):
            found.for_key(seed, test)


def test_a_single_trial_is_what_all_start_from() -> None:
    for only in (SourceTrial("aaaa", 3), SourceTrial("aaaa", 3, ("anna",))):
        for seed, test in ((0, None), (3, ("ben",)), (7, ("anna",))):
            assert source(only).for_key(seed, test) == {"trial": "aaaa"}
    folder = Source("folder x", settings_of(TINY_MANTIS), folder="/x", content="c0")
    assert folder.for_key(0, ("anna",)) == {"content": "c0"}
    assert folder.identity == ["c0"]


def test_they_are_recorded_with_a_sweep() -> None:
    found = {"first": source(SourceTrial("aaaa", 0, ("anna", "ben")), seconds=2.0, rate=50.0)}
    text = json.dumps(Sources(found).recorded())
    back = Sources.read_back(json.loads(text))
    assert back == found and asdict(back["first"]) == asdict(found["first"])
