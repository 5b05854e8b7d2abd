"""Loads the weights of teachers and their preprocessing from a local folder or the hub.

This module knows the files that transformers writes, but no particular family of teachers. It runs
no code that comes with weights unless the settings allow it.
"""

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from comodo.config import TeacherConfig
from comodo.core.paths import inside

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]  # of red, green and blue


def load_pretrained(architecture: Any, settings: TeacherConfig, attention: str | None) -> Any:
    """An encoder of a class of transformers with its weights, float32, in eval mode on the CPU.

    `attention` is "eager" or "sdpa"; None: transformers chooses. Raises ValueError for weights that
    are not found, do not fit, need a library that is not installed, or code of their own.
    """
    weights = settings.weights
    if weights is None:
        raise ValueError(f"teacher {settings.name} needs `weights`: a hub id or a local folder")
    try:
        _check_config(settings)
        encoder, loading = architecture.from_pretrained(
            weights,
            revision=settings.revision or "main",
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=settings.allow_remote_code == weights,
        )
    except OSError as error:
        raise ValueError(_unavailable(weights, "the weights")) from error
    except (RuntimeError, SafetensorError, UnpicklingError) as error:
        message = f"weights {weights!r} are damaged or do not fit {settings.name}"
        raise ValueError(message) from error
    except ImportError as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"weights {weights!r} need a library that is not installed: {reason}"
        ) from error
    missing = loading["missing_keys"]
    if missing and all(key.startswith("pooler.") for key in missing):
        encoder.pooler = None  # the weights of a classifier do not include it
    elif missing:
        # They would stay random, and so would every feature.
        raise ValueError(f"weights {weights!r} do not fit {settings.name}: parts are missing")
    return encoder


def _check_config(settings: TeacherConfig) -> None:
    """Raises ValueError if there is no config.json, or one that runs code without permission, or an
    index of files elsewhere."""
    weights, config = settings.weights, _json(settings, "config.json")
    if not config:
        raise ValueError(_unavailable(str(weights), "config.json"))
    if "auto_map" in config and settings.allow_remote_code != weights:
        raise ValueError(
            f"weights {weights!r} run their own code (auto_map in config.json), which is not "
            "allowed by default; use weights of one of transformers' own classes, or read that "
            f"code and then set allow_remote_code: {weights}"
        )
    # transformers follows the names in a local folder's index wherever they lead.
    for index in Path(str(weights)).rglob("*.index.json"):
        for name in json.loads(index.read_text()).get("weight_map", {}).values():
            inside(index.parent, name)


def mean_std(settings: TeacherConfig) -> MeanStd | None:
    """Mean and std of the weights' own processor; None if it has none."""
    processor = _processor(settings)
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    return tuple(processor["image_mean"]), tuple(processor["image_std"])


def image_size(settings: TeacherConfig, config: Any) -> int:
    """Side in pixels of the frames of the weights' own processor; if it does not say, of those that
    the encoder was trained with. Raises ValueError for frames that are not square."""
    processor = _processor(settings)
    cropped = processor.get("crop_size") if processor.get("do_center_crop", True) else None
    size = cropped or processor.get("size") or getattr(config, "image_size", None)
    sides = list(size.values()) if isinstance(size, dict) else [size]
    if not isinstance(sides[0], int) or len(set(sides)) > 1:
        raise ValueError(f"weights {settings.weights!r} take no square frames, but {size}")
    return sides[0]


def _processor(settings: TeacherConfig) -> dict[str, Any]:
    """The settings of the weights' own processor; empty for a local folder without one, ValueError
    for a hub id without one: a default would go unnoticed."""
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if processor := _json(settings, name):
            return processor
    weights = str(settings.weights)
    if not Path(weights).is_dir():
        raise ValueError(_unavailable(weights, "preprocessor_config.json"))
    return {}


def _json(settings: TeacherConfig, name: str) -> dict[str, Any]:
    """A JSON file next to the weights, empty without one; OSError without the weights."""
    from transformers.utils.hub import cached_file

    # Not read by the processor classes, which need torchvision.
    path = cached_file(
        str(settings.weights),
        name,
        revision=settings.revision or "main",
        _raise_exceptions_for_missing_entries=False,
    )
    return {} if path is None else json.loads(Path(path).read_text())


def _unavailable(weights: str, what: str) -> str:
    return (
        f"{what} of {weights!r} could not be loaded: no local folder contains them, and the "
        f"download failed. Download once with `hf download {weights}`, or give a local folder"
    )
