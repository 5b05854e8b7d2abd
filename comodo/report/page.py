"""Puts the page of a sweep together as lines of Markdown, and writes its sections on protocol,
data, confounds, cost and trials. Does not know how its head, tables, figures and HTML are produced.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping

import pyarrow as pa

from comodo.config import Sweep
from comodo.config.measures import prompts_of
from comodo.config.metric import QUICK_ACCURACY, Metric
from comodo.core.markdown import as_text
from comodo.core.redaction import without_password
from comodo.core.store import Store
from comodo.core.units import format_bytes, format_duration
from comodo.data.feature_sets import commits_of, picture_lines, pictures_of
from comodo.data.quality import QUALITY_CHECKS, flag_lines
from comodo.data.recordings import SPLIT_NAMES
from comodo.data.window_sets import (
    WindowSet,
    read_quality,
    without_video_note,
)
from comodo.evaluation.dataframes import measuring_seconds
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import tables
from comodo.report.accuracy import accuracy_section, other_measures_section
from comodo.report.differences import difference_section
from comodo.report.environment import environment_section
from comodo.report.fine_tuning import fine_tuning_section
from comodo.report.head import head
from comodo.report.plan.confounds import confounds
from comodo.report.plan.splits import train_split
from comodo.report.plan.view import confound_lines
from comodo.report.published import paper_comparison
from comodo.report.tables import Markup, cell, section
from comodo.search.labels import folds_asked, swept_keys
from comodo.search.records import SpentRecord, TrainedRecord
from comodo.tracking.runs import SweepRuns


def report_page(
    results: Results,
    record: SweepRecord,
    store: Store,
    pictures: Mapping[str, str],
    runs: SweepRuns | None,
) -> list[str]:
    """The complete page. `pictures`: names of files in the same folder, and what they show."""

    def shown(*names: str) -> list[str]:
        found = [f"![{as_text(pictures[name])}]({name})" for name in names if name in pictures]
        return [line for picture in found for line in (picture, "")]

    window_sets = record.window_sets(store)
    by_number = [name for name in pictures if name.startswith("by_")]
    confounded = _confounded(results.sweep, window_sets)
    return [
        *head(results, record, store, window_sets, shown("differences.png"), list(confounded)),
        *paper_comparison(results),
        *accuracy_section(results),
        *shown("accuracy.png"),
        *shown("history.png", "parallel.png", *by_number),
        *difference_section(results),
        *tables.importance_section(results),
        *shown("importance.png", "effects.png"),
        *tables.pareto_section(results),
        *shown("pareto.png"),
        *tables.transfer_section(results, record.command),
        *shown("transfer.png"),
        *fine_tuning_section(results, store),
        *shown("fine_tuned.png"),
        *other_measures_section(results),
        *shown("few_shot.png", "confusion.png"),
        *(["## Learning", "", *curve] if (curve := shown("learning.png")) else []),
        *protocol_section(record, window_sets, store),
        *data_section(results.sweep, window_sets, store),
        *_faults(window_sets, store),
        *_confounds(results.sweep, confounded),
        *_cost(results, store),
        *environment_section(results),
        *_trials(results, runs, store),
    ]


def protocol_section(
    record: SweepRecord, window_sets: Mapping[str, WindowSet], store: Store
) -> list[str]:
    """How the sweep searched and selected, and from which weights."""
    sweep = record.sweep
    found = (commits_of(windows.key, store) for windows in window_sets.values())
    commits = sorted({pair for commits in found for pair in commits.items()})
    names = {"val": "validation", "test": "test", "": "none"}
    split = names[Metric.parse(sweep.objective.metric).split]
    rows = [
        ["protocol", sweep.protocol],
        ["selection", f"{sweep.objective.metric} ({sweep.objective.mode}); split: {split}"],
        ["search", sweep.search.sampler],
        *([f"swept: {key}", values] for key, values in swept_keys(sweep).items()),
        ["seeds", ", ".join(map(str, sweep.seeds))],
        *([f"folds of {name}", str(folds)] for name, folds in folds_asked(sweep).items()),
        ["measures", ", ".join(sweep.measures.names)],
        *_texts(sweep, window_sets),
        ["other test data sets", ", ".join(sweep.evaluate_on) or "none"],
        ["early stopping", f"by {QUICK_ACCURACY}" if sweep.early_stopping else "no"],
        *([f"start of {name}", source.title] for name, source in record.sources.items()),
        *(["teacher's weights", f"{name} at commit {commit}"] for name, commit in commits),
        *(
            ["student's weights", f"{name} at commit {weights['commit']}"]
            for name, weights in sorted(record.weights.items())
            if "commit" in weights
        ),
    ]
    note = "Test accuracy is computed once for each finished trial and selects nothing."
    if folds_asked(sweep):
        note = "Test accuracy is computed once for each finished trial; see above for what selects."
    if split == "test":
        note = "**Selection was by the test split**, so its accuracies are optimistic."
    return section("Protocol", note, ["setting", "value"], rows)


def _texts(sweep: Sweep, window_sets: Mapping[str, WindowSet]) -> list[list[str]]:
    """The texts of the classes of each data set that is trained on, if anything compares them."""
    if "zero-shot-text" not in sweep.measures:
        return []
    trained = dict.fromkeys(name for name, _ in sweep.trained_on())
    known = {name: window_sets[name] for name in trained if name in window_sets}
    return [
        [f"texts of the classes of {name}", "; ".join(prompts_of(windows.labels, sweep.prompt))]
        for name, windows in known.items()
    ]


def data_section(sweep: Sweep, window_sets: Mapping[str, WindowSet], store: Store) -> list[str]:
    rows = []
    for name, windows in window_sets.items():
        table = pa.concat_tables(read_quality(windows.folder)).to_pandas()
        flags = [(check.title, int(check.flags(table).sum())) for check in QUALITY_CHECKS]
        flagged = "; ".join(f"{title}: {count}" for title, count in flags if count)
        classes = windows.labels
        counts = [f"{len(table):,}", f"{len(windows.rejected):,}"]
        counts += [_windows_in(windows, split) for split in SPLIT_NAMES]
        leaked = "; ".join(f"{split} {share}" for split, share in windows.leaks.items())
        cells = [*counts, str(len(classes))]
        kind = sweep.datasets[name].kind
        rows.append([name, kind, *cells, leaked or "none", flagged or "none"])
    if not rows:
        return []
    header = ["data set", "kind", "recordings", "rejected", *SPLIT_NAMES, "classes"]
    return section(
        "Data",
        "Windows in each split, with folds the fewest and most of a fold; leakage: groups of val "
        "and test that are also in train; recordings with flagged quality, which `comodo inspect "
        "NAME` lists.",
        [*header, "leakage (groups)", "flagged recordings"],
        rows,
    )


def _windows_in(windows: WindowSet, split: str) -> str:
    counts = [of_fold.counts.get(split, 0) for of_fold in windows.splits]
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _faults(window_sets: Mapping[str, WindowSet], store: Store) -> list[str]:
    """Not in `data_section`, which model cards contain too: they contain names of files."""
    lines = []
    for name, windows in window_sets.items():
        if windows.rejected:
            reasons = Counter(windows.rejected.values()).most_common(3)
            listed = as_text("; ".join(f"{why} ({count} recordings)" for why, count in reasons))
            lines += [f"Most frequent reasons for rejecting recordings of {name}: {listed}.", ""]
        flagged = without_video_note(windows.folder, sum(windows.counts.values()))
        flagged += flag_lines(pa.concat_tables(read_quality(windows.folder)).to_pandas())
        pictures = pictures_of(windows.key, store)
        flagged += picture_lines(pictures, sum(windows.counts.values()))
        lines += [*(f"- {name}: {as_text(line)}" for line in flagged), *([""] if flagged else [])]
    return lines


def _confounded(sweep: Sweep, window_sets: Mapping[str, WindowSet]) -> dict[str, str]:
    """What else changes with each swept key, of those with which something does."""
    if not sweep.search.space:
        return {}
    train = {name: train_split(windows) for name, windows in window_sets.items()}
    lines = confound_lines(confounds(sweep, train))
    return {line.partition(":")[0]: line for line in lines}


def _confounds(sweep: Sweep, found: Mapping[str, str]) -> list[str]:
    if not sweep.search.space:
        return []
    lines = [f"- {as_text(line)}" for line in found.values()]
    return ["## Confounds", "", *(lines or ["Nothing else changes with a swept key."]), ""]


def _cost(results: Results, store: Store) -> list[str]:
    """Time and memory of the trials, including those that another sweep ran."""
    costs = {
        label: [(row.trained, measuring_seconds(row, store)) for row in rows if row.trained]
        for label, rows in results.by_label.items()
    }
    if not costs:
        return []
    total, requested = defaultdict[str, float](float), results.sweep.resources.gpus_per_worker
    earlier = 0.0 if requested == "auto" else requested  # of versions that recorded none
    for record, seconds in (cost for trials in costs.values() for cost in trials):
        hours, workers = (record.seconds + seconds) / 3600, record.workers or 1
        total["trial"] += hours
        total["cpu"] += hours * workers * (record.threads or 1)
        gpus = earlier if record.gpus is None else record.gpus
        total["gpu"] += hours * workers * gpus * (record.device == "cuda")
    devices = {record.device or "unknown" for trials in costs.values() for record, _ in trials}
    spent = SpentRecord.find(store.folder("sweeps", results.sweep.name))
    wall = spent.hours if spent else None
    wall_time = "not recorded" if wall is None else format_duration(3600 * wall)
    return section(
        "Cost",
        f"{total['trial']:.2f} trial-hours on {', '.join(sorted(devices))}: "
        f"{total['gpu']:.2f} GPU-hours, {total['cpu']:.2f} CPU-hours, including trials that "
        f"another sweep ran. Wall-clock time of this sweep's trials: {wall_time}. The table has "
        "means over trials; windows/s is the median over epochs.",
        ["configuration", "trials", "training", "measuring", "windows/s", "peak memory"],
        [[results.title(label), *_cost_cells(trials)] for label, trials in costs.items()],
    )


def _cost_cells(trials: list[tuple[TrainedRecord, float]]) -> list[str]:
    """Cells of one configuration; each of its trials comes with its seconds of measuring."""
    records = [record for record, _ in trials]
    speeds = [speed for record in records if (speed := record.windows_per_second) is not None]
    peaks = [bytes for record in records for bytes in (record.peak_memory or {}).values()]
    return [
        str(len(trials)),
        format_duration(statistics.mean(record.seconds for record in records)),
        format_duration(statistics.mean(seconds for _, seconds in trials)),
        f"{statistics.median(speeds):,.0f}" if speeds else "–",
        format_bytes(max(peaks)) if peaks else "–",
    ]


def _trials(results: Results, runs: SweepRuns | None, store: Store) -> list[str]:
    rows = []
    for row in results.rows:
        cells = [row.reason or "–", ""]
        if row.state == "finished":
            cells = [cell(results.of_trial(row, split)) for split in ("val", "test")]
        run = None if runs is None else runs.trials.get(row.trial.key)
        page = None if runs is None or run is None else runs.link(runs.run_page(run))
        link = "–" if page is None else Markup(f"[run]({page})")
        repetition = row.trial.repetition.removeprefix("seed ")
        rows.append([row.title, repetition, row.state, *cells, link])
    on = f" on {results.elsewhere}" if results.elsewhere else ""
    text = (
        f"Acc@1{on} in percent; in brackets the 95 % interval of that student for new groups. "
        "Settings and all metrics are in results.parquet."
    )
    if runs is not None:
        pages = {
            "the sweep's run": runs.run_page(runs.parent),
            "its configurations": runs.runs_page(),
            "parallel coordinates": runs.runs_page(charts=True),
            "its trials": runs.runs_page(trials=True),
        }
        named = ", ".join(f"[{name}]({runs.link(address)})" for name, address in pages.items())
        where = f"MLflow at {as_text(without_password(runs.uri))}: {named}"
        if runs.is_local:
            where = f"MLflow in the store: {named}; the links work while `comodo ui` is running"
        text += f"\n\nRecords: {where}."
    header = ["configuration", "seed", "state", "val", "test", "record"]
    return section("Trials", text, header, rows)
