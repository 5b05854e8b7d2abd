"""What MLflow's pages say of a sweep: its question, its answer, its description, and a run for each
configuration. Only writes the texts; `tracking` stores them.
"""

import math
import statistics
from collections.abc import Sequence

from comodo.config import Sweep
from comodo.config.base import SMOKE_SUFFIX
from comodo.config.metric import PARAMETERS
from comodo.config.space import flatten
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.accuracy import accuracy_table, ranked
from comodo.report.answer import answer_sentences
from comodo.report.head import limits
from comodo.report.mlflow_views import INTERVAL, SELECTED, absent_values, axis, shown_metrics
from comodo.report.names import scale_of
from comodo.report.tables import Markup, markdown, missing, number
from comodo.search.labels import folds_asked, rounded, swept_keys
from comodo.tracking.configurations import Configuration
from comodo.tracking.runs import SweepRuns

MAX_NOTE_LETTERS = 8000  # MLflow cuts a longer tag
MAX_COMPARED_RUNS = 40  # more make the address of the page too long
SELECTED_STAR = "★ "


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
            params[axis(key, absent)] = value if config.get(key) is None else params[key]
    found = {
        name: [row.metrics[name] for row in rows if name in row.metrics] for name in rows[0].metrics
    }
    tags = {
        "configuration": label,
        SELECTED: "yes" if label == results.selected else "no",
        "seeds": ", ".join(dict.fromkeys(str(row.trial.seed) for row in rows)),
    }
    means = {name: statistics.mean(values) for name, values in found.items() if values}
    sweep = results.sweep
    for name in metrics:
        interval = results.measure(label, name) if name in means and name != PARAMETERS else None
        if interval is not None and not math.isnan(interval.low):
            low, high = (number(x, scale_of(name, sweep)) for x in (interval.low, interval.high))
            tags[f"{name} {INTERVAL}"] = f"{low}–{high}"
    objective = sweep.objectives[0].metric
    interval_text = tags.get(f"{objective} {INTERVAL}")
    value = _shown(objective, means.get(objective), interval_text, scale_of(objective, sweep))
    star = SELECTED_STAR if label == results.selected else ""
    title = f"{star}{value}{results.title(label)}"
    return Configuration(label, title, _trials(rows, metrics, runs), means, params, tags)


def _shown(name: str, mean: float | None, interval: str | None, scale: int) -> str:
    """`79.2 (70.3–86.4) `, shares in percent. MLflow's page first shows 18 letters of a name."""
    if mean is None:
        return ""
    value = f"{mean:,.0f}" if name == PARAMETERS else number(mean, scale)
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
