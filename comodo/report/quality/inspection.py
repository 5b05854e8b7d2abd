"""Shows the quality of a prepared data set: tables for the terminal and a page, with figures.

Reads what `prepare` measured. Opens recordings only to estimate a few time offsets between camera
and IMU, which takes seconds for each. Does not measure quality itself.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from comodo.config import DatasetConfig
from comodo.core.console import track
from comodo.core.errors import StoreError
from comodo.core.markdown import as_code, as_text
from comodo.core.parts import write_table
from comodo.core.store import Store, atomic, fetched, remove
from comodo.data.feature_sets import picture_lines, pictures_of
from comodo.data.keys import simulated_folder
from comodo.data.quality import QUALITY_CHECKS, class_windows
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.recordings import DatasetError, Recording, on_this_machine
from comodo.data.records import QualityNote, newest_windows
from comodo.data.window_sets import leakage_notes, read_quality
from comodo.report.quality import figures
from comodo.report.tables import section

MAX_SHOWN_ROWS = 12  # rows of a table on the terminal
MAX_LISTED_ROWS = 200  # and on the page; quality.parquet has all
NO_CLEAR_OFFSET = "no offset fits much better than all others"
NUMBER = re.compile(r"(-?[\d,]+(\.\d+)?( %)?|–)?")


@dataclass(frozen=True)
class Inspection:
    """One prepared data set."""

    name: str
    folder: Path  # of its windows
    noted: QualityNote
    recordings: pd.DataFrame
    """Columns of `quality.SCHEMA`; where an offset was estimated also `offset` (seconds to add to
    the IMU's clock), `offset_correlation`, `offset_reliable`, and `offset_failed` with a reason."""
    pictures: list[str]  # sentences about windows whose picture is black or frozen, once encoded


@dataclass(frozen=True)
class Section:
    title: str
    note: str
    header: list[str]
    rows: list[list[str]]


def inspect_dataset(name: str, store: Store, offsets: int) -> Inspection:
    """The newest window set prepared under a name; estimates up to `offsets` time offsets.

    Raises InspectError if the store has no such data set, DatasetError if offsets are requested
    but the recordings no longer exist.
    """
    folder, noted = newest_windows(name, store)
    table = pa.concat_tables(read_quality(folder)).to_pandas()
    if offsets:
        table = table.merge(_offsets(name, noted, store, table, offsets), "left", "recording")
    count = int(table.windows.sum())
    return Inspection(
        name, folder, noted, table, picture_lines(pictures_of(folder.name, store), count)
    )


def _offsets(
    name: str, noted: QualityNote, store: Store, table: pd.DataFrame, count: int
) -> pd.DataFrame:
    """Estimates the offsets of `count` recordings, spread evenly over those with a video."""
    try:
        settings: Any = TypeAdapter(DatasetConfig).validate_python(noted.settings)
        folder = simulated_folder(settings, store)
        listed = {recording.id: recording for recording in list_recordings(settings, folder)}
    except (ValidationError, DatasetError) as error:
        raise DatasetError(
            "dataset.moved",
            f"{name}: its recordings are not where they were, so time offsets cannot be estimated "
            f"(--offsets 0 leaves them out): {error}",
        ) from None
    ids = table.recording[table.rejected.isna() & table.video_seconds.notna()]
    chosen = ids.iloc[np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)]
    reader = open_dataset(settings, folder)
    estimated = (({"recording": id} | _offset(reader, listed.get(id)), 1) for id in chosen)
    columns = ["recording", "offset", "offset_correlation", "offset_reliable", "offset_failed"]
    return pd.DataFrame(track(estimated, len(chosen), "time offsets"), columns=columns)


def _offset(reader: Any, recording: Recording | None) -> dict[str, Any]:
    from comodo.data.clock_offset import estimate, with_gyroscope

    if recording is None:
        return {"offset_failed": "it is no longer in the data set"}
    try:
        with on_this_machine(recording, {}) as here:
            streams = reader.read_imu(here)
            found = estimate(here.video, with_gyroscope(streams, here.imu))
    except StoreError:
        raise
    except Exception as error:  # one broken recording must not stop the others
        return {"offset_failed": f"{type(error).__name__}: {error}"}
    return {
        "offset": found.seconds,
        "offset_correlation": found.correlation,
        "offset_reliable": found.reliable,
    }


def write_inspection(inspection: Inspection, store: Store) -> Path:
    """Writes quality.parquet, quality.md and figures into quality/<name> of the store."""
    folder = fetched(store.folder("quality", inspection.name))
    for old in folder.glob("*.png"):
        remove(old)  # of an earlier inspection, which may have had more figures
    write_table(folder / "quality.parquet", pa.Table.from_pandas(inspection.recordings))
    pictures = figures.draw_quality(inspection.name, inspection.recordings, folder)
    lines = [f"# Quality of {as_text(inspection.name)}", ""]
    lines += [f"Windows: {as_code(str(inspection.folder))}", ""]
    for sentence in _warnings(inspection):
        lines += [f"**{as_text(sentence[0].upper() + sentence[1:])}.**", ""]
    for part in sections(inspection):
        lines += section(
            part.title, as_text(part.note), part.header, _cut(part.rows, MAX_LISTED_ROWS)
        )
    for name, shows in pictures:
        lines += [f"![{shows}]({name})", ""]
    with atomic(folder / "quality.md") as path:
        path.write_text("\n".join(lines))
    return folder


