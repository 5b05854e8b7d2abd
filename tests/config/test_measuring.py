"""Which measures, objectives and teachers a sweep file may have together."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.config.measuring import labelled_splits
from tests.config.test_load import sweep_file
from tests.errors import raises

ALIGNED: dict[str, Any] = {
    "measures": ["alignment"],
    "objective": {"metric": "val/alignment/cka"},
}


def test_alignment_may_be_measured_alone(tmp_path: Path) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, **ALIGNED))
    assert sweep.measures.names == ("alignment",)
    assert labelled_splits(sweep.objective, sweep.measures) == set()  # it needs no labels


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"measures": ["knn"]}, "measures", ["must include probe", "such as alignment"]),
        (
            {"measures": ["alignment"]},
            "objective.metric",
            ["val/acc1 needs 'probe'", "{metric: val/alignment/cka}"],
        ),
        ({**ALIGNED, "evaluate_on": ["demo"]}, "evaluate_on", ["add probe to measures"]),
        (
            {**ALIGNED, "trial__teacher": None, "trial__method": "none"},
            "trial.teacher",
            ["alignment needs one"],
        ),
    ],
)
def test_measures_that_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], code: str, names: list[str]
) -> None:
    with raises(ConfigError, code, *names):
        read_sweep_file(sweep_file(tmp_path, **changes))


JOINT: dict[str, Any] = {
    "trial__teacher": {"name": "image", "weights": "openai/clip-vit-base-patch16"},
    "trial__method": {"name": "infonce", "head": {"kind": "linear"}},
    "measures": ["probe", "zero-shot-text", "retrieval"],
}
"""Without `pooling: joint`."""


def test_texts_need_a_student_in_the_space_that_the_teacher_shares_with_text(
    tmp_path: Path,
) -> None:
    joint = JOINT | {"trial__teacher": JOINT["trial__teacher"] | {"pooling": "joint"}}
    sweep = read_sweep_file(sweep_file(tmp_path, **joint))
    assert "{class}" in sweep.prompt
    assert {"val/zero_shot_text/macro_f1", "test/retrieval/video_to_imu_r5"} <= sweep.metrics.keys()
    for changes, code, name in (
        (JOINT, "trial.teacher", "zero-shot-text needs features in the space"),
        (joint | {"trial__method": "infonce"}, "trial.method.head", "set head: {kind: linear}"),
        (
            joint | {"trial__method": {"terms": ["rkd_angle"], "head": {"kind": "linear"}}},
            "trial.method",
            "rkd_angle alone do not bring together",
        ),
        (joint | {"prompt": "a person"}, "prompt", "needs {class} once"),
    ):
        with raises(ConfigError, code, name):
            read_sweep_file(sweep_file(tmp_path, **changes))


def test_retrieval_needs_only_a_student_that_is_trained_to_match_its_teacher(
    tmp_path: Path,
) -> None:
    only: dict[str, Any] = {"measures": ["probe", "retrieval"]}
    read_sweep_file(sweep_file(tmp_path, **only))
    terms: dict[str, Any] = {"trial__method": {"terms": ["rkd_distance", "l2"]}}
    read_sweep_file(sweep_file(tmp_path, **only, **terms))
    with raises(ConfigError, "trial.method", "retrieval compares embeddings", "infonce or l2"):
        read_sweep_file(
            sweep_file(tmp_path, **only, trial__method={"terms": ["rkd_distance", "rkd_angle"]})
        )
