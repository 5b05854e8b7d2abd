"""Reading a sweep file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from comodo.config.base import ConfigError, dotted_key, line_of, reason_of
from comodo.config.sweep import Sweep

Change = Callable[[dict[str, Any]], dict[str, Any]]


def read_sweep_file(path: str | Path, change: Change = lambda data: data) -> Sweep:
    """Reads and checks a sweep file; `change` is made to what stands there before it is checked.

    Raises:
        ConfigError: with a line for each problem: file, line, dotted key, reason, mend.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        text = path.read_text()
        data = yaml.safe_load(text)
        tree = yaml.compose(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a sweep file is a mapping that begins with name:")
    try:
        return Sweep.model_validate(change(data), context={"folder": path.parent})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            if problem["type"] == "default_factory_not_called":
                continue  # the fault of another key, which is named
            key, around = dotted_key(_without_kind(problem["loc"]), data)
            reason = reason_of(problem, around)
            if not key:  # checks of the whole file begin their text with the key
                key, _, reason = reason.partition(": ")
            lines.append(f"{path}:{line_of(key, tree)}: {key}: {reason}")
        raise ConfigError("\n".join(lines)) from None


def _without_kind(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The location of a problem, without pydantic's name for the kind of an entry of the space."""
    in_the_space = location[:2] == ("search", "space")
    return location[:3] + location[4:] if in_the_space else location
