"""What `comodo report --paper` writes: sizes, fonts and names of figures; LaTeX compiles it."""

import re
import shutil
import subprocess
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

from comodo.cli import app
from comodo.config import read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import paper, style
from comodo.report.accuracy import accuracy_section
from comodo.report.curves import draw_by_numbers
from comodo.report.figures import _accuracy, drawn_figures
from comodo.report.page import report_page
from comodo.search.configuration import references, trials_of
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer
from tests.paths import ROOT

SENSORS = ("left_upper_arm_below_the_elbow", "right_wrist_strap")
POINTS_PER_INCH = 72
ODD = r"""## Odd

| name | value |
| - | - |
| a_b & 100 % of $5 #1 {x} ~ ^ \\ \| "q" 'q' -- <a> \`c\` → ≥ | -1.0 (-2.0–3.0) |
"""
needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two queues, two rates and two sets of channels with long names; a class that LaTeX would take
    for commands."""
    folder = tmp_path_factory.mktemp("paper")
    every = [f"{sensor}.{kind}" for sensor in SENSORS for kind in ("acc", "gyro")]
    space = {
        "student.channels": [every, every[:2]],
        "method.queue_size": [8, 65536],
        "learning_rate": [0.001, 0.01],
    }
    file = sweep_file(
        folder,
        datasets__demo__channels=every,
        search__space=space,
        seeds=[0, 1],
        references=["none", "features"],
    )
    sweep, store = read_sweep_file(file), Store(folder / "store")
    labels, rows = Labels(sweep), dict[str, TrialRow]()
    for number, point in enumerate(sweep.grid()):
        own = trials_of(sweep.with_values(point), sweep.seeds, ("w", "f"), Evaluation(), {})
        for trial in [*references(sweep, own), *own]:
            is_own = trial in own
            answer(store, trial, 0.6 + 0.03 * number if is_own else 0.55, groups=4)
            result, label = read_result(trial, store), labels.configuration(trial)
            assert result is not None
            rows[trial.key] = TrialRow(trial, label, "finished", result.metrics, "", result.trained)
    return Results(sweep, list(rows.values()), store)


def two_figures(results: Results) -> dict[str, tuple[str, Figure]]:
    accuracies, key = _accuracy(results), "method.queue_size"
    assert accuracies is not None
    return {
        "accuracy": ("accuracies", accuracies),
        "by_method_queue_size": ("accuracy by queue size", draw_by_numbers(results)[key]),
    }


def page_of(results: Results) -> str:
    results._store.folder("sweeps", results.sweep.name).mkdir(parents=True, exist_ok=True)
    record = SweepRecord(results.sweep, "comodo sweep FILE", {}, Evaluation(), {}, {})
    return "\n".join(report_page(results, record, results._store, {}, None))


@pytest.fixture(scope="module")
def folder(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two figures and one section; all of them take seconds."""
    made = tmp_path_factory.mktemp("made") / "paper"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "drawn_figures", two_figures)
        page = "\n".join(accuracy_section(results))
        paper.write_paper(results, page, made)
    return made


