"""What the students that a sweep starts from were trained on, at any depth, and who of these people
is in its val or test. Knows neither weights nor results.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from comodo.config import ConfigError, Sweep
from comodo.config.dataset_base import G_AND_DEGREES
from comodo.config.datasets import DatasetConfig, fold_split, published_units
from comodo.config.source import KEY, Source
from comodo.core.parts import read_parts
from comodo.core.store import Store, fetched
from comodo.data.folds import Fold, Folds, listed_folds
from comodo.data.names import common_form
from comodo.data.recordings import Recording
from comodo.data.records import WindowArraysMeta, WindowsMeta
from comodo.search.records import TrainedRecord

Rows = frozenset[tuple[str, str, str]]
"""Group, recording and split of a data set's windows."""
OPTIMISTIC = "which makes its accuracy optimistic"


@dataclass(frozen=True)
class Use:
    """A student that is trained further, and measured on one data set in one of its folds."""

    start: tuple[tuple[str, str], ...]
    """The items of `Trial.start`."""
    source: str
    """The title of what the file names."""
    dataset: str
    fold: Fold | None
    chosen: str = ""
    """`Source.chosen`."""


@dataclass(frozen=True)
class EarlierStage:
    """What a student was trained on before."""

    dataset: str
    """As its sweep calls it; empty: not known here."""
    windows: str = ""
    """Key of the prepared windows."""
    people: frozenset[tuple[str, str]] | None = None
    """Groups and recordings of the training windows; None: not known here."""


def sources_of(sweep: Sweep) -> list[Source]:
    """What the sweep's students start from, of those that start from others."""
    starts = (sweep.with_values(point).student.start for point in sweep.points())
    return list({source.title: source for source in starts if source is not None}.values())


def uses_of(sweep: Sweep, folds: Mapping[str, Folds]) -> Iterator[Use]:
    """Every use of a student that is trained further, some more than once; `folds`: of the data
    sets that have some. Raises ConfigError where none of a source's trials fits."""
    for config in map(sweep.with_values, sweep.points()):
        if (source := config.student.start) is None:
            continue
        for seed in sweep.seeds:
            for fold in folds.get(config.dataset) or (None,):
                test = None if fold is None else fold.test
                start = tuple(source.for_key(seed, test).items())
                yield Use(start, source.title, config.dataset, fold, source.chosen)
                for name in sweep.evaluate_on:
                    for other in folds.get(name) or (None,) if name != config.dataset else ():
                        yield Use(start, source.title, name, other)


def refuse_odd_starts(sweep: Sweep, folds: Mapping[str, Folds]) -> None:
    """Raises ConfigError for a student that was trained at another rate or in other units than the
    sweep has, or none of whose seeds or folds fits."""
    of_published = published_units(sweep.datasets)
    for config in map(sweep.with_values, sweep.points()):
        if (source := config.student.start) is None:
            continue
        name, rate = config.dataset, sweep.datasets[config.dataset].imu_rate
        if source.sweep == sweep.name:
            raise ConfigError.at(KEY, f"{sweep.name} is this sweep itself; name another")
        if source.rate not in (None, rate):
            fault = f"{source.title} was trained at {source.rate:g} Hz, but {name} has {rate:g}"
            raise ConfigError.at(KEY, f"{fault}; set datasets.{name}.imu_rate: {source.rate:g}")
        units = G_AND_DEGREES
        if config.imu_units == "published":
            units = of_published.get(name, G_AND_DEGREES)
        if source.units != units:
            saw, sees = (" and ".join(each) for each in (source.units, units))
            fix = "set trial.imu_units as it was there"
            raise ConfigError.at(KEY, f"{source.title} saw {saw}, but here it sees {sees}; {fix}")
    for _ in uses_of(sweep, folds):
        pass


def folds_of(settings: DatasetConfig, recordings: list[Recording], store: Store) -> Folds:
    """The folds of a data set, until its windows are prepared as far as the listing tells."""
    from comodo.data import window_sets  # with pyarrow

    if fold_split(settings) is None:
        return ()
    ready = window_sets.read_window_set(window_sets.window_key(settings, recordings), store)
    if ready is None:
        return listed_folds(recordings, settings)
    return window_sets.with_folds(ready, settings).folds


