"""How many windows each split of a data set has, or has at most until they are prepared. Does not
know the store's layout.
"""

from collections import defaultdict

from comodo.config import DatasetConfig
from comodo.data import window_sets
from comodo.data.folds import listed_in_folds
from comodo.data.recordings import Recording
from comodo.data.records import WindowsMeta
from comodo.data.window_sets import WindowSet
from comodo.search.precheck import most_to_train_on, most_windows
from comodo.search.train_split import TrainSplit

Bounds = list[dict[str, int]]
"""Windows of each split, of each fold or of the one split."""


def split_bounds(
    settings: DatasetConfig, recordings: list[Recording]
) -> tuple[Bounds | None, TrainSplit | None]:
    """At most how many windows there will be, and can be trained on (in the first fold); None where
    it takes too long to know."""
    listed, found = listed_in_folds(recordings, settings), dict[str, int | None]()
    for name in dict.fromkeys(recording.split for recording in listed[0]):
        found[name] = most_windows(settings, [r for r in listed[0] if r.split == name])
    at_most = most_to_train_on(settings, [r for r in listed[0] if r.split == "train"])
    known = {name: bound for name, bound in found.items() if bound is not None}
    if len(known) < len(found):
        return None, at_most
    if len(listed) == 1:
        return [known], at_most
    of_group = defaultdict[str, list[Recording]](list)
    for recording in recordings:
        of_group[recording.group].append(recording)
    most = {group: most_windows(settings, of) or 0 for group, of in of_group.items()}
    bounds = []
    for fold in listed:
        split_of = {recording.group: recording.split for recording in fold}
        names = dict.fromkeys(split_of.values())
        bounds.append({n: sum(most[g] for g, s in split_of.items() if s == n) for n in names})
    return bounds, at_most


def least_train_split(windows: WindowSet) -> TrainSplit:
    """How many prepared windows trials can train on, in the fold that has fewest."""
    found = [train_split(windows, number) for number in range(len(windows.splits))]
    return min(found, key=lambda split: split.windows)


def train_split(windows: WindowSet, number: int = 0) -> TrainSplit:
    """How many prepared windows trials can train on, of a set with folds in one of them."""
    last = labelled_last = unseen = unseen_last = 0
    cut = WindowsMeta.read(windows.folder).window_seconds != "whole"
    fold, windows = windows.folds[number] if windows.folds else None, windows.splits[number]
    for table in window_sets.read_quality(windows.folder):
        columns = [
            "split", "group", "label", "windows", "drawn_from", "video_seconds", "last_labelled",
        ]  # fmt: skip
        for row in table.select(columns).to_pylist():
            split = row["split"] if fold is None else fold.split_of(row["group"])
            if split == "train" and row["windows"]:  # none of a rejected one
                is_last = cut and row["drawn_from"] is None
                known = row["last_labelled"]
                last += is_last
                labelled_last += is_last and (row["label"] is not None if known is None else known)
                if row["video_seconds"] is None:
                    unseen += row["windows"]
                    unseen_last += is_last
    labelled = sum(windows.classes.get("train", {}).values())
    count = windows.counts.get("train", 0)
    return TrainSplit(count, labelled, last, labelled_last, unseen, unseen_last)
