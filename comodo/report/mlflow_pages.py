"""What MLflow's pages show of a sweep: its question, its answer, its description, a run for each
configuration, and views with the columns and charts of these runs and of the trials'. Only writes
the texts; `tracking` stores them.
"""

import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from comodo.config import Sweep
from comodo.config.base import SMOKE_SUFFIX
from comodo.config.datasets import fold_split
from comodo.config.metric import PARAMETERS, QUICK_ACCURACY, TRAIN_LOSS, Metric, accuracy
from comodo.config.space import flatten
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.accuracy import accuracy_table, ranked
from comodo.report.answer import answer_sentences
from comodo.report.head import limits
from comodo.report.tables import Markup, markdown, missing
from comodo.search.labels import Labels, rounded, swept_keys
from comodo.tracking.configurations import CONFIGURATION, Configuration
from comodo.tracking.runs import SWEEP_RUN, TRIAL, SweepRuns

MAX_NOTE_LETTERS = 8000  # MLflow cuts a longer tag
MAX_COMPARED_RUNS = 40  # more make the address of the page too long
MAX_AXES = 8  # of a parallel-coordinates plot that can still be read
VIEW_NAMES = {False: "comodo: configurations", True: "comodo: trials"}
SELECTED, INTERVAL = "selected", "interval"  # in names of tags, which can be columns
SELECTED_STAR = "★ "
SECTIONS = (("swept", "What was swept", 1), ("measured", "Measured", 3), ("learned", "Learning", 3))
"""Of the charts: key, title, and number of columns."""


def sweep_question(sweep: Sweep) -> str:
    """The sweep's question, in one sentence of Markdown."""
    keys = [f"{key} ({values})" for key, values in swept_keys(sweep).items()]
    objectives = [f"{o.metric} ({o.mode})" for o in sweep.objectives]
    trained = dict.fromkeys(name for name, _ in sweep.trained_on())
    on = [name for name in sweep.evaluate_on if name not in trained]
    parts = [
        f"{' and '.join(objectives)} by {', '.join(keys)}" if keys else " and ".join(objectives),
        f"trained on {', '.join(trained)}",
        *([f"also tested on {', '.join(on)}"] if on else []),
        f"seeds {', '.join(map(str, sweep.seeds))}",
        *(f"{name} in folds: {folds}" for name, folds in folds_asked(sweep).items()),
        f"protocol {sweep.protocol}",
    ]
    return as_text("; ".join(parts)) + "."


def folds_asked(sweep: Sweep) -> dict[str, int | str]:
    """The number of folds, or `all`, of the data sets trained on, of those that have folds."""
    found = {name: fold_split(sweep.datasets[name]) for name, _ in sweep.trained_on()}
    return {name: split.folds for name, split in found.items() if split is not None}


def running_description(sweep: Sweep, command: str) -> str:
    """The description while the sweep is running."""
    return f"{sweep_question(sweep)}\n\nTo run or continue it: {as_code(command)}"


def finished_description(results: Results, record: SweepRecord, runs: SweepRuns) -> str:
    """The description of a sweep with results: the question, links to pages that compare its runs,
    and the table of accuracies, best first, cut to the length that MLflow keeps."""
    labels = ranked(results)
    own = [
        run
        for label in labels
        for row in results.by_label.get(label, ())
        if not results.is_reference(row.trial) and (run := runs.trials.get(row.trial.key))
    ]
    pages = [
        f"[configurations with the swept keys]({runs.runs_page()})",
        f"[parallel coordinates]({runs.runs_page(charts=True)})",
        f"[trials]({runs.runs_page(trials=True)})",
    ]
    if len(own) > 1:
        compared = own[:MAX_COMPARED_RUNS]
        of = "all" if compared == own else f"the best {MAX_COMPARED_RUNS} of {len(own)}"
        pages.append(f"[compare {of}]({runs.compare_page(compared)})")
    datasets = results.sweep.datasets.items()
    simulated = ", ".join(name for name, settings in datasets if settings.kind == "simulated")
    selected = (
        f"Selected: **{as_text(results.title(results.selected))}**."
        if results.selected
        else "None is selected."
    )
    paragraphs = [
        running_description(results.sweep, record.command),
        *([f"**A demonstration** on simulated data ({simulated})."] if simulated else []),
        *(f"**{as_text(sentence)}.**" for sentence in answer_sentences(results)),
        "\n".join([selected, *missing(results.rows, record.command)[:1]]),
        f"See {', '.join(pages)}; files and figures are among the artifacts.",
    ]
    head = [line for paragraph in paragraphs for line in (paragraph, "")]
    header, rows = accuracy_table(results, labels)
    for cut in range(len(rows) + 1):
        more = f"{cut} more configurations are in report/report.html among the artifacts."
        lines = [*head, *markdown(header, rows[: len(rows) - cut]), *([more] if cut else [])]
        text = rounded("\n".join(lines), results.digits).rstrip("\n")
        if len(text) <= MAX_NOTE_LETTERS:
            break
    return text


