"""Reads a sweep file, which may come from anybody: limits its size and refuses all but data."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from comodo.config.base import ConfigError, dotted_key, line_of
from comodo.config.overrides import override_file
from comodo.config.own_code import allowed_code
from comodo.config.reasons import reason_of
from comodo.config.source import Sources
from comodo.config.sweep import Sweep
from comodo.core.redaction import redacted

MAX_BYTES = 200_000
MAX_VALUES = 100_000  # with every *alias replaced by its value
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2's core schema (section 10.3.2). In PyYAML's 1.1, `1:30` is 90, `010`
    is 8, `1e-3` is text and `no` is false. Other tags, such as !!timestamp, are refused."""


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":str", ":seq", ":map"))
}


def _add_scalar(name: str, first: str, pattern: str, read: Callable[[str], Any]) -> None:
    """A scalar by its pattern, with or without its tag, and by the characters it begins with."""

    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        if not re.fullmatch(pattern, text := str(loader.construct_scalar(node))):
            reason = f"{text!r} is no !!{name}"
            raise ConstructorError(None, None, reason, node.start_mark)
        return read(text)

    tag, empty = f"tag:yaml.org,2002:{name}", [""] if re.fullmatch(pattern, "") else []
    _Loader.add_implicit_resolver(tag, re.compile(f"(?:{pattern})$"), [*first, *empty])
    _Loader.add_constructor(tag, construct)


