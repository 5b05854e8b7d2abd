"""One interface to the encoders of all students: of several libraries, which encode each IMU
channel on its own, and of this package. Each is described where it is, by constants that
`config.student` reads without running it.

This module does not know which channels a student encodes, how their features are pooled, or how
encoders are trained. Shape letters: B batch, C channels, T samples, D feature width.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file
from torch import Tensor, nn

from comodo.config.libraries import missing_library

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


class Encoder(nn.Module):
    """The base class of all encoders, which are built from their configuration.

    `forward(imu_BCT, lengths, mask)` maps windows `[B, C, T]` to features `[B, C, D]`. It reads
    only the last `length` samples of each window (None: all). `mask` is explained in
    `Student.forward`; only MOMENT uses it.

    Attributes:
        name: in sweep files.
        JOINT: whether it encodes all channels together, into features `[B, 1, D]`. Its
            configuration then has their number, `channels`.
        network: the library's model, which has all parameters.
        dim: width D of a feature.
        unused: beginnings of the names of its library's weights that the feature does not need.
        samples: length that it resizes windows to; None: it takes windows of any length.
        replayable: whether a CUDA graph can replay its training pass.

    The constants, all but `name` literals, are those of `config.student.Family`.
    """

    name: str
    SIZE: ClassVar[Collection[str]] = ()
    SAMPLES: ClassVar[int | None] = None
    TINY: ClassVar[Mapping[str, int]] = {}
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {}
    PUBLISHED: ClassVar[Mapping[str, Any]] = {}
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    JOINT: ClassVar[bool] = False
    ONLY_LABELS: ClassVar[bool] = False
    CHECKPOINTS: ClassVar[bool] = False
    network: Any
    dim: int
    unused: tuple[str, ...] = ()
    samples: int | None = None
    replayable: bool = False

    @classmethod
    def config_from_size(cls, size: dict[str, int | float]) -> dict[str, Any]:
        """The configuration of a randomly initialised encoder; ValueError for unknown keys."""
        if unknown := sorted(size.keys() - set(cls.SIZE)):
            valid = ", ".join(sorted(cls.SIZE))
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


def check_installed(name: str) -> None:
    """Raises ValueError for a student whose library is not installed."""
    if missing := missing_library(name):
        raise ValueError(missing)


def check_multiple(config: dict[str, Any], whole: str, part: str) -> None:
    """Raises ValueError if one size is no multiple of another."""
    if config[whole] % config[part]:
        raise ValueError(f"{whole} {config[whole]} is not a multiple of {part} {config[part]}")
