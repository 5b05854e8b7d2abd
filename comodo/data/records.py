"""The JSON files that describe data artifacts: windows, teacher features, packed arrays. Knows how
they are stored, not how they are made."""

from dataclasses import dataclass
from typing import Any

from comodo.core.store import ArtifactMeta, JsonRecord


@dataclass(frozen=True)
class WindowsMeta(ArtifactMeta):
    """Prepared windows of a data set."""

    KIND = "windows"
    channels: list[str]
    windows: dict[str, int]  # in each split
    classes: dict[str, dict[str, int]]  # labelled windows of each class, by split
    leaks: dict[str, str]  # of val and test: groups that are also in train, as `3 of 10`
    rejected: dict[str, str]  # recording id to reason
    window_seconds: float | str  # `whole`: one window for each recording


@dataclass(frozen=True)
class QualityNote(JsonRecord):
    """What `comodo inspect` has to know about prepared windows."""

    FILE = "quality.json"
    names: list[str]  # that sweep files give the data set
    settings: dict[str, Any]  # the data set's entry in the sweep file
    leaks: dict[str, str]  # as in `WindowsMeta`


@dataclass(frozen=True, kw_only=True)
class FeaturesMeta(ArtifactMeta):
    """One teacher's features of prepared windows."""

    KIND = "features"
    teacher: dict[str, Any]
    windows: str  # key of the windows
    count: int  # windows that were tried
    devices: list[str]
    speed: float | None = None  # windows per second, of the latest run alone
    rejected: dict[str, str]  # window id to reason


@dataclass(frozen=True, kw_only=True)
class WindowArraysMeta(ArtifactMeta):
    """Packed windows."""

    KIND = "arrays"
    windows: str = ""  # key of the prepared windows
    classes: list[str]
    groups: list[str]
    files: dict[str, list[str]]  # names of the shards of each split
    uniform: bool  # all windows have the same length


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
