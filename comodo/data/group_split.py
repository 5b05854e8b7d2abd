"""Whole groups dealt to splits, and a warning where a split has few of them. Knows no reader."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from comodo.config.dataset_base import GroupSplit
from comodo.data.names import common_form
from comodo.data.recordings import SPLIT_NAMES, DatasetError, Recording

TRIED_DEALS = 500  # for up to ten groups nearly always enough to find the closest
CLOSE = 0.02  # share of the recordings in the wrong split with which the first deal is kept
MIN_TEST_GROUPS = 3  # with fewer, intervals for new groups are too wide to be of use


def split_by_group(recordings: Sequence[Recording], shares: GroupSplit) -> list[Recording]:
    """Assigns whole groups to splits so that the splits are as close as possible to their shares of
    the recordings, at least one group to each split: the first deal in random order (seeded) if it
    is `CLOSE`, otherwise the closest of `TRIED_DEALS`. Groups whose names differ by case or spacing
    only stay together. Raises DatasetError for fewer groups than splits."""
    return _Deals(recordings, shares).best()


def keeps_first_deal(recordings: Sequence[Recording], shares: GroupSplit) -> bool:
    """Whether `split_by_group` has no closer deal than its first, which was once the only one."""
    deals = _Deals(recordings, shares)
    return deals.best() == deals.split(next(deals.all()))


class _Deals:
    """The deals of one data set; a deal is the split of each group."""

    def __init__(self, recordings: Sequence[Recording], shares: GroupSplit) -> None:
        self._recordings, self._seed = recordings, shares.seed
        self._wanted = {
            name: share * len(recordings)
            for name in SPLIT_NAMES
            if (share := getattr(shares, name)) > 0
        }
        names = sorted({recording.group for recording in recordings}, reverse=True)
        first = {common_form(name): name for name in names}
        self._group_of = {name: first[common_form(name)] for name in names}
        self._sizes = Counter(self._group_of[recording.group] for recording in recordings)
        if len(self._sizes) < len(self._wanted):
            groups, splits = len(self._sizes), len(self._wanted)
            found = f"split_by_group: {groups} groups cannot make {splits} splits"
            fix = (
                "name more groups in the manifest's column group, or give each recording its split"
            )
            raise DatasetError("dataset.too-few-groups", f"{found}; {fix}")

    def best(self) -> list[Recording]:
        first = next(self.all())
        if self._off(first) > CLOSE * len(self._recordings):
            first = min(self.all(), key=self._off)
        return self.split(first)

    def split(self, deal: dict[str, str]) -> list[Recording]:
        return [replace(r, split=deal[self._group_of[r.group]]) for r in self._recordings]

    def all(self) -> Iterator[dict[str, str]]:
        """Deals in random orders of the groups: each to the split that lacks most."""
        groups, chance = sorted(self._sizes), random.Random(self._seed)
        for _ in range(TRIED_DEALS):
            chance.shuffle(groups)
            filled = dict.fromkeys(self._wanted, 0)
            deal: dict[str, str] = {}
            for group in groups:
                empty = [name for name in filled if filled[name] == 0]
                choices = empty if len(groups) - len(deal) <= len(empty) else list(filled)
                deal[group] = max(choices, key=lambda name: self._wanted[name] - filled[name])
                filled[deal[group]] += self._sizes[group]
            yield deal

    def _off(self, deal: dict[str, str]) -> float:
        """Recordings that are in the wrong split."""
        filled = Counter[str]()
        for group, split in deal.items():
            filled[split] += self._sizes[group]
        return sum(abs(filled[name] - wanted) for name, wanted in self._wanted.items()) / 2


def few_groups_notes(recordings: Iterable[Recording]) -> list[str]:
    """A sentence if the test split has groups with labels to measure on, but too few."""
    groups = {common_form(r.group) for r in recordings if r.split == "test" and r.labels}
    return few_groups_note(len(groups))


def few_groups_note(groups: int) -> list[str]:
    """A sentence for 1 or 2 groups of the test split."""
    if not 0 < groups < MIN_TEST_GROUPS:
        return []
    says = "nothing" if groups == 1 else "little"
    fix = f"give test at least {MIN_TEST_GROUPS} groups (subjects, captures or days)"
    return [f"groups in test: {groups}, which say {says} about new groups; {fix}"]
