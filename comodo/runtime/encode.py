"""encode: windows to teacher features, through Ray Data.

CPU tasks decode frames, a pool of actors runs the frozen teacher (on GPUs when the cluster has
them), and features are written to Parquet at once, so that an interrupted run continues with the
next window. The feature is the teacher's own, before any projector: one encoding serves every
trial.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from comodo.config import TeacherConfig
from comodo.config.teacher import NOT_ENCODERS
from comodo.core.console import console, track
from comodo.core.hub import resolved_commit
from comodo.core.lease import Lease, leased
from comodo.core.malloc import keep_freed_memory
from comodo.core.parts import damaged_parts, parts, read_parts, remove_rejected, write_table
from comodo.core.provenance import made_by
from comodo.core.store import Store, fetched, key_of, remove
from comodo.data.concatenated import concatenated_features
from comodo.data.feature_sets import (
    FeatureSet,
    copy_features,
    count_encoded,
    feature_key,
    has_spans,
    in_no_part,
    list_spans,
    picture_lines,
    refuse_other_commit,
    teacher_files,
    that_are_read,
    wanted_windows,
)
from comodo.data.precomputed import FEATURE_SCHEMA, EncodeError, precomputed_features
from comodo.data.records import FeaturesMeta
from comodo.data.window_sets import (
    FileFingerprints,
    WindowSet,
    counts_without_video,
    refuse_changed,
)
from comodo.runtime.actor_pool import Balance, Node, actor_pool
from comodo.runtime.cluster import Capacity
from comodo.runtime.decode import decode_batch
from comodo.runtime.gpus import refuse_unusable_gpu

ROWS_PER_PART = 64


def encode_windows(
    name: str,
    teacher: TeacherConfig,
    windows: WindowSet,
    store: Store,
    max_rejected: float,
    unread: Collection[str] = (),
) -> FeatureSet:
    """The features of a window set, except of `unread` splits, after encoding the missing ones. Ray
    must be connected. `teacher`: by `config.teacher.teacher_on`.

    Raises:
        EncodeError: more than the allowed share of windows has no feature, or features are of
            another commit of the teacher's weights.
        ChangedError: a video or the teacher's files were replaced meanwhile.
    """
    for part in teacher.several or ():
        encode_windows(name, part, windows, store, max_rejected, unread)
    known, key = teacher_files(teacher), feature_key(teacher, windows)
    refuse_changed(known)  # so that key and fingerprints are of the same files
    folder, what = store.folder("features", key), f"encode {name} with {teacher.name}"
    refuse_other_commit(teacher, folder)
    if _unfinished(windows, unread, store, key):
        with leased(store, "features", key, what) as lease:
            if _unfinished(windows, unread, store, key):  # no other driver has encoded them
                _make(what, teacher, known, windows, unread, store, key, lease)
    elif teacher.name not in NOT_ENCODERS and not has_spans(teacher, folder):
        # Of an earlier version.
        list_spans(teacher, wanted_windows(windows, store, teacher), folder)
    meta = FeaturesMeta.of(key, store)
    assert meta is not None
    unread = unread if meta.splits else ()  # an earlier version: all together
    lacking, counts = meta.lacking(unread), Counter(windows.counts)
    counts.subtract(_without_video(teacher, windows))
    lost, count = len(lacking), sum(n for split, n in counts.items() if split not in unread)
    if not count:
        fault = "none of the windows that trials read has a video; add recordings with one"
        raise EncodeError("features.no-video", f"{name}: {fault}")
    for window in lacking[:5]:
        reason = meta.rejected[window]
        console.print(f"  no feature for {window}: {reason}", style="yellow", markup=False)
    if meta.passing:
        again = f"{len(meta.passing)} of them may be readable later; the next run tries them again"
        console.print(f"  {again}", style="yellow")
    for line in picture_lines(meta.pictures, count):
        console.print(f"  {line}", style="yellow", markup=False)
    console.print(f"{name}: {count - lost} features by {teacher.name}  ({folder})")
    if lost > max_rejected * count or meta.count == 0:
        remove_rejected(folder)  # so that they are tried again
        raise EncodeError(
            "features.too-many-missing",
            f"{name}: {lost} of {count} windows have no feature, over the allowed share "
            f"of {max_rejected:g}; fix the files, or increase datasets.{name}.max_rejected",
        )
    return FeatureSet(key, folder, lost)


def _without_video(teacher: TeacherConfig, windows: WindowSet) -> dict[str, int]:
    """How many windows the teacher cannot see, by split."""
    return counts_without_video(windows.folder) if teacher.sees_video else {}


def _unfinished(windows: WindowSet, unread: Collection[str], store: Store, key: str) -> bool:
    meta = FeaturesMeta.of(key, store)
    # There may be more windows than features after more recordings were accepted.
    too_few = meta is None or not meta.has(windows.counts, unread)
    return too_few or bool(damaged_parts(store.folder("features", key)))


def _make(
    what: str,
    teacher: TeacherConfig,
    known: FileFingerprints,
    windows: WindowSet,
    unread: Collection[str],
    store: Store,
    key: str,
    lease: Lease,
) -> None:
    """Encodes the missing features, and writes their meta.json. Raises LeaseError."""
    folder = fetched(store.folder("features", key))
    all_splits = wanted_windows(windows, store, teacher)
    wanted = that_are_read(all_splits, unread)
    pinned = pinned_teacher(teacher)
    refuse_other_commit(teacher, folder)
    for path in damaged_parts(folder):
        remove(path)
    if teacher.name not in NOT_ENCODERS:
        list_spans(teacher, all_splits, folder)
        copy_features(teacher, in_no_part(wanted, folder), store, key)
    done, devices, passing = count_encoded(folder), set[str](), dict[str, str]()
    began, balance = time.perf_counter(), Balance()
    if teacher.name in NOT_ENCODERS:
        if teacher.several is None:
            features = precomputed_features(teacher, wanted)
        else:
            features, passing = concatenated_features(teacher, wanted, windows, store)
        refuse_changed(known)
        write_table(folder / "part-given.parquet", features)
    elif len(missing := in_no_part(wanted, folder)):
        written = _encode(pinned, known, missing, store, key)
        for batch in track(written, len(missing), what, balance.note):
            balance.add(batch)
            devices.update(batch["device"])
            windows_of = zip(batch["window"], batch["passing"], strict=True)
            passing |= {window: reason for window, reason in windows_of if reason}
        if found := balance.sentence(len(missing)):
            console.print(f"  {found}", markup=False)
    columns = ["window", "rejected", "picture"]
    none = FEATURE_SCHEMA.empty_table()
    table = read_parts(folder, columns) if parts(fetched(folder)) else none
    rejected = _texts(table, "rejected") | passing
    pairs = zip(all_splits["window"].to_pylist(), all_splits["split"].to_pylist(), strict=True)
    split_of = dict(pairs)
    done_in = Counter(split_of[w] for w in table["window"].to_pylist() if w in split_of)
    done_in.update(_without_video(teacher, windows))
    lease.check()
    FeaturesMeta(
        teacher=teacher.model_dump(mode="json"),
        commit=None if pinned is teacher else pinned.revision,
        windows=windows.key,
        count=len(table),
        devices=sorted(devices),
        speed=(len(table) - done) / (time.perf_counter() - began),
        rejected=rejected,
        passing=sorted(passing),
        splits=dict(done_in),
        rejected_in={window: split_of[window] for window in rejected if window in split_of},
        pictures=_texts(table, "picture"),
        made_by=made_by(),
    ).write(folder)


def pinned_teacher(teacher: TeacherConfig) -> TeacherConfig:
    """The teacher at one commit on all machines, whatever becomes of the branch that it names."""
    commit = teacher.weights and resolved_commit(teacher.weights, teacher.revision)
    return teacher.model_copy(update={"revision": commit}) if commit else teacher


def _texts(table: pa.Table, column: str) -> dict[str, str]:
    """The values of a column by window, where it has one."""
    table = table.filter(pc.is_valid(table[column]))
    return dict(zip(table["window"].to_pylist(), table[column].to_pylist(), strict=True))


def _encode(
    teacher: TeacherConfig, known: FileFingerprints, missing: pa.Table, store: Store, key: str
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Yields what `write_features` returns, with its number of windows."""
    frames, size, weights = _input_of(teacher)
    has = Capacity()
    nodes = [Node(*node, memory) for node, memory in zip(has.nodes, has.memory, strict=True)]
    pool = actor_pool(nodes, weights, frames * size * size * 3)
    # Batches divide evenly among the actors; otherwise, with few windows, some would get none and
    # others would work a minute longer.
    rounds = math.ceil(len(missing) / (pool.batch * pool.actors))
    batch = math.ceil(len(missing) / (rounds * pool.actors))
    # Cut here: Ray's own repartition would wait for the CPU that the actors hold.
    rows = batch * max(1, len(missing) // (1000 * batch))
    blocks = [missing.slice(start, rows) for start in range(0, len(missing), rows)]
    windows: Any = ray.data.from_arrow(blocks)
    written = (
        windows.map_batches(
            decode_batch,
            fn_kwargs={"count": frames, "size": size, "store": store, "teacher": teacher},
            batch_size=batch,
            num_cpus=pool.decode_cpus,
        )
        .map_batches(
            TeacherActor,
            fn_constructor_args=(_moved(teacher, store.portable), store, known, pool.threads),
            batch_size=batch,
            compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(blocks))),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
        )
        .map_batches(
            write_features,
            fn_kwargs={"store": store, "key": key},
            batch_size=ROWS_PER_PART,
            num_cpus=0.1,
        )
    )
    for done in written.iter_batches(batch_size=None):
        yield done, len(done["window"])


