"""Prepared windows read in pieces, and safetensors files written in pieces: whole recordings may be
long, and a shard has thousands of them. Knows nothing of splits or shards.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comodo.core.parts import parts
from comodo.core.store import atomic

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = ("window", "recording", "split", "label", "group")
READ_VALUES = 2**23  # of windows in memory at a time, or one window if it is longer
WRITE_BYTES = 2**20  # to a file at a time
_TYPES = {"int64": "I64", "float32": "F32", "bool": "BOOL"}


@contextmanager
def streamed(
    path: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> Iterator[Callable[[np.ndarray], None]]:
    """Writes a safetensors file of `arrays`, and of an array `name` of that shape: the block calls
    the function with its float32 values, in order and in pieces of any size.

    The library writes only what is in memory as a whole. Format, from its README: length of the
    header (8 bytes), header (JSON: type, shape and place of each array), values. Raises StoreError
    as `atomic` does.
    """
    layout = {key: (array.dtype, array.shape) for key, array in arrays.items()}
    layout[name] = np.dtype(np.float32), shape
    header, places, end = {}, {}, 0
    for key, (dtype, size) in sorted(layout.items(), key=lambda item: -item[1][0].itemsize):
        places[key], end = end, end + dtype.itemsize * math.prod(size)
        header[key] = {
            "dtype": _TYPES[dtype.name],
            "shape": size,
            "data_offsets": [places[key], end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that all values are aligned
    with atomic(path) as temporary, temporary.open("wb", WRITE_BYTES) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        begin = file.tell()

        def write(values: np.ndarray) -> None:
            file.write(np.ascontiguousarray(values).data)

        for key, array in arrays.items():
            file.seek(begin + places[key])
            write(array)
        file.seek(begin + places[name])
        yield write


def described_windows(folder: Path, channels: int) -> "pd.DataFrame":
    """The windows of all parts, with so many channels, always in the same order: not their values,
    but their `length`."""
    schema = pa.schema([*((name, pa.string()) for name in DESCRIPTION), ("length", pa.int64())])
    found = [schema.empty_table()]
    for batch in _batches(folder, [*DESCRIPTION, "imu"]):
        lengths = pc.divide(pc.list_value_length(batch["imu"]).cast(pa.int64()), channels)
        columns = [*(batch[name] for name in DESCRIPTION), lengths]
        found.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(found).to_pandas()


def window_values(folder: Path) -> Iterator[list[np.ndarray]]:
    """The values of the same windows, each `[C * T]`, in batches."""
    for batch in _batches(folder, ["imu"]):
        values, ends = batch["imu"].values.to_numpy(), batch["imu"].offsets.to_numpy()
        yield [values[begin:end] for begin, end in itertools.pairwise(ends)]


def _batches(folder: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Windows of all parts, as many at once as have about `READ_VALUES` values."""
    for part in parts(folder):
        with pq.ParquetFile(part, buffer_size=2**20) as file:
            leaves = [file.metadata.schema.column(i).path for i in range(file.metadata.num_columns)]
            imu = next(i for i, path in enumerate(leaves) if path.startswith("imu."))
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            longest = max(
                (g.column(imu).num_values / max(1, g.num_rows) for g in groups), default=1
            )
            rows = max(1, int(READ_VALUES / max(1, longest)))
            for batch in file.iter_batches(rows, columns=[*columns, "rejected"]):
                yield batch.filter(batch["rejected"].is_null())
