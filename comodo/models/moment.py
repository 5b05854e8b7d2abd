"""The student MOMENT, which encodes each channel on its own.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each), P
patches.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from comodo.models.encoders import CONFIG_FILE, Encoder, check_installed
from comodo.models.sequences import in_patches


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
    # With their defaults: MOMENT-1-small, whose encoder has the shape of flan-t5-small.
    SIZE: ClassVar[dict[str, int | float]] = {
        "d_model": 512,
        "num_layers": 8,
        "num_heads": 6,
        "d_kv": 64,
        "d_ff": 1024,
        "dropout_rate": 0.1,
        "seq_len": 512,
        "patch_len": 8,
    }
    TINY: ClassVar[Mapping[str, int]] = {
        "d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32, "seq_len": 64
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "moment-small": {"name": "moment", "weights": "AutonLab/MOMENT-1-small"},
        "moment-base": {"name": "moment", "weights": "AutonLab/MOMENT-1-base"},
        "moment-large": {"name": "moment", "weights": "AutonLab/MOMENT-1-large"},
    }
    PUBLISHED: ClassVar[Mapping[str, Any]] = {"padding": "batch", "averaged_patches": "all"}
    OPTIONS = ("padding", "averaged_patches")
    CHECKPOINTS = True

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        check_installed(self.name)
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
        full = cls.SIZE | super().config_from_size(size)
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
