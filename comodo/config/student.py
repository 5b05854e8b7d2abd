"""The settings of a student: its encoder, weights or size, and channels."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from comodo.config.base import ADDED_LATER, CHECKPOINT_SUFFIXES, Settings, Weights
from comodo.config.channels import CHANNELS, WrittenChannels
from comodo.core.errors import nearest

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
    **{name: {"name": name} for name in ("cnn", "dlinear", "informer", "timesnet")},
    # The sizes in the names of the published results; those of `dlinear` are the published ones.
    "informer-published": {"name": "informer", "size": {"factor": 1, "distil": 0}},
    "timesnet-published": {"name": "timesnet", "size": {"layers": 3}},
}

AS_PUBLISHED: dict[str, dict[str, Any]] = {
    "moment": {"padding": "batch", "averaged_patches": "all"},
    "chronos-bolt": {"train_encoder": False},
}
"""The defaults of a family's settings with `protocol: published`, where they differ."""

RESIZED_TO = {
    "mantis": 512, "mantis-v2": 512, "cnn": 256, "dlinear": 1000, "informer": 1000,
    "timesnet": 1000,
}  # fmt: skip
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
    "cnn": {"seq_len", "width", "kernel"},
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
JOINT_NAMES = (*BASELINE_NAMES, "cnn")
"""Students that take all channels together, and for which there are no weights."""
CHECKPOINT_NAMES = ("mantis", "moment")
"""Students whose `weights` may be a checkpoint of the published code."""
TAKEN_BY = {
    "return_transf_layer": MANTIS_NAMES,
    "output_token": MANTIS_NAMES,
    "padding": ("moment",),
    "averaged_patches": ("moment",),
}
"""The families that have these settings."""


class StudentConfig(Settings):
    """The IMU encoder that is trained."""

    name: Literal[
        "mantis", "mantis-v2", "moment", "chronos-bolt", "cnn", "dlinear", "informer", "timesnet",
        "hand-crafted",
    ]  # fmt: skip
    """Family of the encoder. `hand-crafted` is what the reference `features` measures."""
    weights: Weights | None = None
    """Without weights the encoder starts from scratch at `size`. For mantis and moment also a file,
    `model.pth`, as the published code writes it: its encoder is used, its projector is not."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`."""
    size: dict[str, int | float] = Field({})
    """For students from scratch or from a file: arguments of the family's constructor, such as
    hidden_dim; by default those of Mantis-8M, MOMENT-1-small and chronos-bolt-tiny."""
    pooling: Literal["concat", "mean"] = "concat"
    """How the features of the channels, each encoded by itself, are combined."""
    channels: WrittenChannels = CHANNELS
    """The IMU channels that the student sees, in this order; `acc`, or `left_wrist.gyro`, means all
    axes of it. By default all of the data set that it is trained on."""
    return_transf_layer: int | None = Field(None, ge=0, exclude_if=lambda value: value is None)
    """Mantis: the transformer layer, counted from 0, whose tokens are the feature; later layers are
    left out. By default the last."""
    output_token: Literal["cls_token", "mean_token", "combined"] = Field(
        "cls_token", exclude_if=lambda value: value == "cls_token"
    )
    """Mantis: the feature is the class token, the mean of the other tokens, or both (`combined`,
    twice as wide), which its library recommends for layers before the last."""
    padding: Annotated[Literal["window", "batch"], ADDED_LATER] = "window"
    """MOMENT pads windows shorter than 512 samples to 512. Of longer ones each is padded to whole
    patches (`window`), or all windows to the longest of their batch (`batch`), so that a feature
    depends on the batch; with `protocol: published` `batch` by default."""
    averaged_patches: Annotated[Literal["real", "all"], ADDED_LATER] = "real"
    """MOMENT's feature is the mean of the patches of `real` samples only, or of `all`, also those
    of masked padding; with `protocol: published` `all` by default."""
    train_encoder: Annotated[bool, ADDED_LATER] = True
    """Whether the encoder is trained, or only the head, with the encoder in evaluation mode; with
    `protocol: published` no teacher trains chronos-bolt, as its weights were in no optimizer."""

    @model_validator(mode="after")
    def _fits_together(self) -> "StudentConfig":
        known = STUDENT_SIZES.get(self.name, set())
        for key in self.size:
            if key not in known:
                raise ValueError(f"size.{key}: unknown{nearest(key, known)}")
        if self.is_checkpoint and self.name not in CHECKPOINT_NAMES:
            names = " and ".join(CHECKPOINT_NAMES)
            raise ValueError(
                f"weights: {self.weights} is a file, which only {names} can be loaded from; give a "
                "hub id or a folder"
            )
        if self.weights is not None and not self.is_checkpoint and self.size:
            raise ValueError("size is for students from scratch; remove weights or size")
        for found in self.options:
            if self.name not in TAKEN_BY[found]:
                names = " and ".join(TAKEN_BY[found])
                raise ValueError(f"{found}: only for {names}; remove {found}")
        layers, layer = self.size.get("transf_depth", MANTIS_LAYERS), self.return_transf_layer
        if self.weights is None and layer is not None and layer >= layers:
            raise ValueError(f"return_transf_layer: {layer} is not one of 0..{layers - 1}")
        if self.name in JOINT_NAMES and self.weights is not None:
            raise ValueError(f"weights: {self.name} starts from scratch; remove weights")
        if self.name in JOINT_NAMES and self.pooling != "concat":
            raise ValueError(f"pooling: {self.name} takes all channels together; remove pooling")
        if self.is_baseline and not self.train_encoder:
            raise ValueError(f"train_encoder: {self.name} starts from scratch; remove it")
        return self

    @property
    def samples(self) -> int | None:
        """Samples that it resizes windows to, unless its weights say otherwise; None: to none."""
        default = RESIZED_TO.get(self.name)
        return None if default is None else int(self.size.get("seq_len", default))

    @property
    def options(self) -> dict[str, Any]:
        """The settings of TAKEN_BY that are not at their defaults."""
        return self.model_dump(include=set(TAKEN_BY), exclude_defaults=True)

    @property
    def is_checkpoint(self) -> bool:
        """Whether `weights` is a file rather than a hub id or a folder."""
        return self.weights is not None and self.weights.endswith(CHECKPOINT_SUFFIXES)

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of BASELINE_NAMES."""
        return self.name in BASELINE_NAMES
