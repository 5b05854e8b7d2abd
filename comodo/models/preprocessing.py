"""From a sensor's raw windows to a student's input, units and sampling rate, as a module that can
be exported. Knows no student but the names of its channels.

Shapes: B windows, C channels of the student, R raw samples, T samples at its rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from comodo.config.channels import quantity_of
from comodo.data.imu import ACC_UNITS, GYRO_UNITS, ImuStream, resample, unit_factor


@dataclass(frozen=True)
class Sensor:
    """Sampling rate in Hz, and units from `imu.ACC_UNITS` and `imu.GYRO_UNITS`."""

    rate: float
    acc_unit: str = "g"
    gyro_unit: str = "deg/s"

    def factors(self, channels: Sequence[str]) -> Tensor:
        """Factors `[C, 1]` to g and deg/s. Raises ImuError for an unknown unit."""
        factor_of = {
            "acc": unit_factor(self.acc_unit, ACC_UNITS, "accelerometer"),
            "gyro": unit_factor(self.gyro_unit, GYRO_UNITS, "gyroscope"),
        }
        return torch.tensor([factor_of[quantity_of(name)] for name in channels]).unsqueeze(1)


def resampling(seconds: float, rate: float, to_rate: float) -> Tensor | None:
    """`imu.resample` of a window of `seconds` as a matrix `[R, T]`; None if the rates are equal.

    Resampling is linear, so its results for unit impulses are the matrix. Beyond the window, where
    training used the rest of the recording, the signal is taken as its reflection.
    """
    if rate == to_rate:
        return None
    samples = round(seconds * rate)
    alone = ImuStream(np.arange(samples) / rate, np.eye(samples, dtype=np.float32))
    return torch.from_numpy(resample(alone, 0, seconds, to_rate)).T.contiguous()


class Preprocessing(nn.Module):
    """Converts raw windows [B, C, R] of `seconds` to the student's input: [B, C, T], g, deg/s."""

    factor_C1: Tensor
    matrix_RT: Tensor | None

    def __init__(
        self, sensor: Sensor, channels: Sequence[str], seconds: float, to_rate: float
    ) -> None:
        super().__init__()
        self.rate, self.seconds, self.to_rate = sensor.rate, seconds, to_rate
        self.register_buffer("factor_C1", sensor.factors(channels))
        self.register_buffer("matrix_RT", resampling(seconds, sensor.rate, to_rate))

    def forward(self, raw_BCR: Tensor) -> Tensor:
        imu_BCR = raw_BCR * self.factor_C1
        return imu_BCR if self.matrix_RT is None else imu_BCR @ self.matrix_RT
