"""What a plan says about students that start from trained ones: from which, and who of val and test
these have seen. Does not know how it is shown."""

from collections.abc import Iterable, Iterator, Mapping

from comodo.config import Sweep
from comodo.config.source import Source, Sources
from comodo.core.store import Store, fetched, find_json
from comodo.data.keys import simulated_folder
from comodo.data.readers import list_recordings
from comodo.report.plan.inventory import DatasetPlan
from comodo.search.earlier_stages import Rows, rows_of, sources_of, stage_notes, uses_of


def start_lines(sweep: Sweep) -> list[str]:
    """What each source is, and which of its trials are used, for the terminal."""
    return [f"{source.title}: {_trials(source)}" for source in sources_of(sweep)]


def _trials(source: Source) -> str:
    keys = [trial.key for trial in source.trials]
    if not keys:
        return f"weights {source.content[:12]}, for all trials"
    if len(keys) == 1:
        return f"{keys[0]} for all trials"
    by = [
        word
        for word, values in (
            ("seed", {trial.seed for trial in source.trials}),
            ("fold", {trial.test for trial in source.trials}),
        )
        if len(values) > 1
    ]
    return f"{len(keys)} trials, for each {' and '.join(by)} its own"


def plan_notes(sweep: Sweep, datasets: Mapping[str, DatasetPlan], store: Store) -> list[str]:
    """What to look at before the sweep starts; `datasets`: as they are planned."""
    if not (sources := sources_of(sweep)):
        return []
    rows, keys = dict[str, Rows](), dict[str, str]()
    for name, dataset in datasets.items():
        keys[name] = dataset.key
        known = None if dataset.ready is None else rows_of(dataset.key, store)
        if known is None:
            settings = sweep.datasets[name]
            listed = list_recordings(settings, simulated_folder(settings, store))
            known = frozenset((r.group, r.id, r.split) for r in listed)
        rows[name] = known
    folds = {name: dataset.folds for name, dataset in datasets.items() if dataset.folds}
    notes = stage_notes(uses_of(sweep, folds), rows, keys, store)
    return [*notes, *_other_windows(sweep, sources), *_other_sources(sweep, store)]


def _other_windows(sweep: Sweep, sources: Iterable[Source]) -> Iterator[str]:
    """That windows are of another length than those that a source was trained on, or that nothing
    is known about these."""
    for source in sources:
        if source.rate is None:
            text = f"the rate and length of the windows that {source.title} was trained on"
            yield f"student.from: {text} are not known here; they should be as here"
            continue
        for name, _ in sweep.trained_on():
            here = sweep.datasets[name].window_seconds
            if here != source.seconds:
                text = f"{source.title} was trained on windows of {source.seconds} s"
                yield f"student.from: {text}, those of {name} have {here}"


def _other_sources(sweep: Sweep, store: Store) -> Iterator[str]:
    """That a name in the file means other trials than when the sweep was last run."""
    folder = fetched(store.folder("sweeps", sweep.name), "sweep.json")
    before = Sources.read_back((find_json(folder / "sweep.json") or {}).get("sources", {}))
    for student in (sweep.with_values(point).student for point in sweep.points()):
        name, now = str(student.source), student.start
        if now is not None and name in before and before[name].identity != now.identity:
            del before[name]  # said once
            text = "means other trials than when this sweep was last run"
            yield f"student.from: {name} {text}; its trials are trained anew"
