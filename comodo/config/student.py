"""The settings of a student: its encoder, weights or size, and channels."""

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from comodo.config.base import Settings, Weights
from comodo.core.errors import nearest

Channel = Literal["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

STUDENT_PRESETS: dict[str, dict[str, Any]] = {
    "mantis-8m": {"name": "mantis", "weights": "paris-noah/Mantis-8M"},
    # As its library recommends for a frozen encoder.
    "mantis-v2": {
        "name": "mantis-v2",
        "weights": "paris-noah/MantisV2",
        "return_transf_layer": 2,
        "output_token": "combined",
    },
    "moment-small": {"name": "moment", "weights": "AutonLab/MOMENT-1-small"},
    "moment-base": {"name": "moment", "weights": "AutonLab/MOMENT-1-base"},
    "moment-large": {"name": "moment", "weights": "AutonLab/MOMENT-1-large"},
    **{
        f"chronos-bolt-{size}": {"name": "chronos-bolt", "weights": f"amazon/chronos-bolt-{size}"}
        for size in ("tiny", "mini", "small", "base")
    },
    **{name: {"name": name} for name in ("dlinear", "informer", "timesnet")},
}

RESIZED_TO = {"mantis": 512, "mantis-v2": 512, "dlinear": 1000, "informer": 1000, "timesnet": 1000}
"""Samples that these students resize windows to; others take windows of any length."""

_MANTIS_SIZE = {
    "seq_len", "hidden_dim", "num_patches", "scalar_scales", "hidden_dim_scalar_enc",
    "epsilon_scalar_enc", "transf_depth", "transf_num_heads", "transf_mlp_dim",
    "transf_dim_head", "transf_dropout",
}  # fmt: skip
_T5_SIZE = {"d_model", "num_layers", "num_heads", "d_kv", "d_ff", "dropout_rate"}
STUDENT_SIZES: dict[str, set[str]] = {
    "mantis": _MANTIS_SIZE,
    "mantis-v2": _MANTIS_SIZE | {"kernel_size"},
    "moment": _T5_SIZE | {"seq_len", "patch_len"},
    "chronos-bolt": _T5_SIZE | {"context_length", "input_patch_size", "input_patch_stride"},
    "dlinear": {"seq_len", "moving_average"},
    "informer": {"seq_len", "d_model", "heads", "layers", "d_ff", "factor", "distil", "dropout"},
    "timesnet": {"seq_len", "d_model", "d_ff", "periods", "kernels", "layers", "dropout"},
}
"""The keys of `size` for students from scratch: constructor arguments of their libraries."""
MANTIS_NAMES = ("mantis", "mantis-v2")
MANTIS_LAYERS = 6
"""Of Mantis, unless `size.transf_depth` says otherwise."""
BASELINE_NAMES = ("dlinear", "informer", "timesnet")
"""Students that classify all channels together, and so are trained with labels only."""


class StudentConfig(Settings):
    """The IMU encoder that is trained."""

    name: Literal[
        "mantis", "mantis-v2", "moment", "chronos-bolt", "dlinear", "informer", "timesnet"
    ]
    """Family of the encoder."""
    weights: Weights | None = None
    """Without weights the encoder starts from scratch at `size`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`."""
    size: dict[str, int | float] = Field({})
    """For students from scratch: arguments of the family's constructor, such as hidden_dim."""
    pooling: Literal["concat", "mean"] = "concat"
    """How the features of the channels, each encoded by itself, are combined."""
    channels: tuple[Channel, ...] = Field(CHANNELS, min_length=1)
    """The IMU channels that the student sees, in this order."""
    return_transf_layer: int | None = Field(None, ge=0, exclude_if=lambda value: value is None)
    """Mantis: the transformer layer, counted from 0, whose tokens are the feature; later layers are
    left out. By default the last."""
    output_token: Literal["cls_token", "mean_token", "combined"] = Field(
        "cls_token", exclude_if=lambda value: value == "cls_token"
    )
    """Mantis: the feature is the class token, the mean of the other tokens, or both (`combined`,
    twice as wide), which its library recommends for layers before the last."""

    @model_validator(mode="after")
    def _size_is_from_scratch(self) -> "StudentConfig":
        for key in self.size:
            if key not in STUDENT_SIZES[self.name]:
                raise ValueError(f"size.{key}: unknown{nearest(key, STUDENT_SIZES[self.name])}")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("channels: list each channel once")
        if self.weights is not None and self.size:
            raise ValueError("size is for students from scratch; remove weights or size")
        if self.name not in MANTIS_NAMES and self.output:
            found, names = next(iter(self.output)), " and ".join(MANTIS_NAMES)
            raise ValueError(f"{found}: only {names} have it; remove {found}")
        layers, layer = self.size.get("transf_depth", MANTIS_LAYERS), self.return_transf_layer
        if self.weights is None and layer is not None and layer >= layers:
            raise ValueError(f"return_transf_layer: {layer} is not one of 0..{layers - 1}")
        if self.is_baseline and self.weights is not None:
            raise ValueError(f"weights: {self.name} starts from scratch; remove weights")
        if self.is_baseline and self.pooling != "concat":
            raise ValueError(f"pooling: {self.name} takes all channels together; remove pooling")
        return self

    @property
    def samples(self) -> int | None:
        """Samples that it resizes windows to, unless its weights say otherwise; None: to none."""
        default = RESIZED_TO.get(self.name)
        return None if default is None else int(self.size.get("seq_len", default))

    @property
    def output(self) -> dict[str, Any]:
        """What differs from the class token of the last layer; empty for other encoders."""
        return self.model_dump(include={"return_transf_layer", "output_token"})

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of BASELINE_NAMES."""
        return self.name in BASELINE_NAMES
