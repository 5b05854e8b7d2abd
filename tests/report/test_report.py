"""Table, figures and page of a sweep."""

import csv
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from markdown_it import MarkdownIt
from PIL import Image

from comodo.config import CHANNELS, Sweep, read_sweep_file
from comodo.core.console import console
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.data.feature_sets import feature_key
from comodo.data.packing import pack_features, pack_windows
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.records import FeaturesMeta, QualityNote, WindowsMeta
from comodo.data.slicing import WINDOW_SCHEMA
from comodo.data.window_sets import read_window_set
from comodo.evaluation.dataframes import SweepFrames
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.report.figures import drawn_figures
from comodo.report.head import limits
from comodo.report.plan.plan import make_plan
from comodo.report.report import accuracy_on_terminal
from comodo.report.tables import markdown
from comodo.search.budget import BudgetTracker
from comodo.search.labels import Labels
from comodo.search.precheck import evaluation_of
from comodo.search.records import MeasuringRecord, ProgressRecord, SpentRecord
from comodo.search.status import StatusError, read_all
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_load import sweep_file
from tests.evaluation.test_results import METHODS, results_of
from tests.helpers import answer, write_report


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path: Path, store: Store) -> Results:
    """Four configurations, of which the last lost a seed."""
    sweep = read_sweep_file(
        sweep_file(tmp_path, search__space={"method": METHODS}, seeds=[0, 1, 2, 3])
    )
    whole = results_of(sweep, store, ["none", *METHODS])
    lost = whole.rows[-1]
    failed = TrialRow(lost.trial, lost.label, "failed", {}, "the loss became nan")
    return Results(sweep, [*whole.rows[:-1], failed], store)


def page_of(results: Results, store: Store) -> str:
    return (write_report(results, store) / "report.md").read_text()


def test_page_has_intervals_and_verdicts(results: Results, store: Store) -> None:
    page = page_of(results, store)
    assert "**A demonstration** on simulated data (demo)" in page
    assert f"Selected by val/acc1: **{results.selected}**" in page
    accuracy = r"\d+\.\d \(\d+\.\d–\d+\.\d\)"
    assert re.search(rf"\| untrained \| 4 \|( {accuracy} \|){{3}}\n", page)
    assert "acc3" in page and "acc5" not in page  # all windows have ranks below five
    assert "not distinguishable at 95 %" in page
    assert re.search(
        r"\| comodo queue_size=8 – untrained \| \+\d+\.\d .* points better \| 4 ", page
    )
    assert "| infonce | 3 | failed | the loss became nan |" in page


