"""What the settings of a sweep file have in common: paths, seeds, and errors that name the key."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
)

from comodo.core.errors import ComodoError
from comodo.core.paths import is_url


class ConfigError(ComodoError, ValueError):
    """A sweep file that cannot be run; its code is the dotted key."""

    exit_status = 2

    @classmethod
    def at(cls, key: str, reason: str) -> "ConfigError":
        """The error of one key, with which its message begins."""
        return cls(key, f"{key}: {reason}")


CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")

SMOKE_SUFFIX = "-smoke"
"""At the end of a sweep's name: its numbers mean nothing."""


def _existing_path(value: str, info: ValidationInfo) -> str:
    """The path with `~` and `$VARIABLES` expanded, relative to the sweep file's folder. It must
    exist, but not with the context `read_back`: finished sweeps are read on any machine."""
    context = info.context or {}
    path = (Path(context.get("folder", ".")) / _expanded(value)).resolve()
    if not path.exists() and not context.get("read_back"):
        raise ValueError(f"{path} does not exist; give a path that does")
    return str(path)


def _existing_path_or_url(value: str, info: ValidationInfo) -> str:
    """The URL of a file or a folder in a bucket, or a path as by `_existing_path`. Whether the
    bucket has it is seen when it is listed."""
    if not is_url(value):
        return _existing_path(value, info)
    if value.startswith("file:"):
        raise ValueError("write the path without file://")
    return _expanded(value).rstrip("/")


def _expanded(path: str) -> str:
    expanded = os.path.expandvars(os.path.expanduser(path))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ValueError(f"the environment variable {unset[1]} is not set; export {unset[1]}=...")
    return expanded


def _hub_id_or_path(value: str, info: ValidationInfo) -> str:
    """A hub id as it is, or a folder or checkpoint as an absolute path; what begins like a path or
    ends like a checkpoint must exist."""
    path = Path((info.context or {}).get("folder", ".")) / value
    is_path = value[:1] in "./~$" or value.endswith(CHECKPOINT_SUFFIXES) or path.is_dir()
    return _existing_path(value, info) if is_path else value


def name_or_path(value: str, info: ValidationInfo) -> str:
    """A name as it is, and what begins like a path as an absolute path, which must exist."""
    is_path = value[:1] in ("", *"./~$") and not (info.context or {}).get("read_back")
    return _existing_path(value, info) if is_path else value


ExistingPath = Annotated[str, AfterValidator(_existing_path)]
ExistingPathOrUrl = Annotated[str, AfterValidator(_existing_path_or_url)]
Weights = Annotated[str, AfterValidator(_hub_id_or_path)]
"""A hub id, or a folder written as a path: ./here, ~/there, /there, $THERE; for some students a
checkpoint, a file whose name ends in one of CHECKPOINT_SUFFIXES."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What NumPy, libsvm and Optuna take: others are refused only when they are used."""


def dotted_key(location: tuple[int | str, ...], data: Any) -> tuple[str, Any]:
    """The dotted key as the user wrote it, without pydantic's union tags, and what contains it."""
    parts: list[str] = []
    around = data
    for i, part in enumerate(location):
        if isinstance(data, list) and isinstance(part, str):  # of entries that go by their names
            named = [dict(entry) for entry in data if isinstance(entry, dict) and "name" in entry]
            data = {entry.pop("name"): entry for entry in named}
        if location[i + 1 : i + 2] == (part,) and isinstance(data, dict):
            inside = data.get(part)
            if not isinstance(inside, dict) or part not in inside:
                continue  # the tag of a union that is named like the key inside it
        if isinstance(data, dict) and part not in data and i + 1 < len(location):
            continue
        if isinstance(data, (str, int, float)) or str(part).startswith(("list[", "constrained")):
            continue
        if part == "[key]":  # the name itself is wrong
            continue
        parts.append(str(part))
        around = data
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part] if part < len(data) else None  # smoke mode adds some
    return ".".join(parts), around


def line_of(key: str, node: yaml.Node | None) -> int:
    """Line of the deepest part of a dotted key that the file has."""
    line = 1
    while key and isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if key == name.value or key.startswith(name.value + "."):
                line, node, key = name.start_mark.line + 1, value, key[len(name.value) + 1 :]
                break
        else:
            break
    return line


def as_list(value: Any) -> Any:
    """A list or tuple as it is, a single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]
