"""Published split lists: train.txt, val.txt and test.txt in one folder, a recording on each line.

Knows the three files and what is wrong with them; what a line says is its reader's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from comodo.data.recordings import SPLIT_NAMES, DatasetError, Recording, plain_name


@dataclass(frozen=True)
class Listed:
    """A line of a list."""

    id: str
    label: str
    split: str


def read_lists(folder: Path, parse: Callable[[str], tuple[str, str]]) -> list[Listed]:
    """What the lists of a folder name.

    Args:
        parse: from a line to id and label; its ValueError says what a line should be.

    Raises:
        DatasetError: no list, a list that is no text, a line that cannot be parsed, an id that
            stands twice.
    """
    listed: list[Listed] = []
    seen: dict[str, str] = {}
    files = [folder / f"{split}.txt" for split in SPLIT_NAMES]
    for file in filter(Path.is_file, files):
        try:
            lines = file.read_text().splitlines()
        except UnicodeDecodeError as error:
            raise DatasetError(f"{file}: no text: {error}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                id, label = parse(line.strip())
            except ValueError as error:
                raise DatasetError(f"{where}: {error}") from None
            if id in seen:
                raise DatasetError(
                    f"{where}: '{id}' stands in {seen[id]} too; leave it in one of them"
                )
            seen[id] = where
            listed.append(Listed(id, label, file.stem))
    if not listed:
        raise DatasetError(f"{folder}: no recordings in {', '.join(f.name for f in files)}")
    return listed


def id_and_activity(line: str) -> tuple[str, str]:
    """A line of the lists of Ego4D and EgoExo4D: an id, a tab, an activity."""
    id, _, label = (part.strip() for part in line.partition("\t"))
    if not (id and label):
        raise ValueError(f"'{line}'; wanted an id, a tab and an activity")
    return plain_name(id), label


def refuse_wrong_folder(recordings: Sequence[Recording]) -> None:
    """A single missing file is a rejected recording; none at all is a wrong folder.

    Raises:
        DatasetError: no recording has its IMU file, or none its video.
    """
    for kind in ("imu", "video"):
        files = [path for recording in recordings if (path := getattr(recording, kind))]
        if files and not any(Path(path).is_file() for path in files):
            raise DatasetError(
                f"{files[0]}: no such file, nor a file for any other of the {len(files)} "
                f"recordings; is the folder of the {kind} files another one?"
            )
