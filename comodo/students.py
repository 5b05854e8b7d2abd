"""The students: pretrained IMU encoders, channel pooling, and the projector head.

A student turns a six-channel IMU window into one feature. This file does not know how a student
is trained, which method its head belongs to, or what the feature is used for.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each).
"""

import inspect
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import snapshot_download
from mantis.architecture import MantisV1, MantisV2
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from comodo.config import CHANNELS, StudentConfig
from comodo.store import atomic

_WEIGHTS_FILE = "model.safetensors"
_CONFIG_FILE = "config.json"
_DESCRIPTION_FILE = "student.json"

# Sequences encoded at once on a CPU, where larger working sets leave the cache.
_SEQUENCES_AT_ONCE_CPU = 64

_MANTIS = {"mantis": MantisV1, "mantis-v2": MantisV2}

# MOMENT-1-small, an encoder in the shape of flan-t5-small: what a `size` departs from.
_MOMENT_SMALL: dict[str, int | float] = {
    "d_model": 512,
    "num_layers": 8,
    "num_heads": 6,
    "d_kv": 64,
    "d_ff": 1024,
    "dropout_rate": 0.1,
    "seq_len": 512,
    "patch_len": 8,
}


class MantisEncoder(nn.Module):
    """Mantis (V1 and V2), one channel at a time, each window resized to the length it expects.

    Args:
        version: `MantisV1` or `MantisV2`.
        config: that class's constructor arguments, and for either version `seq_len`, the number
            of samples (512 as published) to which windows are linearly interpolated.
    """

    def __init__(self, version: type[MantisV1] | type[MantisV2], config: dict[str, Any]) -> None:
        super().__init__()
        arguments = {"seq_len": 512, "num_patches": 32, **config}
        self.seq_len: int = arguments["seq_len"]
        if self.seq_len % arguments["num_patches"]:
            raise ValueError(
                f"seq_len {self.seq_len} is not a multiple of num_patches "
                f"{arguments['num_patches']}"
            )
        if version is MantisV2:  # takes any length, so its constructor does not ask
            del arguments["seq_len"]
        self.network = version(**arguments, device="cpu")
        self.network.prj = nn.Identity()  # served Mantis's own pretraining only
        self.dim: int = self.network.hidden_dim

    def forward(self, imu_BCT: Tensor, lengths: list[int]) -> Tensor:
        """Features [B, C, D]; of each window only its last `length` samples are read."""

        def resize(length: int, rows: list[int]) -> Tensor:
            real_BCT = imu_BCT[rows, :, -length:]
            return functional.interpolate(
                real_BCT, size=self.seq_len, mode="linear", align_corners=False
            )

        resized_BCT = _by_group(lengths, resize)
        feature_ND = _in_chunks(self.network, resized_BCT.flatten(0, 1).unsqueeze(1))
        return feature_ND.unflatten(0, resized_BCT.shape[:2])


