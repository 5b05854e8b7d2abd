"""What trials are called."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comodo.config import Sweep, read_sweep_file
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


def test_a_head_is_named_once(tmp_path: Path) -> None:
    """Whether the teacher has a projector follows from the head's kind, unless it is set."""
    kinds = {"method.head.kind": ["mlp", "linear"]}

    def labels(**space: list[Any]) -> list[str]:
        sweep = read_sweep_file(sweep_file(tmp_path, search__space=kinds | space))
        names = Labels(sweep)
        trials = (Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid())
        return [names.configuration(trial) for trial in trials]

    assert labels() == ["comodo mlp", "comodo linear"]
    more = {"method.queue_size": [8, 16]}
    assert labels(**more)[:2] == ["comodo queue_size=8 mlp", "comodo queue_size=16 mlp"]
    both = {"method.head.teacher_projector": [True, False]}
    shown = [f"{k} teacher_projector={p}" for k in ("mlp", "linear") for p in (True, False)]
    assert labels(**both) == [f"comodo {part}" for part in shown]


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


def test_hand_crafted_features_are_named_by_what_they_see(tmp_path: Path) -> None:
    """Also where the students' names alone would tell their channels apart."""
    students = [{"name": "mantis"}, {"name": "moment", "channels": ["acc_x"]}]
    space = {"student": students, "protocol": ["corrected", "published"]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    names, found = Labels(sweep), dict[str, set[str]]()
    for values in sweep.grid():
        trial = Trial(sweep.with_values(values), 0, "w", "f").hand_crafted
        found.setdefault(names.configuration(trial), set()).add(trial.key)
    labels = ["hand-crafted features acc_xyz+gyro_xyz", "hand-crafted features acc_x"]
    assert list(found) == labels and {len(keys) for keys in found.values()} == {1}
    one = Labels(read_sweep_file(sweep_file(tmp_path, search__space=SPACE)))
    assert one.configuration(trial) == "hand-crafted features"


def test_untrained_students_measured_in_two_ways_have_two_names(tmp_path: Path) -> None:
    for space in ({"protocol": ["corrected", "published"]}, {"probe_ties": ["middle", "smallest"]}):
        sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
        twins = [Trial(sweep.with_values(v), 0, "w", "f").untrained for v in sweep.grid()]
        assert twins[0].key != twins[1].key
        names = Labels(sweep)
        assert names.configuration(twins[0]) != names.configuration(twins[1])


def test_two_orders_of_channels_have_two_names(tmp_path: Path) -> None:
    channels = [["acc_x", "acc_y", "gyro_x"], ["acc_x", "gyro_x", "acc_y"]]
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={"student.channels": channels}))
    names = Labels(sweep)
    labels = [names.configuration(Trial(sweep.with_values(v), 0, "w", "f")) for v in sweep.grid()]
    assert labels == ["comodo acc_xy+gyro_x", "comodo acc_x+gyro_x+acc_y"]


def of_names(*names: str, **values: list[Any]) -> Any:
    """Settings of a method or model: a name, and one value of each key or its default."""
    keys = {key: st.sampled_from(choices) for key, choices in values.items()}
    return st.lists(
        st.fixed_dictionaries({"name": st.sampled_from(names)}, optional=keys),
        min_size=1,
        max_size=3,
        unique_by=lambda value: json.dumps(value, sort_keys=True),
    )


WEIGHTS = ["a/b", "a/b c", "a/b pooling=mean"]
HEADS: list[Any] = [{"hidden_dim": 8}, {"hidden_dim": 16}, {"output_dim": 8}, {"kind": "linear"}]
SIZES: list[Any] = [
    {},
    {"hidden_dim": 8},
    {"hidden_dim": 8.0},
    {"hidden_dim": 16},
    {"num_patches": 8},
]
VALUES: dict[str, Any] = {
    "dataset": st.just(["demo", "other"]),
    "method": st.one_of(
        of_names("comodo", queue_size=[8, 16], head=HEADS),
        of_names("infonce", "l2", "none", head=HEADS[:3]).map(
            lambda found: [v if v["name"] != "none" else "none" for v in found]
        ),
        st.just(["supervised", "none", "comodo"]),
    ),
    "teacher": of_names("image", "videomae", weights=WEIGHTS, frames=[2, 4]).map(
        lambda found: [{"weights": "x", **value} for value in found]
    ),
    "student": st.one_of(
        of_names("mantis", size=SIZES, pooling=["concat", "mean"]),
        of_names("mantis", "mantis-v2", weights=WEIGHTS, revision=["main", "v 1"]),
    ),
    "student.channels": st.lists(
        st.permutations(["acc_x", "acc_y", "gyro_x", "gyro_y"]).map(list),
        min_size=1,
        max_size=3,
        unique_by=str,
    ),
    "student.pooling": st.just(["mean", "concat"]),
    "protocol": st.just(["corrected", "published"]),
    "precision": st.just(["float32", "bf16"]),
    "teacher.precision": st.just(["float32", "bf16"]),
    "learning_rate": st.just([1e-3, 0.001000001]),
    "probe_ties": st.just(["middle", "smallest"]),
}
"""Values of every kind of key that a space can vary."""