def show_inspection(inspection: Inspection) -> Group:
    """For the terminal."""
    shown: list[Any] = []
    for part in sections(inspection):
        look: Any = {"title_justify": "left", "caption_justify": "left"}
        table = Table(title=part.title, caption=part.note or None, **look)
        for name, cells in zip(part.header, zip(*part.rows, strict=True), strict=True):
            numbers = all(map(NUMBER.fullmatch, cells))
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in _cut(part.rows, MAX_SHOWN_ROWS):
            table.add_row(*map(escape, row))
        shown += [table, ""]
    shown += [f"[yellow]{escape(sentence)}[/]" for sentence in _warnings(inspection)]
    return Group(*shown)


def _warnings(inspection: Inspection) -> list[str]:
    """What prepare printed in yellow, except the rejected recordings."""
    leaks = leakage_notes(inspection.noted.leaks)
    return [*inspection.noted.notes, *leaks, *inspection.pictures]


def _cut(rows: list[list[str]], most: int) -> list[list[str]]:
    if len(rows) <= most:
        return rows
    return [*rows[:most], [f"and {len(rows) - most} more", *([""] * (len(rows[0]) - 1))]]


def sections(inspection: Inspection) -> list[Section]:
    """The tables of page and terminal; empty ones are left out."""
    table = inspection.recordings
    rejected = table.loc[table.rejected.notna(), ["recording", "rejected"]].astype(str)
    notes = Counter(note for notes in table.notes.dropna() for note in notes)
    noted = [[f"{count:,}", note] for note, count in notes.most_common()]
    found = [
        _splits(table),
        _classes(table),
        _measures(table),
        _flagged(table),
        _offset_rows(table),
        Section("Rejected recordings", "", ["recording", "reason"], rejected.to_numpy().tolist()),
        Section("Notes", "What readers found or fixed.", ["recordings", "note"], noted),
    ]
    return [part for part in found if part.rows]


def _splits(table: pd.DataFrame) -> Section:
    rows = []
    by_split = [*table.groupby("split"), ("all", table)]
    for name, part in by_split:
        seconds = part.video_seconds.fillna(part.imu_seconds)
        good = part[part.rejected.isna()]
        unlabelled = sum(not class_windows(row) for row in good.to_dict("records"))
        counts = [len(part), len(part) - len(good), unlabelled, good.group.nunique()]
        hours = [f"{times.sum() / 3600:.2f}" for times in (seconds, good.window_seconds)]
        windows = int(good.windows.sum())
        rows.append([str(name), *(f"{n:,}" for n in counts), *hours, f"{windows:,}"])
    header = ["split", "recordings", "rejected", "no label", "groups"]
    header += ["hours", "hours used", "windows"]
    note = (
        "Hours used: in windows. The rest was rejected, has gaps, is shorter than a window, or was "
        "left out by boundary or null_class."
    )
    return Section("Recordings", note, header, rows)


def _classes(table: pd.DataFrame) -> Section:
    counts = figures.class_counts(table)
    rows = [[str(label), *(f"{int(n):,}" for n in line)] for label, *line in counts.itertuples()]
    ratios = ", ".join(f"{split} {n.max() / n[n > 0].min():.1f}" for split, n in counts.items())
    note = f"Largest class divided by smallest, in windows: {ratios}." if rows else ""
    lacking = counts.index[counts.train == 0] if "train" in counts else ()
    if len(lacking):
        note += f" Not in train: {', '.join(map(str, lacking[:10]))}."
    return Section("Windows of each class", note, ["class", *counts.columns], rows)


def _measures(table: pd.DataFrame) -> Section:
    flagged = {check: int(check.flags(table).sum()) for check in QUALITY_CHECKS}
    meanings = [f"{check.title} outside {check.low:g} to {check.high:g}: {check.means}"
                for check, count in flagged.items() if count]  # fmt: skip
    columns = [(figures.RATE_TITLE, "rate", "")]
    columns += [(check.title, check.column, f"{count:,}") for check, count in flagged.items()]
    rows = []
    for title, column, count in columns:
        values = table[column].dropna()
        if len(values):
            numbers = values.quantile([0, 0.05, 0.5, 0.95, 1])
            rows.append([title, *(f"{value:,.4g}" for value in np.round(numbers, 4)), count])
    header = ["of each recording", "minimum", "5 %", "median", "95 %", "maximum", "flagged"]
    note = f"Flagged: {'; '.join(meanings)}." if meanings else ""
    return Section("Measures", note, header, rows)


def _flagged(table: pd.DataFrame) -> Section:
    flags: dict[str, list[str]] = {}
    for check in QUALITY_CHECKS:
        for row in table[check.flags(table)][["recording", check.column]].itertuples(index=False):
            flags.setdefault(row[0], []).append(f"{check.title} {row[1]:.3g}")
    most_first = sorted(flags.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [[id, "; ".join(found)] for id, found in most_first]
    return Section("Flagged recordings", "", ["recording", "flags"], rows)


def _offset_rows(table: pd.DataFrame) -> Section:
    header = ["recording", "offset (s)", "correlation", "reliable", "reason"]
    rows: list[list[str]] = []
    if "offset" in table:
        for row in table[table.offset.notna() | table.offset_failed.notna()].itertuples():
            cells = ["–", "–", "–", str(row.offset_failed)]
            if not isinstance(row.offset_failed, str):
                good = bool(row.offset_reliable)
                found = [f"{row.offset:+.3f}", f"{row.offset_correlation:.2f}"]
                cells = [*found, "yes" if good else "no", "" if good else NO_CLEAR_OFFSET]
            rows.append([str(row.recording), *cells])
    note = (
        "To add to the IMU's clock (imu_offset of a manifest), from camera motion and gyroscope. "
        "With image stabilisation the estimate is wrong by tenths of a second: trust the camera's "
        "clock then."
    )
    return Section("Time offsets", note, header, rows)
