"""Shrinks a sweep file so that it runs in minutes on a laptop, through the same code.

Every data set becomes simulated recordings under its name; teachers and students are the real
classes at tiny sizes with random weights; epochs, batch sizes and queues shrink but keep their
order. The results show that the file runs, and nothing else.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.base import SMOKE_SUFFIX
from comodo.config.channels import CHANNELS
from comodo.config.datasets import channels_of_kind
from comodo.config.own_code import CUSTOM, allowed_code
from comodo.config.short_forms import expanded
from comodo.config.source import Sources
from comodo.config.student import STUDENTS, Family, family_of
from comodo.core.console import console
from comodo.core.members import Code
from comodo.core.store import Store
from comodo.runtime.tiny_teachers import STAND_INS, TINY_TEACHERS, has_text, tiny_teacher

STEPS = {"epochs": (2, 1), "batch_size": (16, 8), "queue_size": (8, 3)}
"""For each key its smallest value in the file becomes the first number here, and each next value
adds the second, so that different values stay different and in order. Nine queues still fit half of
the windows, which the published protocol leaves for training."""
KEPT = {"queue_size": STEPS["queue_size"][0] + 8 * STEPS["queue_size"][1]}
"""Values up to this are kept as they are, if all of the file's are."""
NAMED_BY = {"name", "several", "from"}  # keys of a model or method that is written as a mapping
SPAN_KEYS = ("values", "min", "max")  # under them are values of the key above
FULL_SIZE_KEYS = (
    ".weights", ".revision", ".path", ".ids", ".features", ".frames", ".return_transf_layer",
    ".from",
)  # fmt: skip
KEPT_KEYS = ("channels", "sensor", "missing", "boundary")  # of data sets
MAX_SMOKE_SEEDS, MAX_SMOKE_TRIALS = 2, 16


def load_smoke(
    path: Path, store: Store, overrides: Sequence[str] = (), sources: Sources | None = None
) -> Sweep:
    """The sweep of a file, made small; its name ends in SMOKE_SUFFIX. Prints what is asked for and
    what runs instead. `overrides`, `sources` and errors are as in `read_sweep_file`."""
    shrunk: list[_Shrunk] = []
    asked: dict[str, dict[str, int]] = {}

    def change(data: dict[str, Any]) -> dict[str, Any]:
        code = allowed_code(data, path.parent)
        known = Sources({}) if sources is None else sources
        shrunk.append(_Shrunk(data, store, code, path.parent, known))
        asked.update(shrunk[0].asked())
        return shrunk[0].sweep()

    sweep = read_sweep_file(path, change, overrides, asked)
    console.print("smoke run: whether the file runs; its numbers mean nothing", style="yellow")
    replaced = "; ".join(shrunk[0].replaced())
    console.print(f"  in place of what the file says: {replaced}", markup=False)
    return sweep


