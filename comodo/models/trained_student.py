"""A trained student as a Python program uses it: raw IMU windows in, features out.

It is read from a folder that `comodo export` wrote, on this machine or on the Hugging Face hub.
Knows neither sweeps nor the store. Shape letters: N windows, C channels, R samples of the user's
windows, T samples at the student's rate, D width of a feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from comodo.config.channels import QUANTITIES, in_groups, quantity_of
from comodo.core.members import Code
from comodo.core.redaction import redacted
from comodo.core.store import read_json
from comodo.data.imu import ACC_UNITS, GYRO_UNITS, RATES_HZ, fitting_units, median_length
from comodo.models.encoders import WEIGHTS_FILE
from comodo.models.preprocessing import Preprocessing, Sensor
from comodo.models.students import (
    CODE_FILE,
    STUDENT_FILE,
    Student,
    StudentError,
    extract_features,
)
from comodo.models.students import load_student as load_network

EXPORT_FILE = "model.json"
"""What `comodo export` says of a program; its part `student` are the fields of `TrainedOn`."""
FILES = (STUDENT_FILE, WEIGHTS_FILE, CODE_FILE, EXPORT_FILE)
UNITS = {"acc": ACC_UNITS, "gyro": GYRO_UNITS}


@dataclass(frozen=True)
class TrainedOn:
    """The windows that a student was trained on, in g and deg/s."""

    rate: float  # Hz
    seconds: float | None
    """Length of each; None: whole recordings, of any length."""
    mask: bool  # as in `Student.forward`
    gravity: bool = False
    """Whether the median length of acceleration is known to be about 1 g."""


class TrainedStudent(nn.Module):
    """A frozen student in evaluation mode; `comodo.load_student` and `SweepFrames.student` give it.

    `embed` takes windows as a sensor delivers them and checks them. `forward` is the network alone:
    `imu_BCT` at `rate`, in g and deg/s, to features `[B, dim]`, a tensor. It can be pickled.

    Attributes:
        channels: names of the channels that a window has, in their order, such as `acc_x`.
        rate: samples per second that the network sees; other rates are resampled to it.
        seconds: length of a window; None: any.
        dim: width of a feature, D.
    """

    def __init__(self, network: Student, trained_on: TrainedOn) -> None:
        super().__init__()
        self.network, self.trained_on = network, trained_on
        self.channels: tuple[str, ...] = network.channels
        self.rate, self.seconds, self.dim = trained_on.rate, trained_on.seconds, network.dim
        self.requires_grad_(False).eval()

    @staticmethod
    def from_pretrained(
        path_or_id: str | Path, revision: str | None = None, allow_code: bool = False
    ) -> "TrainedStudent":
        """`comodo.load_student`, by the name that users of transformers look for."""
        return load_student(path_or_id, revision, allow_code)

    def __repr__(self) -> str:
        length = "windows" if self.seconds is None else f"windows of {self.seconds:g} s"
        seen = f"{length} at {self.rate:g} Hz of {', '.join(self.channels)}"
        return f"TrainedStudent({self.network.description['name']}: {seen} -> {self.dim} features)"

    def __reduce__(self) -> tuple[Any, ...]:
        # A class of the user's file has no module that pickle could import.
        network = self.network
        parts = network.description, network.own_code, network.state_dict(), self.trained_on
        return _restored, parts

    def forward(self, imu_BCT: Tensor, length_B: Tensor | None = None) -> Tensor:
        """Features `[B, dim]`; arguments as in `Student.forward`."""
        return self.network(imu_BCT, length_B, self.trained_on.mask)

    def embed(
        self,
        imu: npt.ArrayLike | Tensor,
        rate: float,
        units: str | Sequence[str],
        channels: Sequence[str] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Features of raw windows, computed in evaluation mode, in batches.

        Units are converted, and another rate is resampled to the student's as `comodo export` does,
        each window on its own. A lower rate than the student's lacks the frequencies above half of
        it.

        Args:
            imu: `[N, C, R]`, each window with all its samples.
            rate: of these samples, in Hz.
            units: of acceleration, g or m/s^2, and of rotation, deg/s or rad/s, as far as the
                student sees them: `("m/s^2", "rad/s")`, or `"g"` for accelerometers alone.
            channels: names of the C channels, in their order, if they are not exactly the
                student's `channels`, which are then picked.

        Returns:
            Features, float32 `[N, D]`.

        Raises:
            StudentError: another shape, channel, unit, rate or length of a window than it takes;
                acceleration that looks like another unit; values that are not finite.

        Examples:
            >>> student = comodo.load_student("recogniser")
            >>> features = student.embed(imu, rate=104, units=("m/s^2", "rad/s"))
        """
        imu_NCR = self._picked(imu, channels)
        sensor = self._sensor(rate, units)
        samples = imu_NCR.shape[2]
        if self.seconds is not None and samples != round(self.seconds * rate):
            raise StudentError(
                "student.wrong-length",
                f"imu has {samples} samples, at {rate:g} Hz {samples / rate:.4g} s, but the "
                f"student takes windows of {self.seconds:g} s, {round(self.seconds * rate)} "
                "samples; correct rate, or cut other windows",
            )
        self._refuse_other_unit(imu_NCR, sensor.acc_unit)
        if not len(imu_NCR):
            return np.zeros((0, self.dim), np.float32)
        seconds = self.seconds or samples / rate
        raw = _Raw(imu_NCR, Preprocessing(sensor, self.channels, seconds, self.rate))
        index_N = torch.arange(len(imu_NCR))
        return extract_features(self.network, raw, index_N, self.trained_on.mask).numpy()

    def _picked(self, imu: npt.ArrayLike | Tensor, channels: Sequence[str] | None) -> Tensor:
        """The student's channels of the windows, float32 on the CPU."""
        given = imu.detach().cpu().numpy() if isinstance(imu, Tensor) else imu
        imu_NCR = torch.tensor(np.ascontiguousarray(given, np.float32))
        names = self.channels if channels is None else tuple(channels)
        if imu_NCR.ndim != 3 or imu_NCR.shape[1] != len(names) or not imu_NCR.shape[2]:
            fix = "name them in channels" if channels is None else "one name for each"
            raise StudentError(
                "student.wrong-shape",
                f"imu has shape {tuple(imu_NCR.shape)}; it needs windows [N, {len(names)}, R] of "
                f"{', '.join(names)}; for other channels {fix}; a single window is imu[None]",
            )
        if lacking := [name for name in self.channels if name not in names]:
            raise StudentError(
                "student.wrong-channels",
                f"channels: lacks {', '.join(lacking)}; the student sees "
                f"{', '.join(self.channels)}",
            )
        if not imu_NCR.isfinite().all():
            bad = int((~imu_NCR.isfinite().flatten(1).all(dim=1)).nonzero()[0])
            text = f"imu: window {bad} has NaN or infinite values; leave such windows out"
            raise StudentError("student.not-finite", text)
        return imu_NCR[:, [names.index(name) for name in self.channels]]

    def _sensor(self, rate: float, units: str | Sequence[str]) -> Sensor:
        """Raises StudentError for a rate that no IMU has, and for units that do not fit."""
        lowest, highest = RATES_HZ
        if not lowest <= rate <= highest:
            text = f"rate: needs the samples per second, {lowest} to {highest:,}, not {rate}"
            raise StudentError("student.wrong-rate", text)
        given = (units,) if isinstance(units, str) else tuple(units)
        kinds = [kind for kind in QUANTITIES if kind in map(quantity_of, self.channels)]
        if len(given) != len(kinds) or any(
            unit not in UNITS[kind] for unit, kind in zip(given, kinds, strict=True)
        ):
            wanted = " and ".join(f"{QUANTITIES[k]} ({' or '.join(UNITS[k])})" for k in kinds)
            text = f"units: needs one for {wanted}, not {', '.join(map(str, given)) or 'none'}"
            raise StudentError("student.wrong-units", text)
        named = dict(zip(kinds, given, strict=True))
        return Sensor(float(rate), named.get("acc", "g"), named.get("gyro", "deg/s"))

    def _refuse_other_unit(self, imu_NCR: Tensor, unit: str) -> None:
        """Raises StudentError for acceleration whose length is about 1 g in another unit."""
        for (_, kind), places in in_groups(self.channels).items():
            if kind != "acc" or len(places) < 3:
                continue
            median = median_length(imu_NCR[:, places].mT.reshape(-1, 3).numpy())
            fitting = fitting_units(median, UNITS["acc"])
            # 0.1 g may be acceleration without gravity, 10 g is none that a body keeps up.
            if fitting and unit not in fitting and (unit == "g" or self.trained_on.gravity):
                raise StudentError(
                    "student.other-unit",
                    f"units: acceleration is said to be in {unit}, but its median length of "
                    f"{median:.3g} is that of gravity in {fitting[0]}; correct units",
                )