class MomentEncoder(nn.Module):
    """MOMENT, one channel at a time, averaged over the patches that hold only real samples.

    Windows shorter than `seq_len` are left-padded to it, longer ones to whole patches, under an
    input mask. Positions count from the left, so a window is never padded to its batch's longest:
    that would make its feature depend on its neighbours.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from momentfm import MOMENTPipeline  # takes seconds to import

        trainable = {
            "task_name": "embedding",
            "freeze_embedder": False,
            "freeze_encoder": False,
            "enable_gradient_checkpointing": False,
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Only reconstruction head is pre-trained")
            self.network = MOMENTPipeline({**config, **trainable}, model_kwargs={})
        self.network.encoder.embed_tokens = None  # T5's word table, which patches bypass
        self.dim: int = self.network.config.d_model

    def forward(self, imu_BCT: Tensor, lengths: list[int]) -> Tensor:
        """Features [B, C, D]; of each window only its last `length` samples are read."""
        patch = self.network.patch_len
        if min(lengths) < patch:
            raise ValueError(f"MOMENT needs at least {patch} samples, a window has {min(lengths)}")
        padded = [-(-max(self.network.seq_len, length) // patch) * patch for length in lengths]

        def encode(width: int, rows: list[int]) -> Tensor:
            x_BCT = functional.pad(imu_BCT[rows], (width - imu_BCT.shape[-1], 0))
            length_B1 = torch.tensor([[lengths[row]] for row in rows], device=x_BCT.device)
            # Real is what lies no further from the end than the window is long.
            mask_BT = torch.arange(width, 0, -1, device=x_BCT.device) <= length_B1
            mask_NT = mask_BT.to(x_BCT.dtype).repeat_interleave(x_BCT.shape[1], dim=0)
            feature_ND = _in_chunks(self._embed, x_BCT.flatten(0, 1).unsqueeze(1), mask_NT)
            return feature_ND.unflatten(0, x_BCT.shape[:2])

        return _by_group(padded, encode)

    def _embed(self, x_N1T: Tensor, mask_NT: Tensor) -> Tensor:
        patches = self.network.embed(x_enc=x_N1T, input_mask=mask_NT, reduction="none").embeddings
        real_NP1 = mask_NT.unflatten(1, (-1, self.network.patch_len)).amin(dim=2).unsqueeze(2)
        return (patches.squeeze(1) * real_NP1).sum(dim=1) / real_NP1.sum(dim=1)


class Student(nn.Module):
    """An IMU encoder whose channel features are joined into one; every parameter is trained.

    Build one with `build_student` or `load_student`.

    Args:
        name: which encoder.
        encoder_config: the encoder's own construction arguments.
        pooling: "concat" joins the channels' features, "mean" averages them.
        channels: which of `CHANNELS` are encoded, in which order.

    Attributes:
        dim: width of the feature.

    Raises:
        ValueError: no channel, or an unknown one.
    """

    def __init__(
        self, name: str, encoder_config: dict[str, Any], pooling: str, channels: Sequence[str]
    ) -> None:
        super().__init__()
        unknown = [channel for channel in channels if channel not in CHANNELS]
        if unknown or not channels:
            raise ValueError(f"channels {list(channels)}: choose some of {', '.join(CHANNELS)}")
        self.description = {
            "name": name,
            "encoder_config": encoder_config,
            "pooling": pooling,
            "channels": list(channels),
        }
        self.encoder = _build_encoder(name, encoder_config)
        self.concat = pooling == "concat"
        self.dim: int = self.encoder.dim * (len(channels) if self.concat else 1)
        self._picked = [CHANNELS.index(channel) for channel in channels]

    def forward(self, imu_BCT: Tensor, length_B: Tensor | None = None) -> Tensor:
        """Features [B, dim] of IMU windows; a window's feature never depends on its batch.

        Args:
            imu_BCT: float32 [B, 6, T], channels as in `CHANNELS`, in g and degrees per second,
                shorter windows left-padded with zeros.
            length_B: real samples of each window (int, best on the CPU); None: all T are real.

        Raises:
            ValueError: not six channels, or lengths that do not fit the windows.
        """
        if imu_BCT.ndim != 3 or imu_BCT.shape[1] != len(CHANNELS):
            raise ValueError(f"IMU windows are [B, 6, T], got {tuple(imu_BCT.shape)}")
        batch, _, samples = imu_BCT.shape
        lengths = [samples] * batch if length_B is None else length_B.tolist()
        if len(lengths) != batch or not all(0 < length <= samples for length in lengths):
            raise ValueError(f"need {batch} lengths within 1..{samples}, got {lengths}")
        feature_BCD = self.encoder(imu_BCT[:, self._picked], lengths)
        return feature_BCD.flatten(1) if self.concat else feature_BCD.mean(dim=1)


def build_student(settings: StudentConfig) -> Student:
    """A student on the CPU: pretrained if `settings.weights`, else random at `settings.size`.

    Weights are a hub id or a folder as the libraries' `save_pretrained` writes it.

    Raises:
        ValueError: unknown keys in size or channels, or weights that cannot be had or do not fit.

    Example:
        >>> student = build_student(StudentConfig(name="mantis", size={"transf_depth": 2}))
        >>> student(torch.randn(4, 6, 1000)).shape
        torch.Size([4, 1536])
    """
    if settings.weights is None:
        config = _config_from_size(settings.name, settings.size)
        return Student(settings.name, config, settings.pooling, settings.channels)
    folder = _find_weights(settings.weights, settings.revision)
    config = _config_from_folder(settings.name, folder)
    student = Student(settings.name, config, settings.pooling, settings.channels)
    network = student.encoder.network
    try:
        absent = network.load_state_dict(load_file(folder / _WEIGHTS_FILE), strict=False)
        lost = {name for name, _ in network.named_parameters()}.intersection(absent.missing_keys)
    except RuntimeError as error:  # shapes that differ
        raise ValueError(f"{settings.weights} does not fit {settings.name}: {error}") from error
    if lost:
        raise ValueError(f"{settings.weights} is no {settings.name}: it lacks {min(lost)}")
    return student


def build_head(
    kind: Literal["mlp", "linear"], in_dim: int, out_dim: int, hidden_dim: int = 2048
) -> nn.Sequential:
    """The projector from features [B, in_dim] to embeddings [B, out_dim], not normalised.

    "mlp" is Linear - BatchNorm - GELU - Linear, as COMODO's (arXiv 2503.07259) code has it on
    both sides; "linear" is one layer, as that code has it for the other losses.

    Example:
        >>> build_head("linear", 4, 2)(torch.randn(3, 4)).shape
        torch.Size([3, 2])
    """
    if kind == "linear":
        return nn.Sequential(nn.Linear(in_dim, out_dim))
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim),
        nn.BatchNorm1d(hidden_dim),
        nn.GELU(),
        nn.Linear(hidden_dim, out_dim),
    )


def save_student(student: Student, folder: Path | str) -> None:
    """Write all that `load_student` needs into a folder; no file there is ever half-written."""
    folder = Path(folder)
    state = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
    description = json.dumps(student.description, indent=2)
    with atomic(folder / _WEIGHTS_FILE) as path:
        save_file(state, path)
    with atomic(folder / _DESCRIPTION_FILE) as path:
        path.write_text(description)


def load_student(folder: Path | str) -> Student:
    """Read a student back, on the CPU, without the hub.

    Raises:
        ValueError: a folder that `save_student` did not write.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / _DESCRIPTION_FILE).read_text())
        state = load_file(folder / _WEIGHTS_FILE)
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no saved student: {error}") from error
    student = Student(**description)
    student.load_state_dict(state)
    return student


