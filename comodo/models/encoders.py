"""One interface to the encoders of several libraries, which encode each IMU channel on its own.

This module does not know which channels a student encodes, how their features are pooled, or how
encoders are trained. Shape letters: B batch, C channels, T samples, D feature width, N sequences
(one channel each), P patches.
"""

import inspect
import json
import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from mantis.architecture import MantisV1, MantisV2
from safetensors.torch import load_file
from torch import Tensor, nn

from comodo.config.libraries import missing_library
from comodo.config.student import RESIZED_TO
from comodo.data.resize import resized
from comodo.models import mantis_fast
from comodo.models.dropout import replace_dropout
from comodo.models.sequences import in_chunks, in_patches

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


class Encoder(nn.Module):
    """The base class of all encoders, which are built from their configuration.

    `forward(imu_BCT, lengths, mask)` maps windows `[B, C, T]` to features `[B, C, D]`. It reads
    only the last `length` samples of each window (None: all). `mask` is explained in
    `Student.forward`; only MOMENT uses it.

    Attributes:
        name: in sweep files.
        joint: whether it encodes all channels together, into features `[B, 1, D]`. Its
            configuration then has their number, `channels`.
        size_keys: keys that `size` may have.
        network: the library's model, which has all parameters.
        dim: width D of a feature.
        unused: beginnings of the names of its library's weights that the feature does not need.
        samples: length that it resizes windows to; None: it takes windows of any length.
        replayable: whether a CUDA graph can replay its training pass.
    """

    name: str
    joint: ClassVar[bool] = False
    size_keys: Collection[str]
    network: Any
    dim: int
    unused: tuple[str, ...] = ()
    samples: int | None = None
    replayable: bool = False

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        """The configuration of a randomly initialised encoder; ValueError for unknown keys."""
        if unknown := sorted(size.keys() - set(cls.size_keys)):
            valid = ", ".join(sorted(cls.size_keys))
            raise ValueError(f"size of {cls.name}: unknown {unknown}; valid are {valid}")
        return dict(size)

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        """The configuration that the library's `save_pretrained` wrote; ValueError for another
        model."""
        file = folder / CONFIG_FILE
        return json.loads(file.read_text()) if file.is_file() else {}

    def load_weights(self, folder: Path, source: str) -> None:
        """Loads the weights in a folder, except those that the feature does not need; ValueError
        for weights of another model. The message calls them `source`."""
        self.load_state(load_file(folder / WEIGHTS_FILE), source)

    def load_state(self, state: dict[str, Tensor], source: str) -> list[str]:
        """Loads the weights of the library's model, as `load_weights`; returns the names of those
        that are not used."""
        try:
            result = self.network.load_state_dict(state, strict=False)
        except RuntimeError as error:  # other shapes
            raise ValueError(f"{source} does not fit {self.name}: {error}") from error
        parameters = {name for name, _ in self.network.named_parameters()}
        if missing := parameters.intersection(result.missing_keys):
            raise ValueError(f"{source} is not {self.name}: it lacks {min(missing)}")
        return list(result.unexpected_keys)