def _input_of(teacher: TeacherConfig) -> tuple[int, int, int]:
    """The teacher's number of frames, their height, and the bytes of its weights. Raises
    EncodeError for a teacher that cannot be built, before any actor starts."""
    from comodo.models.teachers import build_teacher

    try:
        built = build_teacher(teacher)
    except ValueError as error:
        raise EncodeError("features.no-teacher", f"trial.teacher: {error}") from None
    weights = sum(weight.numel() * weight.element_size() for weight in built.parameters())
    return built.frames, built.image_size, weights


def _moved(teacher: TeacherConfig, to: Callable[[str], str]) -> TeacherConfig:
    """The teacher with the path of its weights on another machine, if they are in the store."""
    return teacher.model_copy(update={"weights": teacher.weights and to(teacher.weights)})


class TeacherActor:
    """Holds the frozen teacher on the device that Ray gave to the actor, and measures how long it
    computes and waits; on a CPU it computes in so many threads."""

    def __init__(
        self, settings: TeacherConfig, store: Store, known: FileFingerprints, threads: int
    ) -> None:
        import torch

        from comodo.models.teachers import build_teacher

        gpus = ray.get_gpu_ids()
        if gpus:
            refuse_unusable_gpu()
        self.device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        self.label = f"{self.device} (Ray GPU {gpus[0]})" if gpus else self.device
        if self.device == "cpu":
            torch.set_num_threads(threads)
            keep_freed_memory()
        here = _moved(settings, store.local)
        if here != settings:
            fetched(Path(str(here.weights)))
        self.teacher, self.known = build_teacher(here).to(self.device), known
        self.ended = math.nan  # of the pass before

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        began = time.perf_counter()
        refuse_changed(self.known)
        frames_BFHW3 = torch.from_numpy(np.array(batch.pop("frames")))
        feature_BD = self.teacher(frames_BFHW3.to(self.device)).cpu().numpy()
        count, waited, self.ended = len(feature_BD), began - self.ended, time.perf_counter()
        made = {
            "feature": feature_BD,
            "device": np.array([self.label] * count),
            "computed": np.full(count, (self.ended - began) / count),
            "waited": np.full(count, waited / count),
        }
        return batch | made


def write_features(batch: dict[str, np.ndarray], store: Store, key: str) -> dict[str, np.ndarray]:
    """Writes one part, named by the windows in it, of those that need not be tried again. Returns
    all windows, with device and `passing`, and how long the actor computed and waited."""
    columns = ("window", "feature", "rejected", "passing", "picture")
    rows: list[dict[str, Any]] = []
    for window, feature, reason, passing, picture in zip(*(batch[c] for c in columns), strict=True):
        if reason:
            rows.append({"window": str(window), "rejected": str(reason)})
        elif not passing:
            rows.append(
                {"window": str(window), "feature": feature, "picture": str(picture) or None}
            )
    if rows:
        part = f"part-{key_of([row['window'] for row in rows])}.parquet"
        table = pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA)
        write_table(store.folder("features", key) / part, table)
    return {name: batch[name] for name in ("window", "device", "passing", "computed", "waited")}
