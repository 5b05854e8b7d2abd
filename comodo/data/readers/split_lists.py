"""Published split lists: train.txt, val.txt and test.txt in one folder, a recording on each line.

Knows the three files and their errors, but not the format of a line, which the readers parse.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from comodo.data.names import tidy
from comodo.data.recordings import SPLIT_NAMES, DatasetError, Recording, plain_name, utf8_text


def read_lists(folder: Path, parse: Callable[[str], tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Id, label and split of all recordings in the lists of a folder.

    `parse` gets id and label from a line; its ValueError says what a line should be. Raises
    DatasetError if there is no list, or one is not text, has a bad line or an id that occurs twice.
    """
    listed: list[tuple[str, str, str]] = []
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
                message = f"{where}: '{id}' is also in {seen[id]}; remove one of the two lines"
                raise DatasetError("dataset.duplicate-id", message)
            seen[id] = where
            listed.append((id, label, file.stem))
    if not listed:
        names = ", ".join(file.name for file in files)
        message = f"{folder}: no recordings in {names}; splits is the folder of these lists"
        raise DatasetError("dataset.no-recordings", message)
    return listed


def numbered_lines(file: Path, fix: str) -> list[tuple[int, str]]:
    """The lines that are not empty, without surrounding space, and their numbers from 1 on. Raises
    DatasetError, whose message ends with `fix`, if the file is missing or not text."""
    try:
        lines = enumerate(utf8_text(file).splitlines(), start=1)
        return [(number, line.strip()) for number, line in lines if line.strip()]
    except (OSError, ValueError) as error:
        message = f"{file}: cannot be read as text: {error}; {fix}"
        raise DatasetError("dataset.unreadable", message) from None


def id_and_activity(line: str) -> tuple[str, str]:
    """A line of the lists of Ego4D and EgoExo4D: an id, a tab, an activity."""
    id, label, *more = map(str.strip, [*line.split("\t"), ""])
    if not (id and label) or any(more):
        raise ValueError(f"'{line}'; expected an id, a tab and an activity")
    return plain_name(id), tidy(label)


def refuse_wrong_folder(recordings: Sequence[Recording]) -> None:
    """Raises DatasetError if no recording has an IMU file, or none has a video; a single missing
    file only rejects its recording."""
    for kind in ("imu", "video"):
        files = [getattr(recording, kind) for recording in recordings]
        if not any(Path(path).is_file() for path in files):
            lacking = f"no such file, nor a file for any other of the {len(files)} recordings"
            fix = f"check the folder of the {kind} files"
            raise DatasetError("dataset.no-files", f"{files[0]}: {lacking}; {fix}")
