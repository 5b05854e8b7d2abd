"""The folds of a data set: which groups are val and test in each. Knows no values of windows, no
files and no trials.

Shape letters: P persons (groups whose names differ by case or spacing only are one), K classes,
F folds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from comodo.config.dataset_base import FoldSplit
from comodo.config.datasets import DatasetConfig, fold_split
from comodo.data.intervals import listed_counts
from comodo.data.names import MAX_NAMED, common_form
from comodo.data.recordings import IN_FOLDS, DatasetError, Recording

GroupCounts = Mapping[str, Mapping[str | None, int]]
"""By group, how many windows, or recordings, there are of each class; None: without a label."""
MAX_TAG = 500  # characters
CLOSE = 1e-9  # two spreads that differ by less are equal


@dataclass(frozen=True)
class Fold:
    """One of a data set's folds. All groups that are neither in val nor in test are in train."""

    number: int
    """From 1."""
    count: int
    """How many folds the data set has."""
    val: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, also when that went through JSON."""
        names = {split: tuple(content[split]) for split in ("val", "test")}
        return cls(content["number"], content["count"], **names)

    @property
    def for_key(self) -> dict[str, list[str]]:
        """All that the windows of its splits depend on."""
        return {"val": sorted(self.val), "test": sorted(self.test)}

    @property
    def tags(self) -> dict[str, str]:
        """As a record of its trial has it; of many groups the first."""
        return {"fold": str(self.number), "test groups": ", ".join(self.test)[:MAX_TAG]}

    def split_of(self, group: str) -> str:
        return self._others.get(group, "train")

    @cached_property
    def _others(self) -> dict[str, str]:
        """The splits of groups that are not in train. There may be tens of thousands."""
        return dict.fromkeys(self.val, "val") | dict.fromkeys(self.test, "test")


Folds = tuple[Fold, ...]


def all_in_test(folds: Folds) -> Fold:
    """All groups that are in test in one of the folds, at once: for a measure that fits nothing on
    them."""
    return Fold(1, 1, (), tuple(name for fold in folds for name in fold.test))


def make_folds(counts: GroupCounts, shares: FoldSplit) -> Folds:
    """The folds of groups: every group with labels is in test exactly once.

    With `all`, as scikit-learn's LeaveOneGroupOut makes them, in the order of the groups' names;
    otherwise as its StratifiedGroupKFold does, without refusing small classes. Without any label,
    all groups take part. Raises DatasetError, `dataset.too-few-groups`.
    """
    persons = _persons(counts)
    testable = [names for names in persons if any(map(_labelled(counts), names))] or persons
    folds = len(testable) if shares.folds == "all" else shares.folds
    rest = 2 if shares.val else 1  # that a fold needs besides test
    if len(testable) < max(folds, rest + 1):
        _refuse(len(testable), max(folds, rest + 1), shares)
    table_PK = _table(testable, counts)
    if shares.folds == "all":
        fold_P = np.arange(len(testable))
    else:
        fold_P = _deal(table_PK, folds, np.random.default_rng(shares.seed))
    found, in_val = [], Counter[int]()
    for number in range(folds):
        left_p = np.flatnonzero(fold_P != number)
        if len(left_p) < rest:
            _refuse(len(testable), len(testable) + rest - len(left_p), shares)
        val = _val(table_PK, left_p, shares, in_val) if shares.val else []
        in_val.update(val)
        groups = {
            split: tuple(sorted(name for p in members for name in testable[p]))
            for split, members in (("val", val), ("test", np.flatnonzero(fold_P == number)))
        }
        found.append(Fold(number + 1, folds, **groups))
    return tuple(found)


def _persons(counts: GroupCounts) -> list[list[str]]:
    """The names of each person, sorted by the first of them."""
    names = defaultdict[str, list[str]](list)
    for name in sorted(counts):
        names[common_form(name)].append(name)
    return list(names.values())


def _labelled(counts: GroupCounts) -> Any:
    return lambda name: any(n for label, n in counts[name].items() if label is not None)


def _refuse(groups: int, needed: int, shares: FoldSplit) -> None:
    found = f"split_by_group: {groups} groups with labels cannot make folds: {shares.folds}"
    with_val = " with val" if shares.val else ""
    fix = f"at least {needed} are needed{with_val}; lower folds, or name more groups"
    raise DatasetError("dataset.too-few-groups", f"{found}; {fix}")


def _table(persons: list[list[str]], counts: GroupCounts) -> npt.NDArray[np.float64]:
    """Labelled windows of each person and class; of one class if none has a label."""
    labels = sorted({k for names in persons for name in names for k in counts[name] if k})
    totals = [sum((Counter(counts[name]) for name in names), Counter()) for names in persons]
    if not labels:
        return np.array([[float(total.total())] for total in totals])
    return np.array([[float(total[label]) for label in labels] for total in totals])


def _val(
    table_PK: npt.NDArray[np.float64],
    left_p: npt.NDArray[np.intp],
    shares: FoldSplit,
    in_val: Counter[int],
) -> list[int]:
    """The persons in val, of those that are left: one part of parts that are about as large as the
    share, the one whose persons were in val least often in earlier folds."""
    size_p = table_PK[left_p].sum(1)
    parts = round(size_p.sum() / (shares.val * table_PK.sum()))
    parts = min(max(2, parts), len(left_p))
    part_p = _deal(table_PK[left_p], parts, np.random.default_rng(shares.seed))
    members = [left_p[part_p == part].tolist() for part in range(parts)]
    return min(members, key=lambda part: sum(in_val[p] for p in part) / len(part))


def _deal(
    table_PK: npt.NDArray[np.float64], folds: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """The fold of each person, by the rule of scikit-learn's StratifiedGroupKFold: persons with the
    most unequal classes first, in random order among equals, each to the fold with which the
    classes are spread most evenly over the folds; among equals to the one with fewest windows."""
    order_P = rng.permutation(len(table_PK))
    order_P = order_P[np.argsort(-table_PK[order_P].std(1), kind="stable")]
    share_PK = table_PK / np.maximum(table_PK.sum(0), 1)
    has_FK, size_F = np.zeros((folds, table_PK.shape[1])), np.zeros(folds)
    fold_P = np.zeros(len(table_PK), np.intp)
    for person in order_P:
        more_FK = 2 * has_FK * share_PK[person] + share_PK[person] ** 2
        square_FK = (np.square(has_FK).sum(0) + more_FK) / folds
        mean_K = (has_FK.sum(0) + share_PK[person]) / folds
        spread_F = np.sqrt(np.maximum(square_FK - mean_K**2, 0)).mean(1)
        equal_f = np.flatnonzero(spread_F <= spread_F.min() + CLOSE)
        fold = int(equal_f[size_F[equal_f].argmin()])
        has_FK[fold] += share_PK[person]
        size_F[fold] += table_PK[person].sum()
        fold_P[person] = fold
    return fold_P


def counts_of(rows: Iterable[tuple[str, str | None, int]]) -> dict[str, Counter[str | None]]:
    """`GroupCounts` of windows or recordings, from a group, a label, and how many there are."""
    counts: dict[str, Counter[str | None]] = {}
    for group, label, number in rows:
        counts.setdefault(group, Counter())[label] += number
    return counts


def by_split(counts: GroupCounts, fold: Fold) -> dict[str, Counter[str | None]]:
    """How many windows of each class, or without a label (None), a fold has in each split."""
    found: dict[str, Counter[str | None]] = {}
    for group, of_group in counts.items():
        found.setdefault(fold.split_of(group), Counter()).update(of_group)
    return found


def listed_folds(recordings: list[Recording], settings: DatasetConfig) -> Folds:
    """The folds as far as the listing tells, in which recordings that will be rejected count too;
    empty for a data set with one split. Raises DatasetError."""
    shares = fold_split(settings)
    if shares is None:
        return ()
    listed = ((r.group, label, n) for r in recordings for label, n in listed_counts(r, settings))
    return make_folds(counts_of(listed), shares)


def listed_in_folds(recordings: list[Recording], settings: DatasetConfig) -> list[list[Recording]]:
    """The recordings in the splits of each of the `listed_folds`; without folds one list, as it
    is."""
    found = [
        [replace(recording, split=fold.split_of(recording.group)) for recording in recordings]
        for fold in listed_folds(recordings, settings)
    ]
    return found or [recordings]


def fold_notes(recordings: Iterable[Recording]) -> list[str]:
    """Sentences about classes that no fold can both learn and test: only one group has them."""
    groups = defaultdict[str, set[str]](set)
    for recording in recordings:
        for label in recording.labels:
            groups[label].add(common_form(recording.group))
    if not (alone := sorted(label for label, names in groups.items() if len(names) == 1)):
        return []
    more = f" and {len(alone) - MAX_NAMED} more" if len(alone) > MAX_NAMED else ""
    fault = f"classes that only one group has: {', '.join(alone[:MAX_NAMED])}{more}"
    return [f"{fault}; in the fold that tests this group none of their windows can be recognised"]


def without_split(recordings: Iterable[Recording]) -> list[Recording]:
    """The recordings of a data set with folds."""
    return [replace(recording, split=IN_FOLDS) for recording in recordings]
