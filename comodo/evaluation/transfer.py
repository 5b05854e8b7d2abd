"""The transfer grid: students by the data set that they were trained on, against all. Does not know
how accuracies are computed, nor how the grid is shown.
"""

from dataclasses import dataclass

from comodo.config import NoneMethod
from comodo.evaluation.results import Results
from comodo.evaluation.stats import Interval


@dataclass(frozen=True)
class TransferRow:
    """One line of a transfer grid."""

    trained_on: str
    label: str
    cells: dict[str, Interval | None]  # by the data set tested on


def transfer_grid(results: Results, measure: str = "probe") -> list[TransferRow]:
    """The rows with a result, without baselines, which know only the classes of their own data
    set."""
    grid: dict[tuple[str, str], TransferRow] = {}
    for label, (first, *_) in results.by_label.items():
        config = first.trial.config
        if config.student.is_baseline:
            continue
        # What is not trained is the same for every data set, except for `direct`, where the
        # probe has learnt from its own data set.
        untrained = isinstance(config.method, NoneMethod) and measure != "direct"
        trained_on = "–" if untrained else config.dataset
        name = results.labels.configuration(first.trial, leave_out="dataset")
        row = grid.setdefault((trained_on, name), TransferRow(trained_on, name, {}))
        for dataset in results.tested_on:
            if row.cells.get(dataset) is None:
                row.cells[dataset] = results.accuracy(label, "test", 1, dataset, measure)
    return [row for row in grid.values() if any(cell for cell in row.cells.values())]
