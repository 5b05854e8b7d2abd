"""Objectives: names of metrics, and which way is better."""

from pathlib import Path

from comodo.config import read_sweep_file
from tests.config.test_load import sweep_file


def test_one_objective_or_several(tmp_path: Path) -> None:
    one = read_sweep_file(sweep_file(tmp_path, objective={"metric": "val/macro_f1"}))
    assert (one.objective.metric, one.objective.mode) == ("val/macro_f1", "max")
    assert one.objective.splits == {"val"}
    several = read_sweep_file(
        sweep_file(
            tmp_path,
            datasets__other={"kind": "simulated"},
            evaluate_on=["other"],
            measures=["probe", "direct"],
            objective=[
                {"metric": "on/other/direct/test/acc1"},
                {"metric": "student/parameters"},
            ],
        )
    )
    assert several.objective.metric == "on/other/direct/test/acc1"
    assert [objective.mode for objective in several.objectives] == ["max", "min"]
    assert several.objective.splits == set()