class _Shrunk:
    def __init__(
        self,
        data: dict[str, Any],
        store: Store,
        code: dict[str, str],
        folder: Path,
        sources: Sources,
    ) -> None:
        self._data, self._store, self._code = data, store, code
        self._folder, self._sources = folder, sources
        self._numbers: dict[str, list[int]] = {key: [] for key in STEPS}
        self._collect(data)
        self._queues_follow = "method.queue_size" in str(data.get("recipes"))

    def sweep(self) -> dict[str, Any]:
        data = {k: self._part(k, v) for k, v in self._data.items() if k != "label_map"}
        data["name"] = f"{data.get('name')}{SMOKE_SUFFIX}"
        if isinstance(sets := data.get("datasets"), dict):
            for number, name in enumerate(sets):
                sets[name] = _dataset(sets[name], number)
        if isinstance(trial := data.get("trial"), dict):
            for key in ("epochs", "batch_size"):
                trial.setdefault(key, STEPS[key][0])
        if self._queues_follow:  # a queue that no recipe sets would be too long
            least = {"method.queue_size": STEPS["queue_size"][0]}
            data["recipes"].insert(0, {"when": {"method.name": "comodo"}, "set": least})
        data["seeds"] = data.get("seeds", [0])[:MAX_SMOKE_SEEDS]
        data["resources"] = {"max_concurrent_trials": 2}
        trials = (data.get("budget") or {}).get("trials")
        data["budget"] = {} if trials is None else {"trials": min(trials, MAX_SMOKE_TRIALS)}
        if "'folds'" in str(data.get("datasets")) and _is_grid(data):
            data["budget"] = {}  # a grid with folds is run whole
        if data.get("early_stopping"):
            data["early_stopping"] |= {"grace_epochs": 1}
        if isinstance(data.get("search"), dict):
            data["search"].pop("warm_start", None)
            if isinstance(space := data["search"].get("space"), dict):
                for key in [key for key in space if key.endswith(FULL_SIZE_KEYS)]:
                    del space[key]
                for span in space.values():  # conditions on what is small now
                    for key in [key for key in _when(span) if key.endswith(FULL_SIZE_KEYS)]:
                        del span["when"][key]
        return data

    def _part(self, key: str, value: Any) -> Any:
        """The value of a (dotted) key, made smaller."""
        last = key.rsplit(".", 1)[-1]
        if last in ("teacher", "student", "method") and _is_named(value):
            return getattr(self, f"_{last}")(value)
        if last == "terms" and _is_sum(value):
            terms = {k: self._part(k, v) for k, v in expanded("terms", value).items()}
            if "comodo" in terms:
                terms["comodo"] = {"queue_size": STEPS["queue_size"][0], **terms["comodo"]}
            return terms
        if isinstance(value, dict):
            return {k: self._part(key if k in SPAN_KEYS else k, v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._part(key, item) for item in value]
        return self._number(last, value) if value in self._numbers.get(last, ()) else value

    def _number(self, key: str, value: int) -> int:
        """What runs in place of one of the file's numbers."""
        numbers, (first, step) = sorted(set(self._numbers[key])), STEPS[key]
        if numbers[-1] <= KEPT.get(key, 0):
            return value
        return first + step * numbers.index(value)

    def replaced(self) -> list[str]:
        """What the sweep has in place of what the file says, in words."""
        found = ["simulated recordings and tiny models with random weights"]
        for key, numbers in self._numbers.items():
            ran = {n: self._number(key, n) for n in sorted(set(numbers))}
            if pairs := [f"{small} for {asked}" for asked, small in ran.items() if small != asked]:
                found.append(f"{key} {', '.join(pairs)}")
        return found

    def asked(self) -> dict[str, dict[str, int]]:
        """`Sweep.asked`; a value that is drawn from a range has none."""
        search = self._data.get("search")
        space = search.get("space") if isinstance(search, dict) else None
        spans = space if isinstance(space, dict) else {}
        drawn = {key.rsplit(".", 1)[-1] for key, span in spans.items() if "min" in (span or ())}
        return {
            key: {str(self._number(key, n)): n for n in numbers}
            for key, numbers in self._numbers.items()
            if key not in drawn and any(self._number(key, n) != n for n in numbers)
        }

    def _collect(self, tree: Any, key: str = "") -> None:
        if isinstance(tree, dict):
            for name, value in tree.items():
                self._collect(value, key if name in SPAN_KEYS else name)
        elif isinstance(tree, list):
            for value in tree:
                self._collect(value, key)
        elif isinstance(tree, int) and (last := key.rsplit(".", 1)[-1]) in self._numbers:
            self._numbers[last].append(tree)

    def _method(self, method: Any) -> Any:
        method = expanded("method", method)
        smaller = {key: self._part(key, value) for key, value in method.items()}
        if method["name"] == "comodo" and not self._queues_follow:
            smaller.setdefault("queue_size", STEPS["queue_size"][0])
        return smaller

    def _student(self, student: Any) -> dict[str, Any]:
        given = expanded("student", student)
        if isinstance(name := given.get("from"), str):
            given = {**self._source(name), **given}
        keys = ("name", "file", "class", "pooling", "channels", "output_token", "padding",
                "averaged_patches", "train_encoder")  # fmt: skip
        kept = {key: given[key] for key in keys if key in given}
        return {**kept, "size": self._tiny_size(given)}

    def _source(self, name: str) -> dict[str, Any]:
        """The settings of a student to start from: the tiny one has its family, not its weights."""
        if name[:1] in ("", *"./~$"):
            name = str((self._folder / os.path.expandvars(os.path.expanduser(name))).resolve())
        try:
            return self._sources[name].student
        except ValueError as error:
            raise ConfigError.at("trial.student.from", str(error)) from None

    def _tiny_size(self, student: dict[str, Any]) -> dict[str, Any]:
        """The tiny size of a student; none of one that is refused when the file is checked."""
        name, file = student["name"], student.get("file")
        if name == CUSTOM and file in self._code:
            return Family.of_own(Code(file, str(student.get("class")), self._code[file])).tiny
        return family_of(name).tiny if name in STUDENTS else {}

    def _teacher(self, teacher: Any) -> dict[str, Any]:
        given = expanded("teacher", teacher)
        if several := given.get("several"):
            return {"several": [self._teacher(one) for one in several]}
        family, weights = given["name"], str(given.get("weights"))
        kept = {key: given[key] for key in ("pooling",) if key in given}
        if family in STAND_INS:
            is_joint = kept.get("pooling") == "joint"
            names = [name for name in STAND_INS[family] if not is_joint or has_text(name)]
            family = next((name for name in names if name in weights), names[-1])
        if family not in TINY_TEACHERS:
            return {"name": "efficientnet-lite0", "frames": 1}
        return {"name": given["name"], "weights": str(tiny_teacher(family, self._store)), **kept}


def _is_grid(data: dict[str, Any]) -> bool:
    search = data.get("search")
    return not isinstance(search, dict) or search.get("sampler", "grid") == "grid"


def _when(span: Any) -> dict[str, Any]:
    when = span.get("when") if isinstance(span, dict) else None
    return when if isinstance(when, dict) else {}


def _is_named(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and bool({*value} & NAMED_BY))


def _is_sum(value: Any) -> bool:
    """Whether these are the terms of one method, not the lists of them that a search has."""
    if isinstance(value, list):
        return not any(isinstance(term, list) for term in value)
    return isinstance(value, dict) and not value.keys() & {*SPAN_KEYS}


def _dataset(settings: Any, number: int) -> dict[str, Any]:
    """Recordings of 10 s by five simulated people, different for each data set; by eight with
    folds, of which two are left. Untrimmed ones if the settings are of intervals."""
    made = {"kind": "simulated", "subjects": 5, "seconds": 10, "labelled": 1, "seed": number}
    if not isinstance(settings, dict):
        return made
    shares = settings.get("split_by_group")
    if isinstance(shares, dict) and "folds" in shares:
        made |= {"subjects": 8, "split_by_group": shares | {"folds": 2}}
    if settings.keys() & {"stride_seconds", "boundary", "null_class"}:
        made["pause_seconds"] = 5
    if "stride_seconds" in settings:
        made["stride_seconds"] = 2.5  # half a window
    if isinstance(null := settings.get("null_class"), dict):
        made["null_class"] = null | {"label": "null"}
    kept = {key: settings[key] for key in KEPT_KEYS if key in settings}
    if (own := channels_of_kind(settings.get("kind"))) != CHANNELS:
        kept.setdefault("channels", own)
    if settings.get("window_seconds") == "whole":
        kept["window_seconds"] = "whole"
    return made | kept
