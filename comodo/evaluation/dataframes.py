"""A sweep's trials, training curves and predictions as pandas frames, read from the store.

`comodo.load_sweep` returns them to a notebook, and a report writes the trials to results.parquet.
Does not know how anything was measured.
"""

import json
import math
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from comodo.config.metric import Metric
from comodo.config.space import flatten
from comodo.core.store import Store, fetched
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import Interval
from comodo.search.history import epoch_history
from comodo.search.records import MeasuringRecord

if TYPE_CHECKING:  # torch takes seconds to import, and frames need none of it
    from comodo.models.trained_student import TrainedStudent

NO_DIFFERENCES = ["first", "second", "difference", "low", "high", "p", "distinguishable"]


class SweepFrames:
    """One sweep of the store, as it was when its results were read: `comodo.load_sweep` and
    `comodo.run_sweep` give it.

    Attributes:
        name: of the sweep.
        results: intervals, differences and importances, as the report has them.
        swept: the columns of `trials` and `summary` by which its configurations differ.
    """

    def __init__(self, results: Results, store: Store) -> None:
        self.name, self.results, self._store = results.sweep.name, results, store
        self.swept = ["method.name", *results.labels.keys]

    def __repr__(self) -> str:
        return (
            f"{self._headline}\n.summary .differences .trials .curves .predictions .student(trial)"
        )

    def _repr_html_(self) -> str:
        head = escape(self._headline).replace("\n", "<br>")
        return f"<p>{head}</p>{self.summary.to_html(index=False, float_format='{:.3f}'.format)}"

    @property
    def _headline(self) -> str:
        """How many trials there are in which state, and what is selected."""
        results = self.results
        states = Counter(row.state for row in results.rows)
        counted = ", ".join(f"{count} {state}" for state, count in states.items())
        configurations = len(dict.fromkeys(row.label for row in results.rows))
        first = f"{len(results.rows)} trials ({counted}) of {configurations} configurations"
        lines = [f"sweep '{self.name}': {first}"]
        if (label := results.selected) is not None:
            line = f"selected by {results.sweep.objective.metric}: {label}"
            if (found := results.accuracy(label, "test")) is not None:
                line += f", test Acc@1 {found.mean:.3f}"
                known = not math.isnan(found.low)
                line += f" ({found.low:.3f} to {found.high:.3f})" if known else ""
            lines.append(line)
        return "\n".join(lines)

    @property
    def _named(self) -> list[str]:
        """The columns that every frame has."""
        folds = ["fold"] if any(row.trial.fold for row in self.results.rows) else []
        return ["trial", "configuration", "seed", *folds, "state"]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each configuration, the best by the first objective first: `configuration`,
        `selected`, the settings in which configurations differ, `finished` trials, and of each
        objective and of Acc@1 on val and test the mean over seeds, such as `test/acc1`, with its 95
        % interval for new seeds and new groups, `test/acc1 low` and `test/acc1 high`. All as
        shares.
        """
        results, rows = self.results, []
        measured = headline_metrics(results)
        settings = self.trials.drop_duplicates("configuration").set_index("configuration")
        for label in settings.index:
            values = {"configuration": label, "selected": label == results.selected}
            values |= settings.loc[label, self.swept].to_dict()
            values |= {"finished": len(results.by_label.get(label, ()))}
            for name, found in measured.get(label, {}).items():
                values |= {name: found.mean, f"{name} low": found.low, f"{name} high": found.high}
            rows.append(values)
        frame, first = pd.DataFrame(rows), results.sweep.objectives[0]
        if first.metric in frame:
            frame = frame.sort_values(first.metric, ascending=first.mode == "min", kind="stable")
        return frame.reset_index(drop=True)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """A row for each two configurations that the report compares, by test Acc@1, paired by
        seed, group and window: `first`, `second`, `difference` (first minus second, as a share)
        with its 95 % interval `low` to `high` for new seeds and new groups, `p` corrected for the
        number of comparisons by Holm's method, `distinguishable`, `seeds`, `groups`, `more_seeds`
        (see `Comparison`). `p` is missing with one seed or one group in test.
        """
        rows = [
            asdict(d.comparison)
            | {"first": d.first, "second": d.second, "p": d.p}
            | {"distinguishable": d.distinguishable, "seeds": d.seeds, "groups": d.groups}
            for d in self.results.differences
        ]
        columns = [*NO_DIFFERENCES, "seeds", "groups", "more_seeds"]
        kinds = {"p": "float64", "more_seeds": "Int64"}
        return pd.DataFrame(rows, columns=columns).astype(kinds)

    def student(self, trial: str, allow_code: bool = False) -> "TrainedStudent":
        """The trained student of a trial, frozen and in evaluation mode, on the CPU.

        Args:
            trial: its key, from the column `trial` of a frame, or the first letters of it.
            allow_code: whether the code of a `custom` student may run, as it is in the store.

        Raises:
            StudentError: no trial, or several, begin so; it is not trained; or its code was not
                allowed.
        """
        from comodo.models.students import StudentError, load_student
        from comodo.models.trained_student import TrainedOn, TrainedStudent

        found = [row.trial for row in self.results.rows if row.trial.key.startswith(trial)]
        if len(found) != 1:
            text = f"{len(found)} trials of sweep '{self.name}' begin with '{trial}'"
            raise StudentError("student.no-trial", f"{text}; take a key from .trials['trial']")
        config = found[0].config
        folder = fetched(self._store.folder("trials", found[0].key) / "student")
        if not folder.is_dir():
            text = f"trial {found[0].key} is not trained, or its student was removed"
            raise StudentError("student.not-trained", text)
        student = load_student(folder, config.student.code if allow_code else None)
        windows = self.results.sweep.datasets[config.dataset]
        seconds = None if windows.window_seconds == "whole" else windows.window_seconds
        mask = config.student.is_baseline or config.probe_mask
        return TrainedStudent(student, TrainedOn(windows.imu_rate, seconds, mask))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial: `trial` (its key), `configuration`, settings by their dotted keys,
        `seed`, `fold` and `test_groups` if any trial has a fold, `state`, `reason`, seconds and
        device, what it was `made_by`, and all measured metrics, as shares.

        A setting that is not a number, text or boolean is written as JSON, and so are all values of
        a column whose values differ in type.
        """
        rows = []
        for row in self.results.rows:
            settings, trained = flatten(row.trial.config.model_dump(mode="json")), row.trained
            values: dict[str, Any] = {"trial": row.trial.key, "configuration": row.label}
            values |= {key: _plain(value) for key, value in settings.items()}
            values |= {"seed": row.trial.seed}
            if (fold := row.trial.fold) is not None:
                values |= {"fold": fold.number, "test_groups": json.dumps(fold.test)}
            values |= {"state": row.state, "reason": row.reason}
            values |= {
                "seconds": trained and trained.seconds,
                "measuring_seconds": trained and measuring_seconds(row, self._store),
                "device": trained and trained.device,
                "workers": trained and trained.workers,
                "windows_per_second": trained and trained.windows_per_second,
            }
            made_by = (trained and trained.made_by) or {}
            values |= {f"made_by.{name}": version for name, version in made_by.items()}
            rows.append(values | self.results.metrics_of(row))
        frame = pd.DataFrame(rows)
        for name in frame.columns:
            kinds = {type(value) for value in frame[name].dropna()}
            if len(kinds) > 1 and not kinds <= {int, float}:
                frame[name] = [None if pd.isna(x) else json.dumps(x) for x in frame[name]]
        return frame

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row for each epoch of each trial: `trial`, `configuration`, `seed`, `fold` if any trial
        has one, `state`, `epoch`, and its metrics, such as `train/loss`; for an unfinished trial up
        to its last checkpoint.
        """
        rows = [
            {**_named(row), **epoch}
            for row in self.results.rows
            for epoch in epoch_history(self._store.folder("trials", row.trial.key))
        ]
        return pd.DataFrame(rows, columns=None if rows else [*self._named, "epoch"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row for each prediction for each scored window: `trial`, `configuration`, `seed`,
        `fold` if any trial has one, `state`, `dataset`, `measure`, `metric`, `split`, `window`,
        `group`, `label`, `predicted`, `rank`, `correct`.

        `window` counts the labelled windows of a split that the measure scores, in the same order
        for all trials (of a fold), so that trials can be paired by it. `rank` is the place of the
        true class by probability, 0 the first; `metric` is `acc1` where the measure names classes.
        Other measures
        (`linear`, `few-shot`, ...) have no label, predicted and rank but several metrics each. Then
        `correct` is the share of repeats that were right, of a measure of your own its score.
        """
        frames = []
        for row in self.results.rows:
            for dataset, measure, _ in row.trial.measures():
                table = row.trial.predictions(self._store, dataset, measure)
                # Not measured yet, or without predictions of its own, like alignment.
                if table is None or measure == "calibration":
                    continue
                found = table.to_pandas()
                found["window"] = found.groupby("split").cumcount()
                if "rank" in found:
                    found = found.assign(metric="acc1", correct=(found["rank"] == 0) * 1.0)
                else:
                    kept = ["split", "group", "window"]
                    found = found.melt(kept, var_name="metric", value_name="correct").dropna()
                frames.append(found.assign(**_named(row), dataset=dataset, measure=measure))
        columns = [*self._named, "dataset", "measure", "metric", "split", "window", "group"]
        columns += ["label", "predicted", "rank", "correct"]
        whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        return whole.reindex(columns=columns)