@pytest.fixture(scope="module")
def whole(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whole") / "paper"
    paper.write_paper(results, f"{page_of(results)}\n{ODD}", made)
    return made


def files(folder: Path, kind: str) -> Iterator[tuple[Path, float]]:
    """Each figure, and the width that it should have."""
    for place, width in paper.WIDTHS.items():
        found = sorted((folder / place).glob(f"*.{kind}"))
        assert found
        yield from ((path, width) for path in found)


def test_what_is_in_the_folder(folder: Path) -> None:
    for place in paper.WIDTHS:
        made = sorted(path.name for path in (folder / place).iterdir())
        names = ("accuracy", "by_method_queue_size")
        assert made == [f"{name}.{kind}" for name in names for kind in ("pdf", "svg")]
    tables = ("accuracy", "accuracy_more_measures_of_the_probe")
    made = sorted(path.name for path in (folder / "tables").iterdir())
    assert made == [f"{name}.{kind}" for name in tables for kind in ("csv", "tex")]
    document = (folder / "paper.tex").read_text()
    shown = [r"\includegraphics{one_column/accuracy}", r"\input{tables/accuracy}"]
    assert all(document.count(command) == 1 for command in shown)
    assert document.count("includegraphics") == document.count("input{") == 2


@pytest.mark.slow
def test_every_figure_is_there(whole: Path) -> None:
    names = {"accuracy", "confusion", "differences", "effects", "importance", "learning"}
    names |= {"parallel", "by_learning_rate", "by_method_queue_size"}
    for place in paper.WIDTHS:
        for kind in ("pdf", "svg"):
            assert {path.stem for path in (whole / place).glob(f"*.{kind}")} == names
    tables = {path.stem for path in (whole / "tables").glob("*.tex")}
    assert {"accuracy", "differences", "hyperparameter_importance", "protocol", "odd"} < tables
    assert {path.stem for path in (whole / "tables").glob("*.csv")} == tables
    test_figures_are_as_wide_as_columns(whole)
    test_text_is_text(whole)


def test_figures_are_as_wide_as_columns(folder: Path) -> None:
    for path, width in files(folder, "pdf"):
        box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", path.read_bytes())
        assert box is not None
        left, _, right, _ = map(float, box[1].split())
        assert (right - left) / POINTS_PER_INCH == pytest.approx(width, abs=0.01), path
    for path, width in files(folder, "svg"):
        points = ElementTree.parse(path).getroot().get("width", "").removesuffix("pt")
        assert float(points) / POINTS_PER_INCH == pytest.approx(width, abs=0.01), path


def test_text_is_text(folder: Path) -> None:
    for path, _ in files(folder, "pdf"):
        content = path.read_bytes()
        assert b"/FontFile2" in content and b"/Type3" not in content, path
    for path, _ in files(folder, "svg"):
        texts = [
            "".join(of.itertext()) for of in ElementTree.parse(path).getroot().findall(".//{*}text")
        ]
        assert texts, path
        assert not any(re.search(r"method\.|/acc1", text) for text in texts), texts
    axes = (folder / "one_column/by_method_queue_size.svg").read_text()
    assert ">queue size</text>" in axes and ">test Acc@1 (%)</text>" in axes


def texts_of(figure: Figure) -> list[Text]:
    """All that is drawn, so without ticks outside of the limits of an axis."""
    outside = set[int]()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        outside |= {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip()
        if id(text) not in outside
    ]


@pytest.mark.parametrize("draw", [two_figures, pytest.param(drawn_figures, marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", paper.WIDTHS.values())
def test_no_text_is_cut_or_a_title(results: Results, width: float, draw: Any) -> None:
    with style.on_paper(width):
        for name, (shows, figure) in draw(results).items():
            FigureCanvasAgg(figure).draw()
            assert shows and figure.get_suptitle() == ""
            assert not any(axes.get_title() for axes in figure.axes)
            inside = figure.bbox.padded(2)
            for text in texts_of(figure):
                assert "…" not in text.get_text(), name
                box = text.get_window_extent()
                whole = inside.x0 <= box.x0 and box.x1 <= inside.x1
                assert whole and inside.y0 <= box.y0 and box.y1 <= inside.y1, f"{name}: {text}"
            if name == "accuracy":
                drawn = " ".join(text.get_text().replace("\n", "") for text in texts_of(figure))
                for sensor in SENSORS:
                    assert f"{sensor}.gyro_xyz" in drawn


def test_other_files_stay_and_a_fault_leaves_nothing(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "drawn_figures", lambda results: {})
    own = tmp_path / "paper.bib"
    own.write_text("mine")
    paper.write_paper(results, "## A\n\n| a |\n| - |\n| 1 |\n", tmp_path)
    assert own.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"paper.bib", "paper.tex", "tables"}
    monkeypatch.setattr(paper, "_document", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        paper.write_paper(results, "## A\n", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_figure_that_is_too_high_for_a_column_is_in_two(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        paper, "drawn_figures", lambda of: {"accuracy": drawn_figures(of)["accuracy"]}
    )
    monkeypatch.setattr(paper, "MAX_HEIGHT", 1.0)
    paper.write_paper(results, "", tmp_path)
    assert not (tmp_path / "one_column").exists()
    assert "{two_columns/accuracy}" in (tmp_path / "paper.tex").read_text()


@pytest.mark.slow
def test_the_command_writes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tarfile.open(ROOT / "tests/stores/0.2.0.tar.xz") as archive:
        archive.extractall(tmp_path / "store", filter="data")
    command = ["report", "search", "--store", str(tmp_path / "store"), "--paper"]
    done = CliRunner().invoke(app, [*command, str(tmp_path / "paper")])
    assert done.exit_code == 0, done.output
    assert "paper/paper.tex" in done.output.replace("\n", "")
    assert (tmp_path / "paper/one_column/accuracy.pdf").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(app, ["report", "demo", "--paper", str(tmp_path / "file")])
    shown = " ".join(refused.output.replace("│", " ").split())  # in a box of 80 letters
    assert refused.exit_code == 2 and "is a file" in shown


@pytest.mark.slow
@needs_latex
def test_latex_compiles_the_document(whole: Path) -> None:
    """One page with a figure of one column, one of two columns and two tables, and the document
    with everything."""
    text = (whole / "paper.tex").read_text()
    begin, end = text.index(r"\begin{document}"), r"\end{document}"
    floats = [line for line in text.splitlines() if r"\caption" in line]
    shown = ("{one_column/accuracy}", "{two_columns/effects}", "{tables/accuracy}", "{tables/odd}")
    one = "\n".join(next(line for line in floats if name in line) for name in shown)
    (whole / "one.tex").write_text(f"{text[:begin]}\\begin{{document}}\n{one}\n{end}\n")
    for name in ("one", "paper"):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
            cwd=whole,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        wide = [float(found) for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
        assert max(wide, default=0) < 1, done.stdout  # nothing is wider than its column
        assert "Missing character" not in done.stdout
        assert (whole / f"{name}.pdf").stat().st_size > 10_000
