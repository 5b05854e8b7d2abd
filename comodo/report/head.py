"""What a reader sees first of a report: the answer, what it rests on, what limits it most, and a
forest plot; then the state of the sweep and the other limits. Does not know how anything is
computed.
"""

from collections.abc import Iterable, Mapping, Sequence

from comodo.config import Sweep
from comodo.config.base import SMOKE_SUFFIX
from comodo.config.dataset_base import G_AND_DEGREES
from comodo.config.metric import Metric
from comodo.config.overrides import shown_overrides
from comodo.core.markdown import as_code, as_text
from comodo.core.store import Store
from comodo.data.group_split import few_groups_note
from comodo.data.window_sets import WindowSet, leakage_notes
from comodo.evaluation.results import Results
from comodo.evaluation.scoring import own_unlabelled
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.answer import answer_sentences, highest_on_test, rests_on
from comodo.report.environment import mixed_libraries
from comodo.report.selection import selection_over_folds
from comodo.report.starts import started_from
from comodo.report.tables import missing
from comodo.search.labels import ran_instead
from comodo.search.measurable import unlabelled_note
from comodo.search.status import read_status

SELECTED_ON_TEST = "**Selected on the test split**: test accuracies are optimistic."


def head(
    results: Results,
    record: SweepRecord,
    store: Store,
    window_sets: Mapping[str, WindowSet],
    forest: list[str],
    confounded: Sequence[str],
) -> list[str]:
    """`forest`: lines with its picture; `confounded`: swept keys with which something else
    changes."""
    sweep = results.sweep
    sentences = [f"{as_text(sentence)}." for sentence in answer_sentences(results)]
    cautions = [SELECTED_ON_TEST] if _selected_on_test(sweep) else []
    cautions += [f"**{as_text(sentence)}.**" for sentence in limits(results)]
    if confounded:
        text = f"More than {', '.join(confounded)} changes: see Confounds"
        cautions.append(f"**{as_text(text)}.**")
    cautions += mixed_libraries(results)
    paragraphs = [
        f"# {sweep.name}",
        *_smoke_note(sweep),
        *([f"**{' '.join(sentences)}**"] if sentences else []),
        *demonstration(sweep, sweep.datasets),
        *started_from(results),
        *(f"{as_text(sentence)}." for sentence in rests_on(results, window_sets)),
        *cautions[:1],
        _selected(results),
        *selection_over_folds(results),
    ]
    lines = [line for paragraph in paragraphs for line in (paragraph, "")]
    below = [
        *cautions[1:],
        _state(results, store),
        *missing(results.rows, record.command)[:1],
        *overridden(sweep),
    ]
    if record.other_versions:
        fault = f"Trained and measured by another version ({record.other_versions})"
        below.append(f"**{fault}**: for numbers of this version run `{record.command}`")
    return [*lines, *forest, *(line for paragraph in below for line in (paragraph, ""))]


def _smoke_note(sweep: Sweep) -> list[str]:
    if not sweep.name.endswith(SMOKE_SUFFIX):
        return []
    text = "; ".join(filter(None, ["its numbers mean nothing", as_text(ran_instead(sweep))]))
    return [f"> **A smoke run**: {text}."]


def _selected_on_test(sweep: Sweep) -> bool:
    return any(Metric.parse(o.metric).split == "test" for o in sweep.objectives)


def _selected(results: Results) -> str:
    metric = results.sweep.objective.metric
    if results.selected is None:
        return f"No trial has {metric}, so none is selected."
    text = f"Selected by {metric}: **{as_text(results.title(results.selected))}**."
    highest = highest_on_test(results)
    return f"{text} {as_text(highest)}." if highest else text


def _state(results: Results, store: Store) -> str:
    states = [row.state for row in results.rows]
    text = f"{states.count('finished')} of {len(states)} trials finished"
    if pruned := states.count("pruned"):
        text += f", {pruned} were pruned"
    return f"{text}; state of the sweep: {read_status(results.sweep.name, store).state}."


def demonstration(sweep: Sweep, datasets: Iterable[str]) -> list[str]:
    """A note if any of these data sets are simulated."""
    simulated = [name for name in datasets if sweep.datasets[name].kind == "simulated"]
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
    """What limits all that the results say, the worst first: leakage, also through
    earlier stages, one seed, few groups in test,
    no labels, other units."""
    sentences = [
        f"{name}: {sentence}"
        for name, found in results.leaks.items()
        for sentence in leakage_notes(found)
    ]
    sentences += results.stage_notes
    if len(results.sweep.seeds) == 1:
        fix = "add some (seeds: [0, 1, 2]); what is finished is not run again"
        sentences.append(f"one seed: nothing is said about configurations; {fix}")
    for name, groups in results.test_groups.items():
        sentences += [f"{name}: {sentence}" for sentence in few_groups_note(groups)]
    unfit = set[str]().union(*(own_unlabelled(row.trial) for row in results.rows))
    sentences += [f"{name}: {unlabelled_note(results.sweep, name)}" for name in sorted(unfit)]
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
    return sentences
