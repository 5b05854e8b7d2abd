"""Tables where each row has the values of one sensor, as Android's logs: the column that says
which, and the mapping to write. Never reads such a table without that mapping: the rows of a
gyroscope would be taken for acceleration.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from comodo.config.channels import AXES, QUANTITIES
from comodo.data.tables.columns import Column

if TYPE_CHECKING:
    import pandas as pd

MAX_KINDS = 20
_NAME = re.compile(r"sensor(?:_?(?:type|id|name|kind))?")
_KINDS = {
    "acc": "acc(?:el|l|elerometer|eleration)?",
    "gyro": "gyr(?:o|os|oscope)?",
}
_WITHOUT_GRAVITY = re.compile(r"lin|user")


def kinds_by_row(
    table: "pd.DataFrame", columns: Sequence[Column]
) -> tuple[Column, list[str]] | None:
    """The column that says of which sensor a row is, and its values: it is named so and has several
    values, or one of its values is an accelerometer. None for other tables."""
    for column in columns:
        named = _NAME.fullmatch(column.plain) is not None
        if not named and table[column.name].dtype != object:
            continue
        kinds = [str(kind).strip() for kind in table[column.name].dropna().unique()]
        several = 1 < len(kinds) <= MAX_KINDS
        if several and (named or any(_is_of("acc", kind) for kind in kinds)):
            return column, kinds
    return None


def mapping_by_row(
    column: Column, kinds: Sequence[str], time: str, axes: Mapping[str, str]
) -> dict[str, str]:
    """The mapping for the user to confirm. `axes`: the columns' names by x, y, z."""
    found: dict[str, str] = {}
    for quantity in QUANTITIES:
        own = [kind for kind in kinds if _is_of(quantity, kind)]
        own = [kind for kind in own if not _WITHOUT_GRAVITY.search(kind.lower())] or own
        if own or quantity == "acc":
            found[quantity] = own[0] if own else "NAME"
    return {"time": time, "sensor": column.name, **found, **{a: axes.get(a, a) for a in AXES}}


def _is_of(quantity: str, kind: str) -> bool:
    """Whether a value means a sensor of this quantity: `ACC`, `android.sensor.accelerometer`."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    return re.search(rf"(?<![a-z]){_KINDS[quantity]}(?![a-z])", plain) is not None
