"""Writes the reference of the sweep file as Markdown, from its JSON schema.

    python -m scripts.sweep_file_page > docs/sweep_file.md

Knows how to describe a key's type, limits and default. Knows nothing about what the keys mean:
that is in the docstring of each key.
"""

import json
from collections.abc import Iterable
from typing import Any

from comodo.config import Sweep
from comodo.config.datasets import READERS
from comodo.config.metric import OWN_METRICS
from comodo.config.student import FAMILIES, STUDENT_PRESETS
from comodo.config.teacher import TEACHER_PRESETS
from comodo.config.terms import TERM_SETTINGS

SECTIONS = {
    "Sweep": "Whole file", "TrialConfig": "Trial", "TeacherConfig": "Teacher",
    "StudentConfig": "Student", "ComodoMethod": "Method comodo", "InfonceMethod": "Method infonce",
    "L2Method": "Method l2", "SupervisedMethod": "Method supervised", "NoneMethod": "Method none",
    "TermsMethod": "Method terms", "Terms": "Terms",
    **{of.__name__: f"Term {name}" for name, of in TERM_SETTINGS.items()},
    "OwnTerm": "Own term", "Augmentation": "Augmentation",
    "Head": "Head", "Search": "Search", "Choices": "List of values", "Range": "Range",
    "Objective": "Objective", "Measures": "Measures", "Measure": "Own measure",
    "Recipe": "Recipe", "Dataset": "Data set",
    "GroupSplit": "Split by group", "FoldSplit": "Folds by group", "NullClass": "Null class",
    "FolderDataset": "Data set folder",  # the user's own are first
    **{READERS.get(kind).SETTINGS.__name__: f"Data set {kind}" for kind in READERS.built_in},
    "OwnDataset": "Data set custom",
    "EarlyStopping": "Early stopping", "Resources": "Resources", "Budget": "Budget",
}  # fmt: skip
"""The page's sections in order, by their names in the schema."""
INTRODUCTION = """# The sweep file, key by key

Generated from the settings by `python -m scripts.sweep_file_page`; do not edit. How keys work
together is described in [searching.md](searching.md), [measuring.md](measuring.md) and
[method.md](method.md); complete files are in [sweeps/](../sweeps/). Editors complete and check keys
with [sweep.schema.json](sweep.schema.json).

A *required* key has no default. An unknown key is an error. Paths are relative to the sweep file's
folder and may begin with `~` or a `$VARIABLE`."""


def markdown() -> str:
    """The whole page."""
    schema = Sweep.model_json_schema()
    parts = {"Sweep": schema, **schema["$defs"]}
    kinds = [name for name in parts if name.endswith("Dataset")]
    # The keys that all kinds share, as in FolderDataset, which overrides none of them.
    shared = {
        key: value
        for key, value in parts["FolderDataset"]["properties"].items()
        if key != "kind" and all(key in parts[kind]["properties"] for kind in kinds)
    }
    about = (
        "An entry of `datasets` under a name that you choose. All kinds have these keys; a kind "
        "lists those that differ."
    )
    parts["Dataset"] = {"description": about, "properties": shared}
    lines = [INTRODUCTION, "", *(f"- {_link(name)}" for name in SECTIONS)]
    for name, title in SECTIONS.items():
        lines += ["", f"## {title}", ""]
        if name == "Measures":
            lines += _measures()
            continue
        lines += [_text(parts[name]), "", "| key | type and limits | default | meaning |"]
        lines += ["|---|---|---|---|"]
        required = parts[name].get("required", [])
        keys = sorted(parts[name]["properties"].items(), key=lambda item: item[0] not in required)
        for key, value in keys:
            if name not in kinds or shared.get(key) != value:
                default = "*required*" if key in required else _default(value)
                lines += [f"| `{key}` | {_type(value)} | {default} | {_text(value)} |"]
        lines += _short_forms(name)
    return "\n".join(lines)


def _link(name: str) -> str:
    return f"[{SECTIONS[name]}](#{SECTIONS[name].lower().replace(' ', '-')})"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _text(part: dict[str, Any]) -> str:
    return " ".join(part.get("description", "").split())


def _default(value: dict[str, Any]) -> str:
    if "default" not in value:
        return "see meaning"
    if "$ref" in value and isinstance(value["default"], dict):
        return "its defaults"
    texts = ["none" if value["default"] is None else f"`{_yaml(value['default'])}`"]
    if "x-published" in value:
        texts += [f"with `protocol: published` `{_yaml(value['x-published'])}`"]
    return "; ".join(texts)


def _yaml(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def _type(value: dict[str, Any]) -> str:
    """A type with its limits, in words."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        if name == "Measures":
            return f"list ({_link(name)}, or {_link('Measure')})"
        return f"{_link('Objective')}, or a list" if name == "Objectives" else _link(name)
    if "const" in value or "enum" in value:
        return _listed(value.get("enum") or [value["const"]])
    if options := value.get("anyOf") or value.get("oneOf"):
        if all(option.get("$ref", "").endswith("Dataset") for option in options):
            return _link("Dataset")
        # An entry with a name and settings can be given by its name.
        named = "$ref" in str(options)
        texts = ["a name" if named and "enum" in o else _type(o) for o in options]
        return ", or ".join(text for text in texts if text != "null")
    if value.get("type") in ("array", "object"):
        inside = value.get("items") or value.get("additionalProperties")
        word = "list" if value["type"] == "array" else "mapping"
        return f"{word} ({_type(inside)})" if isinstance(inside, dict) and inside else word
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    words = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text"}
    kind = value.get("type", "anything")
    limits = ", ".join(f"{sign} {value[key]:.10g}" for key, sign in signs.items() if key in value)
    return f"{words.get(kind, kind)} {limits}".strip()


def _short_forms(name: str) -> list[str]:
    """Tables of the short names of teachers and students, and of the students' sizes."""
    presets = {"TeacherConfig": TEACHER_PRESETS, "StudentConfig": STUDENT_PRESETS}.get(name, {})
    lines = ["", "| short name | same as |", "|---|---|"]
    lines += [f"| `{short}` | `{_yaml(whole)}` |" for short, whole in presets.items()]
    if name == "StudentConfig":
        lines += ["", "| `name` | keys of `size` |", "|---|---|"]
        sizes = {name: sorted(of.size) for name, of in FAMILIES.items() if of.size}
        lines += [f"| `{name}` | {_listed(keys)} |" for name, keys in sizes.items()]
    return lines if presets else []


def _measures() -> list[str]:
    """The metrics that each measure computes on the training data set."""
    lines = [
        "The metrics that an objective may name, and the measure that computes each. On another "
        "data set, the metrics of probe, linear, knn, few-shot, fine-tuned, robustness and "
        "calibration are called `on/<data set>/<metric>`; `direct` gives "
        "`on/<data set>/direct/<metric>`.",
        *("", "| `measures` | metrics |", "|---|---|"),
    ]
    for measure in dict.fromkeys(OWN_METRICS.values()):
        lines += [
            f"| `{measure}` | {_listed(m for m, by in OWN_METRICS.items() if by == measure)} |"
        ]
    return lines


if __name__ == "__main__":
    print(markdown())
