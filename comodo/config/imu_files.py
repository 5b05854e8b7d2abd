"""What a sweep file says about IMU files that do not say it themselves: columns, units, clocks."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from comodo.config.channels import SENSOR_NAME

Preset = Literal[
    "sensor-logger",
    "phyphox",
    "shimmer",
    "xsens-dot",
    "empatica-e4",
    "android-events",
    "actigraph",
]
TimeUnit = Literal["s", "ms", "us", "ns"]
SensorName = Annotated[str, Field(pattern=f"^{SENSOR_NAME}$")]
_ROLE = re.compile(rf"(?:{SENSOR_NAME}\.)?(?:time|sensor|acc|gyro|(?:(?:acc|gyro)_)?[xyz])")


def _checked(columns: dict[str, str]) -> dict[str, str]:
    for role, name in columns.items():
        if not _ROLE.fullmatch(role):
            known = "time, a channel such as acc_x or left_wrist.gyro_z, x, y, z, sensor, acc, gyro"
            raise ValueError(f"'{role}' names no column; known: {known}")
        if not name.strip():
            raise ValueError(f"{role}: write the name of its column, or leave it out")
    return columns


Columns = Annotated[dict[str, str], Field(min_length=1), AfterValidator(_checked)]
"""Names of columns in IMU files by what they have."""
