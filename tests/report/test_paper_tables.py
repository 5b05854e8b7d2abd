"""The paper's tables beside a sweep's own numbers."""

import re
from pathlib import Path
from typing import Any

import pytest

from comodo.config import read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report.paper_tables import paper_tables
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial
from comodo.search.trial_folder import read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer

NONE = Evaluation()
COMODO = {"name": "comodo", "queue_size": 64}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def results_of(
    folder: Path, store: Store, points: list[dict[str, Any]], evaluation: Evaluation = NONE,
    lost: int = 0, classifier: bool = False, **changes: Any,
) -> Results:  # fmt: skip
    """Two seeds at each point, with an accuracy of 0.6, but for the last trials that are `lost`."""
    trial = {
        "dataset": "mmea",
        "teacher": "timesformer-base-k400",
        "student": "mantis-8m",
        "method": COMODO,
    }
    datasets = {name: {"kind": "simulated"} for name in ("ego4d", "mmea")}
    sweep = read_sweep_file(sweep_file(folder, datasets=datasets, trial=trial, **changes))
    names, rows = Labels(sweep), []
    trials = [Trial(sweep.with_values(point), seed, f"w-{point.get('dataset')}", "f", evaluation)
              for point in points for seed in (0, 1)]  # fmt: skip
    for number, trial_ in enumerate(trials):
        label = names.configuration(trial_)
        if number >= len(trials) - lost:
            rows.append(TrialRow(trial_, label, "not begun", {}))
            continue
        for dataset in trial_.measured_on():
            answer(store, trial_, 0.6, dataset)
        result = read_result(trial_, store)
        assert result is not None
        metrics = result.metrics
        if classifier:
            metrics |= {f"classifier/test/acc{k}": 0.1 * k for k in (1, 3, 5)}
        rows.append(TrialRow(trial_, label, "finished", metrics, trained=result.trained))
    return Results(sweep, rows, store)


def text_of(results: Results) -> str:
    return "\n".join(paper_tables(results, "comodo sweep FILE"))


def test_methods_by_data_sets(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": d, "method": m} for d in ("ego4d", "mmea")
              for m in (COMODO, "none", "infonce", "supervised")]  # fmt: skip
    space = {"dataset": ["ego4d", "mmea"], "method": [COMODO, "infonce", "supervised"]}
    text = text_of(results_of(tmp_path, store, points, search__space=space))
    assert "## Beside the paper's Table 1" in text
    assert "**This comparison means nothing**: ego4d, mmea are simulated stand-ins" in text
    header = "| method | Ego4D Acc@1 | published | difference | MMEA Acc@1 | published | difference"
    assert header in text and header.replace("@1", "@5") in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    order = [line.split(" | ")[0].strip("| ") for line in lines[2:6]]
    assert order == ["supervised", "as pretrained", "InfoNCE (IMU2CLIP)", "COMODO"]
    mine = r"\d+\.\d \(\d+\.\d–\d+\.\d\)"
    assert re.search(
        rf"InfoNCE \(IMU2CLIP\) \| {mine} \| 54\.83 \| \+\d\.\d, [a-z *]+ "
        rf"\| {mine} \| 91\.41 \| -\d\d\.\d, \*\*outside\*\* \|",
        text,
    )
    assert "59.13 (queue 16,384)" in text and "the queue stands beside it" in text
    assert "are measured by the probe (add `classifier`" in text
    assert "Missing" not in text


def test_supervised_by_its_own_classifier(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": "mmea", "method": "supervised"}]
    results = results_of(tmp_path, store, points, classifier=True, search__space={})
    text = text_of(results)
    assert re.search(r"\| supervised \| 10\.0 .*\| 93\.01 \|", text)
    assert "by their own classifier, and are measured by it here" in text


def test_pooling_and_teachers_are_rows(tmp_path: Path, store: Store) -> None:
    points: list[dict[str, Any]] = [{"student.pooling": p, "student": "moment-small"}
                                    for p in ("mean", "concat")]  # fmt: skip
    space = {"student": ["moment-small"], "student.pooling": ["mean", "concat"]}
    (tmp_path / "a").mkdir()
    pooled = text_of(results_of(tmp_path / "a", store, points, search__space=space))
    assert "Table 5" in pooled and "| pooling | method |" in pooled
    assert "74.32" in pooled and "81.16" in pooled
    teachers = ["videomae-base-k400", "timesformer-base-k400"]
    space = {"teacher": teachers}
    points = [{"teacher": teacher} for teacher in teachers]
    taught = text_of(results_of(tmp_path, store, points, search__space=space))
    assert "Table 4" in taught and "| teacher | method |" in taught
    assert "| VideoMAE | COMODO |" in taught


def test_transfer_and_what_is_missing(tmp_path: Path, store: Store) -> None:
    asked = Evaluation(("probe",), {"mmea": "w-mmea"})
    space = {"dataset": ["ego4d"], "method": [COMODO, "infonce"]}
    points = [{"dataset": "ego4d", "method": m} for m in (COMODO, "infonce")]
    results = results_of(
        tmp_path, store, points, asked, lost=2, search__space=space, evaluate_on=["mmea"]
    )
    text = text_of(results)
    assert "Table 1" in text and "Table 3" in text
    transfer = text[text.index("Table 3") :]
    assert re.search(r"\| COMODO \| \d.* \| 94\.22 \(queue 16,384\) \| -", transfer)
    assert re.search(r"\| InfoNCE \(IMU2CLIP\) \| – \| 92\.78 \| – \|", transfer)
    assert "**Missing: 2 of 4 trials**: 2 not begun (infonce seed 0; infonce seed 1)" in transfer
    assert "`comodo sweep FILE`" in transfer


def test_a_value_within_the_interval_is_not_distinguishable(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": "ego4d", "method": {"name": "comodo", "queue_size": 16384}}]
    space = {"dataset": ["ego4d"]}
    text = text_of(results_of(tmp_path, store, points, search__space=space))
    assert re.search(
        r"\| COMODO \| 6\d\.\d \(.*\) \| 59\.13 \| \+\d\.\d, not distinguishable", text
    )


def test_nothing_published_is_no_table(tmp_path: Path, store: Store) -> None:
    points = [{"student": "mantis-v2"}]
    assert text_of(results_of(tmp_path, store, points, search__space={})) == ""
