"""Dataclasses that are JSON files of the store. Knows no record's content."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from comodo.core.store import Store, fetched, read_json, report_damaged, write_json


@dataclass(frozen=True)
class JsonRecord:
    """Base of dataclasses that are JSON files of the store: one field for each key of the file, in
    its order; a key that not every version has written has a default."""

    FILE: ClassVar[str]
    """The file's name in its folder."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Ignores unknown keys. Raises ValueError if a key without a default is missing."""
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in content.items() if name in known})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{cls.FILE}: written by another version: {error}") from None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record in a `fetched` folder. Raises FileNotFoundError, or as `from_json` does."""
        return cls.from_json(read_json(folder / cls.FILE))

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """As `read`; None if the file is absent, damaged, or without a key that it needs."""
        try:
            return cls.read(folder)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            report_damaged(folder / cls.FILE, error)
            return None

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