@given(st.data())
@settings(max_examples=60)
def test_no_two_configurations_share_a_name(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True))
    sweep = Sweep.model_validate(
        {
            "name": "all",
            "datasets": {name: {"kind": "simulated"} for name in ("demo", "other")},
            "trial": {
                "dataset": "demo",
                "teacher": "efficientnet-lite0",
                "student": {"name": "mantis"},
                "method": "comodo",
            },
            "search": {"space": {key: data.draw(VALUES[key], key) for key in keys}},
            "recipes": [{"when": {"dataset": "demo"}, "set": {"epochs": 7}}],
        }
    )
    names, key_of_label = Labels(sweep), dict[str, str]()
    for config in map(sweep.with_values, sweep.grid()):
        assert config.teacher is not None
        trial = Trial(config, 0, config.dataset, config.teacher.model_dump_json())
        for one in (trial, trial.untrained, trial.supervised(sweep.supervised_like(config))):
            label = names.configuration(one)
            assert key_of_label.setdefault(label, one.key) == one.key, label


def test_settings_that_only_some_students_have_are_named(tmp_path: Path) -> None:
    """With one name for two configurations, a mean over seeds would be over both."""
    v2 = {"name": "mantis-v2"}
    pairs: list[tuple[Any, Any, list[str]]] = [
        (v2, {**v2, "return_transf_layer": 2}, ["", " return_transf_layer=2"]),
        (v2, {**v2, "output_token": "combined"}, ["", " output_token=combined"]),
    ]
    for first, second, shown in pairs:
        sweep = read_sweep_file(sweep_file(tmp_path, search__space={"student": [first, second]}))
        trials = [Trial(sweep.with_values(point), 0, "w", "f") for point in sweep.grid()]
        labels = [Labels(sweep).configuration(trial) for trial in trials]
        assert labels == [f"comodo{end}" for end in shown]


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2], "e": {}}


def test_a_teacher_is_named_where_there_is_one(tmp_path: Path) -> None:
    teachers = ["efficientnet-lite0", "timesformer-base-k400"]
    when = {"values": teachers, "when": {"method": "l2"}}
    space = {"method": ["supervised", "l2"], "teacher": when}
    path = sweep_file(tmp_path, search__space=space, trial__method="none", trial__teacher=None)
    sweep = read_sweep_file(path)
    names = Labels(sweep)
    trials = [Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid()]
    found = [names.configuration(trial) for trial in trials]
    assert found == ["supervised", "l2 efficientnet-lite0", "l2 timesformer"]


def test_several_teachers_are_named_with_what_tells_them_apart(tmp_path: Path) -> None:
    weights = {"name": "video", "weights": "google/vivit-b-16x2-kinetics400"}
    lite = {"name": "efficientnet-lite0"}
    teachers = [
        weights,
        weights | {"pooling": "mean"},
        {"several": [weights, lite]},
        {"several": [weights | {"pooling": "mean"}, lite]},
    ]
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={"teacher": teachers}))
    names = Labels(sweep)
    trials = [Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid()]
    one, mean, both, both_mean = map(names.configuration, trials)
    assert len({one, mean, both, both_mean}) == 4
    vivit = "video:weights=vivit-b-16x2-kinetics400"
    assert both.endswith(f" {vivit}+efficientnet-lite0")
    assert both_mean.endswith(f" {vivit}:pooling=mean+efficientnet-lite0")
    assert "None" not in both