class _Raw:
    """Raw windows, as `extract_features` takes them."""

    def __init__(self, imu_NCR: Tensor, preprocessing: Preprocessing) -> None:
        self._imu_NCR, self._preprocessing = imu_NCR, preprocessing

    def imu(self, index_B: Tensor) -> tuple[Tensor, None]:
        return self._preprocessing(self._imu_NCR[index_B]), None


def _restored(
    description: dict[str, Any],
    own_code: Code | None,
    state: dict[str, Tensor],
    trained_on: TrainedOn,
) -> TrainedStudent:
    """A pickled student."""
    given = {key: value for key, value in description.items() if key not in ("file", "class")}
    network = Student(**given, own_code=own_code)
    network.load_state_dict(state)
    return TrainedStudent(network, trained_on)


def has_gravity(imu_NCT: Tensor, channels: Sequence[str]) -> bool:
    """`TrainedOn.gravity` of windows in g and deg/s: of all their accelerometers of three axes."""
    groups = [x for (_, kind), x in in_groups(channels).items() if kind == "acc" and len(x) == 3]
    medians = [median_length(imu_NCT[:, x].float().mT.reshape(-1, 3).numpy()) for x in groups]
    return bool(medians) and all(fitting_units(median, {"g": 1.0}) for median in medians)


