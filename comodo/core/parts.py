"""Parquet files of the store, and the parts that an artifact is written in. Knows no columns but
`rejected`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from comodo.core.store import atomic, fetched, remove, report_damaged

if TYPE_CHECKING:  # pyarrow is slow to import
    import pyarrow as pa


def write_table(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def is_whole(path: Path) -> bool:
    """Whether a Parquet file has its end, where its description is; if not, it is damaged."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read()
    whole = end.endswith(b"PAR1") and int.from_bytes(end[:4], "little") + 12 <= size
    if not whole:
        report_damaged(path, "cut off")
    return whole


def parts(folder: Path) -> list[Path]:
    """The Parquet parts of an artifact, always in the same order, without damaged ones."""
    return [path for path in sorted(folder.glob("part-*.parquet")) if is_whole(path)]


def damaged_parts(folder: Path) -> list[Path]:
    return [path for path in folder.glob("part-*.parquet") if not is_whole(path)]


def read_parts(folder: Path, columns: list[str]) -> "pa.Table":
    """The named columns of all parts of an artifact, in the order of the parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(path, columns=columns) for path in parts(folder)])


def remove_rejected(folder: Path) -> None:
    """Removes the parts of an artifact that have rejected rows, so that they are computed again."""
    import pyarrow.parquet as pq

    remove(folder / "meta.json")
    for path in parts(fetched(folder, "part-*")):
        if pq.read_table(path, columns=["rejected"])["rejected"].drop_null():
            remove(path)