def test_macro_f1_is_next_to_accuracy_and_balanced_accuracy_where_classes_are_unequal(
    results: Results, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(results, store)
    assert "| configuration | seeds | test/acc1 | test/macro_f1 | val/acc1 |" in page
    assert "| configuration | seeds | test/acc3 | val/acc3 |" in page
    f1 = results.measure("untrained", "test/macro_f1")
    assert f1 is not None and f" {100 * f1.mean:.1f} ({100 * f1.low:.1f}–" in page
    assert "| test/balanced_accuracy |" not in page
    monkeypatch.setattr("comodo.report.accuracy.UNEQUAL", 1.05)  # 14, 13 and 13 windows
    unequal = page_of(results, store)
    assert "| configuration | seeds | test/balanced_accuracy | test/acc3 | val/acc3 |" in unequal


def test_macro_f1_on_val_is_shown_where_it_selects(tmp_path: Path, store: Store) -> None:
    space = {"method": METHODS}
    file = sweep_file(tmp_path, search__space=space, objective__metric="val/macro_f1", seeds=[0])
    whole = results_of(read_sweep_file(file), store, METHODS)
    rows = [
        replace(row, metrics={**row.metrics, "val/macro_f1": 0.9 - number / 100})
        for number, row in enumerate(whole.rows)
        if row.trial.seed == 0
    ]
    found = Results(whole.sweep, rows, store)
    assert found.selected == rows[0].label
    page = page_of(found, store)
    assert f"Selected by val/macro_f1: **{rows[0].label}**" in page
    assert "| configuration | seeds | test/acc1 | test/macro_f1 | val/macro_f1 |" in page


def test_missing_trials_are_listed_with_the_command(results: Results, store: Store) -> None:
    page = page_of(results, store)
    missing = "**Missing: 1 of 16 trials**: 1 failed (infonce seed 3). To run them: `comodo sweep"
    assert missing in page
    assert "| infonce | 3 of 4 |" in page
    assert "15 of 16 trials finished" in page


def test_results_are_a_row_for_each_trial(results: Results, store: Store) -> None:
    frame = pd.read_parquet(write_report(results, store) / "results.parquet")
    assert frame.state.tolist() == ["finished"] * 15 + ["failed"]
    assert frame.reason.iloc[-1] == "the loss became nan"
    assert frame["test/acc1"].tolist()[:15] == [
        row.metrics["test/acc1"] for row in results.rows[:15]
    ]
    assert frame["method.queue_size"].dropna().tolist() == [8.0] * 4 + [16.0] * 4
    names = {f"{split}/acc{k}" for split in ("val", "test") for k in (1, 3)}
    assert {name for name in map(str, frame.columns) if "acc" in name} == names
    assert frame["student.channels"].iloc[0].startswith('["acc_x"')
    assert frame.seconds.tolist()[:15] == [1.0] * 15


def test_files(results: Results, store: Store) -> None:
    stale = store.folder("sweeps", results.sweep.name) / "report/old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    folder = write_report(results, store, pictures=True)
    with (folder / "accuracy_by_group.csv").open() as file:
        groups = list(csv.DictReader(file))
    assert [row["group"] for row in groups] == [f"g{i}" for i in range(8)]
    assert all(float(row["low"]) < float(row["acc1"]) < float(row["high"]) for row in groups)
    with (folder / "accuracy_by_class.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    pictures = {path.stem: Image.open(path).size for path in folder.glob("*.png")}
    drawn = {"accuracy", "by_method_queue_size", "confusion", "differences", "learning"}
    assert pictures.keys() == drawn
    assert all(width > 400 for width, _ in pictures.values())
    assert {path.stem for path in folder.glob("*.svg")} == pictures.keys()
    again = {path: path.read_bytes() for path in folder.glob("*.svg")}
    write_report(results, store, pictures=True)
    assert all(path.read_bytes() == content for path, content in again.items())


def test_accuracies_are_dots_with_intervals_and_not_from_zero(results: Results) -> None:
    shows, figure = drawn_figures(results)["accuracy"]
    assert "filled: selected, diamonds: references" in shows
    (axes,) = figure.axes
    assert not axes.patches  # bars would be
    low, high = axes.get_xlim()
    assert 0 < low < high <= 100
    labels = [str(container.get_label()) for container in axes.containers]
    assert sorted(labels) == sorted(map(results.title, results.by_label))
    for label, container in zip(labels, axes.containers, strict=True):
        found = results.accuracy(label, "test")
        dot, _, (bars,) = container.lines  # type: ignore[attr-defined]
        (ends,) = bars.get_segments()
        assert found is not None
        assert dot.get_xdata()[0] == pytest.approx(100 * found.mean)
        assert [x for x, _ in ends] == pytest.approx([100 * found.low, 100 * found.high])
        assert (dot.get_marker() == "D") == (label == "untrained")
        assert (dot.get_markerfacecolor() != "white") == (label == results.selected)


def test_selection_on_test_is_shown(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, objective__metric="test/acc1"))
    page = page_of(results_of(sweep, store, ["comodo"]), store)
    assert "**Selected on the test split**" in page


def test_one_seed_claims_nothing(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={"method": METHODS}))
    whole = results_of(sweep, store, ["none", *METHODS])
    one = Results(sweep, [row for row in whole.rows if row.trial.seed == 0], store)
    page = page_of(one, store)
    assert "one seed: " in page
    assert "seeds: [0, 1, 2]" in limits(one)[0]
    verdicts = re.findall(r"\| (about these students [^|]*) \|", page)
    assert len(one.differences) == 5
    assert len(verdicts) == 3 + 5  # those of the selected configuration, and all
    with console.capture() as captured:
        console.print(accuracy_on_terminal(one), width=80)
    for text in (page, captured.get()):
        assert not re.search(r"points (better|worse)|, clear|distinguishable at", text)


def test_few_groups_in_test_are_said_first(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path))
    trial = Trial(sweep.trial, 0, "w", "f")
    for groups, noted in ((1, True), (2, True), (3, False)):
        answer(store, trial, 0.7, groups=groups)
        result = read_result(trial, store)
        assert result is not None
        rows = [TrialRow(trial, "comodo", "finished", result.metrics, trained=result.trained)]
        said = limits(Results(sweep, rows, store))
        assert any(f"demo: groups in test: {groups}, " in sentence for sentence in said) == noted


def test_units_that_differ_are_said(tmp_path: Path, store: Store) -> None:
    units = {"demo": ("m/s^2", "rad/s"), "other": ("g", "deg/s")}
    evaluation = Evaluation(("probe",), {"other": "v"}, published_units=units)
    for protocol, said in (
        ("published", ["demo: students see m/s^2 and rad/s, as published"]),
        ("corrected", []),
    ):
        sweep = read_sweep_file(sweep_file(tmp_path, protocol=protocol))
        trial = Trial(sweep.trial, 0, "w", "f", evaluation)
        found = limits(Results(sweep, [TrialRow(trial, "comodo", "failed", {})], store))
        assert [sentence for sentence in found if "students see" in sentence] == said


