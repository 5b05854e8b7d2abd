"""The students: IMU encoders whose channel features are pooled into one feature per window.

This module builds, saves and loads students, and extracts the features of a frozen one. It does not
know how an encoder computes its features, how a student is trained, or what features are used for.

Shape letters: N windows of a split, B batch, C channels that it sees, T samples, D feature width.
"""

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from comodo.config import StudentConfig
from comodo.config.channels import checked_channels, expanded, quantity_of
from comodo.config.dataset_base import G_AND_DEGREES, Units
from comodo.config.own_code import CUSTOM
from comodo.config.student import STUDENTS
from comodo.core.errors import ComodoError
from comodo.core.members import Code
from comodo.core.store import atomic
from comodo.data.imu import ACC_UNITS, GYRO_UNITS, limits
from comodo.models.checkpoints import read_encoder
from comodo.models.encoders import CONFIG_FILE, WEIGHTS_FILE, Encoder
from comodo.models.own import encoder_of

EXTRACT_BATCH = 128  # windows; features depend on it only if `padding` is "batch"
STUDENT_FILE = "student.json"
"""Arguments of a saved student, next to its weights."""
CODE_FILE = "encoder.py"
"""Next to it, the code of a student whose network is a class of the user's file."""


class StudentError(ComodoError, ValueError):
    """A student whose features cannot be used."""


