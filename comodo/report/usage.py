"""What takes the space of a store, and what of it no sweep needs.

Reads the records of sweeps as plain files, those of other versions too. What cannot be understood
counts as needed. Knows nothing of what the artifacts mean.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from comodo.core.errors import ComodoError
from comodo.core.lease import Lease
from comodo.core.store import Store, fetched, find_json, read_json, remove
from comodo.core.units import format_bytes
from comodo.search.records import ASKED_FILE, CHECKPOINT_FILE, ENDED_FILE, TrainedRecord

REMOVABLE = ("windows", "features", "arrays", "trials")
KEPT = {
    "exports": "written by comodo export",
    "profiles": "written by comodo profile",
    "quality": "written by comodo inspect",
    "simulated": "slow to make again",
    "videos": "slow to make again",
}
"""Kinds that no sweep's records name, of which `clean` removes nothing, and why."""
OTHERS = (*KEPT, "sweeps", "mlflow")
MARKERS = ("meta.json", TrainedRecord.FILE)  # without which an artifact is not complete
KEY = re.compile("[0-9a-f]{16}")
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
TEMPORARY_SECONDS = 86_400.0  # without a change, after which no process writes a temporary file
UNNEEDED, ENDED, TEMPORARY_FILE = (
    "needed by no sweep",
    "checkpoint of a pruned or failed trial",
    "left by a killed process",
)


class UsageError(ComodoError, RuntimeError):
    """Nothing may be removed now."""


@dataclass(frozen=True)
class Needs:
    """What one sweep needs, as keys by kind."""

    keys: dict[str, set[str]]
    ended: set[str]
    """Trials that were pruned or failed."""


@dataclass(frozen=True)
class Removable:
    """A folder or file that `clean` removes."""

    path: Path
    size: int  # bytes
    why: str


@dataclass
class Usage:
    """The space of a store, in bytes."""

    kinds: dict[str, int]
    sweeps: dict[str, int]
    """By name: the artifacts that it needs, which other sweeps may need too."""
    removable: list[Removable]
    unclear: list[str] = field(default_factory=list)
    """Sweeps whose records do not say what they need: then everything counts as needed."""
    running: list[str] = field(default_factory=list)
    """Sweeps that are, or may be, running."""


def measure_usage(store: Store) -> Usage:
    """Lists all files of the store; removes nothing."""
    sizes = {kind: _sizes(store, kind) for kind in (*REMOVABLE, *OTHERS)}
    names = sorted(path.name for path in _sweep_folders(store))
    needs = {name: _needs(store, name) for name in names}
    known = {name: found for name, found in needs.items() if found is not None}
    usage = Usage(
        {kind: sum(of_kind.values()) for kind, of_kind in sizes.items()},
        {name: _total(sizes, found) for name, found in known.items()},
        list(_temporary(store)),
        [name for name in names if name not in known],
        [name for name in names if Lease(store, "sweeps", name).is_held()],
    )
    if not usage.unclear:
        usage.removable += _checkpoints(store, list(known.values()))
        usage.removable += _unneeded(store, sizes, list(known.values()))
    return usage


def clean_store(store: Store, is_meant: bool) -> RenderableType:
    """Removes what is removable, except what somebody works on, and lists it; unless `is_meant`,
    it is only listed.

    Raises UsageError while a sweep runs, which may need any of it.
    """
    usage = measure_usage(store)
    if not is_meant:
        total = format_bytes(sum(found.size for found in usage.removable))
        end = f"in all {total}; nothing was removed. To remove it: comodo clean --yes"
        lines = [*_kept(usage), *_notes(usage), end]
        return Group(_listed(usage.removable, store), *map(Text, lines))
    if usage.running:
        raise UsageError(
            "clean.sweep-running",
            f"the sweep '{usage.running[0]}' is running, or its machine was lost, and it may need "
            "anything in the store; wait for its end, or run its command again to the end",
        )
    removed = [found for found in usage.removable if _remove(found, store)]
    total = format_bytes(sum(found.size for found in removed))
    lines = [f"removed: {total}", *_kept(usage), *_notes(usage)]
    return Group(_listed(removed, store), *map(Text, lines))


def _remove(found: Removable, store: Store) -> bool:
    """Removes it unless somebody works on it."""
    place = found.path.relative_to(store.root).parts
    if place[0] in REMOVABLE and Lease(store, place[0], place[1]).is_held():
        return False
    if found.why == ENDED:
        from comodo.search.history import drop_checkpoint  # with PyTorch

        drop_checkpoint(found.path.parent)
        return True
    for marker in MARKERS if found.why == UNNEEDED else ():
        remove(found.path / marker)  # first: an interruption must not leave half of an artifact
    remove(found.path)
    return True


def show_usage(usage: Usage) -> RenderableType:
    """By kind, by sweep, and how much `clean` would remove."""
    kinds, sweeps = _table("kind"), _table("sweep, with what it shares")
    for table, sizes in ((kinds, usage.kinds), (sweeps, usage.sweeps)):
        for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
            if size or table is sweeps:
                table.add_row(Text(name), format_bytes(size))
    total = Text(f"in all {format_bytes(sum(usage.kinds.values()))}")
    by_reason = Counter[str]()
    for found in usage.removable:
        by_reason[found.why] += found.size
    lines = [f"{why}: {format_bytes(size)} (comodo clean)" for why, size in by_reason.items()]
    return Group(kinds, total, sweeps, *map(Text, [*lines, *_notes(usage)]))


def _listed(removable: list[Removable], store: Store) -> Table:
    table = _table("path", "why")
    for found in sorted(removable, key=lambda found: -found.size):
        path = found.path.relative_to(store.root)
        table.add_row(Text(str(path)), format_bytes(found.size), found.why)
    return table


