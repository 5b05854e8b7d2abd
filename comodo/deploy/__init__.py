"""Turns a finished trial into programs that run on a device without comodo."""

from collections.abc import Iterable
from importlib.util import find_spec

from comodo.core.errors import ComodoError


class DeployError(ComodoError, ValueError):
    """A trial cannot be exported."""


def check_installed(packages: Iterable[str] = ("onnx", "onnxruntime", "onnxscript")) -> None:
    """Raises DeployError if a package is missing that only exporting needs."""
    if missing := [package for package in packages if find_spec(package) is None]:
        text = f"export needs {', '.join(missing)}: pip install {' '.join(missing)}"
        raise DeployError("export.not-installed", text)
