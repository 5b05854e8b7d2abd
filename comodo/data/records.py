"""The JSON files that describe data artifacts: windows, teacher features, packed arrays. Knows how
they are stored, not how they are made."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comodo.core.errors import ComodoError, nearest
from comodo.core.json_record import ArtifactMeta, JsonRecord
from comodo.core.provenance import MadeBy
from comodo.core.store import Store, fetched


@dataclass(frozen=True)
class WindowsMeta(ArtifactMeta):
    """Prepared windows of a data set."""

    KIND = "windows"
    channels: list[str]
    windows: dict[str, int]  # in each split
    classes: dict[str, dict[str, int]]  # labelled windows of each class, by split
    leaks: dict[str, str]  # of `window_sets.leaks_of`
    rejected: dict[str, str]  # recording id to reason
    window_seconds: float | str  # `whole`: one window for each recording
    passing: int = 0  # recordings rejected for a reason that may be gone at the next try
    decided: list[str] = field(default_factory=list)  # from all recordings together, as the unit
    made_by: MadeBy | None = None  # the driver; None: an earlier version did not record it
    fills: bool = False  # as in `WindowArraysMeta`


@dataclass(frozen=True)
class QualityNote(JsonRecord):
    """What `comodo inspect` has to know about prepared windows."""

    FILE = "quality.json"
    names: list[str]  # that sweep files give the data set
    settings: dict[str, Any]  # the data set's entry in the sweep file
    leaks: dict[str, str]  # as in `WindowsMeta`
    notes: list[str] = field(default_factory=list)  # of `readers.listing_notes`


@dataclass(frozen=True, kw_only=True)
class FeaturesMeta(ArtifactMeta):
    """One teacher's features of prepared windows."""

    KIND = "features"
    teacher: dict[str, Any]
    commit: str | None = None  # of the teacher's weights on the hub
    windows: str  # key of the windows
    count: int  # windows that were encoded, with or without a feature
    devices: list[str]
    speed: float | None = None  # windows per second, of the latest run alone
    rejected: dict[str, str]  # window id to reason
    passing: list[str] = field(default_factory=list)
    """Of the rejected: windows that the next run tries again, and that are not counted."""
    splits: dict[str, int] = field(default_factory=dict)
    """Windows of each split that were encoded, as `count`, or have no video; empty: an earlier
    version, which encoded every split."""
    rejected_in: dict[str, str] = field(default_factory=dict)
    """Of the rejected windows the split; empty: an earlier version."""
    pictures: dict[str, str] = field(default_factory=dict)
    """Window id to what is wrong with its picture: black, of one colour, or frozen."""
    made_by: MadeBy | None = None  # as in `WindowsMeta`; GPUs are in `devices`

    def has(self, windows: dict[str, int], unread: Collection[str] = ()) -> bool:
        """Whether all windows were encoded, except of `unread` splits. `windows`: how many there
        are, by split."""
        if not self.splits:
            return self.count >= sum(windows.values())
        return all(self.splits.get(s, 0) >= n for s, n in windows.items() if s not in unread)

    def lacking(self, unread: Collection[str] = ()) -> list[str]:
        """The rejected windows, except of `unread` splits; all, if an earlier version wrote it."""
        return [w for w in self.rejected if self.rejected_in.get(w) not in unread]


def _of_one_imu() -> list[str]:
    from comodo.config.channels import CHANNELS  # config takes long, and a wrong name need not wait

    return list(CHANNELS)


@dataclass(frozen=True, kw_only=True)
class WindowArraysMeta(ArtifactMeta):
    """Packed windows."""

    KIND = "arrays"
    windows: str = ""  # key of the prepared windows
    classes: list[str]
    groups: list[str]
    files: dict[str, list[str]]  # names of the shards of each split
    uniform: bool  # all windows have the same length
    longest: int = 0  # samples of the longest window
    channels: list[str] = field(default_factory=_of_one_imu)
    """Of the windows; an earlier version, which did not record them, had these."""
    fills: bool = False
    """Whether channels that a student sees and the windows lack are zero, as the data set says."""


@dataclass(frozen=True)
class ResizedMeta(ArtifactMeta):
    """Packed windows, resized to the length that a student takes."""

    KIND = "arrays"
    samples: int


@dataclass(frozen=True, kw_only=True)
class FeatureArraysMeta(ArtifactMeta):
    """Packed features."""

    KIND = "arrays"
    features: str = ""  # key of the features
    dim: int
    files: dict[str, list[str]]
    """Of the splits that have been packed."""
    lacking: list[str] = field(default_factory=list)
    """Windows of val and test that had no feature when they were packed."""


MEASURED_ONLY = ("val", "test")
"""Splits that no student is trained on, so trials do not depend on their features."""


class InspectError(ComodoError, ValueError):
    """No data set of this name is prepared."""


def newest_windows(name: str, store: Store) -> tuple[Path, QualityNote]:
    """The folder and the note of the newest window set that was prepared under a name. Raises
    InspectError, with the known names, if there is none."""
    known = set()
    pattern = f"*/{QualityNote.FILE}"
    listed = fetched(store.root / "windows", pattern).glob(pattern)
    for path in sorted(listed, key=lambda path: -path.stat().st_mtime):
        if (note := QualityNote.find(path.parent)) is None:
            continue
        if name in note.names:
            return path.parent, note
        known.update(note.names)
    if not known:
        text = f"nothing is prepared in {store}; first run: comodo prepare FILE"
        raise InspectError("inspect.nothing-prepared", text)
    raise InspectError(
        "inspect.unknown",
        f"no data set '{name}' (a name under datasets: of a sweep file) is prepared in "
        f"{store}{nearest(name, known)}",
    )
