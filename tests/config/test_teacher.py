"""What a teacher sees under each protocol and of each data set, and that its key says so."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, TeacherConfig, read_sweep_file
from comodo.config.teacher import teacher_on
from comodo.data.feature_sets import feature_key
from comodo.data.window_sets import WindowSet
from tests.config.test_load import sweep_file
from tests.conftest import write_lists
from tests.errors import raises
from tests.helpers import trial_config

MMEA = "uestc-mmea-cl"


def seen(**trial: Any) -> tuple[Any, ...]:
    teacher = trial_config(**trial).teacher
    assert teacher is not None
    return teacher.frame, teacher.frame_choice, teacher.flips


def test_the_protocol_decides_what_the_file_leaves_open() -> None:
    given = {"name": "efficientnet-lite0", "frame_choice": "middles"}
    assert seen() == (None, "middles", False)
    assert seen(protocol="published") == (None, "ends", True)
    assert seen(protocol="published", teacher=given) == (None, "middles", True)
    assert seen(protocol="published", teacher={**given, "flips": False}) == (None, "middles", False)
    assert seen(teacher={"name": "efficientnet-lite0", "flips": True}) == (None, "middles", True)


def test_features_of_a_file_are_the_same_under_each_protocol(tmp_path: Path) -> None:
    (tmp_path / "f.npz").touch()
    teacher = {"name": "precomputed", "path": str(tmp_path / "f.npz")}
    published = trial_config(protocol="published", teacher=teacher).teacher
    assert published == trial_config(teacher=teacher).teacher


def sweep_of(tmp_path: Path, **changes: Any) -> Any:
    splits = write_lists(tmp_path / "splits", train=[], val=[], test=[])
    (tmp_path / "manifest.csv").touch()
    datasets = {
        "mmea": {"kind": MMEA, "path": ".", "splits": str(splits)},
        "mine": {"kind": "folder", "path": "manifest.csv"},
    }
    return read_sweep_file(
        sweep_file(tmp_path, **{"datasets": datasets, "trial__dataset": "mmea"} | changes)
    )


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_whole_frames_where_the_published_features_are_of_whole_frames(
    tmp_path: Path, protocol: str
) -> None:
    sweep = sweep_of(tmp_path, protocol=protocol, search__space={"dataset": ["mmea", "mine"]})
    frames = {name: teacher_on(t, sweep.datasets[name]).frame for name, t in sweep.trained_on()}
    assert frames == {"mmea": "squeeze", "mine": "crop"}
    given = TeacherConfig(name="efficientnet-lite0", frame="crop")
    assert teacher_on(given, sweep.datasets["mmea"]) == given


def test_each_protocol_of_a_sweep_has_its_own_features(tmp_path: Path) -> None:
    protocols = {"protocol": ["corrected", "published"]}
    sweep = sweep_of(tmp_path, search__space=protocols, datasets__mmea__first_row="keep")
    pairs = sweep.trained_on()
    assert [teacher.frame_choice for _, teacher in pairs] == ["middles", "ends"]
    trials = map(sweep.with_values, sweep.grid())
    assert [(trial.dataset, trial.teacher) for trial in trials] == pairs


def test_small_copies_which_are_cropped_are_refused_where_whole_frames_are_needed(
    tmp_path: Path,
) -> None:
    shrink = {"datasets__mmea__videos": "shrink"}
    with raises(ConfigError, "datasets.mmea.videos", "trial.teacher.frame: squeeze", "sweep.yaml"):
        sweep_of(tmp_path, **shrink)
    cropped = {"name": "efficientnet-lite0", "frame": "crop"}
    assert sweep_of(tmp_path, trial__teacher=cropped, **shrink)
    whole = {"name": "efficientnet-lite0", "frame": "squeeze"}
    with raises(ConfigError, "datasets.mine.videos", "videos: original", "sweep.yaml"):
        sweep_of(
            tmp_path, trial__teacher=whole, trial__dataset="mine", datasets__mine__videos="shrink"
        )


def test_a_key_says_what_the_teacher_saw(tmp_path: Path) -> None:
    windows = WindowSet("w", tmp_path, {}, {}, {}, {})

    def key(**settings: Any) -> str:
        teacher = {"name": "videomae", "weights": "hub/model", "frames": 8, **settings}
        return feature_key(TeacherConfig.model_validate(teacher), windows)

    before = "80279d58ab7f582e"  # of a version without these settings
    assert key(frame="crop", frame_choice="middles", flips=False) == key() == before
    others = {key(frame="squeeze"), key(frame_choice="ends"), key(flips=True)}
    assert len(others | {before}) == 4


def test_training_windows_are_not_mirrored_where_they_differ_by_fold(tmp_path: Path) -> None:
    changes = {"protocol": "published", "datasets__demo__split_by_group": {"folds": 3}}
    with raises(ConfigError, "trial.teacher.flips", "datasets.demo.split_by_group", "flips: false"):
        read_sweep_file(sweep_file(tmp_path, **changes))
    teacher = {"name": "efficientnet-lite0", "flips": False}
    read_sweep_file(sweep_file(tmp_path, **changes, trial__teacher=teacher))


def test_the_pooling_of_features_is_a_setting_of_encoders_that_have_a_choice() -> None:
    weights = {"weights": "google/vivit-b-16x2-kinetics400"}
    before = TeacherConfig(name="image", weights="facebook/dinov2-base")
    assert "pooling" not in before.for_key() and "pooling" not in before.model_dump()
    chosen = TeacherConfig.model_validate({"name": "video", **weights, "pooling": "cls"})
    assert chosen.for_key()["pooling"] == "cls"
    with pytest.raises(ValueError, match="pooling: only video and image have it, not videomae"):
        TeacherConfig.model_validate({"name": "videomae", **weights, "pooling": "mean"})


def test_code_of_the_hub_needs_the_commit_that_was_read(tmp_path: Path) -> None:
    theirs = {"name": "video", "weights": "some/body", "allow_remote_code": "some/body"}
    for revision in ({}, {"revision": "main"}, {"revision": "abc1234"}):
        with pytest.raises(ValueError, match="revision: must be the 40 digits of the commit"):
            TeacherConfig.model_validate(theirs | revision)
    assert TeacherConfig.model_validate(theirs | {"revision": "0123456789" * 4})
    folder = str(tmp_path)
    TeacherConfig.model_validate(theirs | {"weights": folder, "allow_remote_code": folder})


def test_several_teachers_each_have_their_settings(tmp_path: Path) -> None:
    names = ["timesformer-base-k400", "videomae-base-k400"]
    teacher = trial_config(protocol="published", teacher={"several": names}).teacher
    assert teacher is not None and teacher.name == "several"
    assert [one.name for one in teacher.encoders] == ["timesformer", "videomae"]
    assert all(one.frame_choice == "ends" and one.flips for one in teacher.encoders)
    assert TeacherConfig.model_validate(teacher.model_dump(mode="json")) == teacher
    one = {"name": "efficientnet-lite0", "frames": 2}
    sweep = sweep_of(tmp_path, trial__teacher={"several": [one, "dinov2-base"]})
    ((_, found),) = sweep.trained_on()
    assert found is not None
    seen = teacher_on(found, sweep.datasets["mmea"]).encoders
    assert [(each.name, each.frame) for each in seen] == [
        ("efficientnet-lite0", "squeeze"),
        ("image", "squeeze"),
    ]
    assert found.sees_video
    for wrong, reason in (
        ({"several": [one]}, "list two or more"),
        ({"several": [one, {"several": [one, one]}]}, "list two or more"),
        ({"several": [one, "dinov2-base"], "frames": 3}, "frames: give it to each of several"),
        ({**one, "several": [one, one]}, "several: only without a name"),
        ({"name": "several"}, "list two or more"),
    ):
        with pytest.raises(ValueError, match=reason):
            TeacherConfig.model_validate(wrong)


def test_small_copies_are_refused_where_one_of_several_needs_whole_frames(tmp_path: Path) -> None:
    crop = {"name": "efficientnet-lite0", "frame": "crop"}
    whole = {"name": "efficientnet-lite0", "frame": "squeeze"}
    shrink = {"datasets__mmea__videos": "shrink"}
    with raises(ConfigError, "datasets.mmea.videos", "trial.teacher.frame: squeeze"):
        sweep_of(tmp_path, **shrink, trial__teacher={"several": [crop, whole]})
    sweep_of(tmp_path, **shrink, trial__teacher={"several": [crop, crop]})
