"""Names of IMU channels: `acc_x`, or of a named sensor `left_wrist.gyro_z`."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

AXES = "xyz"
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
"""Of one IMU with accelerometer and gyroscope, which needs no name."""
ACC_CHANNELS = CHANNELS[:3]
"""Of one accelerometer alone."""
QUANTITIES = {"acc": "accelerometer", "gyro": "gyroscope"}
"""What a channel's name, without that of its sensor, begins with."""
SENSOR_NAME = r"[a-z][a-z0-9_]*"
_CHANNEL = re.compile(
    rf"(?:(?P<sensor>{SENSOR_NAME})\.)?(?P<quantity>acc|gyro)(?:_(?P<axis>[xyz]))?"
)


def sensor_of(channel: str) -> str:
    """The name of a channel's sensor; empty for the only one of a recording."""
    return channel.rpartition(".")[0]


def quantity_of(channel: str) -> str:
    """What a channel measures, a key of QUANTITIES."""
    return channel.rpartition(".")[2].partition("_")[0]


def axis_of(channel: str) -> int:
    """0, 1 or 2, for x, y or z."""
    return AXES.index(channel[-1])


def in_groups(channels: Iterable[str]) -> dict[tuple[str, str], list[int]]:
    """The places of the channels of each sensor and quantity, in order of appearance."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, channel in enumerate(channels):
        groups.setdefault((sensor_of(channel), quantity_of(channel)), []).append(place)
    return groups


def expanded(names: Iterable[str], known: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names of channels, where `acc` and `left_wrist.gyro` mean all axes of that quantity: of the
    `known` channels those that there are, else x, y and z."""
    there = None if known is None else list(known)
    found = list[str]()
    for name in names:
        axes = [f"{name}_{axis}" for axis in AXES]
        if name[-2:-1] == "_":
            found.append(name)
        else:
            found += axes if there is None else [c for c in there if c in axes] or [name]
    return tuple(found)


def checked_channels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as they are. Raises ValueError for one that is none, or that is listed twice."""
    for name in names:
        if not _CHANNEL.fullmatch(name):
            known = (
                "acc, gyro, or one axis such as acc_x; of a named sensor, such as left_wrist.acc"
            )
            raise ValueError(f"'{name}' is no channel; write {known}")
    if len(set(expanded(names))) < len(expanded(names)):
        raise ValueError("list each channel once")
    return names


WrittenChannels = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(checked_channels)]
"""Channels as a sweep file lists them, not `expanded`."""
