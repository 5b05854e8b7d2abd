"""What came out of a sweep, as a page, tables and figures; computes no measure itself."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from rich.table import Table

from comodo import figures
from comodo.config import NoneMethod, SimulatedDataset
from comodo.config.objective import PARAMETERS
from comodo.results import Difference, Results
from comodo.stats import Interval
from comodo.store import atomic
from comodo.windows import leakage

ACCURACIES = tuple(f"{split}/acc{k}" for split in ("val", "test") for k in (1, 3, 5))


def write(results: Results, folder: Path) -> Path:
    """Writes report.md, its figures and CSV tables into `folder`/report; returns that."""
    folder = folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()  # of an earlier run, which may have had more to show
    pictures = figures.draw_all(results, folder)
    tables = {"trials.csv": _trials(results)}
    if (label := results.selected) is not None and results.accuracy(label, "test") is not None:
        for column, name in (("label", "class"), ("group", "group")):
            tables[f"accuracy_by_{name}.csv"] = results.accuracy_by(label, column)
    for name, table in tables.items():
        with atomic(folder / name) as path:
            table.to_csv(path, index=False)
    with atomic(folder / "report.md") as path:
        path.write_text("\n".join(_page(results, pictures)) + "\n")
    return folder


def table(results: Results) -> Table:
    """The configurations, for the terminal."""
    notes = ["percent, with 95 % intervals", *filter(None, [results.star])]
    caption = "\n".join(["; ".join(notes), *_leakage(results)])
    shown = Table(title=results.sweep.name, caption=caption)
    shown.add_column("configuration", overflow="fold", min_width=20)
    for column in ("seeds", "test Acc@1"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("over untrained", no_wrap=True)
    over = {d.first: d for d in reversed(results.differences) if _is_untrained(results, d)}
    for label, rows in results.by_label.items():
        gain = ""
        if difference := over.get(label):
            clear = "clear" if difference.distinguishable else "not distinguishable"
            gain = f"{100 * difference.comparison.difference:+.1f}, {clear}"
        accuracy = _cell(results.accuracy(label, "test"))
        shown.add_row(results.title(label), str(len(rows)), accuracy, gain)
    for row in results.rows:
        if row.state != "finished":
            shown.add_row(f"{row.label} seed {row.trial.seed}", "", row.state, "")
    return shown


def _page(results: Results, pictures: list[tuple[str, str]]) -> list[str]:
    sweep = results.sweep
    lines = [f"# {sweep.name}", ""]
    simulated = [n for n, d in sweep.datasets.items() if isinstance(d, SimulatedDataset)]
    if simulated:
        lines += [
            f"**A demonstration**: {', '.join(simulated)} is simulated. These numbers say that "
            "the machinery works, nothing about real recordings.",
            "",
        ]
    if sweep.search.sampler == "tpe":
        lines += [f"The search was guided by {sweep.objective.metric}.", ""]
    if sweep.early_stopping is not None:
        lines += ["Trials were stopped early by val/quick_acc1.", ""]
    if results.selected is None:
        lines += [f"No trial has {sweep.objective.metric}, so none is selected.", ""]
    else:
        lines += [f"Selected by {sweep.objective.metric}: **{results.selected}**.", ""]
    if any("test/" in objective.metric for objective in sweep.objectives):
        lines += ["**Selected on the test split**: test accuracies are optimistic.", ""]
    for sentence in _leakage(results):
        lines += [f"**{sentence}.**", ""]
    for section in (_pareto, _accuracies, _differences, _others, _transfer, _importances):
        lines += section(results)
    for name, shows in pictures:
        lines += [f"![{shows}]({name})", ""]
    return lines + _listed(results)


def _leakage(results: Results) -> list[str]:
    return [
        f"{name}: {sentence}"
        for name, leaks in results.leaks.items()
        for sentence in leakage(leaks)
    ]


def _pareto(results: Results) -> list[str]:
    """Of several objectives: what no other configuration beats in all of them."""
    if len(results.sweep.objectives) == 1 or not results.pareto:
        return []
    header = ["configuration", *(f"{o.metric} ({o.mode})" for o in results.sweep.objectives)]
    rows = [
        [
            label,
            *(
                f"{value:,.0f}"
                if o.metric == PARAMETERS
                else _cell(results.measure(label, o.metric))
                for o, value in zip(results.sweep.objectives, values, strict=True)
            ),
        ]
        for label, values in results.pareto.items()
    ]
    return [
        "## Pareto front",
        "",
        "Configurations that no other beats in one objective without losing in another, by means "
        "over seeds; shares in percent, with 95 % intervals.",
        "",
        *markdown(header, rows),
    ]


def _accuracies(results: Results) -> list[str]:
    header = ["configuration", "seeds", *ACCURACIES]
    rows = []
    for label, trials in results.by_label.items():
        cells = [_cell(results.accuracy(label, *_asked(name))) for name in ACCURACIES]
        rows.append([results.title(label), str(len(trials)), *cells])
    return [
        "## Accuracy",
        "",
        "Percent, mean over seeds; in brackets the 95 % interval for new seeds on new groups "
        "(subjects, captures or days); of one seed, for that student on new groups.",
        "",
        *markdown(header, rows),
        *([f"\\{results.star}.", ""] if results.star else []),
    ]


def _differences(results: Results) -> list[str]:
    if not results.differences:
        return []
    rows = [
        [
            f"{results.title(d.first)} – {results.title(d.second)}",
            str(d.seeds),
            f"{100 * d.comparison.difference:+.1f} "
            f"({100 * d.comparison.low:+.1f} to {100 * d.comparison.high:+.1f})",
            f"{d.p:.2g}",
            _verdict(d),
            _needed(d),
        ]
        for d in results.differences
    ]
    header = ["test Acc@1 of", "pairs", "points (95 %)", "p (Holm)", "verdict", "more seeds needed"]
    return [
        "## Differences",
        "",
        "Paired by seed and group. p is corrected for all lines of this table, the interval is of "
        "its line alone. With so many more seeds a difference that stayed as it is would be told "
        "apart about every second time.",
        "",
        *markdown(header, rows),
    ]


def _verdict(difference: Difference) -> str:
    if not difference.distinguishable:
        return "not distinguishable at 95 %"
    points = 100 * difference.comparison.difference
    return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}"


def _needed(difference: Difference) -> str:
    more = difference.comparison.more_seeds
    if difference.distinguishable:
        return "–"
    if more is None:
        return "more groups" if difference.seeds > 1 else "unknown with one seed"
    return str(more) if more else "none without the correction for many comparisons"


def _is_untrained(results: Results, difference: Difference) -> bool:
    trial = results.by_label[difference.second][0].trial
    return isinstance(trial.config.method, NoneMethod)


def _others(results: Results) -> list[str]:
    """Measures that the other tables do not have."""
    names = [
        name
        for rows in results.by_label.values()
        for name in rows[0].metrics
        if name not in (*ACCURACIES, PARAMETERS) and not name.endswith("probe/C")
    ]
    names = [name for name in dict.fromkeys(names) if not name.endswith("_std")]
    rows = [
        [name, *(_cell(results.measure(label, name)) for label in results.by_label)]
        for name in names
    ]
    sizes = [f"{results.by_label[label][0].metrics[PARAMETERS]:,.0f}" for label in results.by_label]
    rows.append([PARAMETERS, *sizes])
    return [
        "## Other measures",
        "",
        "Percent, mean over seeds; in brackets the 95 % interval for new seeds on new groups, of "
        "alignment for new seeds on these windows.",
        "",
        *markdown(["measure", *map(results.title, results.by_label)], rows),
    ]


def _transfer(results: Results) -> list[str]:
    datasets = results.tested_on
    if len(datasets) < 2:
        return []
    lines = ["## Transfer", ""]
    for measure, says in (
        ("probe", "Test Acc@1 of a probe fitted on the train split of the data set tested on."),
        (
            "direct",
            "Test Acc@1 of the probe of the data set trained on, without a label of the data set "
            "tested on; among the classes that both have.",
        ),
    ):
        grid = results.transfer(measure)
        if grid:
            rows = [
                [row.trained_on, row.label, *(_cell(row.cells[name]) for name in datasets)]
                for row in grid
            ]
            header = ["trained on", "student", *(f"tested on {name}" for name in datasets)]
            lines += [says, "", *markdown(header, rows)]
    return lines


def _importances(results: Results) -> list[str]:
    found = results.importances()
    if not found:
        return []
    rows = [[key, _cell(share)] for key, share in found.items()]
    return [
        "## Which key mattered",
        "",
        f"Share of the variance of {results.sweep.objective.metric} that each key explains alone "
        "(fANOVA), in percent; in brackets the range of nine in ten resamplings of the "
        "configurations. The shares add up to all of it even where nothing matters: read them only "
        "where configurations are distinguishable above.",
        "",
        *markdown(["key", "importance"], rows),
    ]


def _listed(results: Results) -> list[str]:
    rows = []
    for row in results.rows:
        cells = [row.reason or "–", ""]
        if row.state == "finished":
            cells = [_cell(results.of_trial(row, split)) for split in ("val", "test")]
        rows.append([row.title, str(row.trial.seed), row.state, *cells])
    return [
        "## Trials",
        "",
        "Acc@1 in percent; in brackets the 95 % interval for that student on new groups.",
        "",
        *markdown(["configuration", "seed", "state", "val", "test"], rows),
    ]


def _trials(results: Results) -> pd.DataFrame:
    """Every trial with every measure."""
    return pd.DataFrame(
        {
            "trial": row.trial.key,
            "configuration": row.label,
            "seed": row.trial.seed,
            "state": row.state,
            "reason": row.reason,
            **row.metrics,
        }
        for row in results.rows
    )


def _asked(name: str) -> tuple[str, int]:
    split, _, k = name.partition("/acc")
    return split, int(k)


def _cell(found: Interval | None) -> str:
    if found is None:
        return "–"
    if math.isnan(found.low):
        return f"{100 * found.mean:.1f}"
    return f"{100 * found.mean:.1f} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def markdown(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A table's lines, with an empty one behind."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"

    return [line(header), "|" + " --- |" * len(header), *map(line, rows), ""]
