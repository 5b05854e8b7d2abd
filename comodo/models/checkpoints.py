"""Reads the encoder out of a checkpoint that the code of COMODO (arXiv 2503.07259) wrote.

Such a file is the state dict of a student in training: the library's encoder under `imu_student.`,
and its projector as `mlp.` or, for the losses that it compares with, `dense.`. Mantis trained with
labels is under `encoder.`, with its classifier as `head.`. This module does not know encoders.
"""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

LAYOUTS = {"imu_student.": ("mlp.", "dense."), "encoder.": ("head.0.", "head.1.")}
"""Beginnings of the names of an encoder's weights, and of what follows the encoder."""


def read_encoder(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The encoder's weights under the names of its library, on the CPU, and how many features the
    first layer after it takes; None: the file does not say. Runs no code of the file.

    Raises ValueError for a file that is no such checkpoint.
    """
    state = _read(path)
    for encoder, after in LAYOUTS.items():
        weights = {
            name.removeprefix(encoder): weight
            for name, weight in state.items()
            if name.startswith(encoder)
        }
        rest = {name: state[name] for name in state if not name.startswith(encoder)}
        if weights and all(name.startswith(after) for name in rest):
            widths = [rest[name].shape[1] for name in sorted(rest) if rest[name].ndim == 2]
            return weights, widths[0] if widths else None
    if state and all(name.startswith(LAYOUTS["imu_student."]) for name in state):
        raise ValueError(
            f"weights {str(path)!r} are a projector without an encoder, as the published code "
            "writes for Chronos, whose encoder it does not train; measure the pretrained weights"
        )
    found = ", ".join(sorted(state)[:3]) or "nothing"
    raise ValueError(
        f"weights {str(path)!r}: needs names that begin with imu_student. and mlp. or dense., or "
        f"with encoder. and head., as the published code writes them, but has {found}; give that "
        "file, or a folder with config.json and model.safetensors"
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise ValueError(
            f"weights {str(path)!r} cannot be read as tensors alone: the file is damaged, or holds "
            "Python objects, whose code is not run; save them with torch.save(model.state_dict())"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ValueError(
            f"weights {str(path)!r} are no state dict; save them with "
            "torch.save(model.state_dict())"
        )
    return state