class MantisEncoder(Encoder):
    """Mantis; windows are linearly interpolated to `seq_len` samples, 512 in the published models.

    The configuration is the library's constructor arguments, and for both versions `seq_len`.
    Layers after `return_transf_layer` are left out, so it is the last of those that there are.
    """

    name = "mantis"
    library = MantisV1
    unused: tuple[str, ...] = ("prj.",)
    samples: int
    # Arguments that are no size: the device, and settings of their own.
    _fixed = frozenset({"device", "pre_training", "return_transf_layer", "output_token"})
    size_keys = {"seq_len", *inspect.signature(library).parameters} - _fixed

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        arguments = {"seq_len": RESIZED_TO[self.name], "num_patches": 32, **config}
        self.samples = arguments["seq_len"]
        _check_multiple(arguments, "seq_len", "num_patches")
        if self.library is MantisV2:  # has no such argument
            del arguments["seq_len"]
        layer = arguments.pop("return_transf_layer", None)
        self.network = self.library(**arguments, device="cpu")
        if layer is not None:
            transformer = self.network.transf_unit.transformer
            if layer >= (count := len(transformer.layers)):
                raise ValueError(f"return_transf_layer {layer} is not one of 0..{count - 1}")
            transformer.layers = transformer.layers[: layer + 1]
            left_out = range(layer + 1, count)
            self.unused += tuple(f"transf_unit.transformer.layers.{i}." for i in left_out)
        self.network.prj = nn.Identity()  # only used in Mantis's pretraining
        self.replayable = self.library is MantisV1 and mantis_fast.is_supported()
        replace_dropout(self.network)
        self.dim = self.network.hidden_dim

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        resized_BCT = resized(imu_BCT, lengths, self.samples)
        # The exporters support the library's own operations better.
        if mantis_fast.is_supported() and not torch.compiler.is_exporting():
            folded = mantis_fast.fold_tokenizer(self.network)
            encode = partial(mantis_fast.encode, self.network, folded)
            feature_ND = in_chunks(encode, resized_BCT.flatten(0, 1))
        else:
            feature_ND = in_chunks(self.network, resized_BCT.flatten(0, 1).unsqueeze(1))
        return feature_ND.unflatten(0, resized_BCT.shape[:2])

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        # Without a configuration the library's default size applies.
        config = super().config_from_folder(folder)
        return {key: value for key, value in config.items() if key in cls.size_keys}


class MantisV2Encoder(MantisEncoder):
    name = "mantis-v2"
    library = MantisV2
    size_keys = {"seq_len", *inspect.signature(library).parameters} - MantisEncoder._fixed


