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
