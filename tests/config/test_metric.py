"""Names of metrics, taken apart and put together, and objectives."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import read_sweep_file
from comodo.config.measures import DECLARED
from comodo.config.measuring import labelled_splits
from comodo.config.metric import OWN_METRICS, PARAMETERS, TRANSFER_METRICS, Metric, accuracy
from tests.config.test_load import sweep_file

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_]{0,8}", fullmatch=True)
SPLITS = st.sampled_from(["", "train", "val", "test"])
MEASURES = st.sampled_from([*DECLARED, "mine"])
DATASETS = st.sampled_from(["", "mmea", "utd-mhad", "test", "direct", "on"])


@given(SPLITS, NAMES, MEASURES, DATASETS)
def test_a_name_is_read_as_what_it_was_written_as(
    split: str, name: str, measure: str, dataset: str
) -> None:
    metric = Metric(split, name, measure, dataset)
    assert Metric.parse(str(metric)) == metric


@pytest.mark.parametrize(("text", "measure"), [*OWN_METRICS.items(), *TRANSFER_METRICS.items()])
def test_every_metric_of_every_measure_is_written_as_it_was_read(text: str, measure: str) -> None:
    metric = Metric.parse(text)
    assert metric.measure == measure or text == PARAMETERS
    elsewhere = replace(metric, dataset="mmea")
    assert (str(metric), str(elsewhere)) == (text, f"on/mmea/{text}")
    assert Metric.parse(str(elsewhere)) == elsewhere


@pytest.mark.parametrize("metric", ["val/macro_f1", "val/balanced_accuracy", "test/macro_f1"])
def test_macro_averages_can_be_objectives(tmp_path: Path, metric: str) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, objective__metric=metric))
    assert (sweep.objective.metric, sweep.objective.mode) == (metric, "max")
    assert labelled_splits(sweep.objective, sweep.measures) == {metric.split("/")[0]}


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("test/acc1", Metric("test", "acc1")),
        ("probe/C", Metric("", "C")),
        ("direct/probe/C", Metric("", "C", "direct")),
        ("student/parameters", Metric("", "parameters", "student")),
        ("classifier/val/macro_f1", Metric("val", "macro_f1", "classifier")),
        ("test/few_shot/5_std", Metric("test", "5_std", "few-shot")),
        ("on/test/val/zero_shot/acc3", Metric("val", "acc3", "zero-shot", "test")),
    ],
)
def test_parts_of_a_name(text: str, metric: Metric) -> None:
    assert Metric.parse(text) == metric
    assert str(metric) == text


def test_the_column_is_the_name_within_a_split() -> None:
    assert accuracy("test", 3, "zero-shot", "mmea").column == "zero_shot/acc3"
    assert accuracy("test", 3, "direct", "mmea").column == "acc3"


def test_one_objective_or_several(tmp_path: Path) -> None:
    one = read_sweep_file(sweep_file(tmp_path, objective={"metric": "val/macro_f1"}))
    assert (one.objective.metric, one.objective.mode) == ("val/macro_f1", "max")
    assert labelled_splits(one.objective, one.measures) == {"val"}
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
    assert labelled_splits(several.objective, several.measures) == set()
