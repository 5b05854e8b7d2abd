"""Students whose network is a class of another package or of the user's file.

Such a class is built with the number of channels, `channels`, and the keys of `size`, and maps
windows `[B, C, T]` to features `[B, D]`. This module knows no particular one. Shape letters: B
batch, C channels, T samples, D feature width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from comodo.config.student import OWN_SAMPLES
from comodo.data.resize import resized
from comodo.models.encoders import Encoder

CHECKED = 2  # windows of zeros, which every network has to encode


class OwnEncoder(Encoder):
    """One of these networks as an `Encoder`; its configuration is the network's arguments. Windows
    are resized to the class's SAMPLES, by default 256, or to `size.seq_len`."""

    name = "own"
    JOINT = True
    library: type[Any]
    samples: int

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = _checked(self._called(self.library, **config), self.library)
        default = getattr(self.library, "SAMPLES", OWN_SAMPLES)
        self.samples = int(config.get("seq_len", default))
        zero_BCT = torch.zeros(CHECKED, config["channels"], self.samples)
        self.network.eval()
        with torch.no_grad():
            feature_BD = self._called(self.network, zero_BCT)
        self.network.train()
        if not isinstance(feature_BD, Tensor) or feature_BD.ndim != 2 or len(feature_BD) != CHECKED:
            got = tuple(feature_BD.shape) if isinstance(feature_BD, Tensor) else type(feature_BD)
            raise ValueError(
                f"{self.library.__name__} has to map windows {list(zero_BCT.shape)} to features "
                f"[{CHECKED}, D], but gives {got}"
            )
        self.dim = feature_BD.shape[1]

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        return dict(size)  # the class itself says what it takes

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        return self.network(resized(imu_BCT, lengths, self.samples)).unsqueeze(1)

    def _called(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """What the user's code gives; its exceptions as ValueError."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.library.__name__} cannot be used: {reason}") from error


def _checked(network: Any, library: type[Any]) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise ValueError(f"{library.__name__} is no torch.nn.Module; let it inherit from that")
    return network


def encoder_of(network: type[Any]) -> type[Encoder]:
    """The encoder whose network is of this class."""
    return type("OwnEncoder", (OwnEncoder,), {"library": network})
