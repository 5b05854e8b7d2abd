"""What comodo uses of Ray beyond its public API: in one module, and there in this Ray."""

import ast
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

from comodo.runtime import ray_private
from tests.paths import ROOT

PRIVATE_NAMES = (
    "ray._private.grpc_utils.init_grpc_channel",
    "ray._private.ray_constants.ENABLE_RAY_CLUSTER",
    "ray._private.services.get_ray_address_from_environment",
    "ray._private.state.state.get_draining_nodes",
)
"""Those that ray_private.py uses, and says how to replace."""
PRIVATE_MODULES = ("ray.train.v2", "ray.air.execution", "ray.tune.execution")


def is_private(dotted: str) -> bool:
    """Whether a dotted name of Ray is one that it does not publish."""
    parts = dotted.split(".")
    return parts[0] == "ray" and (
        any(part.startswith("_") and not part.startswith("__") for part in parts)
        or any(f"{dotted}.".startswith(f"{module}.") for module in PRIVATE_MODULES)
    )


class Uses(ast.NodeVisitor):
    """Private names of Ray that a module imports, reads or assigns, and public ones it replaces."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._names: dict[str, str] = {}  # as the module calls it: as Ray does

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self._note(name.name)
            if name.name.split(".")[0] == "ray":
                whole = name.asname is not None
                self._names[name.asname or "ray"] = name.name if whole else "ray"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            dotted = f"{node.module}.{name.name}"
            self._note(dotted)
            if dotted.split(".")[0] == "ray":
                self._names[name.asname or name.name] = dotted

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if (dotted := self._dotted(node)) is not None:
            self._note(dotted)
            if isinstance(node.ctx, ast.Store | ast.Del):
                self.found.add(dotted)
        elif node.attr.startswith("_") and not node.attr.startswith("__") and self._names:
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            if owner not in ("self", "cls"):
                self.found.add(f"?.{node.attr}")  # of an object that may be Ray's
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A subclass of Ray's that overrides or uses what the base class keeps private."""
        for base in node.bases:
            if (dotted := self._dotted(base)) is not None and dotted.count("."):
                self.found |= {f"{dotted}.{name}" for name in inherited_attributes(node)}
                module, _, name = dotted.rpartition(".")
                inherited = vars_of(module, name)
                self.found |= {
                    f"{dotted}.{part.name}"
                    for part in node.body
                    if isinstance(part, ast.FunctionDef) and part.name in inherited
                }
        self.generic_visit(node)

    def _dotted(self, node: ast.AST) -> str | None:
        """The name in Ray that an expression stands for."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._dotted(node.value)
            return None if owner is None else f"{owner}.{node.attr}"
        return None

    def _note(self, dotted: str) -> None:
        if is_private(dotted):
            self.found.add(dotted)


def inherited_attributes(node: ast.ClassDef) -> set[str]:
    """Private attributes of `self` that the class reads, and does not set or define itself."""
    read, own = set[str](), {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
            (own if isinstance(part.ctx, ast.Store) else read).add(part.attr)
    return {n for n in read - own if n.startswith("_") and not n.startswith("__")}


def vars_of(module: str, name: str) -> set[str]:
    """Private methods of a class of Ray's."""
    names = dir(getattr(import_module(module), name))
    return {n for n in names if n.startswith("_") and not n.startswith("__")}


def uses(source: str) -> set[str]:
    visitor = Uses()
    visitor.visit(ast.parse(source))
    return visitor.found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import ray\nray.init()", set()),
        ("from ray.tune import Tuner", set()),
        ("import ray\nray._private.worker", {"ray._private", "ray._private.worker"}),
        ("import ray._private.state", {"ray._private.state"}),
        ("from ray._private import state as s", {"ray._private.state"}),
        ("from ray.air.execution import x", {"ray.air.execution.x"}),
        ("from ray.train.v2.api import y", {"ray.train.v2.api.y"}),
        ("from ray.tune import tune as t\nt.TuneController = 1", {"ray.tune.tune.TuneController"}),
        ("import ray\nx = ray.get_actor('a')\nx._actor_id", {"?._actor_id"}),
        (
            "from ray.tune.search import Searcher\n"
            "class S(Searcher):\n  def f(self): self._mine = self._go()\n  def _go(self): ...",
            set(),
        ),
        (
            "from ray.tune.search import Searcher\nclass S(Searcher):\n  def f(self): self._metric",
            {"ray.tune.search.Searcher._metric"},
        ),
        (
            "from ray.tune.search import ConcurrencyLimiter\n"
            "class L(ConcurrencyLimiter):\n  def _set_searcher_max_concurrency(self): ...",
            {"ray.tune.search.ConcurrencyLimiter._set_searcher_max_concurrency"},
        ),
    ],
)
def test_the_scan_finds_private_names(source: str, found: set[str]) -> None:
    assert uses(source) == found


def test_only_one_module_uses_private_names_of_ray() -> None:
    found = {path: uses(path.read_text()) for path in (ROOT / "comodo").rglob("*.py")}
    listed = {dotted for dotted in found.pop(Path(ray_private.__file__)) if not is_owner(dotted)}
    assert listed == set(PRIVATE_NAMES)
    elsewhere = {str(path): names for path, names in found.items() if names}
    assert elsewhere == {}, "move them to ray_private.py, and list them here"


def is_owner(dotted: str) -> bool:
    """Whether a listed name is reached through it, as through its module."""
    return any(name.startswith(f"{dotted}.") for name in PRIVATE_NAMES)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_this_ray_has_the_private_names(name: str) -> None:
    assert resolve_name(name) is not None