def headline_metrics(results: Results) -> dict[str, dict[str, Interval]]:
    """The objectives, and Acc@1 on val and test, of each configuration, where they are known."""
    wanted = [objective.metric for objective in results.sweep.objectives]
    wanted += [str(Metric(split, "acc1", dataset=results.elsewhere)) for split in ("val", "test")]
    found: dict[str, dict[str, Interval]] = {}
    for label in results.by_label:
        found[label] = {}
        for name in dict.fromkeys(wanted):
            metric = Metric.parse(name)
            if metric.name == "acc1" and metric.measure == "probe":
                value = results.accuracy(label, metric.split, dataset=metric.dataset)
            else:
                value = results.measure(label, name)
            if value is not None:
                found[label][name] = value
    return found


def measuring_seconds(row: TrialRow, store: Store) -> float:
    """Seconds that the latest measuring of a trial took."""
    measuring = MeasuringRecord.find(store.folder("trials", row.trial.key))
    return 0.0 if measuring is None else measuring.seconds


def _named(row: TrialRow) -> dict[str, Any]:
    fold = {} if row.trial.fold is None else {"fold": row.trial.fold.number}
    named = {"trial": row.trial.key, "configuration": row.label, "seed": row.trial.seed}
    return {**named, **fold, "state": row.state}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else json.dumps(value)
