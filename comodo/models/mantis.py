"""The students of Mantis, version 1 and 2, which encode each channel on its own.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each).
"""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from mantis.architecture import MantisV1, MantisV2
from torch import Tensor, nn

from comodo.data.resize import resized
from comodo.models import mantis_fast
from comodo.models.dropout import replace_dropout
from comodo.models.encoders import Encoder, check_multiple
from comodo.models.sequences import in_chunks


class MantisEncoder(Encoder):
    """Mantis; windows are linearly interpolated to `seq_len` samples, 512 in the published models.

    The configuration is the library's constructor arguments, and for both versions `seq_len`.
    Layers after `return_transf_layer` are left out, so it is the last of those that there are.
    """

    name = "mantis"
    SIZE: ClassVar[Collection[str]] = (
        "seq_len", "hidden_dim", "num_patches", "scalar_scales", "hidden_dim_scalar_enc",
        "epsilon_scalar_enc", "transf_depth", "transf_num_heads", "transf_mlp_dim",
        "transf_dim_head", "transf_dropout",
    )  # fmt: skip
    SAMPLES = 512
    TINY: ClassVar[Mapping[str, int]] = {
        "seq_len": 64, "num_patches": 4, "hidden_dim": 16, "hidden_dim_scalar_enc": 4,
        "transf_depth": 1, "transf_num_heads": 2, "transf_mlp_dim": 32, "transf_dim_head": 8,
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "mantis-8m": {"name": "mantis", "weights": "paris-noah/Mantis-8M"}
    }
    OPTIONS = ("return_transf_layer", "output_token")
    CHECKPOINTS = True
    library = MantisV1
    unused: tuple[str, ...] = ("prj.",)
    samples: int

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        arguments = {"seq_len": self.SAMPLES, "num_patches": 32, **config}
        self.samples = arguments["seq_len"]
        check_multiple(arguments, "seq_len", "num_patches")
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
        return {key: value for key, value in config.items() if key in cls.SIZE}


class MantisV2Encoder(MantisEncoder):
    name = "mantis-v2"
    SIZE: ClassVar[Collection[str]] = (
        "seq_len", "hidden_dim", "num_patches", "scalar_scales", "hidden_dim_scalar_enc",
        "epsilon_scalar_enc", "transf_depth", "transf_num_heads", "transf_mlp_dim",
        "transf_dim_head", "transf_dropout", "kernel_size",
    )  # fmt: skip
    TINY: ClassVar[Mapping[str, int]] = {
        "seq_len": 64, "num_patches": 4, "hidden_dim": 16, "hidden_dim_scalar_enc": 4,
        "transf_depth": 1, "transf_num_heads": 2, "transf_mlp_dim": 32, "transf_dim_head": 8,
        "kernel_size": 5,
    }  # fmt: skip
    # As its library recommends for a frozen encoder.
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "mantis-v2": {
            "name": "mantis-v2",
            "weights": "paris-noah/MantisV2",
            "return_transf_layer": 2,
            "output_token": "combined",
        }
    }
    CHECKPOINTS = False
    library = MantisV2