class Student(nn.Module):
    """An IMU encoder with channel pooling; all parameters are trained.

    Build one with `build_student` or `load_student`. `pooling` of the channels' features is
    "concat" or "mean"; it has no effect on a joint encoder. `channels` names those of its windows,
    in their order. `dim` is the width of the feature, and `description` has the arguments, for
    `load_student`. Samples beyond what any sensor measures (`imu.limits`) count as that limit: one
    of them would outweigh a batch, or overflow. `units` are those that the encoder sees, of
    acceleration and angular velocity. Of a network from another package or file, `code` is as in
    the settings, and `own_code` the class of the file. Raises ValueError for no channel, or an
    unknown name.
    """

    def __init__(
        self,
        name: str,
        encoder_config: dict[str, Any],
        pooling: str,
        channels: Sequence[str],
        units: Units = G_AND_DEGREES,
        code: str | None = None,
        own_code: Code | None = None,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels: a student needs at least one")
        self.channels = expanded(checked_channels(tuple(channels)))
        self.description: dict[str, Any] = {
            "name": name,
            "encoder_config": encoder_config,
            "pooling": pooling,
            "channels": list(self.channels),
        }
        self.own_code = own_code
        if code is not None:
            self.description["code"] = code
        if own_code is not None:
            self.description |= {"file": own_code.file, "class": own_code.name}
        encoder = _encoder_class(name, own_code)
        joint_config = {"channels": len(self.channels)} if encoder.JOINT else {}
        self.encoder = encoder({**encoder_config, **joint_config})
        self.concat = pooling == "concat"
        features = len(self.channels) if self.concat and not encoder.JOINT else 1
        self.dim: int = self.encoder.dim * features
        self.limit_C1: Tensor
        limit_C1 = torch.from_numpy(limits(self.channels)).unsqueeze(1)
        self.register_buffer("limit_C1", limit_C1, persistent=False)
        self.scale_C1: Tensor | None
        self.register_buffer("scale_C1", None, persistent=False)
        self._set_units(units)

    def _set_units(self, units: Units) -> None:
        acc, gyro = units
        self.units: Units = (acc, gyro)
        if self.units != G_AND_DEGREES:
            factors = {"acc": 1 / ACC_UNITS[acc], "gyro": 1 / GYRO_UNITS[gyro]}
            scale_C = torch.tensor([factors[quantity_of(channel)] for channel in self.channels])
            self.scale_C1 = scale_C.unsqueeze(1).to(self.limit_C1.device)
            self.description = {**self.description, "units": list(self.units)}
        else:
            self.scale_C1 = None
            self.description = {k: v for k, v in self.description.items() if k != "units"}

    def in_units(self, units: Units) -> "Student":
        """This student, with the same parameters, whose encoder sees these units."""
        if units == self.units:
            return self
        other = copy.copy(self)
        other._buffers = dict(self._buffers)  # else a shallow copy shares what is set next
        other._set_units(units)
        return other

    def forward(self, imu_BCT: Tensor, length_B: Tensor | None = None, mask: bool = True) -> Tensor:
        """Features `[B, dim]` of IMU windows; a window's feature never depends on its batch, except
        that of MOMENT with `padding` "batch".

        Args:
            imu_BCT: float32 `[B, C, T]`, its `channels` in g and degrees per second whatever
                `units` are; shorter windows are left-padded with zeros.
            length_B: real samples of each window (int, preferably on the CPU); None: all T.
            mask: whether MOMENT masks the padding of windows shorter than its input. The code of
                COMODO (arXiv 2503.07259) trains with the mask and probes without it; padding then
                counts as real samples. It makes no difference to other encoders.

        Raises ValueError for another number of channels, and for lengths that do not fit.
        """
        if imu_BCT.ndim != 3 or imu_BCT.shape[1] != len(self.channels):
            needed = f"[B, {len(self.channels)}, T]"
            raise ValueError(f"IMU windows are {needed}, got {tuple(imu_BCT.shape)}")
        batch, _, samples = imu_BCT.shape
        lengths = None if length_B is None else length_B.tolist()
        if lengths is not None and not (
            len(lengths) == batch and all(0 < length <= samples for length in lengths)
        ):
            raise ValueError(f"need {batch} lengths within 1..{samples}, got {lengths}")
        imu_BCT = imu_BCT.clamp(-self.limit_C1, self.limit_C1)
        if self.scale_C1 is not None:
            imu_BCT = imu_BCT * self.scale_C1
        feature_BCD = self.encoder(imu_BCT, lengths, mask)
        return feature_BCD.flatten(1) if self.concat else feature_BCD.mean(dim=1)


def build_student(settings: StudentConfig, units: Units = G_AND_DEGREES) -> Student:
    """A student on the CPU, with pretrained weights, or with random ones of the given `size`, whose
    encoder sees these units.

    Raises ValueError for unknown keys in size or channels, and for weights that are not found or do
    not fit.
    """
    if settings.source is not None:
        raise ValueError(f"from: {settings.source} has the weights; load them with load_student")
    own_code = settings.own_code
    encoder = _encoder_class(settings.name, own_code)
    if settings.weights is None:
        config = encoder.config_from_size(settings.size) | settings.options
        args = settings.name, config, settings.pooling, settings.channels, units
        return Student(*args, settings.code, own_code)
    if settings.is_checkpoint:
        return _from_checkpoint(settings, units)
    folder = _find_weights(settings.weights, settings.revision)
    config = encoder.config_from_folder(folder) | settings.options
    student = Student(settings.name, config, settings.pooling, settings.channels, units)
    student.encoder.load_weights(folder, settings.weights)
    return student


def _from_checkpoint(settings: StudentConfig, units: Units) -> Student:
    """A student with the encoder of a file that the published code wrote."""
    file = str(settings.weights)
    config = STUDENTS.get(settings.name).config_from_size(settings.size) | settings.options
    student = Student(settings.name, config, settings.pooling, settings.channels, units)
    state, taken = read_encoder(Path(file))
    unknown = [name for name in student.encoder.load_state(state, f"weights {file!r}")
               if not name.startswith(student.encoder.unused)]  # fmt: skip
    if unknown:
        raise ValueError(
            f"weights {file!r} have more than {settings.name} of this size, such as "
            f"{min(unknown)}; a file does not say its size: set student.size"
        )
    one = student.encoder.dim
    if taken is not None and (taken == one) == student.concat:
        pooling = "mean" if taken == one else "concat"
        raise ValueError(
            f"weights {file!r} were trained with pooling {pooling}: what follows the encoder takes "
            f"{taken} features, and a channel has {one}; set student.pooling: {pooling}"
        )
    return student


def _encoder_class(name: str, own_code: Code | None) -> type[Encoder]:
    """The class of a student's encoder. Raises CodeError, a ValueError."""
    if own_code is not None:
        return encoder_of(own_code.run())
    if name == CUSTOM:
        raise ValueError("only its settings were recorded, not the code of its file")
    found = STUDENTS.get(name)
    return found if name in STUDENTS.built_in else encoder_of(found)


def save_student(student: Student, folder: Path | str) -> str:
    """Writes a student into a folder, with the code of a `custom` one; each file is written
    atomically. Returns the SHA-256 of the file of its weights."""
    folder = Path(folder)
    if student.own_code is not None:
        with atomic(folder / CODE_FILE) as path:
            path.write_text(student.own_code.text, encoding="utf-8")
    with atomic(folder / WEIGHTS_FILE) as path:
        save_file({name: x.contiguous() for name, x in student.state_dict().items()}, path)
        with path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
    with atomic(folder / STUDENT_FILE) as path:
        path.write_text(json.dumps(student.description, indent=2))
    return digest


def load_student(folder: Path | str, code: str | None = None) -> Student:
    """Loads a student that `save_student` wrote, on the CPU and without the hub; ValueError if the
    folder holds none. `code`: the SHA-256 of the code of a `custom` student, which may be run; for
    other code, and without it, StudentError, `student.own-code`."""
    folder = Path(folder)
    try:
        description = json.loads((folder / STUDENT_FILE).read_text())
        state = load_file(folder / WEIGHTS_FILE)
    except (FileNotFoundError, SafetensorError, ValueError) as error:
        raise ValueError(f"{folder} holds no saved student: {error}") from error
    student = Student(**_with_code(description, folder, code))
    student.load_state_dict(state)
    return student


def _with_code(description: dict[str, Any], folder: Path, allowed: str | None) -> dict[str, Any]:
    """The arguments of a saved student, with its code if it has some."""
    recorded, name = description.get("code"), description.get("name")
    if (file := description.get("file")) is not None:
        try:
            text = (folder / CODE_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{folder} holds no saved student: {error}") from error
        own_code = Code(str(file), str(description.get("class")), text, may_run=True)
        if own_code.digest != allowed:
            raise StudentError(
                "student.own-code",
                f"{folder}: the network is code of the file {file}, which is only run if that is "
                f"allowed; read {folder / CODE_FILE}, then add --allow-code, in Python "
                "allow_code=True",
            )
        rest = {k: v for k, v in description.items() if k not in ("file", "class")}
        return {**rest, "own_code": own_code}
    if recorded is not None and isinstance(name, str) and name in STUDENTS:
        now = f"version {STUDENTS.code(name).constants.get('VERSION')}"
        if now != recorded:
            raise StudentError(
                "student.other-version",
                f"{folder}: was trained with {recorded} of '{name}', but {now} is installed; "
                "install the package that it was trained with",
            )
    return description


class Windows(Protocol):
    """Where the windows of a split come from, such as `arrays.Split`."""

    def imu(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Split.imu`."""
        ...


@torch.inference_mode()
def extract_features(
    student: Student,
    split: Windows,
    index_N: Tensor,
    mask: bool = True,
    head: nn.Module | None = None,
    batch_size: int = EXTRACT_BATCH,
) -> Tensor:
    """Student features `[N, D]` of these windows, float32 on the CPU, computed in eval mode.

    `mask` is as in `Student.forward`; a `head` (in eval mode) is applied to the features. Windows
    are encoded `batch_size` at a time, in this order. Raises StudentError, `student.not-finite`.
    """
    was_training = student.training
    student.eval()
    device = student.limit_C1.device  # hand-crafted features have no parameters
    features = []
    for index_B in index_N.split(batch_size):
        imu_BCT, length_B = split.imu(index_B)
        feature_BD = student(imu_BCT.to(device), length_B, mask)
        features.append((feature_BD if head is None else head(feature_BD)).cpu())
    student.train(was_training)
    feature_ND = torch.cat(features).float()
    if len(bad_N := index_N[~feature_ND.isfinite().all(dim=1)]):
        raise StudentError(
            "student.not-finite",
            f"the student's features of {len(bad_N)} of {len(index_N)} windows are not finite, "
            f"first of window {int(bad_N[0])} of its split: training diverged (lower "
            "learning_rate), or the IMU data has NaN",
        )
    return feature_ND


def _find_weights(weights: str, revision: str | None) -> Path:
    """The local folder with the weights, which are downloaded from the hub if necessary."""
    folder = Path(weights)
    files = [CONFIG_FILE, WEIGHTS_FILE]
    try:
        if not folder.is_dir():
            folder = Path(snapshot_download(weights, revision=revision, allow_patterns=files))
        if (folder / WEIGHTS_FILE).is_file():
            return folder
        reason = f"{folder} has no {WEIGHTS_FILE}"
    except (OSError, ValueError) as error:
        reason = f"no such folder, and the download failed ({type(error).__name__})"
    raise ValueError(
        f"weights {weights!r}: {reason}. "
        f"Download once with `hf download {weights}`, or give a local folder"
    )
