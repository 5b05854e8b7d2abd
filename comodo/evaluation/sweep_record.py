"""A sweep's settings in the store, `sweep.json`, from which its trials are found on any machine,
without the sweep file, the recordings or Ray. Does not know how trials run."""

import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comodo.config import StudentConfig, Sweep
from comodo.config.source import Sources
from comodo.config.space import canonical
from comodo.core.store import Fingerprint, Store, fetched, read_json, write_json
from comodo.data.folds import Fold
from comodo.data.window_sets import WindowSet, group_counts, read_window_set
from comodo.evaluation.results import Results, TrialRow
from comodo.search import records
from comodo.search.configuration import references, stages, trials_of
from comodo.search.earlier_stages import rows_of, stage_notes, uses_of
from comodo.search.labels import Labels
from comodo.search.recorded_settings import settings_of
from comodo.search.status import StatusError, read_status
from comodo.search.trial import Evaluation, Trial, Versions, read_result, weights_id
from comodo.search.warm_start import Arrays

UNRECORDED = Versions(trial=6, measures=1)
"""Of sweeps whose `sweep.json` has no versions."""


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as it was last started."""

    sweep: Sweep
    command: str  # that runs or resumes it
    arrays: Arrays
    evaluation: Evaluation
    windows: dict[str, str]  # keys of the window sets, by data set
    weights: dict[str, Fingerprint]
    """`weights_id` of the students' folders, which may be on another machine, and of hub ids, with
    `@revision` where one was given."""
    versions: Versions = field(default_factory=Versions)
    """Of the code that started it, by which its trials and measures are found."""
    sources: Sources = field(default_factory=lambda: Sources({}))
    """The students that its students start from, by what the sweep file has."""
    mlflow: bool = True
    """Whether those who run it record it in MLflow; else `comodo ui` does."""

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        command: str,
        arrays: Arrays,
        evaluation: Evaluation,
        windows: dict[str, str],
        mlflow: bool = True,
    ) -> "SweepRecord":
        """A sweep that is about to start."""
        students = [sweep.with_values(point).student for point in sweep.points()]
        found = {_weights_name(student): student for student in students}
        weights = {name: weights_id(student) for name, student in found.items()}
        known = {name: version for name, version in weights.items() if version}
        sources = Sources({str(s.source): s.start for s in students if s.start is not None})
        return cls(
            sweep, command, arrays, evaluation, windows, known, sources=sources, mlflow=mlflow
        )

    def write(self, store: Store) -> None:
        """Writes `sweep.json` into the sweep's folder."""
        unlabelled, evaluation = sorted(self.evaluation.unlabelled), asdict(self.evaluation)
        del evaluation["own"]  # as in the sweep's measures
        content = {
            "folder": str(self.sweep.folder.resolve()),
            "sweep": settings_of(self.sweep),
            "overrides": self.sweep.overrides,
            "asked": self.sweep.asked,
            "command": self.command,
            "arrays": [self.arrays[pair] for pair in self.sweep.trained_on()],
            "evaluation": evaluation | {"unlabelled": unlabelled},
            "windows": self.windows,
            "weights": self.weights,
            "sources": self.sources.recorded(),
            "versions": asdict(self.versions),
            "mlflow": self.mlflow,
            "code": self.sweep.code,
        }
        write_json(store.folder("sweeps", self.sweep.name) / "sweep.json", content)

    def window_sets(self, store: Store) -> dict[str, WindowSet]:
        """The window sets that are still in the store, by data set."""
        found = {name: read_window_set(key, store) for name, key in self.windows.items()}
        kept = {name: windows for name, windows in found.items() if windows is not None}
        for name, folds in self.evaluation.folds.items():
            if name in kept:
                kept[name] = replace(kept[name], folds=folds, groups=group_counts(kept[name]))
        return kept

    def results(self, store: Store) -> Results:
        """The results of its trials so far."""
        known = self.window_sets(store)
        leaks = {name: windows.leaks for name, windows in known.items()}
        return Results(self.sweep, self._rows(store), store, leaks, self._stage_notes(known, store))

    def _stage_notes(self, known: dict[str, WindowSet], store: Store) -> list[str]:
        if not self.sources:
            return []
        rows = {name: rows_of(windows.key, store) or frozenset() for name, windows in known.items()}
        uses = uses_of(self.sweep, self.evaluation.folds)
        return stage_notes(uses, rows, self.windows, store)

    @property
    def other_versions(self) -> str:
        """`trials 6, now 7`, where this code would name and compute others; else empty."""
        recorded, now = asdict(self.versions), asdict(Versions())
        kinds = {"trial": "trials", "measures": "measures"}
        changed = [key for key in now if recorded[key] != now[key]]
        return "; ".join(f"{kinds[key]} {recorded[key]}, now {now[key]}" for key in changed)

    def _rows(self, store: Store) -> list[TrialRow]:
        """All trials of a grid, or those proposed so far by another search; references come before
        the trials that are compared with them. Keys are those that the sweep has recorded."""
        sweep = self.sweep
        folder = fetched(store.folder("sweeps", sweep.name), records.ASKED_FILE, records.ENDED_FILE)
        ended = records.read_ended(folder)
        asked = {canonical(entry.values): entry for entry in records.read_asked(folder)}
        if sweep.search.sampler == "grid":
            points = list(sweep.grid())
        else:
            points = [entry.values for entry in asked.values() if entry.values in sweep.space]
        labels, trials = Labels(sweep), dict[str, Trial]()
        own_of = []
        for point in points:
            config = sweep.with_values(point)
            arrays = self.arrays[config.dataset, config.teacher]
            weights = self.weights.get(_weights_name(config.student), {})
            own = trials_of(config, sweep.seeds, arrays, self.evaluation, weights, self.versions)
            compared = references(sweep, own)
            # Where references were not recorded, keys may be those of a run with other settings.
            if (entry := asked.get(canonical(point))) and entry.references is not None:
                own, compared = _named(own, entry.trials), _named(compared, entry.references)
            own_of.append(own)
            for trial in [*compared, *own]:
                trials.setdefault(trial.key, trial)
        store.fetch("trials", trials.keys(), "**/*.json", "**/*.parquet")
        begun = {path.parent.name for path in store.files("trials", "*/checkpoint.pt")}
        rows = {
            key: _row(trial, labels.configuration(trial), store, ended.get(key), key in begun)
            for key, trial in trials.items()
        }
        return _without_given_up(rows, own_of, sweep)


