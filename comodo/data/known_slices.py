"""Windows that another window set has already. A recording whose split, group or label was changed,
or that others were added to, is the same recording: its windows are copied, and no file is read.
Knows no Ray.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comodo.config import DatasetConfig
from comodo.config.datasets import OwnDataset
from comodo.core.parts import is_whole
from comodo.core.store import Store, fetched, is_present, key_of
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.recordings import Recording
from comodo.data.records import QualityNote
from comodo.data.slicing import WINDOW_SCHEMA, Sliced, quality_file
from comodo.data.transcode import copy_of
from comodo.data.window_sets import FileFingerprints, how_made

NAMED = ("split", "group", "label")
"""What a recording is called and used for, which its windows do not depend on."""


def slices_key(
    settings: DatasetConfig, recording: Recording, files: FileFingerprints, store: Store
) -> str:
    """Hash of everything that the windows of one recording depend on. A reader of the user's, or of
    an installed package, may look at all that a recording says."""
    content = how_made(settings, excluded=("split_by_group",))
    moved = recording.moved(store.portable)
    named = () if isinstance(settings, OwnDataset) else NAMED
    content["recording"] = {k: v for k, v in moved.for_key().items() if k not in named}
    content["files"] = [files.get(file) for file in recording.files]
    if settings.windows_per_recording is not None:
        content["drawn"] = recording.split == "train"
    return key_of(content)


def known_slices(name: str, keys: Mapping[str, str], store: Store) -> dict[str, str]:
    """Which recordings, by id, have their windows in some set of the data set of that name: the
    part that has them, by its path in the store's folder of windows. `keys`: their
    `slices_key`s."""
    id_of = {key: id for id, key in keys.items()}
    found = dict[str, str]()
    pattern = f"*/{QualityNote.FILE}"
    for note in sorted(fetched(store.root / "windows", pattern).glob(pattern)):
        of_set = QualityNote.find(note.parent)
        if of_set is None or name not in of_set.names:
            continue
        listed = store.files("windows", f"{note.parent.name}/*.parquet")
        for part in listed:
            quality = part.with_name(quality_file(part.name))
            if part == quality or quality not in listed:
                continue
            if (part.exists() and not is_whole(part)) or not is_whole(fetched(quality)):
                continue
            if "slices" not in pq.read_schema(quality).names:  # of an earlier version
                continue
            table = pq.read_table(quality, columns=["slices", "rejected"])
            kept = table.filter(pc.is_null(table["rejected"]))["slices"].to_pylist()
            where = str(part.relative_to(store.root / "windows"))
            found |= {id_of[key]: where for key in kept if key in id_of}
    return found


def has_video(
    recording: Recording, settings: DatasetConfig, files: FileFingerprints, store: Store
) -> bool:
    """Whether the small copy of its video is still in the store, if it has to have one."""
    if settings.videos != "shrink" or not (video := recording.video):
        return True
    return is_present(copy_of(video, files[video], store.videos))


def copied(part: str, recording: Recording, store: Store) -> Sliced:
    """The windows and the quality of a recording from a part of another set, by what it is called
    now."""
    path = store.root / "windows" / part
    quality = path.with_name(quality_file(path.name))
    of_recording = [("recording", "=", recording.id)]
    windows = pq.read_table(fetched(path), filters=of_recording, schema=WINDOW_SCHEMA)
    measured = pq.read_table(fetched(quality), filters=of_recording).to_pylist()
    called = {name: getattr(recording, name) for name in NAMED}
    if recording.intervals is not None:  # which decide the label of each window, and are the same
        del called["label"]
    rows = [{**row, **called, "imu": imu} for row, imu in _rows(windows)]
    about = dict.fromkeys(QUALITY_SCHEMA.names) | measured[0] | called
    about["label"] = recording.label
    labels = [row["label"] for row in rows]
    counts = Counter(label for label in labels if label)
    about["classes"] = [{"label": label, "windows": n} for label, n in counts.items()]
    about["last_labelled"] = labels[-1] is not None
    return rows, about


def _rows(windows: pa.Table) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each window's columns, and its values as an array."""
    for batch in windows.to_batches():
        values, ends = batch["imu"].values.to_numpy(), batch["imu"].offsets.to_numpy()
        for number, row in enumerate(batch.drop_columns(["imu"]).to_pylist()):
            yield row, values[ends[number] : ends[number + 1]]
