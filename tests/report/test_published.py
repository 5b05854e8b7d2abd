"""Which published accuracy a configuration is compared with, and how."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report.published import find, other_settings, paper_comparison
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer

NONE = Evaluation()
COMODO = {"name": "comodo", "queue_size": 64}
SIMULATED = {"kind": "simulated"}
TABLE: list[tuple[dict[str, Any], str, str, float]] = [
    # Typed from the paper: tables 1, 3, 4, 5 and figure 4.
    ({"method": "none"}, "ego4d", "ego4d", 47.49),
    ({"method": "none", "student": "moment-small"}, "mmea", "mmea", 83.66),
    ({"method": "supervised"}, "egoexo4d", "egoexo4d", 84.22),
    ({"method": "supervised"}, "egoexo4d", "ego4d", 52.58),
    ({"method": "infonce"}, "mmea", "mmea", 91.41),
    ({"method": "infonce", "teacher": "videomae-base-k400"}, "mmea", "mmea", 90.88),
    ({"method": "infonce"}, "ego4d", "egoexo4d", 79.7),
    ({"method": "l2"}, "ego4d", "ego4d", 49.32),
    ({"method.queue_size": 2048}, "mmea", "mmea", 92.48),
    ({"method.queue_size": 512}, "mmea", "mmea", 92.17),
    ({"method.queue_size": 16384}, "ego4d", "ego4d", 59.13),
    ({"method.queue_size": 16384, "batch_size": 48}, "ego4d", "ego4d", 59.08),
    ({"method.queue_size": 16384}, "ego4d", "mmea", 94.22),
    ({"method.queue_size": 1024, "student": "moment-small", "student.pooling": "mean"},
     "egoexo4d", "egoexo4d", 80.86),
]  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    trial = {
        "dataset": "mmea",
        "teacher": "timesformer-base-k400",
        "student": "mantis-8m",
        "method": {"name": "comodo", "queue_size": 2048},
    }
    names = ("ego4d", "egoexo4d", "mmea", "mine")
    changes: dict[str, Any] = {"datasets": dict.fromkeys(names, SIMULATED), "trial": trial}
    return read_sweep_file(sweep_file(tmp_path, **changes, search__space={}))


@pytest.mark.parametrize(("values", "trained_on", "tested_on", "acc1"), TABLE)
def test_the_tables(
    sweep: Sweep, values: dict[str, Any], trained_on: str, tested_on: str, acc1: float
) -> None:
    run = find(sweep, sweep.with_values({"dataset": trained_on, **values}), tested_on)
    assert run is not None
    assert run.accuracy[1] == pytest.approx(acc1 / 100)
    assert run.accuracy[1] < run.accuracy[3] < run.accuracy[5]


def test_what_was_not_published(sweep: Sweep) -> None:
    for values, tested_on in (
        ({"dataset": "mine"}, "mine"),
        ({"dataset": "mmea"}, "ego4d"),  # no published student was trained on MMEA for it
        ({"teacher": "efficientnet-lite0"}, "mmea"),
        ({"student": "moment-small", "method": "l2"}, "mmea"),
    ):
        assert find(sweep, sweep.with_values(values), tested_on) is None


def test_another_queue_is_the_one_of_the_tables(sweep: Sweep) -> None:
    run = find(sweep, sweep.with_values({"method.queue_size": 999}), "mmea")
    assert run is not None
    assert run.queue_size == 2048


def test_real_data_needs_the_published_weights(tmp_path: Path) -> None:
    for name in ("release", "splits", "Mantis-8M"):
        (tmp_path / name).mkdir()
    trial = {
        "dataset": "any",
        "teacher": "timesformer-base-k400",
        "student": {"name": "mantis", "weights": "./Mantis-8M"},
        "method": "infonce",
    }
    datasets = {"any": {"kind": "egoexo4d", "path": "release", "splits": "splits"}}
    changes: dict[str, Any] = {"datasets": datasets, "trial": trial}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes, search__space={}))
    run = find(sweep, sweep.trial, "any")  # the kind says what it is, and a copy is a copy
    assert run is not None
    assert run.accuracy[1] == pytest.approx(0.7946)
    assert find(sweep, sweep.with_values({"student": {"name": "mantis"}}), "any") is None


def test_models_without_weights_are_known_by_name_on_real_data_too(tmp_path: Path) -> None:
    for name in ("release", "splits"):
        (tmp_path / name).mkdir()
    datasets = {"any": {"kind": "egoexo4d", "path": "release", "splits": "splits"}}
    trial = {
        "dataset": "any",
        "teacher": "efficientnet-lite0",
        "student": "dlinear",
        "method": "supervised",
    }
    changes: dict[str, Any] = {"datasets": datasets, "trial": trial, "references": []}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes))
    run = find(sweep, sweep.trial, "any")
    assert run is not None and run.accuracy[1] == pytest.approx(0.322)


HEADS = {"method.head.kind": "linear", "method.head.teacher_projector": False}
SUPERVISED = {"epochs": 40, "batch_size": 48, "learning_rate": 1e-4}
PUBLISHED = {"protocol": "published"}


@pytest.mark.parametrize(
    ("values", "trained_on", "tested_on", "expected"),
    [
        ({"method": "infonce"}, "mmea", "mmea", PUBLISHED | HEADS),
        ({"method": "infonce", **PUBLISHED}, "mmea", "mmea", {}),
        ({"method": "l2", **PUBLISHED, "precision": "bf16"}, "mmea", "mmea",
         {"precision": "float32"}),
        ({"method": "infonce", "batch_size": 7, **PUBLISHED}, "mmea", "mmea", {}),  # not known
        ({"method.queue_size": 2048}, "mmea", "mmea", PUBLISHED),
        ({**PUBLISHED, "epochs": 2}, "mmea", "mmea", {"epochs": 20}),
        ({**PUBLISHED, "method.queue_size": 99}, "mmea", "mmea", {"method.queue_size": 2048}),
        ({**PUBLISHED, "schedule": "steps"}, "mmea", "mmea", {"schedule": "published"}),
        ({**PUBLISHED, "method": "infonce", "schedule": "steps"}, "mmea", "mmea", {}),
        ({**PUBLISHED, "method.queue_size": 1024}, "egoexo4d", "ego4d", {"batch_size": 48}),
        ({**PUBLISHED, "method.queue_size": 1024}, "egoexo4d", "egoexo4d", {}),
        ({**PUBLISHED, "method.queue_size": 16384, "batch_size": 48}, "ego4d", "ego4d", {}),
        ({**PUBLISHED, "method": "supervised"}, "mmea", "mmea", SUPERVISED),
        ({**PUBLISHED, "method": "supervised", **SUPERVISED, "weight_decay": 0.05, "warmup": 0},
         "mmea", "mmea", {}),
        ({**PUBLISHED, "method.queue_size": 2048, "weight_decay": 0.05}, "mmea", "mmea",
         {"weight_decay": 0.01}),
        ({"method": "none", **PUBLISHED, "epochs": 3}, "mmea", "mmea", {}),
        ({"method": "none", **PUBLISHED, "probe_mask": True}, "mmea", "mmea",
         {"probe_mask": False}),
        ({"student": "moment-small", "student.channels": ["acc_x"], **PUBLISHED}, "mmea", "mmea",
         {"student.channels": ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]}),
    ],
)  # fmt: skip
def test_settings_that_are_not_those_of_the_quoted_run(
    sweep: Sweep, values: dict[str, Any], trained_on: str, tested_on: str, expected: dict[str, Any]
) -> None:
    config = sweep.with_values({"dataset": trained_on, **values})
    run = find(sweep, config, tested_on)
    assert run is not None
    assert other_settings(config, run, stand_in=False) == expected


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def results_of(
    folder: Path, store: Store, points: list[dict[str, Any]], evaluation: Evaluation = NONE,
    lost: int = 0, classifier: bool = False, **changes: Any,
) -> Results:  # fmt: skip
    """Two seeds at each point, with an accuracy of 0.6; the last `lost` trials have not begun."""
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


def section(results: Results) -> str:
    return "\n".join(paper_comparison(results))


def table(results: Results) -> dict[tuple[str, str], list[str]]:
    """The cells of each row, by configuration and test data set."""
    lines = [line for line in paper_comparison(results) if line.startswith("| ")]
    rows = [line.strip("| ").split(" | ") for line in lines[1:] if "---" not in line]
    return {(row[0], row[1]): row[2:] for row in rows}


def test_rows_are_in_the_order_of_the_sweep(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": d, "method": m} for d in ("ego4d", "mmea")
              for m in (COMODO, "none", "infonce", "supervised")]  # fmt: skip
    space = {"dataset": ["ego4d", "mmea"], "method": [COMODO, "infonce", "supervised"]}
    results = results_of(tmp_path, store, points, search__space=space)
    assert [label for label, _ in table(results)] == [
        f"{method} {dataset}" for dataset in ("ego4d", "mmea")
        for method in ("comodo", "as pretrained", "infonce", "supervised")
    ]  # fmt: skip
    acc1, published, difference, *others = table(results)["infonce mmea", "mmea"]
    assert published == "91.41" and len(others) == 6
    ours = float(acc1.split()[0])
    assert difference == f"{ours - 91.41:+.1f}, **outside**"
    assert table(results)["comodo ego4d", "ego4d"][1] == "59.13 (queue 16,384)"
    text = section(results)
    assert "**This comparison means nothing**: simulated data (ego4d, mmea)" in text
    assert "published run had this queue" in text
    assert "supervised ego4d, supervised mmea (add `classifier`" in text
    below = text[text.index("Settings that are not those of the quoted runs:") :]
    assert "- infonce ego4d, infonce mmea: `protocol` corrected instead of published" in below
    assert "`method.head.kind` mlp instead of linear" in below
    assert "`method.queue_size` 64 instead of 16384" in below
    lacking = "batch_size, weight_decay, warmup, schedule of infonce ego4d, infonce mmea"
    assert f"Not published, and so not compared: {lacking}; weight_decay, warmup," in below


def test_supervised_by_its_own_classifier(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": "mmea", "method": "supervised"}]
    results = results_of(tmp_path, store, points, classifier=True, search__space={})
    ours, published, _ = table(results)["supervised", "mmea"][:3]
    assert ours.startswith("10.0 ") and published == "93.01"
    assert "add `classifier`" not in section(results)


@pytest.mark.parametrize(
    ("key", "values", "fixed", "published"),
    [
        ("student.pooling", ["mean", "concat"], {"student": "moment-small"}, ["74.32", "81.16"]),
        ("teacher", ["videomae-base-k400", "timesformer-base-k400"], {}, ["93.54", "92.48"]),
    ],
)
def test_what_is_swept_decides_the_published_run(
    tmp_path: Path, store: Store, key: str, values: list[str], fixed: dict[str, Any],
    published: list[str],
) -> None:  # fmt: skip
    points = [{key: value, **fixed} for value in values]
    space = {name: [value] for name, value in fixed.items()} | {key: values}
    rows = table(results_of(tmp_path, store, points, search__space=space))
    assert [row[1].split()[0] for row in rows.values()] == published


def test_transfer_and_a_configuration_without_results(tmp_path: Path, store: Store) -> None:
    asked = Evaluation(("probe",), {"mmea": "w-mmea"})
    space = {"dataset": ["ego4d"], "method": [COMODO, "infonce"]}
    points = [{"dataset": "ego4d", "method": m} for m in (COMODO, "infonce")]
    rows = table(
        results_of(tmp_path, store, points, asked, lost=2, search__space=space,
                   evaluate_on=["mmea"])
    )  # fmt: skip
    assert [tested_on for _, tested_on in rows] == ["ego4d", "mmea", "ego4d", "mmea"]
    assert rows["comodo", "mmea"][1] == "94.22 (queue 16,384)"
    assert rows["infonce", "mmea"][:3] == ["–", "92.78", "–"]


def test_a_value_inside_the_interval_is_not_distinguishable(tmp_path: Path, store: Store) -> None:
    points = [{"dataset": "ego4d", "method": {"name": "comodo", "queue_size": 16384}}]
    rows = table(results_of(tmp_path, store, points, search__space={"dataset": ["ego4d"]}))
    _, published, difference = rows["comodo", "ego4d"][:3]
    assert published == "59.13" and difference.endswith(", not distinguishable")


def test_nothing_published_is_no_section(tmp_path: Path, store: Store) -> None:
    points = [{"student": "mantis-v2"}]
    assert paper_comparison(results_of(tmp_path, store, points, search__space={})) == []
