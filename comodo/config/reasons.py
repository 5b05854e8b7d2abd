"""What is wrong with a value of a sweep file, and what it may be, in the words of the file, as
pydantic speaks of its own types. Does not know where in the file the value is.
"""

import re
from collections.abc import Sequence
from typing import Any, get_args

from comodo.config.own_code import OwnCode
from comodo.core.errors import nearest
from comodo.core.settings import FILLED_IN, Settings

OTHER_NAMES = {
    "simclr": "infonce", "clip": "infonce", "imu2clip": "infonce", "contrastive": "infonce",
    "nt-xent": "infonce", "mse": "l2", "distance": "l2", "cross-entropy": "supervised",
    "baseline": "none", "untrained": "none", "pretrained": "none",
    "csv": "folder", "manifest": "folder", "own": "folder",
    "bayesian": "tpe", "optuna": "tpe",
}  # fmt: skip
"""Methods, kinds of data sets and samplers by what others call them."""
EXAMPLES = {
    "name": "first",
    "kind": "folder",
    "datasets": "{mine: {kind: folder, path: recordings/manifest.csv}}",
    "trial": "{dataset: mine, teacher: efficientnet-lite0, student: mantis-8m, method: comodo}",
    "dataset": "mine, a name under datasets",
    "student": "mantis-8m",
    "method": "comodo",
    "path": "recordings/manifest.csv",
    "search": "{space: {method.queue_size: [256, 1024]}}",
    "space": "{method.queue_size: [256, 1024]}",
    "objective": "val/macro_f1",
    "early_stopping": "{name: asha}",
    "resources": "{gpus_per_worker: 1}",
    "budget": "{trials: 60}",
    "augment": "{rotation: 15}",
    "head": "{kind: linear}",
    "size": "{hidden_dim: 64}",
}
"""A value of each key that has no default, or keys of its own."""
_NUMBERS = {"int": "a whole number", "float": "a number"}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def reason_of(problems: Sequence[Any], dotted: str, around: Any) -> str:
    """Reason and fix from pydantic's errors of one dotted key: several where its value may be of
    several kinds and is of none. `around`: the mapping that has the key."""
    problem, key = problems[0], dotted.rpartition(".")[2]
    if problem["type"] == "extra_forbidden":
        name, known = str(problem["loc"][-1]), sibling_keys(around)
        if name in known:
            return f"{around.get('name', 'this mapping')} has no such key"
        return f"unknown key{nearest(name, known)}"
    if problem["type"] == "missing":
        return "is missing" + (f"; write {key}: {EXAMPLES[key]}" if key in EXAMPLES else "")
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    needs = list(dict.fromkeys(_needed(each, key) for each in problems))
    if not all(needs):
        return f"{problem['msg']}, not {problem['input']!r}"
    if unknown := next((text for text in needs if text.startswith("unknown")), ""):
        return unknown
    needed = f"needs {' or '.join(needs)}"
    return needed if isinstance(problem["input"], dict) else f"{needed}, not {problem['input']!r}"


def _needed(problem: Any, key: str) -> str:
    """What a value has to be, or that it is an unknown name; empty for errors of other types."""
    kind, context, given = str(problem["type"]), problem.get("ctx", {}), problem["input"]
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']+)'", context["expected_tags"])
        tag, what = str(context["tag"]), context["discriminator"].strip("'")
        return f"unknown {what} '{tag}'{nearest(tag, known, OTHER_NAMES)}"
    if kind == "union_tag_not_found":
        what = context["discriminator"].strip("'")
        return f"its {what}, such as {what}: {'folder' if what == 'kind' else 'comodo'}"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        if isinstance(given, str) and len(known) > 1:
            return f"unknown '{given}'{nearest(given, known, OTHER_NAMES)}"
        return " or ".join(known)
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"a number {words} {context[bound]:g}"
    if kind.startswith(("int_", "float_", "finite_number")):
        return _NUMBERS[kind.split("_")[0].replace("finite", "float")]
    if kind.startswith("bool_"):
        return "true or false"
    if kind == "string_type":
        return "text"
    if kind == "string_pattern_mismatch":
        fitting = re.sub(r"[^A-Za-z0-9._-]+", "-", str(given)).strip("-._")
        if not re.match(context["pattern"], fitting):
            fitting = re.sub(r"\W+", "_", fitting.lower()).strip("_0123456789")
        return f"letters, digits, dots, dashes and underscores only, such as {fitting or 'first'}"
    if kind == "list_type":
        return f"a list, such as [{'...' if isinstance(given, dict) else given}]"
    if kind == "too_short":
        return f"at least {context['min_length']} of them"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        found = [of for of in _all_settings() if of.__name__ == context.get("class_name")]
        keys = f" ({', '.join(found[0].model_fields)})" if found else ""
        return f"keys{keys}" + (f", such as {EXAMPLES[key]}" if key in EXAMPLES else "")
    return ""


def sibling_keys(mapping: dict[str, Any]) -> set[str]:
    """The keys of the settings classes that share most keys with a mapping; its name or kind counts
    twice if the class is for it."""
    models = _all_settings()
    shared = {
        model: len(model.model_fields.keys() & mapping.keys()) + _is_of(model, mapping)
        for model in models
    }
    closest = [model for model in models if shared[model] == max(shared.values())]
    return {
        field.alias or key
        for model in closest
        for key, field in model.model_fields.items()
        if FILLED_IN not in field.metadata
    }


def _is_of(model: type[Settings], mapping: dict[str, Any]) -> bool:
    """Whether the name or kind in a mapping is one of those that a settings class is for."""
    members = model.MEMBERS.names() if issubclass(model, OwnCode) and model is not OwnCode else ()
    allowed = (
        (mapping.get(key), get_args(model.model_fields[key].annotation) or members)
        for key in ("name", "kind")
        if key in model.model_fields
    )
    return any(isinstance(value, str) and value in names for value, names in allowed)


def _all_settings() -> list[type[Settings]]:
    """Those of sweep files, not those that other code derives from them."""
    models: list[type[Settings]] = [Settings]
    for model in models:  # grows while it is iterated
        models.extend(x for x in model.__subclasses__() if x.__module__.startswith("comodo."))
    return models
