"""The student Chronos-Bolt, which encodes each channel on its own.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each), P
patches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from comodo.models.encoders import CONFIG_FILE, Encoder, check_installed, check_multiple
from comodo.models.sequences import in_patches


class ChronosEncoder(Encoder):
    """Chronos-Bolt, averaged over all tokens of its encoder.

    There is one token per patch and, in the published models, a final [REG] token. As in the
    library, windows are left-padded with NaN, which the model ignores, and only the last
    `context_length` samples are used. Windows are padded to whole patches, not to the longest of
    their batch, so no token consists of padding alone.
    """

    name = "chronos-bolt"
    # With their defaults: chronos-bolt-tiny. The default stride is the patch size.
    SIZE: ClassVar[dict[str, int | float | None]] = {
        "d_model": 256,
        "num_layers": 4,
        "num_heads": 4,
        "d_kv": 64,
        "d_ff": 1024,
        "dropout_rate": 0.1,
        "context_length": 2048,
        "input_patch_size": 16,
        "input_patch_stride": None,
    }
    TINY: ClassVar[Mapping[str, int]] = {
        "d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32, "context_length": 256
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "chronos-bolt-tiny": {"name": "chronos-bolt", "weights": "amazon/chronos-bolt-tiny"},
        "chronos-bolt-mini": {"name": "chronos-bolt", "weights": "amazon/chronos-bolt-mini"},
        "chronos-bolt-small": {"name": "chronos-bolt", "weights": "amazon/chronos-bolt-small"},
        "chronos-bolt-base": {"name": "chronos-bolt", "weights": "amazon/chronos-bolt-base"},
    }
    PUBLISHED: ClassVar[Mapping[str, Any]] = {"train_encoder": False}

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        check_installed(self.name)
        from chronos.chronos_bolt import ChronosBoltModelForForecasting
        from transformers import T5Config

        check_multiple(config["chronos_config"], "input_patch_size", "input_patch_stride")
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
        t5_config: dict[str, Any] = cls.SIZE | super().config_from_size(size)
        patch = t5_config.pop("input_patch_size")
        chronos_config = {
            "context_length": t5_config.pop("context_length"),
            "input_patch_size": patch,
            "input_patch_stride": t5_config.pop("input_patch_stride") or patch,
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