def _whole_number(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _real_number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_add_scalar("null", "~nN", r"~|null|Null|NULL|", lambda text: None)
_add_scalar("bool", "tTfF", r"true|True|TRUE|false|False|FALSE", lambda text: text[0] in "tT")
_add_scalar("int", "-+0123456789", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _whole_number)
_DECIMAL = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_NOT_FINITE = r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_add_scalar("float", "-+.0123456789", f"{_DECIMAL}|{_NOT_FINITE}", _real_number)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<$"), ["<"])


def read_sweep_file(
    path: str | Path,
    change: Callable[[Any], Any] = lambda data: data,
    overrides: Sequence[str] = (),
    asked: dict[str, dict[str, int]] | None = None,
    sources: Sources | None = None,
) -> Sweep:
    """Reads and checks a sweep file. `overrides`: `KEY=VALUE`, dotted keys of the file with other
    values, in YAML; then `change` is applied to the content. `asked`: of the sweep, filled by
    `change`. `sources`: the students that it may start from. Raises ConfigError with a line for
    each problem: file and line, or override; dotted key, reason, fix."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError("file.not-found", f"{path}: no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ConfigError("file.too-large", f"{path}: {size} bytes; at most {MAX_BYTES} are read")
    data, tree = _content(str(path), path.read_bytes())
    if not isinstance(data, dict):
        raise ConfigError(
            "file.not-a-mapping", f"{path}: needs to be a mapping, such as name: first"
        )
    _refuse_secrets(str(path), data, tree)
    given = _overrides(overrides)
    for name, value in given.items():
        try:
            data = override_file(data, name, value)
        except ConfigError as error:
            raise ConfigError(error.code, f"{_of_override(name)}: {error}") from None
    try:
        context = {
            "folder": path.parent,
            "overrides": given,
            "asked": {} if asked is None else asked,
            "code": allowed_code(data, path.parent),
            "sources": Sources({}) if sources is None else sources,
        }
        return Sweep.model_validate(change(data), context=context)
    except ValidationError as error:
        keys, lines = [], []
        for (key, _), (problems, around) in _by_key(error, data).items():
            reason = reason_of(problems, key, around)
            if not key:  # checks of the whole file begin their message with the key
                key, _, reason = reason.partition(": ")
            keys.append(key)
            place = f"{path}:{line_of(key, tree)}"
            for name in given:
                if f"{key}.".startswith(f"{name}."):
                    place = _of_override(name)
                elif name.startswith(f"{key}."):
                    place += f" with {_of_override(name)}"
            lines.append(f"{place}: {key}: {reason}")
        raise ConfigError(keys[0], "\n".join(lines)) from None


def _by_key(error: ValidationError, data: Any) -> dict[tuple[str, str], tuple[list[Any], Any]]:
    """Pydantic's errors of each dotted key, and the mapping around it: several where a value may be
    of several kinds and is of none. What the package's own checks raise is not put together."""
    found: dict[tuple[str, str], tuple[list[Any], Any]] = {}
    for problem in error.errors():
        if problem["type"] == "default_factory_not_called":
            continue  # caused by another key, which is reported
        location = problem["loc"]
        if location[:2] == ("search", "space"):  # then pydantic adds the kind of the span
            location = location[:3] + location[4:]
        key, around = dotted_key(location, data)
        own = problem["msg"] if problem["type"] == "value_error" else ""
        found.setdefault((key, own), ([], around))[0].append(problem)
    return found


def _content(source: str, text: bytes) -> tuple[Any, yaml.Node | None]:
    """The data in a YAML text, and its tree; `source`: what an error begins with."""
    try:
        decoded = text.decode()
        _refuse_deep(source, decoded)
        tree = yaml.compose(decoded, _Loader)
        _refuse_many(source, tree)
        _refuse_repeated(source, tree)
        return None if tree is None else _Loader("").construct_document(tree), tree
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError("file.not-yaml", f"{source}: not valid YAML: {error}") from None


def _overrides(texts: Sequence[str]) -> dict[str, Any]:
    """The values of `KEY=VALUE` texts, by key."""
    found: dict[str, Any] = {}
    for text in texts:
        key, _, value = map(str.strip, text.partition("="))
        if not key or not value:
            fix = "needs KEY=VALUE, such as --set trial.protocol=published (null: no value)"
            raise ConfigError(key or "file.override", f"--set {text}: {fix}")
        if key in found:
            raise ConfigError(key, f"{_of_override(key)}: is set twice; keep one of them")
        found[key], tree = _content(_of_override(key), value.encode())
        _refuse_secrets(_of_override(key), found[key], tree, key)
    return found


def _of_override(key: str) -> str:
    """What an error begins with whose cause is on the command line."""
    return f"--set {key}"


def _refuse_deep(source: str, text: str) -> None:
    """Checked before the file is parsed: PyYAML would exceed Python's recursion limit."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError("file.too-deep", f"{source}: nested over {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_many(source: str, tree: yaml.Node | None) -> None:
    """A few lines with aliases of aliases can stand for billions of values."""
    counts: dict[int, int] = {}

    def count(node: Any) -> int:
        if id(node) not in counts:
            counts[id(node)] = MAX_VALUES  # for one that contains itself
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in parts for part in pair]
            counts[id(node)] = 1 + sum(map(count, parts))
        return counts[id(node)]

    if tree is not None and count(tree) > MAX_VALUES:
        reason = f"over {MAX_VALUES} values with its *aliases replaced; use fewer aliases"
        raise ConfigError("file.too-many-values", f"{source}: {reason}")


def _refuse_repeated(source: str, node: yaml.Node | None, key: str = "") -> None:
    """Of a key that is listed twice, YAML keeps the last value and says nothing."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated(source, item, key)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            where = f"{key}.{name.value}" if key else str(name.value)
            line = name.start_mark.line + 1
            if where in lines:
                reason = f"is listed twice, first in line {lines[where]}; keep one of them"
                raise ConfigError(where, f"{source}:{line}: {where}: {reason}")
            lines[where] = line
            _refuse_repeated(source, value, where)


def _refuse_secrets(source: str, data: Any, tree: yaml.Node | None, key: str = "") -> None:
    """Refuses secrets, as settings are copied into the store, the report and MLflow."""
    if isinstance(data, dict):
        for name, value in data.items():
            _refuse_secrets(source, value, tree, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list):
        for value in data:
            _refuse_secrets(source, value, tree, key)
    elif isinstance(data, str):
        filled = os.path.expandvars(data)
        if redacted(filled) != filled:
            raise ConfigError(
                key,
                f"{source}:{line_of(key, tree)}: {key}: contains a password or a secret of the "
                "environment, and settings are copied into reports and records; remove it: "
                "libraries read it from the environment, as HF_TOKEN or AWS_PROFILE",
            )