def load_student(
    path_or_id: str | Path, revision: str | None = None, allow_code: bool = False
) -> TrainedStudent:
    """Loads a trained student, frozen and in evaluation mode, on the CPU.

    Files of the hub are kept in the cache of huggingface_hub, which also decides about tokens
    (`hf auth login`, HF_TOKEN) and about going offline (HF_HUB_OFFLINE).

    Args:
        path_or_id: a folder that `comodo export` wrote, or the id of one on the Hugging Face hub,
            such as `anna/wrist`.
        revision: branch, tag or commit on the hub; by default `main`.
        allow_code: whether the code of a student whose network is a class of its author's file,
            `encoder.py` of the folder, may run. Read it first, and name the commit as `revision`.

    Raises:
        StudentError: there is no such student, its files are damaged, or its code was not allowed.

    Examples:
        >>> student = comodo.load_student("anna/wrist")
        >>> student.embed(imu, rate=50, units=("g", "deg/s")).shape
        (128, 256)
    """
    folder = _folder_of(path_or_id, revision)
    try:
        about = read_json(folder / EXPORT_FILE)
        if not (folder / STUDENT_FILE).is_file() or "student" not in about:
            text = f"{folder} has programs alone, of an earlier version; run comodo export again"
            raise StudentError("student.earlier-export", text)
        trained_on = TrainedOn(**about["student"])
        return TrainedStudent(load_network(folder, _allowed(folder, allow_code)), trained_on)
    except StudentError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        text = f"{path_or_id}: no student that comodo export wrote, or damaged: {reason}"
        raise StudentError("student.damaged", text) from error


def _allowed(folder: Path, allow_code: bool) -> str | None:
    """The SHA-256 of the code in a folder, if it may run."""
    if not allow_code or not (folder / CODE_FILE).is_file():
        return None
    return Code(CODE_FILE, "", (folder / CODE_FILE).read_text(encoding="utf-8")).digest


def _folder_of(path_or_id: str | Path, revision: str | None) -> Path:
    """The folder itself, or the copy of one on the hub, after downloading what is missing."""
    if Path(path_or_id).expanduser().is_dir():
        return Path(path_or_id).expanduser()
    try:
        found = snapshot_download(str(path_or_id), revision=revision, allow_patterns=list(FILES))
    except (OSError, ValueError) as error:
        reason = redacted(str(error).strip().split("\n")[0])
        raise StudentError(
            "student.not-found",
            f"{path_or_id}: no such folder, and no such student on the Hugging Face hub or in its "
            f"cache ({type(error).__name__}: {reason}); a private one needs hf auth login or "
            "HF_TOKEN",
        ) from error
    return Path(found)
