"""Puts the page of a sweep together as lines of Markdown, and writes its sections on protocol,
data, confounds, cost and trials. Does not know how tables, figures and HTML are produced.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa

from comodo.config import SimulatedDataset, Sweep
from comodo.config.dataset_base import G_AND_DEGREES
from comodo.config.metric import QUICK_ACCURACY, Metric
from comodo.config.overrides import shown_overrides
from comodo.core.markdown import as_code, as_text
from comodo.core.redaction import without_password
from comodo.core.store import Store
from comodo.core.units import format_bytes, format_duration
from comodo.data.feature_sets import commits_of, picture_lines, pictures_of
from comodo.data.group_split import few_groups_note
from comodo.data.quality import QUALITY_CHECKS, flag_lines
from comodo.data.recordings import SPLIT_NAMES
from comodo.data.window_sets import (
    WindowSet,
    leakage_notes,
    read_quality,
    without_video_note,
)
from comodo.evaluation.dataframes import measuring_seconds
from comodo.evaluation.results import Results
from comodo.evaluation.scoring import own_unlabelled
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import tables
from comodo.report.environment import environment_section, mixed_libraries
from comodo.report.fine_tuning import fine_tuning_section
from comodo.report.hand_crafted import against_hand_crafted
from comodo.report.mlflow_pages import folds_asked
from comodo.report.plan.confounds import confounds
from comodo.report.plan.splits import train_split
from comodo.report.plan.view import confound_lines
from comodo.report.published import paper_comparison
from comodo.report.selection import selection_over_folds
from comodo.report.tables import Markup, cell, section
from comodo.search.labels import swept_keys
from comodo.search.measurable import unlabelled_note
from comodo.search.records import SpentRecord, TrainedRecord
from comodo.search.status import read_status
from comodo.tracking.runs import SweepRuns

SELECTED_ON_TEST = "**Selected on the test split**: test accuracies are optimistic."


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
    return [
        *_head(results, record, store),
        *paper_comparison(results),
        *tables.accuracy_section(results),
        *shown("accuracy.png", *by_number),
        *tables.difference_section(results),
        *tables.pareto_section(results),
        *shown("pareto.png"),
        *tables.transfer_section(results, record.command),
        *shown("transfer.png"),
        *tables.importance_section(results),
        *shown("importance.png", "effects.png"),
        *fine_tuning_section(results, store),
        *shown("fine_tuned.png"),
        *tables.other_metrics_section(results),
        *shown("few_shot.png", "confusion.png"),
        *(["## Learning", "", *curve] if (curve := shown("learning.png")) else []),
        *protocol_section(record, window_sets, store),
        *data_section(results.sweep, window_sets, store),
        *_faults(window_sets, store),
        *_confounds(results.sweep, window_sets),
        *_cost(results, store),
        *environment_section(results),
        *_trials(results, runs, store),
    ]


def _head(results: Results, record: SweepRecord, store: Store) -> list[str]:
    """What a reader has to know first."""
    sweep = results.sweep
    count = f"{sum(row.state == 'finished' for row in results.rows)} of {len(results.rows)}"
    state = read_status(sweep.name, store).state
    selected = f"Selected by {sweep.objective.metric}: **{as_text(results.selected or '')}**."
    if results.selected is None:
        selected = f"No trial has {sweep.objective.metric}, so none is selected."
    paragraphs = [
        f"# {sweep.name}",
        *(f"**{as_text(sentence)}.**" for sentence in against_hand_crafted(results)),
        *demonstration(sweep, sweep.datasets),
        f"{count} trials finished; state of the sweep: {state}.",
        *tables.missing(results.rows, record.command)[:1],
        selected,
        *selection_over_folds(results),
        *overridden(sweep),
    ]
    if any(Metric.parse(o.metric).split == "test" for o in sweep.objectives):
        paragraphs.append(SELECTED_ON_TEST)
    if record.other_versions:
        fault = f"Trained and measured by another version ({record.other_versions})"
        paragraphs.append(f"**{fault}**: for numbers of this version run `{record.command}`")
    paragraphs += mixed_libraries(results)
    paragraphs += [f"**{as_text(sentence)}.**" for sentence in limits(results)]
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def demonstration(sweep: Sweep, datasets: Iterable[str]) -> list[str]:
    """A note if any of these data sets are simulated."""
    simulated = [name for name in datasets if isinstance(sweep.datasets[name], SimulatedDataset)]
    note = (
        f"> **A demonstration** on simulated data ({', '.join(simulated)}). The numbers show that "
        "the software works; they say nothing about real recordings."
    )
    return [note] if simulated else []


def overridden(sweep: Sweep) -> list[str]:
    """The keys of the sweep file that the command line set, if any."""
    if not sweep.overrides:
        return []
    return [f"Set on the command line, over the file: {as_code(shown_overrides(sweep.overrides))}."]


def limits(results: Results) -> list[str]:
    """What limits all that the results say: no labels, leakage, few groups in test, one seed."""
    unfit = set[str]().union(*(own_unlabelled(row.trial) for row in results.rows))
    sentences = [f"{name}: {unlabelled_note(results.sweep, name)}" for name in sorted(unfit)]
    sentences += [
        f"{name}: {sentence}"
        for name, found in results.leaks.items()
        for sentence in leakage_notes(found)
    ]
    for name, groups in results.test_groups.items():
        sentences += [f"{name}: {sentence}" for sentence in few_groups_note(groups)]
    seen = {
        (name, t.units_on(name))
        for t in (r.trial for r in results.rows)
        for name in t.measured_on()
    }
    for name, units in sorted(seen):
        if units != G_AND_DEGREES:
            sentences.append(f"{name}: students see {' and '.join(units)}, as published")
    methods = {label: rows[0].trial.config.method for label, rows in results.by_label.items()}
    if both := [x for x, method in methods.items() if method.needs_teacher and method.needs_labels]:
        also = "also few-shot and fine-tuned accuracy comes after training with all labels"
        sentences.append(f"distilled and trained with labels: {', '.join(both)}; {also}")
    if len(results.sweep.seeds) == 1:
        fix = "add some (seeds: [0, 1, 2]); what is finished is not run again"
        sentences.append(f"one seed: nothing is said about configurations; {fix}")
    return sentences


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
        ["measures", ", ".join(sweep.measures)],
        ["other test data sets", ", ".join(sweep.evaluate_on) or "none"],
        ["early stopping", f"by {QUICK_ACCURACY}" if sweep.early_stopping else "no"],
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


def data_section(sweep: Sweep, window_sets: Mapping[str, WindowSet], store: Store) -> list[str]:
    rows = []
    for name, windows in window_sets.items():
        table = pa.concat_tables(read_quality(windows.folder)).to_pandas()
        flags = [(check.title, int(check.flags(table).sum())) for check in QUALITY_CHECKS]
        flagged = "; ".join(f"{title}: {count}" for title, count in flags if count)
        classes = {label for counts in windows.classes.values() for label in counts}
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


def _confounds(sweep: Sweep, window_sets: Mapping[str, WindowSet]) -> list[str]:
    if not sweep.search.space:
        return []
    train = {name: train_split(windows) for name, windows in window_sets.items()}
    found = [f"- {as_text(line)}" for line in confound_lines(confounds(sweep, train))]
    return ["## Confounds", "", *(found or ["Nothing else changes with a swept key."]), ""]


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
            "its trials": runs.runs_page(),
            "parallel coordinates": runs.runs_page(charts=True),
        }
        named = ", ".join(f"[{name}]({runs.link(address)})" for name, address in pages.items())
        where = f"MLflow at {as_text(without_password(runs.uri))}: {named}"
        if runs.is_local:
            where = f"MLflow in the store: {named}; the links work while `comodo ui` is running"
        text += f"\n\nRecords: {where}."
    header = ["configuration", "seed", "state", "val", "test", "record"]
    return section("Trials", text, header, rows)