def experiment_answer(results: Results, runs: SweepRuns) -> str:
    """What stands above the experiment's runs: the answer, its largest caution, the question, and
    links. The list of experiments shows its beginning as it is written, so nothing is bold."""
    sentences = answer_sentences(results)
    if results.sweep.name.endswith(SMOKE_SUFFIX):
        sentences.insert(0, "A smoke run, its numbers mean nothing")
    sentences += [f"{limit[0].upper()}{limit[1:]}" for limit in limits(results)[:1]]
    objective = results.sweep.objectives[0].metric
    sentences.append(
        f"Runs: one for each configuration, the best by {objective} first (percent with 95 % "
        f"interval), {SELECTED_STAR}selected; its trials are below it"
    )
    pages = {
        "columns for the swept keys": runs.runs_page(),
        "parallel coordinates": runs.runs_page(charts=True),
        "description and report": runs.run_page(runs.parent),
    }
    links = ", ".join(f"[{name}]({page})" for name, page in pages.items())
    shown = [f"{as_text(sentence)}." for sentence in sentences]
    return " ".join([*shown, f"See {links}.", sweep_question(results.sweep)])


def configurations(results: Results, runs: SweepRuns) -> list[Configuration]:
    """The runs of the configurations with results, the best by the first objective first. A name
    begins with the objective, because that page shows no metrics by itself; a star marks the
    selected one."""
    labels = [label for label in ranked(results) if label in results.by_label]
    metrics, absent = shown_metrics(results), absent_values(results)
    return [_configuration(label, metrics, absent, results, runs) for label in labels]


def _configuration(
    label: str,
    metrics: list[str],
    absent: dict[str, str],
    results: Results,
    runs: SweepRuns,
) -> Configuration:
    rows = results.by_label[label]
    config = flatten(rows[0].trial.config.model_dump(mode="json"))
    params = {key: str(value) for key, value in config.items()}
    if not results.is_reference(rows[0].trial):
        for key, value in absent.items():
            params[_axis(key, absent)] = value if config.get(key) is None else params[key]
    found = {
        name: [row.metrics[name] for row in rows if name in row.metrics] for name in rows[0].metrics
    }
    tags = {
        "configuration": label,
        SELECTED: "yes" if label == results.selected else "no",
        "seeds": ", ".join(dict.fromkeys(str(row.trial.seed) for row in rows)),
    }
    means = {name: statistics.mean(values) for name, values in found.items() if values}
    for name in metrics:
        interval = results.measure(label, name) if name in means and name != PARAMETERS else None
        if interval is not None and not math.isnan(interval.low):
            tags[f"{name} {INTERVAL}"] = f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
    objective = results.sweep.objectives[0].metric
    value = _shown(objective, means.get(objective), tags.get(f"{objective} {INTERVAL}"))
    star = SELECTED_STAR if label == results.selected else ""
    title = f"{star}{value}{results.title(label)}"
    return Configuration(label, title, _trials(rows, metrics, runs), means, params, tags)


def _shown(name: str, mean: float | None, interval: str | None) -> str:
    """`79.2 (70.3–86.4) `, in percent. MLflow's page first shows 18 letters of a name."""
    if mean is None:
        return ""
    value = f"{mean:,.0f}" if name == PARAMETERS else f"{100 * mean:.1f}"
    return f"{value}{f' ({interval})' if interval else ''} "


def _trials(rows: Sequence[TrialRow], metrics: list[str], runs: SweepRuns) -> str:
    """The trials of a configuration, as a table with links to their runs."""
    lines = []
    for row in rows:
        name, run = row.trial.repetition, runs.trials.get(row.trial.key)
        values = (row.metrics.get(metric) for metric in metrics)
        cells = ("–" if value is None else f"{value:,.4g}" for value in values)
        lines.append([Markup(f"[{name}]({runs.run_page(run)})") if run else name, *cells])
    return "\n".join(markdown(["trial", *metrics], lines)).rstrip("\n")[:MAX_NOTE_LETTERS]


def absent_values(results: Results) -> dict[str, str]:
    """A value for each swept key that some configurations lack, which none has: MLflow's parallel
    coordinates leave out configurations without one, and of a column of numbers also those with a
    text."""
    flats = [
        flatten(rows[0].trial.config.model_dump(mode="json"))
        for rows in results.by_label.values()
        if not results.is_reference(rows[0].trial)
    ]
    values = {key: [f[key] for f in flats if f.get(key) is not None] for key in results.labels.keys}
    return {key: stand_in(of) for key, of in values.items() if 0 < len(of) < len(flats)}


