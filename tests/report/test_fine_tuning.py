"""Frozen and fine-tuned in a report: the table's pairs, and the figure's lines."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from comodo.config import read_sweep_file
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import compare, holm
from comodo.report.fine_tuning import draw_fine_tuning, fine_tuning_section
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import trained_record

GROUPS, EACH = 8, 25
SHARES = {"5": 0.9, "frozen_5": 0.5, "all": 0.7, "frozen_all": 0.7}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path: Path, store: Store) -> Results:
    """One configuration of two seeds, better with five labels and equal with all."""
    sweep = read_sweep_file(sweep_file(tmp_path, seeds=[0, 1], references=[]))
    rows = []
    for seed in (0, 1):
        trial = Trial(sweep.trial, seed, "w", "f", Evaluation(("fine-tuned",)))
        folder = store.folder("trials", trial.key)
        trained_record(trial).write(folder)
        ((_, _, place),) = trial.measures()
        rng = np.random.default_rng(seed)
        count = GROUPS * EACH
        hits = {f"fine_tuned/{k}": (rng.random(count) < x) * 1.0 for k, x in SHARES.items()}
        group_N = [f"g{n % GROUPS}" for n in range(count)]
        write_table(
            folder / f"{place}.parquet",
            pa.table({"split": ["test"] * count, "group": group_N, **hits}),
        )
        metrics = {f"test/{name}": float(hit_N.mean()) for name, hit_N in hits.items()}
        write_json(folder / f"{place}.json", metrics)
        result = read_result(trial, store)
        assert result is not None
        label = Labels(sweep).configuration(trial)
        row = TrialRow(trial, label, "finished", result.metrics, trained=result.trained)
        rows.append(row)
    return Results(sweep, rows, store)


def test_pairs_are_compared_window_by_window(results: Results, store: Store) -> None:
    lines = fine_tuning_section(results, store)
    assert lines[0] == "## Frozen and fine-tuned"
    five, every = _rows(lines)
    assert (five[1], every[1]) == ("5", "all")
    p_values = []
    for row, k in ((five, "5"), (every, "all")):
        only = np.zeros((2, 2, GROUPS))
        for seed, trial in enumerate(row.trial for row in results.rows):
            table = trial.predictions(store, trial.config.dataset, "fine-tuned")
            assert table is not None
            for window in table.to_pylist():
                tuned, frozen = window[f"fine_tuned/{k}"], window[f"fine_tuned/frozen_{k}"]
                g = int(window["group"][1:])
                only[0, seed, g] += tuned > frozen
                only[1, seed, g] += tuned < frozen
        found = compare(only[0], only[1], [EACH] * GROUPS)
        assert found.p is not None
        p_values.append(found.p)
        interval = f"({100 * found.low:+.1f} to {100 * found.high:+.1f})"
        assert row[4] == f"{100 * found.difference:+.1f} {interval}"
    assert [row[5] for row in (five, every)] == [f"{p:.2g}" for p in holm(p_values)]
    assert five[6].endswith("points better")
    assert every[6] == "not distinguishable at 95 %"


def _rows(lines: list[str]) -> list[list[str]]:
    """The cells of the table's rows."""
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]


def test_the_figure_has_a_line_for_each_kind(results: Results) -> None:
    figure = draw_fine_tuning(results)
    assert figure is not None
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["5", "all"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name.rsplit(", ")[-1] for name in names] == ["frozen", "fine-tuned"]
    assert {"--", "-"} <= {line.get_linestyle() for line in axes.lines}


def test_without_the_measure_there_is_nothing(results: Results, store: Store) -> None:
    none = Results(results.sweep, [], store)
    assert fine_tuning_section(none, store) == []
    assert draw_fine_tuning(none) is None
