"""The weights of teachers, and how their frames are prepared: from a local folder or the hub.

Knows the files that `save_pretrained` of transformers writes, and no family of teachers. Runs no
code that comes with weights, unless the settings name them as allowed to.
"""

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from comodo.config import TeacherConfig

Colours = tuple[float, float, float]


def pretrained(architecture: Any, settings: TeacherConfig, attention: str | None) -> Any:
    """An encoder with its weights, in float32 and eval mode, on the CPU.

    Args:
        architecture: a class of transformers with `from_pretrained`.
        attention: how attention is computed ("eager", "sdpa"); None: transformers chooses.

    Raises:
        ValueError: the weights are not there, do not fit, need a library that is not installed,
            or ask to run code of their own.
    """
    weights = settings.weights
    if weights is None:
        raise ValueError(f"teacher {settings.name} needs `weights`: a hub id or a local folder")
    try:
        config = _json(settings, "config.json")
        if not config:
            raise ValueError(_unavailable(weights, "config.json"))
        allowed = settings.allow_remote_code == weights
        if "auto_map" in config and not allowed:
            raise ValueError(
                f"weights {weights!r} ask to run code of their own (auto_map in config.json), and "
                "that is not done unasked; give weights of one of transformers' own classes, or, "
                f"when you have read that code, allow_remote_code: {weights}"
            )
        loaded: Any = architecture.from_pretrained(
            weights,
            revision=settings.revision or "main",
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=allowed,
        )
    except OSError as error:
        raise ValueError(_unavailable(weights, "the weights")) from error
    except (RuntimeError, SafetensorError, UnpicklingError) as error:
        raise ValueError(
            f"weights {weights!r} are damaged or do not fit {settings.name}"
        ) from error
    except ImportError as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"weights {weights!r} need what is not installed: {reason}") from error
    encoder, loading = loaded
    missing = loading["missing_keys"]
    if missing and all(key.startswith("pooler.") for key in missing):
        encoder.pooler = None  # a classifier's weights come without it
    elif missing:
        # They would be left random, and every feature with them.
        raise ValueError(f"weights {weights!r} do not fit {settings.name}: parts are missing")
    return encoder


def mean_std(settings: TeacherConfig) -> tuple[Colours, Colours] | None:
    """Mean and std of the weights' own processor; None where that does not say."""
    processor = _processor(settings)
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    return tuple(processor["image_mean"]), tuple(processor["image_std"])


def image_size(settings: TeacherConfig, config: Any) -> int:
    """Side in pixels of what the weights' own processor hands on, or else of what the encoder was
    trained with. Raises ValueError if that is no square."""
    processor = _processor(settings)
    cropped = processor.get("crop_size") if processor.get("do_center_crop", True) else None
    size = cropped or processor.get("size") or getattr(config, "image_size", None)
    sides = list(size.values()) if isinstance(size, dict) else [size]
    if not isinstance(sides[0], int) or len(set(sides)) > 1:
        raise ValueError(f"weights {settings.weights!r} name no side of a square frame, but {size}")
    return sides[0]


def _processor(settings: TeacherConfig) -> dict[str, Any]:
    """How the weights' own processor prepares frames; nothing for a local folder without one.

    Raises ValueError if a hub id's cannot be had: a default in its place would go unnoticed.
    """
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if processor := _json(settings, name):
            return processor
    weights = str(settings.weights)
    if not Path(weights).is_dir():
        raise ValueError(_unavailable(weights, "preprocessor_config.json"))
    return {}


def _json(settings: TeacherConfig, name: str) -> dict[str, Any]:
    """A file beside the weights; empty if there is none. Raises OSError without the weights."""
    from transformers.utils.hub import cached_file

    # Read directly, for the processor classes want torchvision.
    path = cached_file(
        str(settings.weights),
        name,
        revision=settings.revision or "main",
        _raise_exceptions_for_missing_entries=False,
    )
    content: dict[str, Any] = json.loads(Path(path).read_text()) if path is not None else {}
    return content


def _unavailable(weights: str, what: str) -> str:
    return (
        f"{what} of {weights!r} could not be loaded: it is no local folder that has them, and the "
        f"hub did not give them. Download once with `hf download {weights}`, or give a local folder"
    )
