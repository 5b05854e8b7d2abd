"""A sweep's trials, training curves and predictions as pandas frames, read from the store.

`comodo.load_sweep` returns them to a notebook, and a report writes the trials to results.parquet.
Does not know how anything was measured.
"""

import json
from functools import cached_property
from typing import Any

import pandas as pd

from comodo.config.space import flatten
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.search.history import epoch_history
from comodo.search.records import MeasuringRecord


class SweepFrames:
    """One sweep of the store, as it was when its results were read: `comodo.load_sweep`.

    Attributes:
        name: of the sweep.
        results: intervals, differences and importances, as the report has them.
        swept: the columns of `trials` by which its configurations differ.
    """

    def __init__(self, results: Results, store: Store) -> None:
        self.name, self.results, self._store = results.sweep.name, results, store
        self.swept = ["method.name", *results.labels.keys]

    @property
    def _named(self) -> list[str]:
        """The columns that every frame has."""
        folds = ["fold"] if any(row.trial.fold for row in self.results.rows) else []
        return ["trial", "configuration", "seed", *folds, "state"]

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
        `correct` is the share of repeats that were right.
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
