"""Loads the weights of teachers and their preprocessing from a local folder or the hub.

This module knows the files that transformers writes, but no particular family of teachers. It runs
no code that comes with weights unless the settings allow it.
"""

import json
import math
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from comodo.config import TeacherConfig
from comodo.core.paths import inside

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]  # of red, green and blue
IMAGENET_MEAN_STD: MeanStd = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PROCESSORS = (
    ("preprocessor_config.json", ""),
    ("video_preprocessor_config.json", ""),
    ("processor_config.json", "image_processor"),
    ("processor_config.json", "video_processor"),
)
"""Files with the settings of processors, and the part of a file that has those of several."""


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
    weights, config = settings.weights, config_of(settings)
    if "auto_map" in config and settings.allow_remote_code != weights:
        raise ValueError(
            f"weights {weights!r} run their own code (auto_map in config.json), which is not "
            "allowed by default; use weights of one of transformers' own classes, or read that "
            f"code and then set allow_remote_code: {weights}"
        )
    for place in map(str, config.get("auto_map", {}).values()):
        if "--" in place:  # where `revision` does not say which version runs
            raise ValueError(
                f"weights {weights!r} run code of another repository, {place.split('--')[0]}; "
                "download both into one folder, read that code, and give the folder"
            )
    # transformers follows the names in a local folder's index wherever they lead.
    for index in Path(str(weights)).rglob("*.index.json"):
        for name in json.loads(index.read_text()).get("weight_map", {}).values():
            inside(index.parent, name)


def config_of(settings: TeacherConfig) -> dict[str, Any]:
    """The config.json of the weights. Raises ValueError without one."""
    try:
        config = _json(settings, "config.json")
    except OSError as error:
        raise ValueError(_unavailable(str(settings.weights), "the weights")) from error
    if not config:
        raise ValueError(_unavailable(str(settings.weights), "config.json"))
    return config


def mean_std(settings: TeacherConfig) -> MeanStd | None:
    """Mean and std by which the weights' own processor normalises pixels from 0 to 1; None if it
    does not say."""
    processor = processor_of(settings)
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    mean, std = tuple(processor["image_mean"]), tuple(processor["image_std"])
    if not processor.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    # ViViT's processor maps pixels to values from -1 to 1 first.
    factor = 255 * processor.get("rescale_factor", 1 / 255)
    offset = float(processor.get("offset", processor.get("rescale_offset", _is_vivit(processor))))
    if offset == 0 and math.isclose(factor, 1):
        return mean, std
    return tuple((m + offset) / factor for m in mean), tuple(s / factor for s in std)


def _is_vivit(processor: dict[str, Any]) -> bool:
    """Whether its class takes 1 from the scaled pixels without saying so in the file."""
    types = ("image_processor_type", "video_processor_type")
    return any(str(processor.get(key)).startswith("Vivit") for key in types)


def image_size(settings: TeacherConfig, config: Any) -> int:
    """Side in pixels of the frames of the weights' own processor; if it does not say, of those that
    the encoder was trained with. Raises ValueError for frames that are not square."""
    processor = processor_of(settings)
    if patches := processor.get("max_num_patches"):  # of SigLIP 2, which takes any shape of frame
        return int(processor["patch_size"]) * math.isqrt(patches)
    cropped = processor.get("crop_size") if processor.get("do_center_crop", True) else None
    size: Any = cropped or processor.get("size") or getattr(config, "image_size", None)
    sides = list(size.values()) if isinstance(size, dict) else np.ravel(size).tolist()
    if not isinstance(sides[0], int) or len(set(sides)) > 1:
        raise ValueError(f"weights {settings.weights!r} take no square frames, but {size}")
    return sides[0]


def processor_of(settings: TeacherConfig) -> dict[str, Any]:
    """The settings of the weights' own image or video processor; empty for a local folder without
    one, ValueError for a hub id without one: a default would go unnoticed."""
    found: dict[str, Any] = {}
    for file, part in PROCESSORS:
        # A file is looked up only if those before it do not say enough: that may need the network.
        content = _json(settings, file)
        processor = content.get(part) or {} if part else content
        if "image_mean" in processor:
            return processor
        found = found or processor
    if found:
        return found
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