def stand_in(values: list[Any]) -> str:
    """`absent`, or for numbers one below them: 0, if all are above it."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return "absent"
    low, high = min(values), max(values)
    return "0" if low > 0 else f"{low - ((high - low) / 10 or 1):g}"


def _axis(key: str, absent: Mapping[str, str]) -> str:
    """The parameter with a key's value, or what stands for an absent one: `queue_size or 0`."""
    if key not in absent:
        return key
    end = key.split(".")[-1]
    is_unique = sum(other.split(".")[-1] == end for other in absent) == 1
    return f"{end if is_unique else key} or {absent[key]}"


def shown_metrics(results: Results) -> list[str]:
    """The objectives and accuracies that have columns."""
    unlabelled = {name for row in results.rows for name in row.trial.evaluation.unlabelled}
    return _metrics(results.sweep, unlabelled)


def _metrics(sweep: Sweep, unlabelled: Collection[str]) -> list[str]:
    objectives = [objective.metric for objective in sweep.objectives]
    scored = [Metric.parse(name).dataset for name in objectives]
    if any(name not in unlabelled for name, _ in sweep.trained_on()):
        scored.append("")
    if "probe" not in sweep.measures:
        scored = []
    measured = [accuracy(split, dataset=on) for on in scored for split in ("val", "test")]
    return list(dict.fromkeys([*objectives, *map(str, measured)]))


def _axes(sweep: Sweep) -> list[str]:
    methods = {sweep.with_values(point).method.name for point in sweep.points()}
    return [*(["method.name"] if len(methods) > 1 else []), *Labels(sweep).keys][:MAX_AXES]


def configurations_view(results: Results, created: float, parent: str) -> str:
    """As `trials_view`, of the configurations."""
    sweep, axes, metrics = results.sweep, _axes(results.sweep), shown_metrics(results)
    absent = absent_values(results)
    objective = sweep.objectives[0].metric
    columns = [
        f"tags.`{SELECTED}`",
        *(c for name in metrics for c in (f"metrics.`{name}`", f"tags.`{name} {INTERVAL}`")),
        *(f"params.`{key}`" for key in axes),
        "attributes.`Description`",
    ]
    parallel = {
        "type": "PARALLEL",
        "uuid": "parallel",
        "metricSectionId": "swept",
        "displayName": f"{objective} by what was swept",
        "selectedParams": [_axis(key, absent) for key in axes],
        "selectedMetrics": [objective],
        "showAllRuns": True,
    }
    condition = f"tags.`{SWEEP_RUN}` = '{parent}' and tags.`{CONFIGURATION}` != ''"
    return _view(False, sweep, created, condition, columns, [parallel, *_bars(metrics)])


def trials_view(
    sweep: Sweep, created: float, parent: str, unlabelled: Collection[str] = frozenset()
) -> str:
    """The tag of the experiment in which MLflow's pages keep a view, as their own `Save view` does:
    a table and charts of the sweep's trials by the swept keys. `created`: when the sweep began, in
    seconds since 1970; `parent`: the sweep's run; `unlabelled`: data sets to train on that students
    are not measured on."""
    metrics = _metrics(sweep, unlabelled)
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in _axes(sweep)),
        "params.`seed`",
        *(["params.`fold`"] if folds_asked(sweep) else []),
        "attributes.`Dataset`",
        "attributes.`Description`",
    ]
    lines = [
        {
            "type": "LINE",
            "uuid": f"line-{name}",
            "metricSectionId": "learned",
            "metricKey": name,
            "selectedMetricKeys": [name],
            "xAxisKey": "step",
            "scaleType": "linear",
        }
        for name in (TRAIN_LOSS, QUICK_ACCURACY)
    ]
    condition = f"tags.`{SWEEP_RUN}` = '{parent}' and tags.`{TRIAL}` != ''"
    return _view(True, sweep, created, condition, columns, [*_bars(metrics), *lines])


def _bars(metrics: list[str]) -> list[dict[str, Any]]:
    return [
        {"type": "BAR", "uuid": f"bar-{name}", "metricSectionId": "measured", "metricKey": name}
        for name in metrics
    ]


def _view(
    trials: bool,
    sweep: Sweep,
    created: float,
    condition: str,
    columns: list[str],
    charts: list[dict[str, Any]],
) -> str:
    used = {chart["metricSectionId"] for chart in charts}
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {
            "attributes.`Run Name`": 360,
            "params.`seed`": 60,
            f"tags.`{SELECTED}`": 80,
        },
        "orderByKey": f"metrics.`{sweep.objectives[0].metric}`",
        "orderByAsc": sweep.objectives[0].mode == "min",
        "searchFilter": condition,
        "isAccordionReordered": True,  # or the sections would be put in alphabetical order
        "compareRunSections": [
            {"uuid": id, "name": name, "columns": width, "display": True, "isReordered": True}
            for id, name, width in SECTIONS
            if id in used
        ],
        "compareRunCharts": [{**c, "deleted": False, "isGenerated": False} for c in charts],
    }
    envelope = {
        "name": VIEW_NAMES[trials],
        "createdAt": round(1000 * created),
        "state": json.dumps(state),
    }
    return json.dumps(envelope)
