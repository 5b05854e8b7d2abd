"""JSON files as dataclasses."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from comodo.core.json_record import ArtifactMeta
from comodo.core.store import Store, read_json, write_json


@dataclass(frozen=True)
class Note(ArtifactMeta):
    KIND = "windows"
    count: int
    names: list[str]
    speed: float | None = None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store, note = Store(tmp_path), Note(3, ["a"])
    assert Note.of("k", store) is None
    note.write(store.folder("windows", "k"))
    assert Note.of("k", store) == note
    content = read_json(store.folder("windows", "k") / "meta.json")
    assert list(content.items()) == [("count", 3), ("names", ["a"]), ("speed", None)]


def test_other_versions(tmp_path: Path) -> None:
    """Keys of a later one are ignored, those that an earlier one did not have are filled in."""
    write_json(tmp_path / "meta.json", {"count": 3, "names": [], "colour": "red"})
    assert Note.read(tmp_path) == Note(3, [])
    write_json(tmp_path / "meta.json", {"count": 3})
    with pytest.raises(ValueError, match=r"meta\.json: .*'names'"):
        Note.find(tmp_path)


def test_no_file(tmp_path: Path) -> None:
    assert Note.find(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        Note.read(tmp_path)