def _table(name: str, *more: str) -> Table:
    size = Column("size", justify="right", no_wrap=True)
    return Table(Column(name, overflow="fold"), size, *more, box=None, pad_edge=False)


def _kept(usage: Usage) -> list[str]:
    """What is not looked at, whether a sweep needs it or not."""
    return [
        f"{kind}: {format_bytes(usage.kinds[kind])} are kept, {why}; to remove them, remove the "
        "folder"
        for kind, why in KEPT.items()
        if usage.kinds[kind]
    ]


def _notes(usage: Usage) -> list[str]:
    fix = "run it again, or remove its folder; until then everything counts as needed"
    unclear = [
        f"sweep {name}: its records do not say what it needs; {fix}" for name in usage.unclear
    ]
    return unclear + [f"sweep {name} is running: nothing is removed" for name in usage.running]


def _sweep_folders(store: Store) -> list[Path]:
    sweeps = fetched(store.root / "sweeps", "*/*.json")
    return [path for path in sweeps.glob("*") if path.is_dir()]


def _sizes(store: Store, kind: str) -> Counter[str]:
    """Bytes by key, or by name of the file. Second names of files count in the trials alone."""
    sizes = Counter[str]()
    if kind == "mlflow":  # is on this machine
        for path in (store.root / kind).rglob("*"):
            if path.is_file() and path.stat().st_nlink == 1:
                sizes[path.relative_to(store.root / kind).parts[0]] += path.stat().st_size
        return sizes
    for path, size in store.files(kind, "**/*").items():
        sizes[path.relative_to(store.root / kind).parts[0]] += size
    return sizes


def _needs(store: Store, name: str) -> Needs | None:
    """What a sweep needs; None if its records do not say all of it."""
    folder = store.folder("sweeps", name)
    try:
        record = read_json(folder / "sweep.json")
        asked = read_json(folder / ASKED_FILE)
        ended = set(find_json(folder / ENDED_FILE) or {})
        packed = {key for pair in record["arrays"] for key in pair if key}  # some have no features
        packed |= set(record["evaluation"]["targets"].values())
        trials = {key for entry in asked for key in entry["trials"]} | ended
        trials |= {key for entry in asked for key in entry.get("references") or ()}
        for source in record.get("sources", {}).values():
            for trial in source["trials"]:
                stages, of_stages = _earlier(store, trial["key"])
                trials |= stages
                packed |= of_stages
        store.fetch("arrays", packed, "meta.json")
        sources = [read_json(store.folder("arrays", key) / "meta.json") for key in packed]
        windows = {meta["windows"] for meta in sources if "windows" in meta}
        features = {meta["features"] for meta in sources if "windows" not in meta}
        windows |= set(record["windows"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if "" in windows | features:  # an earlier version did not record what it packed
        return None
    keys = {"trials": trials, "arrays": packed, "windows": windows, "features": features}
    return Needs(keys, ended)


def _earlier(store: Store, key: str) -> tuple[set[str], set[str]]:
    """A trial that others start from, and those that it came from; the keys of the packed windows
    that these were trained on, by which it is known whom they have seen."""
    trials, packed = set[str](), set[str]()
    while key and key not in trials:
        trials.add(key)
        folder = fetched(store.folder("trials", key), TrainedRecord.FILE)
        record: Any = find_json(folder / TrainedRecord.FILE) or {}
        if (windows := record.get("windows")) and store.meta("arrays", windows) is not None:
            packed.add(windows)
        key = (record.get("start") or {}).get("trial", "")
    return trials, packed


def _total(sizes: dict[str, Counter[str]], needs: Needs) -> int:
    return sum(sizes[kind][key] for kind, keys in needs.keys.items() for key in keys)


def _unneeded(
    store: Store, sizes: dict[str, Counter[str]], needs: list[Needs]
) -> Iterator[Removable]:
    """Artifacts that no sweep needs, and trials that no sweep has, nor compares with."""
    needed = {kind: {key for n in needs for key in n.keys[kind]} for kind in REMOVABLE}
    store.fetch("trials", sizes["trials"].keys() - needed["trials"], TrainedRecord.FILE)
    for kind in REMOVABLE:
        for key in sorted(sizes[kind].keys() - needed[kind]):
            folder = store.folder(kind, key)
            if KEY.fullmatch(key) is None or (
                kind == "trials" and not _is_unneeded_trial(folder, needed["arrays"])
            ):
                continue
            stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
            shared = sum(stat.st_size for stat in stats if stat.st_nlink > 1)  # with MLflow: stays
            yield Removable(folder, sizes[kind][key] - shared, UNNEEDED)


def _is_unneeded_trial(folder: Path, arrays: set[str]) -> bool:
    """Of a trial in no list of a sweep: it may be one that others are compared with, which are in
    no list, or, if it is not trained, become one."""
    record: Any = find_json(folder / TrainedRecord.FILE)
    try:
        is_reference = record["trial"]["method"]["name"] in ("none", "supervised")
        return not (is_reference and record["windows"] in arrays)
    except (KeyError, TypeError):
        return False


def _checkpoints(store: Store, needs: list[Needs]) -> Iterator[Removable]:
    """Of trials that were pruned or failed in every sweep that has them."""
    for path, size in store.files("trials", f"*/{CHECKPOINT_FILE}").items():
        having = [n for n in needs if path.parent.name in n.keys["trials"]]
        if having and all(path.parent.name in n.ended for n in having):
            yield Removable(path, size, ENDED)


def _temporary(store: Store) -> Iterator[Removable]:
    """Files of processes that were killed while they wrote them."""
    for path in store.root.rglob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            stat = path.stat()
            if time.time() - stat.st_mtime > TEMPORARY_SECONDS:
                yield Removable(path, stat.st_size, TEMPORARY_FILE)
