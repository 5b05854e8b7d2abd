"""A JSON file of the store as a dataclass: one field for each key of the file. Knows no file's
content; the dataclasses are in `data.records` and `search.records`."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from comodo.core.store import Store, fetched, read_json, write_json


@dataclass(frozen=True)
class JsonRecord:
    """Base of the dataclasses. Their fields are in the order of the file's keys; a key that not
    every version has written has a default."""

    FILE: ClassVar[str]
    """The file's name in its folder."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Ignores keys that this version does not know. Raises ValueError if a key without a
        default is missing."""
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in content.items() if name in known})
        except TypeError as error:
            raise ValueError(f"{cls.FILE}: written by another version: {error}") from None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record in a folder, which has to be `fetched`. Raises FileNotFoundError, or
        ValueError as `from_json` does."""
        return cls.from_json(read_json(folder / cls.FILE))

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """As `read`; None where there is none."""
        return cls.read(folder) if (folder / cls.FILE).exists() else None

    def write(self, folder: Path) -> None:
        write_json(folder / self.FILE, asdict(self))


class ArtifactMeta(JsonRecord):
    """The meta.json of an artifact, which is complete once it has one."""

    FILE = "meta.json"
    KIND: ClassVar[str]
    """The store's folder for such artifacts."""

    @classmethod
    def of(cls, key: str, store: Store) -> Self | None:
        """None while the artifact is incomplete."""
        return cls.find(fetched(store.folder(cls.KIND, key), cls.FILE))
