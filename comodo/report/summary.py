"""The description of a sweep that MLflow shows. Does not know how it gets there."""

import math

from comodo.config import Sweep
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.tables import accuracy_table, markdown, missing
from comodo.search.labels import rounded, swept_keys
from comodo.tracking.runs import SweepRuns

MAX_NOTE_LETTERS = 8000  # MLflow cuts a longer tag
MAX_COMPARED_RUNS = 40  # more make the address of the page too long


def sweep_question(sweep: Sweep) -> str:
    """The sweep's question, in one sentence."""
    keys = [f"{key} ({values})" for key, values in swept_keys(sweep).items()]
    objectives = [f"{o.metric} ({o.mode})" for o in sweep.objectives]
    trained = dict.fromkeys(name for name, _ in sweep.trained_on())
    on = [name for name in sweep.evaluate_on if name not in trained]
    parts = [
        f"{' and '.join(objectives)} by {', '.join(keys)}" if keys else " and ".join(objectives),
        f"trained on {', '.join(trained)}",
        *([f"also tested on {', '.join(on)}"] if on else []),
        f"seeds {', '.join(map(str, sweep.seeds))}",
        f"protocol {sweep.protocol}",
    ]
    return "; ".join(parts) + "."


def running_description(sweep: Sweep, command: str) -> str:
    """The description while the sweep is running."""
    return f"{sweep_question(sweep)}\n\nTo run or continue it: `{command}`"


def finished_description(results: Results, record: SweepRecord, runs: SweepRuns) -> str:
    """The description of a sweep with results: the question, links to pages that compare its runs,
    and the table of accuracies, best first, cut to the length that MLflow keeps."""
    first = results.sweep.objectives[0]

    def badness(label: str) -> float:
        found = results.objectives(label) if label in results.by_label else None
        return math.inf if found is None else -first.sign * found[0]

    labels = sorted(dict.fromkeys(row.label for row in results.rows), key=badness)
    own = [
        run
        for label in labels
        for row in results.by_label.get(label, ())
        if not results.is_reference(row.trial) and (run := runs.trials.get(row.trial.key))
    ]
    pages = [
        f"[runs with the swept keys]({runs.runs_page()})",
        f"[parallel coordinates]({runs.runs_page(charts=True)})",
    ]
    if len(own) > 1:
        compared = own[:MAX_COMPARED_RUNS]
        of = "all" if compared == own else f"the best {MAX_COMPARED_RUNS} of {len(own)}"
        pages.append(f"[compare {of}]({runs.compare_page(compared)})")
    simulated = [n for n, d in results.sweep.datasets.items() if d.kind == "simulated"]
    head = [running_description(results.sweep, record.command), ""]
    if simulated:
        head += [f"**A demonstration** on simulated data ({', '.join(simulated)}).", ""]
    head += [
        f"Selected: **{results.selected}**." if results.selected else "None is selected.",
        *missing(results.rows, record.command)[:1],
        "",
        f"See {', '.join(pages)}; files and figures are among the artifacts.",
        "",
    ]
    header, rows = accuracy_table(results, labels)
    for cut in range(len(rows) + 1):
        more = f"{cut} more configurations are in report/report.html among the artifacts."
        lines = [*head, *markdown(header, rows[: len(rows) - cut]), *([more] if cut else [])]
        text = rounded("\n".join(lines)).rstrip("\n")
        if len(text) <= MAX_NOTE_LETTERS:
            break
    return text