class MomentEncoder(Encoder):
    """MOMENT, averaged over the patches that contain only real samples.

    Windows shorter than `seq_len` are left-padded to it with zeros, longer ones to whole patches;
    not to the longest of their batch, because positions count from the left, so that a feature
    would depend on the batch. The padding is masked; without the mask it counts as real samples.

    The code of COMODO (arXiv 2503.07259) does otherwise, with two keys of the configuration: with
    `padding` "batch" all windows are padded to T, the longest of the batch, and the last samples
    that fill no patch are not read; with `averaged_patches` "all" the mean is over all patches,
    also those that are masked.
    """

    name = "moment"
    unused = ("head.", "encoder.embed_tokens.")
    # The defaults of `size`: MOMENT-1-small, whose encoder has the shape of flan-t5-small.
    _small: ClassVar[dict[str, int | float]] = {
        "d_model": 512,
        "num_layers": 8,
        "num_heads": 6,
        "d_kv": 64,
        "d_ff": 1024,
        "dropout_rate": 0.1,
        "seq_len": 512,
        "patch_len": 8,
    }
    size_keys = _small.keys()

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        _check_installed(self.name)
        from momentfm import MOMENTPipeline  # takes seconds to import

        config = dict(config)
        self.to_batch = config.pop("padding", "window") == "batch"
        self.average_all = config.pop("averaged_patches", "real") == "all"
        disabled = ("freeze_embedder", "freeze_encoder", "enable_gradient_checkpointing")
        embedding = {**config, "task_name": "embedding", **dict.fromkeys(disabled, False)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Only reconstruction head is pre-trained")
            self.network = MOMENTPipeline(embedding, model_kwargs={})
        self.network.encoder.embed_tokens = None  # T5's token embeddings, not used for patches
        self.dim = self.network.config.d_model

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        patch, seq_len, samples = self.network.patch_len, self.network.seq_len, imu_BCT.shape[-1]
        shortest = samples if lengths is None else min(lengths)
        least = patch + (max(seq_len, samples) % patch if self.to_batch else 0)
        if shortest < least:
            raise ValueError(f"MOMENT needs at least {least} samples, a window has {shortest}")

        def encode(x_NT: Tensor, real_NT: Tensor) -> Tensor:
            mask_NT = (real_NT if mask else torch.ones_like(real_NT)).to(x_NT.dtype)
            x_N1T = x_NT.unsqueeze(1)
            embedded = self.network.embed(x_enc=x_N1T, input_mask=mask_NT, reduction="none")
            patch_NPD = embedded.embeddings.squeeze(1)
            if self.average_all:
                return patch_NPD.mean(dim=1)
            read_NT = mask_NT[:, : patch_NPD.shape[1] * patch]
            complete_NP1 = read_NT.unflatten(1, (-1, patch)).amin(dim=2).unsqueeze(2)
            return (patch_NPD * complete_NP1).sum(dim=1) / complete_NP1.sum(dim=1)

        return in_patches(encode, imu_BCT, lengths, patch, seq_len, self.to_batch)

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        full = cls._small | super().config_from_size(size)
        t5_config: dict[str, Any] = {"feed_forward_proj": "gated-gelu", **full}
        t5_config |= {"vocab_size": 1, "eos_token_id": 0}  # not used, so as small as possible
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

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        config = super().config_from_folder(folder)
        if "t5_config" not in config:
            raise ValueError(f"{folder} is not MOMENT: its {CONFIG_FILE} has no t5_config")
        return config


class ChronosEncoder(Encoder):
    """Chronos-Bolt, averaged over all tokens of its encoder.

    There is one token per patch and, in the published models, a final [REG] token. As in the
    library, windows are left-padded with NaN, which the model ignores, and only the last
    `context_length` samples are used. Windows are padded to whole patches, not to the longest of
    their batch, so no token consists of padding alone.
    """

    name = "chronos-bolt"
    # The defaults of `size`: chronos-bolt-tiny. The default stride is the patch size.
    _tiny: ClassVar[dict[str, int | float]] = {
        "d_model": 256,
        "num_layers": 4,
        "num_heads": 4,
        "d_kv": 64,
        "d_ff": 1024,
        "dropout_rate": 0.1,
        "context_length": 2048,
        "input_patch_size": 16,
    }
    size_keys = _tiny.keys() | {"input_patch_stride"}

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        _check_installed(self.name)
        from chronos.chronos_bolt import ChronosBoltModelForForecasting
        from transformers import T5Config

        _check_multiple(config["chronos_config"], "input_patch_size", "input_patch_stride")
        t5_config = T5Config.from_dict({**config, "num_decoder_layers": 0})
        self.network = ChronosBoltModelForForecasting(t5_config)
        # Only forecasting needs these, and T5's token embeddings are not used for patches.
        self.network.decoder = self.network.output_patch_embedding = None
        self.network.encoder.embed_tokens = None
        if not self.network.chronos_config.use_reg_token:
            self.network.shared = None
        self.dim = t5_config.d_model

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        def encode(x_NT: Tensor, real_NT: Tensor) -> Tensor:
            tokens_NPD, *_ = self.network.encode(x_NT.masked_fill(~real_NT, torch.nan))
            return tokens_NPD.mean(dim=1)

        return in_patches(encode, imu_BCT, lengths, self.network.patch.patch_size)

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        t5_config: dict[str, Any] = cls._tiny | super().config_from_size(size)
        patch = t5_config.pop("input_patch_size")
        chronos_config = {
            "context_length": t5_config.pop("context_length"),
            "input_patch_size": patch,
            "input_patch_stride": t5_config.pop("input_patch_stride", patch),
            "use_reg_token": True,
            "prediction_length": 1,  # required, but only used in forecasting, like quantiles
            "quantiles": [0.5],
        }
        return {**t5_config, "initializer_factor": 0.05, "chronos_config": chronos_config}

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        config = super().config_from_folder(folder)
        # The first Chronos has no patches, and Chronos-2 has no prediction length.
        required = {"input_patch_size", "prediction_length"}
        if not required <= config.get("chronos_config", {}).keys():
            raise ValueError(f"{folder} is not Chronos-Bolt: its {CONFIG_FILE} is of another model")
        return config


ENCODERS: dict[str, type[Encoder]] = {
    encoder.name: encoder
    for encoder in (MantisEncoder, MantisV2Encoder, MomentEncoder, ChronosEncoder)
}


def _check_installed(name: str) -> None:
    if missing := missing_library(name):
        raise ValueError(missing)


def _check_multiple(config: dict[str, Any], whole: str, part: str) -> None:
    if config[whole] % config[part]:
        raise ValueError(f"{whole} {config[whole]} is not a multiple of {part} {config[part]}")
