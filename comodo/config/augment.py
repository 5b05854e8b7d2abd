"""Random changes of the training windows, and the channels that they need."""

from pydantic import Field, ValidationInfo

from comodo.config.base import Settings

SENSORS = {"acc": "accelerometer", "gyro": "gyroscope"}
"""What the names of channels begin with, and the sensor."""


class Augmentation(Settings):
    """Random changes of each training window before the student sees it, drawn again in every
    epoch; the teacher's feature stays that of the unchanged window. 0 leaves a change out. They are
    made in this order."""

    rotation: float = Field(0, ge=0, le=180)
    """Largest angle in degrees by which the device is turned about a random axis, accelerometer and
    gyroscope together. The student needs all three axes of each sensor that it sees."""
    scale: float = Field(0, ge=0, lt=1)
    """Each channel is multiplied by a factor between 1 - scale and 1 + scale."""
    shift: float = Field(0, ge=0, lt=1)
    """Largest shift in time, earlier or later, as a share of the window, which is continued by its
    mirror image."""
    noise: float = Field(0, ge=0)
    """Standard deviation of Gaussian noise, as a share of the sensor's own in the window."""
    drop_sensor: float = Field(0, ge=0, le=1)
    """Probability that one sensor, accelerometer or gyroscope, is zero in a window. The student
    needs channels of both."""


def fits_channels(augment: Augmentation, info: ValidationInfo) -> Augmentation:
    """A trial's augmentation, after its student. Raises ValueError for a change that needs channels
    which the student does not see."""
    if (student := info.data.get("student")) is None:
        return augment  # the student has an error of its own
    seen = {sensor: [c for c in student.channels if c.startswith(sensor)] for sensor in SENSORS}
    for sensor, channels in seen.items():
        if augment.rotation and 0 < len(channels) < 3:
            needed = ", ".join(f"{sensor}_{axis}" for axis in "xyz")
            raise ValueError(
                f"rotation mixes the axes of the {SENSORS[sensor]}, of which the student sees only "
                f"{', '.join(channels)}; give student.channels {needed}, or remove rotation"
            )
        if augment.drop_sensor and not channels:
            raise ValueError(
                f"drop_sensor leaves nothing of a student without the {SENSORS[sensor]}; give "
                "student.channels some of both sensors, or remove drop_sensor"
            )
    return augment
