"""Frames of windows as a teacher sees them, decoded in encode's CPU tasks. Knows no teacher's
network.

Letters: B windows, F frames of each, H rows and columns of pixels.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from comodo.config import TeacherConfig
from comodo.core.errors import is_passing
from comodo.core.inputs import InputError, local_copy
from comodo.core.redaction import redacted
from comodo.core.store import Store, is_present
from comodo.data.frames import PIXELS, lifeless
from comodo.data.video import decode_spans
from comodo.data.window_sets import refuse_changed


def decode_batch(
    batch: dict[str, np.ndarray], count: int, size: int, store: Store, teacher: TeacherConfig
) -> dict[str, np.ndarray]:
    """Frames `[B, count, size, size, 3]` of the batch's spans as the teacher sees them, and what is
    wrong with the picture; black with a reason if a file cannot be decoded: `rejected` if the file
    is at fault, `passing` if a later try may succeed. `store` has the small copies and simulated
    videos.

    Raises ChangedError for a file that was replaced.
    """
    pixels = PIXELS[teacher.frame or "crop"]
    frames_BFHW3 = np.zeros((len(batch["window"]), count, size, size, 3), pixels)
    texts: dict[str, list[str]] = {"rejected": [], "passing": [], "picture": []}
    for rows in _overlapping(batch):
        name = batch["video"][rows[0]]
        video = store.local(name)
        is_present(Path(video))
        spans = [(float(batch["start"][row]), float(batch["end"][row])) for row in rows]
        version = json.loads(batch["file"][rows[0]]).get(video)
        decoded: Sequence[np.ndarray | Exception]
        try:
            with local_copy(video, version) as here:
                decoded = _decoded(here, spans, count, size, teacher)
        except InputError as error:
            here, decoded = video, [error] * len(rows)
        for row, frames_FHW3 in zip(rows, decoded, strict=True):
            found = dict.fromkeys(texts, "")
            if isinstance(frames_FHW3, Exception):
                kind = "passing" if is_passing(frames_FHW3) else "rejected"
                reason = f"{type(frames_FHW3).__name__}: {frames_FHW3}"
                found[kind] = redacted(reason.replace(here, video))
            else:
                flipped = batch["flipped"][row]
                frames_BFHW3[row] = frames_FHW3[:, :, ::-1] if flipped else frames_FHW3
                found["picture"] = lifeless(frames_BFHW3[row]) or ""
                refuse_changed(json.loads(batch["file"][row]))
            for column, text in found.items():
                texts[column].append(text)
    about = {column: np.array(values) for column, values in texts.items()}
    return {"window": batch["window"], "frames": frames_BFHW3, **about}


def _overlapping(batch: dict[str, np.ndarray]) -> Iterator[list[int]]:
    """All rows in their order, together those one after the other whose spans of a video overlap,
    so that it is decoded once."""
    together: list[int] = []
    video, begun, until = "", math.inf, -math.inf
    spans = zip(batch["video"], batch["start"], batch["end"], strict=True)
    for row, (name, start, end) in enumerate(spans):
        if together and not (name == video and begun <= start < until):
            yield together
            together = []
        together.append(row)
        video, begun, until = name, start, end
    yield together


def _decoded(
    video: str, spans: list[tuple[float, float]], count: int, size: int, teacher: TeacherConfig
) -> list[np.ndarray | Exception]:
    """The frames `[F, H, H, 3]` of each span, or why it cannot be decoded: whatever is wrong with
    one, the others continue."""
    shape, choice = teacher.frame or "crop", teacher.frame_choice
    try:
        return list(decode_spans(video, spans, count, size, shape, choice))
    except Exception as error:
        if len(spans) == 1:
            return [error]  # the reason is stored with the window, and reported
    return [found for span in spans for found in _decoded(video, [span], count, size, teacher)]
