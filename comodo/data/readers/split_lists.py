"""Published split lists: train.txt, val.txt and test.txt in one folder, a recording on each line.

Knows the three files and their errors, but not the format of a line, which the readers parse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from comodo.data.recordings import SPLIT_NAMES, DatasetError, Recording, plain_name


@dataclass(frozen=True)
class Listed:
    """A recording as a list names it."""

    id: str
    label: str
    split: str


def read_lists(folder: Path, parse: Callable[[str], tuple[str, str]]) -> list[Listed]:
    """All recordings in the lists of a folder.

    Args:
        parse: from a line to id and label; its ValueError says what a line should be.

    Raises:
        DatasetError: no list, a list that is not text, a line that cannot be parsed, or an id that
            occurs twice.
    """
    listed: list[Listed] = []
    seen: dict[str, str] = {}
    files = [folder / f"{split}.txt" for split in SPLIT_NAMES]
    for file in filter(Path.is_file, files):
        for number, line in numbered_lines(file, "save it as UTF-8 text"):
            where = f"{file}, line {number}"
            try:
                id, label = parse(line)
            except ValueError as error:
                raise DatasetError("dataset.bad-line", f"{where}: {error}") from None
            if id in seen:
                raise DatasetError(
                    "dataset.duplicate-id",
                    f"{where}: '{id}' is also in {seen[id]}; remove one of the two lines",
                )
            seen[id] = where
            listed.append(Listed(id, label, file.stem))
    if not listed:
        raise DatasetError(
            "dataset.no-recordings",
            f"{folder}: no recordings in {', '.join(file.name for file in files)}; "
            "splits is the folder of these lists",
        )
    return listed


def numbered_lines(file: Path, fix: str) -> list[tuple[int, str]]:
    """The lines that are not empty, without surrounding space, and their numbers from 1 on.

    Raises:
        DatasetError: the file is missing, or is not text; the message ends with `fix`.
    """
    try:
        lines = enumerate(file.read_text().splitlines(), start=1)
        return [(number, line.strip()) for number, line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            "dataset.unreadable", f"{file}: cannot be read as text: {error}; {fix}"
        ) from None


def id_and_activity(line: str) -> tuple[str, str]:
    """A line of the lists of Ego4D and EgoExo4D: an id, a tab, an activity."""
    id, _, label = (part.strip() for part in line.partition("\t"))
    if not (id and label):
        raise ValueError(f"'{line}'; expected an id, a tab and an activity")
    return plain_name(id), label


def refuse_wrong_folder(recordings: Sequence[Recording]) -> None:
    """Refuses a folder without any file; a single missing file only rejects its recording.

    Raises:
        DatasetError: no recording has an IMU file, or none has a video.
    """
    for kind in ("imu", "video"):
        files = [path for recording in recordings if (path := getattr(recording, kind))]
        if files and not any(Path(path).is_file() for path in files):
            raise DatasetError(
                "dataset.no-files",
                f"{files[0]}: no such file, nor a file for any other of the {len(files)} "
                f"recordings; check the folder of the {kind} files",
            )