def test_students_that_are_also_trained_with_labels_are_named(tmp_path: Path, store: Store) -> None:
    both = {"terms": [{"name": "comodo", "queue_size": 8}, "supervised"]}
    for method, named in ((both, True), ("infonce", False), ("supervised", False)):
        sweep = read_sweep_file(sweep_file(tmp_path, trial__method=method))
        trial = Trial(sweep.trial, 0, "w", "f")
        label = Labels(sweep).configuration(trial)
        answer(store, trial, 0.7)
        result = read_result(trial, store)
        assert result is not None
        rows = [TrialRow(trial, label, "finished", result.metrics, trained=result.trained)]
        said = " ".join(limits(Results(sweep, rows, store)))
        assert ("distilled and trained with labels: comodo+supervised; also few-shot" in said) == (
            named
        )


def test_nothing_finished(store: Store, results: Results) -> None:
    failed = Results(results.sweep, results.rows[-1:], store)
    page = page_of(failed, store)
    assert "none is selected" in page
    assert "the loss became nan" in page


def test_table_fits_a_terminal(results: Results) -> None:
    with console.capture() as captured:
        console.print(accuracy_on_terminal(results), width=80)
    shown = captured.get()
    table = [line for line in shown.splitlines() if line[0] in "┏┃┡│└"]
    assert len(table) > 8 and max(map(len, table)) <= 80  # the sentences below are not wrapped
    assert "comodo queue_size=8 " in shown
    assert ", clear" in shown
    assert "failed" in shown


