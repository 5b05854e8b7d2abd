"""GPMF, the format of GoPro's telemetry: the IMU samples in one packet.

A packet is a tree of entries: key, type, bytes of a value, number of values, values; big-endian,
padded to 4 bytes (GoPro, "GPMF Introduction", github.com/gopro/gpmf-parser). What holds for the
samples of a sensor, as their unit and axes, comes before them. Knows neither files nor times.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from comodo.data.imu import ACC_UNITS, GYRO_UNITS, ImuError, unit_factor

UNITS = {"ACCL": ACC_UNITS, "GYRO": GYRO_UNITS}  # by the key of a sensor's samples
NUMBERS = {"s": ">i2", "S": ">u2", "l": ">i4", "L": ">u4", "f": ">f4", "d": ">f8"}
# Axes of cameras that do not store them, as in telemetry-parser, a library of Gyroflow's author.
AXES_OF_MODELS = {"Hero6": "ZyX", "Hero7 Silver": "YXz"}


@dataclass(frozen=True)
class Entry:
    key: str
    type: str
    size: int  # bytes of a value
    content: bytes

    @property
    def text(self) -> str:
        text = self.content.rstrip(b"\0").decode("latin-1")
        return text.replace("Â²", "2").replace("²", "2")  # a unit's, in UTF-8 or Latin-1

    def numbers(self, columns: int, source: str) -> np.ndarray:
        """float64 [values, columns]. Raises ImuError for anything else."""
        dtype = np.dtype(NUMBERS.get(self.type, "V1"))
        if self.type not in NUMBERS or len(self.content) % (columns * dtype.itemsize):
            found = f"type '{self.type}', {len(self.content)} bytes"
            message = f"{source}: {self.key} of its telemetry is not in {columns} columns: {found}"
            raise ImuError("imu.unreadable", message)
        return np.frombuffer(self.content, dtype).astype(np.float64).reshape(-1, columns)


def imu_samples(packet: bytes, source: str) -> dict[str, np.ndarray]:
    """Samples of the sensors that a packet has: ACCL in g, GYRO in deg/s, float64 [N, 3], N > 0.

    Axes are rotated to one orientation if the camera stores its own. A damaged packet has none.
    Raises ImuError for two sensors of a kind, and for units and types that are not known.
    """
    found: dict[str, np.ndarray] = {}
    for device in _entries(packet):
        model = ""
        for stream in _entries(device.content) if device.key == "DEVC" else ():
            if stream.key == "DVNM":
                model = stream.text
            properties: dict[str, Entry] = {}
            for entry in _entries(stream.content) if stream.key == "STRM" else ():
                if entry.key not in UNITS or not entry.content:
                    properties[entry.key] = entry
                    continue
                if entry.key in found:
                    message = f"{source}: two sensors with samples {entry.key}, it is unclear which"
                    raise ImuError("imu.two-sensors", message)
                found[entry.key] = _converted(entry, properties, model, source)
    return found


def _entries(content: bytes) -> Iterator[Entry]:
    """The entries of a container, up to one that is cut off."""
    at = 0
    while at + 8 <= len(content):
        key, type, size, count = struct.unpack_from(">4scBH", content, at)
        end = at + 8 + size * count
        if end > len(content):
            return
        yield Entry(key.decode("latin-1"), type.decode("latin-1"), size, content[at + 8 : end])
        at = end + -end % 4


def _converted(samples: Entry, properties: dict[str, Entry], model: str, source: str) -> np.ndarray:
    """A sensor's samples in g or deg/s, rotated, float64 [N, 3]. Raises ImuError."""
    unit = properties["SIUN"].text if "SIUN" in properties else ""
    factor = unit_factor(unit, UNITS[samples.key], f"{source}: {samples.key}")
    scale = properties["SCAL"].numbers(1, source)[:, 0] if "SCAL" in properties else np.ones(1)
    if len(scale) not in (1, 3) or not scale.all():
        message = f"{source}: SCAL of {samples.key} is {scale.tolist()}, not one or three divisors"
        raise ImuError("imu.unreadable", message)
    values_N3 = samples.numbers(3, source)
    if len(values_N3) * samples.size != len(samples.content):
        message = f"{source}: a sample of {samples.key} has {samples.size} bytes, not three numbers"
        raise ImuError("imu.unreadable", message)
    return values_N3 / scale * factor @ _rotation(properties, model, source).T


def _rotation(properties: dict[str, Entry], model: str, source: str) -> np.ndarray:
    """The matrix, float64 [3, 3], from a sensor's axes to the camera's. Raises ImuError."""
    if "MTRX" in properties:
        matrix = properties["MTRX"].numbers(3, source)
    else:
        given = {key: properties[key].text for key in ("ORIN", "ORIO") if key in properties}
        stored = next((axes for name, axes in AXES_OF_MODELS.items() if name in model), "XYZ")
        inner, outer = (given["ORIN"], given["ORIO"]) if len(given) == 2 else ("XYZ", stored)
        # A small letter is the opposite direction.
        signs = [[(i == o) or -(i.upper() == o.upper()) for i in inner] for o in outer]
        matrix = np.array(signs, np.float64)
    if matrix.shape != (3, 3) or not np.allclose(matrix @ matrix.T, np.eye(3), atol=0.01):
        message = f"{source}: its orientation is no rotation (MTRX, ORIN, ORIO): {matrix.tolist()}"
        raise ImuError("imu.unreadable", message)
    return matrix
