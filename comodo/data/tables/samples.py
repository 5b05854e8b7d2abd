"""From a table to streams: finds the columns of the wanted channels, converts their units, and puts
the channels of each sensor together. Refuses what is not certain, with the settings to write.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comodo.config.channels import AXES, QUANTITIES, axis_of, quantity_of, sensor_of
from comodo.data.imu import (
    ImuError,
    ImuStream,
    checked_stream,
    join_sensors,
)
from comodo.data.tables import clock, units
from comodo.data.tables.columns import (
    TIME_COLUMNS,
    Column,
    channel_column,
    mapped,
    mapping_text,
    suggested,
    time_candidates,
)
from comodo.data.tables.dialect import Dialect
from comodo.data.tables.presets import Layout, recognised
from comodo.data.tables.sensor_rows import kinds_by_row, mapping_by_row

if TYPE_CHECKING:
    import pandas as pd

INSPECT = "comodo inspect --file shows what the file has"

Part = tuple[np.ndarray, dict[str, np.ndarray]]
"""Times in seconds, and the values of the channels of one quantity in g or deg/s."""


class Samples:
    """The samples of one table. `notes` grows with what was inferred."""

    def __init__(
        self,
        path: Path,
        table: "pd.DataFrame",
        columns: Sequence[Column],
        dialect: Dialect,
        layout: Layout,
    ) -> None:
        self.path, self.table, self.columns = path, table, columns
        self.dialect, self.layout = dialect, layout
        self.notes: list[str] = []

    def streams(self, channels: Sequence[str]) -> tuple[ImuStream, ...]:
        """A stream for each sensor of `channels`, of those that the table has. Raises ImuError."""
        if "sensor" in self.layout.columns:
            return (_stream_of(self._parts_by_row(channels), str(self.path)),)
        there, others = dict[str, Column](), list[str]()
        for channel in channels:
            found, note = self._column_of(channel)
            if found is not None:
                there[channel] = found
                others += [note] if note else []
        self._refuse_mixed_rows(there)
        if self.layout.starts_with_rate:
            time_N = self._counted_from_first_rows()
        else:
            column = self.time_column(channels)
            time_N = self._counted() if column is None else self._seconds(column, self.table)
        if not there:
            raise self._lacking(channels[0], channels)
        acc = [
            self.numbers(c, self.table) for name, c in there.items() if quantity_of(name) == "acc"
        ]
        if acc and not self.layout.starts_with_rate and units.are_codes(np.stack(acc, axis=1)):
            self.notes.append(units.CODES)
        if others:
            self.notes.append(f"read by another name: {', '.join(others)}")
        streams = []
        for sensor in dict.fromkeys(map(sensor_of, there)):
            parts: dict[str, Part] = {}
            for channel, found in there.items():
                if sensor_of(channel) == sensor:
                    part = parts.setdefault(quantity_of(channel), (time_N, {}))
                    part[1][channel] = self._values(channel, found, self.table)
            streams.append(_stream_of(parts, str(self.path)))
        return tuple(streams)

    def _column_of(self, channel: str) -> tuple[Column | None, str]:
        layout = self.layout
        required = channel in layout.written
        return channel_column(self.columns, channel, layout.columns, str(self.path), required)

    def time_column(self, channels: Sequence[str]) -> Column | None:
        """The column of times; None for a file that has none but a known rate. Raises ImuError
        unless there is exactly one."""
        if "time" in self.layout.columns:
            return mapped(self.columns, self.layout.columns["time"], str(self.path))
        found = self._time_candidates()
        if not found and self.layout.rate is not None:
            return None
        if len(found) != 1:
            raise self._lacking("time_s", channels, [column.name for column in found])
        if found[0].base.lower() not in TIME_COLUMNS:
            self.notes.append(f"the clock is the column '{found[0].name}'")
        return found[0]

    def _seconds(self, column: Column, table: "pd.DataFrame") -> np.ndarray:
        words = [units.time_unit(word) for word in column.plain.split("_")[1:]]
        unit = units.time_unit(column.unit) or next(filter(None, words), "")
        given = self.layout.time_unit
        if given and not units.time_unit(given):
            message = f"{self.path}: unknown time_unit '{given}'; known: {', '.join(units.TIME)}"
            raise ImuError("imu.unknown-unit", message)
        fix = f"write time_unit under the data set: s, ms, us or ns; {INSPECT}"
        time_N, notes = clock.seconds_of(
            table[column.name], unit or units.time_unit(given), str(self.path), fix
        )
        self.notes += [note for note in notes if note not in self.notes]
        return time_N

    def _counted(self) -> np.ndarray:
        assert self.layout.rate is not None
        return np.arange(len(self.table)) / self.layout.rate

    def _counted_from_first_rows(self) -> np.ndarray:
        """Times of a file whose first row is its start in seconds, and whose second its rate."""
        if len(self.table) < 3:
            raise ImuError("imu.too-few-samples", f"{self.path}: has no samples")
        try:
            start, rate = map(float, self.table.iloc[:2, 0])
        except ValueError:
            start, rate = 0.0, 0.0
        if not rate > 0:
            fix = "its first row should be the time of its start, and the second its rate"
            raise ImuError("imu.unknown-time", f"{self.path}: no rate; {fix}")
        self.table = self.table.iloc[2:]
        return start + np.arange(len(self.table)) / rate

    def _parts_by_row(self, channels: Sequence[str]) -> dict[str, Part]:
        """The parts of a table where each row has the values of one sensor."""
        mapping, source = self.layout.columns, str(self.path)
        kind = self.table[mapped(self.columns, mapping["sensor"], source).name].astype(str)
        parts: dict[str, Part] = {}
        read_N = np.zeros(len(kind), bool)
        for quantity in QUANTITIES:
            wanted = [channel for channel in channels if quantity_of(channel) == quantity]
            if quantity not in mapping or not wanted:
                continue
            rows_N = kind.str.strip().str.fullmatch(mapping[quantity], case=False).to_numpy(bool)
            read_N |= rows_N
            if rows_N.any():
                rows = self.table[rows_N]
                time_M = self._seconds(mapped(self.columns, mapping["time"], source), rows)
                axes = {c: mapping.get(AXES[axis_of(c)], AXES[axis_of(c)]) for c in wanted}
                of = {c: mapped(self.columns, pattern, source) for c, pattern in axes.items()}
                parts[quantity] = (time_M, {c: self._values(c, of[c], rows) for c in wanted})
        if not parts:
            found = ", ".join(map(str, kind.unique()[:10]))
            fix = "write what acc and gyro are there in columns, under the data set"
            message = f"{source}: no rows of the wanted sensors; it has {found}; {fix}"
            raise ImuError("imu.missing-column", message)
        if not read_N.all():
            other = ", ".join(sorted(map(str, kind[~read_N].unique()))[:10])
            self.notes.append(f"{int((~read_N).sum()):,} rows of other sensors: {other}")
        return parts

    def numbers(self, column: Column, table: "pd.DataFrame") -> np.ndarray:
        """The values of a column. Raises ImuError for text."""
        try:
            return table[column.name].to_numpy(np.float64)
        except ValueError as error:
            message = f"{self.path}: column {column.name}: {error}"
            raise ImuError("imu.unreadable", message) from None

    def _values(self, channel: str, column: Column, table: "pd.DataFrame") -> np.ndarray:
        quantity = quantity_of(channel)
        of_layout = self.layout.acc_unit if quantity == "acc" else self.layout.gyro_unit
        if not (unit := column.unit or of_layout):
            raise self._without_unit(channel, column)
        return self.numbers(column, table) * units.factor(quantity, unit, str(self.path))

    def preset(self) -> str:
        """The preset that the file seems to fit; empty for none."""
        named = self.dialect.header is not None
        rows = [] if named else self.table.head(2).to_numpy().tolist()
        return recognised(self.dialect.preamble, [c.name for c in self.columns], rows)

    def _without_unit(self, channel: str, column: Column) -> ImuError:
        quantity = quantity_of(channel)
        known = "g, mg or m/s^2" if quantity == "acc" else "deg/s or rad/s"
        fix = f"write {quantity}_unit ({known}) under the data set or in the manifest"
        if preset := self.preset():
            fix = f"write preset: {preset}, which it fits, under the data set"
        elif quantity == "acc" and (acc_NA := self._acceleration()) is not None:
            if units.are_codes(acc_NA):
                fix = units.CODES
            elif found := units.by_gravity(acc_NA):
                fix += f"; in {found} it is 1 g mostly"
        message = f"{self.path}: no unit for {channel} (column '{column.name}'); {fix}"
        return ImuError("imu.missing-unit", message)

    def _acceleration(self) -> np.ndarray | None:
        """The acceleration of one sensor as written; None without columns of it."""
        found = [self._column_of(f"acc_{axis}")[0] for axis in AXES]
        whole = [self.numbers(column, self.table) for column in found if column is not None]
        return np.stack(whole, axis=1) if whole else None

    def sensor_in_each_row(self) -> dict[str, str]:
        """The mapping of a table where each row has the values of the sensor that a column names,
        for the user to confirm; empty for other tables."""
        axes = {axis: c.name for axis in AXES for c in self.columns if c.plain == axis}
        found = kinds_by_row(self.table, self.columns) if len(axes) == len(AXES) else None
        times = self._time_candidates()
        return mapping_by_row(*found, times[0].name, axes) if found and len(times) == 1 else {}

    def _refuse_mixed_rows(self, there: dict[str, Column]) -> None:
        """Raises ImuError if the rows of several sensors would be read as those of one."""
        axes = {AXES[axis_of(channel)]: column.name for channel, column in there.items()}
        if len({column.name for column in there.values()}) > len(AXES):
            return  # each row has the values of several sensors
        if not axes or (found := kinds_by_row(self.table, self.columns)) is None:
            return
        column, kinds = found
        mapping = mapping_by_row(column, kinds, self._time_name(), axes)
        name, listed = f"{self.path}: column '{column.name}'", ", ".join(kinds[:10])
        message = f"{name} says that its rows are of several sensors ({listed})"
        fix = f"write which to read, under the data set {mapping_text(mapping)}; {INSPECT}"
        raise ImuError("imu.mixed-rows", f"{message}; {fix}")

    def _time_candidates(self) -> list[Column]:
        return time_candidates(self.columns, lambda c: clock.is_iso(self.table[c.name]))

    def _time_name(self) -> str:
        """The column of times as a suggestion."""
        if "time" in self.layout.columns:
            return mapped(self.columns, self.layout.columns["time"], str(self.path)).name
        times = self._time_candidates()
        return times[0].name if times else "NAME"

    def _lacking(
        self, lacking: str, channels: Sequence[str], times: Sequence[str] = ()
    ) -> ImuError:
        known = {"time": times[0]} if times else {}
        found = self.sensor_in_each_row() or {**known, **suggested(self.columns, channels)}
        without_times = lacking == "time_s" and not times
        mapping = mapping_text(
            {**({"time": "NAME"} if without_times else {}), **(found or {"acc_x": "NAME"})}
        )
        mapping += ", or imu_rate in the manifest if it has no times" if without_times else ""
        names = ", ".join(column.name for column in self.columns)
        several = f", as {' and '.join(times)} may both be" if len(times) > 1 else ""
        message = f"{self.path}: no column {lacking}{several}; it has {names}"
        preset = self.preset()
        what = f"preset: {preset}, which it fits" if preset else mapping
        fix = f"write under the data set {what}; {INSPECT}"
        return ImuError("imu.missing-column", f"{message}; {fix}")


def _stream_of(parts: dict[str, Part], source: str) -> ImuStream:
    """The stream of one sensor from its parts, which may have rows of their own."""
    channels = tuple(name for _, values in parts.values() for name in values)
    arrays = [(t, np.stack(list(values.values()), axis=1)) for t, values in parts.values()]
    if len(arrays) == 1:
        ((time_N, imu_NC),) = arrays
        return checked_stream(time_N, imu_NC, source, channels=channels)
    (time_N, one_NA), (time_M, other_MA) = arrays
    if time_N is not time_M:
        return join_sensors(time_N, one_NA, time_M, other_MA, source, channels)
    has_one_N, has_other_N = (np.isfinite(x).all(axis=1) for x in (one_NA, other_MA))
    if (has_one_N & has_other_N).sum() < min(has_one_N.sum(), has_other_N.sum()) / 2:
        return join_sensors(
            time_N[has_one_N], one_NA[has_one_N], time_N[has_other_N], other_MA[has_other_N],
            source, channels,
        )  # fmt: skip
    return checked_stream(time_N, np.concatenate([one_NA, other_MA], axis=1), source,
                          channels=channels)  # fmt: skip
