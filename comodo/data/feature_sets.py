"""The teacher features of a window set: their key and their count. Knows no Ray."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from comodo.config import TeacherConfig
from comodo.core.store import Store, fetched, fingerprint, key_of, parts
from comodo.core.versions import FEATURE_VERSION
from comodo.data.records import FeaturesMeta
from comodo.data.window_sets import FileFingerprints, WindowSet


@dataclass(frozen=True)
class FeatureSet:
    """The teacher's features of one window set."""

    key: str
    folder: Path
    rejected: int  # windows without a feature


def feature_key(teacher: TeacherConfig, windows: WindowSet) -> str:
    """Hash of everything that the features depend on."""
    return key_of(_identity(teacher) | {"windows": windows.key})


def _identity(teacher: TeacherConfig) -> dict[str, Any]:
    """What a teacher's features depend on besides the windows: of a folder of weights the content,
    wherever the folder is."""
    settings, files = teacher.for_key(), teacher_files(teacher)
    if teacher.weights in files:
        settings["weights"] = files.pop(teacher.weights)
        settings["allow_remote_code"] = teacher.allow_remote_code is not None
    return {"version": FEATURE_VERSION, "teacher": settings, **files}


def teacher_files(teacher: TeacherConfig) -> FileFingerprints:
    """Fingerprints of the files on this machine that the teacher is read from."""
    paths = (teacher.weights, teacher.path)
    return {path: fingerprint(path) for path in paths if path and Path(path).exists()}


def count_encoded(folder: Path) -> int:
    """How many windows the teacher has processed, with or without a feature."""
    return sum(pq.read_metadata(part).num_rows for part in parts(folder))


def pictures_of(windows: str, store: Store) -> dict[str, str]:
    """What any teacher's frames showed to be wrong with pictures of a window set: window id to
    `black`, `of one colour` or `frozen`. `windows`: key of the set."""
    pattern = f"*/{FeaturesMeta.FILE}"
    folders = [path.parent for path in fetched(store.root / "features", pattern).glob(pattern)]
    found = [meta for meta in map(FeaturesMeta.find, folders) if meta and meta.windows == windows]
    return {window: fault for meta in found for window, fault in meta.pictures.items()}


def picture_lines(pictures: dict[str, str], count: int) -> list[str]:
    """`pictures_of` a set of `count` windows as sentences."""
    lines = []
    for picture, number in Counter(pictures.values()).most_common():
        example = next(window for window, found in pictures.items() if found == picture)
        fault = f"{number} of {count} windows have a picture that is {picture}"
        lines.append(f"{fault}, such as {example}")
    return lines
