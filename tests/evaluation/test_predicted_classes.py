"""Predicted classes as numbers: what counting the rows of their table gives."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from comodo.evaluation import feature_metrics
from comodo.evaluation.labelled_features import UNSEEN_CLASS
from comodo.evaluation.predicted_classes import by_split, classes_named, pooled

GROUPS, CLASSES = np.array(["g10", "g2", "é", "a"]), np.array(["walk", "Run", "null", "sit", "b"])


def table_of(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "split": rng.choice(["val", "test"], 80),
            "group": rng.choice(GROUPS[: 2 + seed % 3], 80),
            "label": rng.choice(CLASSES[:4], 80),
            "predicted": rng.choice(CLASSES[1:], 80),
            "rank": rng.choice([0, 0, 1, 2, 3, UNSEEN_CLASS], 80),
        }
    )


def read(*tables: pd.DataFrame, shared: dict[Any, Any] | None = None) -> list[Any]:
    shared = {} if shared is None else shared
    return [by_split(pa.Table.from_pandas(x, preserve_index=False), shared) for x in tables]


@pytest.mark.parametrize("folds", [1, 3])
def test_counts_are_those_of_the_rows(folds: int) -> None:
    tables = [table_of(seed) for seed in range(folds)]
    for split in ("val", "test"):
        found = pooled([fold[split] for fold in read(*tables)])
        rows = pd.concat([table[table.split == split] for table in tables])
        for k in (1, 3, 5):
            counted = (rows["rank"] < k).groupby(rows.group).agg(["sum", "count"])
            assert [x.tolist() for x in found.hits(k)] == counted.to_numpy().T.tolist()
        columns = (rows[name].to_numpy(str) for name in ("label", "predicted", "group"))
        expected_GKK = feature_metrics.confusion_matrices(*columns)
        assert found.confusion().tolist() == expected_GKK.tolist()


def test_windows_that_only_one_got_right_are_those_of_the_rows() -> None:
    one = table_of(0)
    other = one.assign(rank=table_of(1)["rank"], predicted="sit")
    first, second = (found["test"] for found in read(one, other))
    here = one.split == "test"
    hit, its = one["rank"][here] == 0, other["rank"][here] == 0
    wanted = [(x).groupby(one.group[here]).sum().tolist() for x in (hit & ~its, its & ~hit)]
    assert [x.tolist() for x in first.only_hits(second)[:2]] == wanted
    assert first.only_hits(second)[2].tolist() == one[here].groupby("group").size().tolist()
    for column in ("group", "label"):
        moved = one.assign(**{column: np.roll(one[column], 1)})
        (third,) = (found["test"] for found in read(moved))
        with pytest.raises(ValueError, match=f"{column}s of their windows differ"):
            first.only_hits(third)


def test_classes_are_those_that_the_table_names() -> None:
    named = table_of(0).assign(label="walk", predicted="sit", rank=0)
    (found,) = read(named)
    assert classes_named(list(found.values())) == 2
    (found,) = read(named.assign(rank=6))
    assert classes_named(list(found.values())) == 7
    (found,) = read(named.assign(rank=UNSEEN_CLASS))  # a label that it could not predict
    assert classes_named(list(found.values())) == 1
    assert classes_named([]) == 0


def test_what_trials_have_in_common_is_kept_once() -> None:
    shared: dict[Any, Any] = {}
    table = table_of(2)
    one, other = read(table, table.assign(rank=0), shared=shared)
    assert one["val"].group_N is other["val"].group_N and one["val"].labels is other["val"].labels
    assert one["val"].rank_N.tolist() != other["val"].rank_N.tolist()