def _build_encoder(name: str, config: dict[str, Any]) -> MantisEncoder | MomentEncoder:
    return MomentEncoder(config) if name == "moment" else MantisEncoder(_MANTIS[name], config)


def _config_from_size(name: str, size: dict[str, int | float]) -> dict[str, Any]:
    valid = _MOMENT_SMALL if name == "moment" else _mantis_arguments(name)
    if unknown := sorted(size.keys() - valid):
        raise ValueError(f"size of {name}: unknown {unknown}; valid are {', '.join(sorted(valid))}")
    if name != "moment":
        return dict(size)
    t5_config = {"feed_forward_proj": "gated-gelu", "vocab_size": 1, **_MOMENT_SMALL, **size}
    seq_len, patch_len = t5_config.pop("seq_len"), t5_config.pop("patch_len")
    return {
        "transformer_backbone": "google/flan-t5-small",
        "transformer_type": "encoder_only",
        "d_model": t5_config["d_model"],
        "seq_len": seq_len,
        "patch_len": patch_len,
        "patch_stride_len": patch_len,
        "t5_config": t5_config,
    }


def _config_from_folder(name: str, folder: Path) -> dict[str, Any]:
    # Mantis without a configuration is of the default size, as its library has it.
    file = folder / _CONFIG_FILE
    config: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if name != "moment":
        return {key: value for key, value in config.items() if key in _mantis_arguments(name)}
    if "t5_config" not in config:
        raise ValueError(f"{folder} is no MOMENT: its {_CONFIG_FILE} has no t5_config")
    return config


def _mantis_arguments(name: str) -> set[str]:
    """What sets a Mantis's size; not what picks its device or another output than published."""
    fixed = {"device", "pre_training", "return_transf_layer", "output_token"}
    return {"seq_len", *inspect.signature(_MANTIS[name]).parameters} - fixed


def _find_weights(weights: str, revision: str | None) -> Path:
    """The local folder of a hub id (downloaded if need be) or of a local folder."""
    folder = Path(weights)
    files = [_CONFIG_FILE, _WEIGHTS_FILE]
    try:
        if not folder.is_dir():
            folder = Path(snapshot_download(weights, revision=revision, allow_patterns=files))
        if (folder / _WEIGHTS_FILE).is_file():
            return folder
        reason = f"{folder} has no {_WEIGHTS_FILE}"
    except (OSError, ValueError) as error:
        reason = f"no such folder, and the hub did not give them ({type(error).__name__})"
    raise ValueError(
        f"weights {weights!r}: {reason}. "
        f"Download once with `hf download {weights}`, or give a local folder"
    )


def _by_group(keys: list[int], apply: Callable[[int, list[int]], Tensor]) -> Tensor:
    """Stack apply(key, rows with that key) over all keys, rows back in their order."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    grouped = torch.cat([apply(key, rows) for key, rows in groups.items()])
    order = [row for rows in groups.values() for row in rows]
    return grouped[torch.tensor(order).argsort()]


def _in_chunks(encode: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """encode(*inputs), on a CPU some rows at a time."""
    if inputs[0].device.type != "cpu":
        return encode(*inputs)
    chunks = zip(*(rows.split(_SEQUENCES_AT_ONCE_CPU) for rows in inputs), strict=True)
    return torch.cat([encode(*chunk) for chunk in chunks])