def rows_of(windows: str, store: Store) -> Rows | None:
    """Of prepared windows; None if the store no longer has them."""
    if WindowsMeta.of(windows, store) is None:
        return None
    columns = ["group", "recording", "split", "rejected"]
    table = read_parts(fetched(store.folder("windows", windows)), columns)
    table = table.filter(table["rejected"].is_null()).select(columns[:3])
    unique = table.group_by(columns[:3]).aggregate([])
    return frozenset(zip(*(unique[name].to_pylist() for name in columns[:3]), strict=True))


def earlier_stages(start: Mapping[str, str], store: Store) -> list[EarlierStage]:
    """All stages that a student went through, the last first; `start`: as `Trial.start`."""
    found = list[EarlierStage]()
    while start:
        key = start.get("trial")
        folder = None if key is None else store.folder("trials", key)
        record = folder and TrainedRecord.find(fetched(folder, TrainedRecord.FILE))
        if not record:
            return [*found, EarlierStage("")]
        if record.trial["method"]["name"] != "none":
            found.append(_stage(record, store))
        start = record.start or {}
    return found


def _stage(record: TrainedRecord, store: Store) -> EarlierStage:
    meta = WindowArraysMeta.of(record.windows, store)
    dataset, windows = record.trial["dataset"], "" if meta is None else meta.windows
    rows = rows_of(windows, store) if windows else None
    if rows is None:
        return EarlierStage(dataset)
    fold = None if record.fold is None else Fold.of(record.fold)
    people = ((g, r) for g, r, split in rows if (fold.split_of(g) if fold else split) == "train")
    return EarlierStage(dataset, windows, frozenset(people))


def stage_notes(
    uses: Iterable[Use], rows: Mapping[str, Rows], keys: Mapping[str, str], store: Store
) -> list[str]:
    """Sentences, the worst first, about people in val or test that earlier stages were trained on.
    `rows`: of the data sets that are known, `keys`: of their prepared windows."""
    stages = cache(lambda start: earlier_stages(dict(start), store))
    both = defaultdict[tuple[str, str, str], set[str]](set)
    every = defaultdict[tuple[str, str], set[str]](set)
    kind: dict[tuple[str, str, str], str] = {}
    unknown, chosen = dict[str, None](), dict[str, None]()
    for use in dict.fromkeys(uses):
        measured = rows.get(use.dataset, frozenset())
        tested = {
            (split, group, recording)
            for group, recording, of_set in measured
            if (split := use.fold.split_of(group) if use.fold else of_set) in ("val", "test")
        }
        for split, group, _ in tested:
            every[use.dataset, split].add(common_form(group))
        for stage in stages(use.start):
            if stage.people is None:
                lost = f" (the windows of {stage.dataset} are no longer in the store)"
                unknown[f"{use.source} was trained{lost if stage.dataset else ''}"] = None
                continue
            same = stage.windows == keys.get(use.dataset)
            if same and use.chosen:
                text = f"{use.source} {use.chosen}, which makes test accuracies optimistic here too"
                chosen[f"{use.dataset}: {text}"] = None
            groups = {common_form(group) for group, _ in stage.people}
            names = {recording for _, recording in stage.people}
            for split, group, recording in tested:
                if common_form(group) in groups or recording in names:
                    place = use.dataset, split, stage.dataset
                    both[place].add(common_form(group))
                    if same or (group, recording) in stage.people:
                        kind[place] = "leakage"
    notes = []
    for (dataset, split, trained_on), found in both.items():
        count = f"{len(found)} of {len(every[dataset, split])} groups of {split}"
        of = f"an earlier stage was trained on ({trained_on})"
        if (dataset, split, trained_on) in kind:
            fix = "give both sweeps the same split_by_group"
            text = f"leakage: {count} are among those that {of}, {OPTIMISTIC}; {fix}"
        else:
            text = f"caution: {count} have names of groups or recordings that {of}; if they are "
            text += "the same people, its accuracy is optimistic"
        notes.append(f"{dataset}: {text}")
    notes.sort(key=lambda note: "leakage: " not in note)
    return [*notes, *chosen] + [
        f"student.from: on whom {it_was_trained} is not known here, so it may have seen people of "
        "val and test"
        for it_was_trained in unknown
    ]
