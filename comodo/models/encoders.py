"""The libraries' encoders behind one interface: features of single IMU channels.

Each class knows how its configuration comes from a `size` or from a folder that its library wrote.
This file does not know which channels a student encodes, how their features are joined, or how
they are trained.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each),
P patches.
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

from comodo.config.trial import RESIZED_TO
from comodo.data.resize import resized
from comodo.models import mantis_fast
from comodo.models.dropout import replace_dropout
from comodo.models.sequences import in_chunks, in_patches

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


class Encoder(nn.Module):
    """What the encoders have in common; `ENCODERS` has them by name.

    Each is built from its configuration, and called with windows [B, C, T], their lengths (of
    each window only its last `length` samples are read; None: of each all) and `mask`: whether
    padding stays hidden from MOMENT, the only one that can be shown any. It gives features
    [B, C, D].

    Attributes:
        joint: whether it looks at all channels together, and so gives one feature [B, 1, D]; its
            configuration then has their number, `channels`.
        network: the library's model, which alone has parameters.
        dim: width D of a channel's feature.
        samples: how many each window is resized to; None: it takes windows as they are.
        replayable: whether a GPU may be given each step as a recording of another.
    """

    name: str
    joint: ClassVar[bool] = False
    size_keys: Collection[str]
    network: Any
    dim: int
    samples: int | None = None
    replayable: bool = False

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        """Configuration of an encoder from scratch.

        Raises:
            ValueError: unknown keys.
        """
        if unknown := sorted(size.keys() - set(cls.size_keys)):
            valid = ", ".join(sorted(cls.size_keys))
            raise ValueError(f"size of {cls.name}: unknown {unknown}; valid are {valid}")
        return dict(size)

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        """Configuration of an encoder that its library's `save_pretrained` wrote.

        Raises:
            ValueError: the folder holds another model.
        """
        file = folder / CONFIG_FILE
        return json.loads(file.read_text()) if file.is_file() else {}

    def load_weights(self, folder: Path, source: str) -> None:
        """Read a folder's weights, leaving those that the feature does not need.

        Raises:
            ValueError: weights of another model; `source` is what the text calls them.
        """
        try:
            absent = self.network.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False)
        except RuntimeError as error:  # shapes that differ
            raise ValueError(f"{source} does not fit {self.name}: {error}") from error
        parameters = {name for name, _ in self.network.named_parameters()}
        if lost := parameters.intersection(absent.missing_keys):
            raise ValueError(f"{source} is no {self.name}: it lacks {min(lost)}")


class MantisEncoder(Encoder):
    """Mantis, one channel at a time, each window resized to the length it expects.

    Its configuration is its library's constructor arguments, and for either version `seq_len`, the
    number of samples (512 as published) to which windows are linearly interpolated.
    """

    name = "mantis"
    library = MantisV1
    samples: int
    # Not what picks its device, or another output than published.
    _fixed = frozenset({"device", "pre_training", "return_transf_layer", "output_token"})
    size_keys = {"seq_len", *inspect.signature(library).parameters} - _fixed

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        arguments = {"seq_len": RESIZED_TO[self.name], "num_patches": 32, **config}
        self.samples = arguments["seq_len"]
        _check_multiple(arguments, "seq_len", "num_patches")
        if self.library is MantisV2:  # takes any length, so its constructor does not ask
            del arguments["seq_len"]
        self.network = self.library(**arguments, device="cpu")
        self.network.prj = nn.Identity()  # served Mantis's own pretraining only
        self.replayable = self.library is MantisV1 and mantis_fast.is_supported()
        replace_dropout(self.network)
        self.dim = self.network.hidden_dim

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        resized_BCT = resized(imu_BCT, lengths, self.samples)
        # Exporters know the library's operations better.
        if mantis_fast.is_supported() and not torch.compiler.is_exporting():
            folded = mantis_fast.fold_tokenizer(self.network)
            encode = partial(mantis_fast.encode, self.network, folded)
            feature_ND = in_chunks(encode, resized_BCT.flatten(0, 1))
        else:
            feature_ND = in_chunks(self.network, resized_BCT.flatten(0, 1).unsqueeze(1))
        return feature_ND.unflatten(0, resized_BCT.shape[:2])

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        # Without a configuration it is of the default size, as its library has it.
        config = super().config_from_folder(folder)
        return {key: value for key, value in config.items() if key in cls.size_keys}


class MantisV2Encoder(MantisEncoder):
    """The second version of Mantis."""

    name = "mantis-v2"
    library = MantisV2
    size_keys = {"seq_len", *inspect.signature(library).parameters} - MantisEncoder._fixed


class MomentEncoder(Encoder):
    """MOMENT, one channel at a time, averaged over the patches that hold only real samples.

    Windows shorter than `seq_len` are left-padded to it with zeros, longer ones to whole patches,
    under an input mask; without it padding counts as real. Positions count from the left, so a
    window is never padded to its batch's longest: its feature would depend on its neighbours.
    """

    name = "moment"
    # MOMENT-1-small, an encoder in the shape of flan-t5-small: what a `size` departs from.
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
        from momentfm import MOMENTPipeline  # takes seconds to import

        off = ("freeze_embedder", "freeze_encoder", "enable_gradient_checkpointing")
        embedding = {**config, "task_name": "embedding", **dict.fromkeys(off, False)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Only reconstruction head is pre-trained")
            self.network = MOMENTPipeline(embedding, model_kwargs={})
        self.network.encoder.embed_tokens = None  # T5's word table, which patches bypass
        self.dim = self.network.config.d_model

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        patch = self.network.patch_len
        shortest = imu_BCT.shape[-1] if lengths is None else min(lengths)
        if shortest < patch:
            raise ValueError(f"MOMENT needs at least {patch} samples, a window has {shortest}")

        def encode(x_NT: Tensor, real_NT: Tensor) -> Tensor:
            mask_NT = (real_NT if mask else torch.ones_like(real_NT)).to(x_NT.dtype)
            embedded = self.network.embed(
                x_enc=x_NT.unsqueeze(1), input_mask=mask_NT, reduction="none"
            )
            whole_NP1 = mask_NT.unflatten(1, (-1, patch)).amin(dim=2).unsqueeze(2)
            patch_NPD = embedded.embeddings.squeeze(1)
            return (patch_NPD * whole_NP1).sum(dim=1) / whole_NP1.sum(dim=1)

        return in_patches(encode, imu_BCT, lengths, patch, at_least=self.network.seq_len)

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        full = cls._small | super().config_from_size(size)
        t5_config: dict[str, Any] = {"feed_forward_proj": "gated-gelu", **full}
        t5_config |= {"vocab_size": 1, "eos_token_id": 0}  # unused, as small as may be
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
            raise ValueError(f"{folder} is no MOMENT: its {CONFIG_FILE} has no t5_config")
        return config


class ChronosEncoder(Encoder):
    """Chronos-Bolt, one channel at a time, averaged over all tokens that its library embeds.

    These are one for each patch and, in the published models, a last [REG] token. As in the
    library, padding on the left is NaN, which stays out of the model's standardisation and is
    masked in the patches, and only the last `context_length` samples are read. A window is padded
    to whole patches, never to its batch's longest, so that no token is padding alone.
    """

    name = "chronos-bolt"
    # chronos-bolt-tiny: what a `size` departs from. The stride is by default the patch size.
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
        try:
            from chronos.chronos_bolt import ChronosBoltModelForForecasting
        except ImportError as error:
            raise ValueError(f"{self.name} needs `pip install comodo[chronos]`: {error}") from error
        from transformers import T5Config

        _check_multiple(config["chronos_config"], "input_patch_size", "input_patch_stride")
        t5_config = T5Config.from_dict({**config, "num_decoder_layers": 0})
        self.network = ChronosBoltModelForForecasting(t5_config)
        # Only forecasts need these, and patches bypass T5's word table.
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
            "prediction_length": 1,  # of forecasts, which need these two
            "quantiles": [0.5],
        }
        return {**t5_config, "initializer_factor": 0.05, "chronos_config": chronos_config}

    @classmethod
    def config_from_folder(cls, folder: Path) -> dict[str, Any]:
        config = super().config_from_folder(folder)
        # The first Chronos has no patches, Chronos-2 no prediction length.
        bolt = {"input_patch_size", "prediction_length"}
        if not bolt <= config.get("chronos_config", {}).keys():
            raise ValueError(f"{folder} is no Chronos-Bolt: its {CONFIG_FILE} is of another model")
        return config


ENCODERS: dict[str, type[Encoder]] = {
    encoder.name: encoder
    for encoder in (MantisEncoder, MantisV2Encoder, MomentEncoder, ChronosEncoder)
}


def _check_multiple(config: dict[str, Any], whole: str, part: str) -> None:
    if config[whole] % config[part]:
        raise ValueError(f"{whole} {config[whole]} is not a multiple of {part} {config[part]}")
