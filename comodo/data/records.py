"""The JSON files that describe data artifacts: windows, teacher features, packed arrays.

Knows how they are stored, not how they are made.
"""

from dataclasses import dataclass
from typing import Any

from comodo.core.json_record import ArtifactMeta, JsonRecord


@dataclass(frozen=True)
class WindowsMeta(ArtifactMeta):
    """Prepared windows of a data set."""

    KIND = "windows"
    channels: list[str]
    windows: dict[str, int]
    """Windows in each split."""
    classes: dict[str, dict[str, int]]
    """Labelled windows of each class, by split."""
    leaks: dict[str, str]
    """For val and test: how many of their groups are also in train, as `3 of 10`."""
    rejected: dict[str, str]
    """Recording id to reason."""
    window_seconds: float | str
    """`whole`: one window for each recording."""


@dataclass(frozen=True)
class QualityNote(JsonRecord):
    """What `comodo inspect` has to know about prepared windows."""

    FILE = "quality.json"
    names: list[str]
    """Names that sweep files have for the data set."""
    settings: dict[str, Any]
    """The data set's entry in the sweep file."""
    leaks: dict[str, str]
    """As in `WindowsMeta`."""


@dataclass(frozen=True, kw_only=True)
class FeaturesMeta(ArtifactMeta):
    """One teacher's features of prepared windows."""

    KIND = "features"
    teacher: dict[str, Any]
    windows: str
    """Key of the windows."""
    count: int
    """Windows that were tried."""
    devices: list[str]
    speed: float | None = None
    """Windows per second, of the latest run alone."""
    rejected: dict[str, str]
    """Window id to reason."""


@dataclass(frozen=True, kw_only=True)
class WindowArraysMeta(ArtifactMeta):
    """Packed windows."""

    KIND = "arrays"
    windows: str = ""
    """Key of the prepared windows."""
    classes: list[str]
    groups: list[str]
    files: dict[str, list[str]]
    """Names of the shards of each split."""
    uniform: bool
    """Whether all windows have the same length."""


@dataclass(frozen=True)
class ResizedMeta(ArtifactMeta):
    """Packed windows, resized to the length that a student takes."""

    KIND = "arrays"
    samples: int


@dataclass(frozen=True, kw_only=True)
class FeatureArraysMeta(ArtifactMeta):
    """Packed features."""

    KIND = "arrays"
    features: str = ""
    """Key of the features."""
    dim: int
    files: dict[str, list[str]]
