"""Random changes of the training windows, and the channels that they need."""

from collections.abc import Sequence

from pydantic import Field

from comodo.config.channels import AXES, QUANTITIES, in_groups, quantity_of, sensor_of
from comodo.core.settings import Settings


class Augmentation(Settings):
    """Random changes of each training window before the student sees it, drawn again in every
    epoch; the teacher's feature stays that of the unchanged window. 0 leaves a change out. They are
    made in this order."""

    rotation: float = Field(0, ge=0, le=180)
    """Largest angle in degrees by which each sensor is turned about a random axis, accelerometer
    and gyroscope together. The student needs all three axes of each sensor that it sees."""
    scale: float = Field(0, ge=0, lt=1)
    """Each channel is multiplied by a factor between 1 - scale and 1 + scale."""
    shift: float = Field(0, ge=0, lt=1)
    """Largest shift in time, earlier or later, as a share of the window, which is continued by its
    mirror image."""
    noise: float = Field(0, ge=0)
    """Standard deviation of Gaussian noise, as a share of the sensor's own in the window."""
    drop_sensor: float = Field(0, ge=0, le=1)
    """Probability that one of several sensors is zero in a window; of a single one, its
    accelerometer or gyroscope, of both of which the student then needs channels."""


def refuse_lacking(augment: Augmentation, channels: Sequence[str]) -> None:
    """Raises ValueError for a change that needs channels which the student does not see."""
    for (sensor, quantity), places in in_groups(channels).items():
        if augment.rotation and len(places) < len(AXES):
            name = f"{sensor}.{quantity}" if sensor else quantity
            seen = ", ".join(channels[place] for place in places)
            raise ValueError(
                f"rotation mixes the axes of the {QUANTITIES[quantity]}, of which the student sees "
                f"only {seen}; give student.channels {name}, or remove rotation"
            )
    if augment.drop_sensor and len(set(map(sensor_of, channels))) == 1:
        for lacking in QUANTITIES.keys() - set(map(quantity_of, channels)):
            raise ValueError(
                f"drop_sensor leaves nothing of a student without the {QUANTITIES[lacking]}; give "
                "student.channels some of both, or remove drop_sensor"
            )