def test_effects_of_a_larger_search(tmp_path: Path, store: Store) -> None:
    space = {"method.queue_size": [8, 16, 32], "learning_rate": [1e-3, 1e-2]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    names, rows = Labels(sweep), []
    for number, values in enumerate(sweep.grid()):
        trial = Trial(sweep.with_values(values), 0, "w", "f")
        answer(store, trial, 0.5 + number / 20)
        result = read_result(trial, store)
        assert result is not None
        rows.append(
            TrialRow(
                trial,
                names.configuration(trial),
                "finished",
                result.metrics,
                trained=result.trained,
            )
        )
    folder = write_report(Results(sweep, rows, store), store)
    page = (folder / "report.md").read_text()
    assert "## Hyperparameter importance" in page
    assert "| method.queue_size | " in page
    assert (folder / "effects.png").exists()


def test_leakage_is_shown_with_every_result(results: Results, store: Store) -> None:
    leaking = Results(results.sweep, results.rows, store, {"demo": {"test": "1 of 4"}, "other": {}})
    page = page_of(leaking, store)
    assert "**demo: leakage: 1 of 4 groups of test are also in train" in page
    with console.capture() as capture:
        console.print(accuracy_on_terminal(leaking))
    assert "1 of 4 groups of test" in " ".join(capture.get().split())
    assert "leakage" not in page_of(results, store)


PLANTED = "no ![p](http://evil/accuracy.png) <img src=http://evil/p.png> [go](http://evil) ` **b**"


def test_what_data_say_is_text(results: Results, store: Store) -> None:
    lost = results.rows[-1]
    rows = [*results.rows[:-1], TrialRow(lost.trial, lost.label, "failed", {}, PLANTED)]
    planted = Results(results.sweep, rows, store, {"demo": {PLANTED: "1 of 4"}})
    folder = write_report(planted, store)
    tokens = MarkdownIt("commonmark").enable("table").parse((folder / "report.md").read_text())
    parts = [part for token in tokens for part in token.children or ()]
    assert sum(PLANTED in part.content for part in parts) == 2  # of the trial, and of the leak
    assert {part.type for part in parts if "evil" in f"{part.content}{part.attrs}"} == {"text"}
    assert not [token for token in [*tokens, *parts] if token.type.startswith("html")]
    page = (folder / "report.html").read_text()
    assert re.findall("<[^>]*evil[^>]*>", page) == []


def test_cells_cannot_break_a_table() -> None:
    lines = markdown(["a", "b"], [["|acc| (g)", "two\nlines"]])
    assert lines[2] == "| \\|acc\\| (g) | two lines |"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path]:
    """A sweep that has ended, one trial pruned, and its store."""
    folder = tmp_path_factory.mktemp("small")
    space = {"method.queue_size": [8, 16]}
    sweep = read_sweep_file(sweep_file(folder, search__space=space, references=[]))
    store = Store(folder / "store")
    key = make_plan(sweep, store).inventory.datasets["demo"].key
    windows = store.folder("windows", key)
    splits = ("train", "val", "test")
    rows = [
        {"window": s, "recording": s, "split": s, "group": s, "imu": [0.0] * 12} for s in splits
    ]
    write_table(windows / "part-000000.parquet", pa.Table.from_pylist(rows, schema=WINDOW_SCHEMA))
    about = [
        {"recording": s, "split": s, "group": s, "windows": 1, "video_seconds": 2.0} for s in splits
    ]
    quality = pa.Table.from_pylist(about, schema=QUALITY_SCHEMA)
    write_table(windows / "quality-000000.parquet", quality)
    counts = {"train": 1000, "val": 1, "test": 1}
    classes = {"train": {"a": 500, "b": 500}, "val": {"a": 1}, "test": {"a": 1}}
    WindowsMeta([*CHANNELS], counts, classes, {}, {}, 2.0).write(windows)
    QualityNote(["demo"], {}, {}).write(windows)
    ready = read_window_set(key, store)
    assert ready is not None
    assert sweep.trial.teacher is not None
    encoded = feature_key(sweep.trial.teacher, ready)
    features = [{"window": s, "feature": [1.0, 2.0]} for s in splits]
    table = pa.Table.from_pylist(features, schema=FEATURE_SCHEMA)
    write_table(store.folder("features", encoded) / "part-a.parquet", table)
    teacher = sweep.trial.teacher.model_dump(mode="json")
    meta = FeaturesMeta(
        teacher=teacher, windows=key, count=1002, devices=["cpu"], speed=5.0, rejected={}
    )
    meta.write(store.folder("features", encoded))
    packed = pack_windows(store, key)
    arrays = {pair: (packed, pack_features(store, key, encoded)) for pair in sweep.trained_on()}
    evaluation = evaluation_of(sweep, {"demo": packed}, {"demo": ready})
    SweepRecord.of(sweep, "comodo sweep FILE", arrays, evaluation, {"demo": key}).write(store)
    finished, pruned = (row.trial for row in read_sweep_record("small", store).results(store).rows)
    answer(store, finished, 0.5)
    MeasuringRecord([], 1.0).write(store.folder("trials", finished.key))
    (checkpoint := store.folder("trials", pruned.key) / "checkpoint.pt").parent.mkdir()
    torch.save({"history": [{"epoch": 1, "train/loss": 1.0}]}, checkpoint)
    ended = store.folder("sweeps", "small")
    write_json(ended / "ended.json", {pruned.key: {"state": "pruned", "reason": "slow"}})
    write_json(ended / "asked.json", [])
    SpentRecord(1.0).write(ended)
    now = "2026-01-01T00:00:00+00:00"
    ProgressRecord(updated=now, pid=1, host="h", done=1, planned=2).write(ended)
    return sweep, store.root


@pytest.mark.parametrize(
    "cut",
    [
        "windows/*/meta.json",
        "windows/*/quality-*.parquet",
        "features/*/meta.json",
        "features/*/part-*.parquet",
        "arrays/*/meta.json",
        "trials/*/trained.json",
        "trials/*/measured.json",
        "trials/*/measures/*/*.json",
        "trials/*/measures/*/*.parquet",
        "trials/*/checkpoint.pt",
        "sweeps/*/progress.json",
        "sweeps/*/asked.json",
        "sweeps/*/ended.json",
        "sweeps/*/spent.json",
        "sweeps/*/sweep.json",
    ],
)
def test_no_file_that_was_cut_off_ends_a_command(
    small: tuple[Sweep, Path], tmp_path: Path, cut: str
) -> None:
    sweep, stored = small
    store = Store(shutil.copytree(stored, tmp_path / "store"))
    for path in store.root.glob(cut):
        os.truncate(path, path.stat().st_size // 2)
    with console.capture() as shown:
        assert [status.name for status in read_all(store)] == ["small"]
        make_plan(sweep, store)
        try:
            saved = read_sweep_record("small", store)
        except StatusError as error:
            assert (cut, error.code) == ("sweeps/*/sweep.json", "status.other-version")
            return
        frames = SweepFrames(results := saved.results(store), store)
        assert len(frames.trials) == 2
        assert len(frames.curves) == (cut != "trials/*/checkpoint.pt") + 2 * (
            cut != "trials/*/trained.json"
        )
        assert (len(frames.predictions) > 0) == (cut != "trials/*/measures/*/*.parquet")
        for label in results.by_label:
            results.accuracy(label, "test")
        BudgetTracker(sweep, store.folder("sweeps", "small"))
    assert "counts as absent" in shown.get()