def _weights_name(student: StudentConfig) -> str:
    """By which `SweepRecord.weights` has a student's weights."""
    weights = student.weights or ""
    is_pinned = student.revision is not None and not Path(weights).exists()
    return f"{weights}@{student.revision}" if is_pinned else weights


def read_sweep_record(name: str, store: Store) -> SweepRecord:
    """A sweep's settings in the store. Raises StatusError for a sweep that it does not have, that
    has not reached its trials (`status.no-trials`) or that another version ran
    (`status.other-version`)."""
    path = read_status(name, store).folder / "sweep.json"
    again = "run the same comodo sweep again; what is finished is not run again"
    if not path.exists():
        text = f"{path} is missing: the sweep has not reached its trials; {again}"
        raise StatusError("status.no-trials", text)
    try:
        return _read(read_json(path))
    except (ValueError, KeyError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else repr(error)
        message = f"{path}: made by another version ({reason}); {again}"
        raise StatusError("status.other-version", message) from None


def _read(kept: dict[str, Any]) -> SweepRecord:
    # Earlier versions had no code.
    shown = {key: kept.get(key, {}) for key in ("overrides", "asked", "code")}
    sources = Sources.read_back(kept.get("sources", {}))
    context = {"folder": Path(kept["folder"]), **shown, "sources": sources, "read_back": True}
    # Sweeps whose references were not recorded had those that were then the default.
    then = ["none", "supervised"] if kept["sweep"].get("evaluate_on") else ["none"]
    sweep = Sweep.model_validate({"references": then, **kept["sweep"]}, context=context)
    arrays = _arrays(sweep, [tuple(pair) for pair in kept["arrays"]])
    measuring = kept["evaluation"]
    unlabelled = frozenset(measuring["unlabelled"])
    folds = {name: tuple(map(Fold.of, of)) for name, of in measuring.get("folds", {}).items()}
    evaluation = Evaluation(
        tuple(measuring["measures"]),
        measuring["targets"],
        unlabelled,
        measuring["label_map"],
        {name: (acc, gyro) for name, (acc, gyro) in measuring.get("published_units", {}).items()},
        measuring.get("rates", {}),  # earlier versions had none
        folds,
        sweep.measures.own,
        sweep.prompt,
    )
    versions = Versions(**kept["versions"]) if "versions" in kept else UNRECORDED
    return SweepRecord(
        sweep,
        kept["command"],
        arrays,
        evaluation,
        kept["windows"],
        kept["weights"],
        versions,
        sources,
        kept.get("mlflow", True),  # as of earlier versions
    )


def _arrays(sweep: Sweep, kept: list[Any]) -> Arrays:
    """The recorded keys, by data set and teacher. Raises ValueError if they do not fit."""
    pairs = sweep.trained_on()
    if len(kept) < len(pairs):
        # Of an earlier version, in which a teacher saw the same frames under each protocol.
        alike = {"frame_choice": "middles", "flips": False}
        plain = [(name, teacher and teacher.model_copy(update=alike)) for name, teacher in pairs]
        recorded = dict(zip(dict.fromkeys(plain), kept, strict=True))
        return {pair: recorded[of] for pair, of in zip(pairs, plain, strict=True)}
    return dict(zip(pairs, kept, strict=True))


def _named(trials: list[Trial], keys: list[str]) -> list[Trial]:
    """The trials with their recorded keys; as they are where a run that ended before it wrote
    `sweep.json` recorded others."""
    if len(trials) != len(keys):
        return trials
    return [replace(trial, recorded_key=key) for trial, key in zip(trials, keys, strict=True)]


def _row(
    trial: Trial, label: str, store: Store, end: records.EndedTrial | None, begun: bool
) -> TrialRow:
    result = read_result(trial, store)
    if result is not None:
        return TrialRow(trial, label, "finished", result.metrics, trained=result.trained)
    if end is not None:
        return TrialRow(trial, label, end.state, {}, end.reason)
    begun = begun or records.TrainedRecord.find(store.folder("trials", trial.key)) is not None
    return TrialRow(trial, label, "half done" if begun else "not begun", {})


def _without_given_up(
    rows: dict[str, TrialRow], own_of: list[list[Trial]], sweep: Sweep
) -> list[TrialRow]:
    """Leaves out trials that were not run because an earlier of the configuration's `stages` was
    hopeless."""
    margin, objective = sweep.search.hopeless_below, sweep.objectives[0]
    state_of = {key: row.state for key, row in rows.items()}

    def score(trials: list[Trial]) -> float:
        values = [rows[trial.key].metrics.get(objective.metric, math.nan) for trial in trials]
        return objective.sign * statistics.mean(values)

    complete = [own for own in own_of if all(state_of[trial.key] == "finished" for trial in own)]
    best = max(map(score, complete), default=-math.inf) if margin is not None else -math.inf
    for own in own_of:
        for stage in stages(sweep, own)[:-1]:
            states = {state_of[trial.key] for trial in stage}
            whole = margin is not None and len(stage) >= own[0].in_each_seed
            hopeless = whole and states == {"finished"} and best - score(stage) > (margin or 0)
            ended = states <= {"finished", "pruned", "failed"} and states != {"finished"}
            if hopeless or ended:
                for trial in own[len(stage) :]:
                    if trial.key in rows and state_of[trial.key] == "not begun":
                        del rows[trial.key]
    return list(rows.values())
