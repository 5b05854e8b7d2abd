"""From a finished trial to programs that run on the device, without comodo."""

from collections.abc import Iterable
from importlib.util import find_spec

from comodo.core.errors import ComodoError


class DeployError(ComodoError, ValueError):
    """A trial that cannot be exported; the text names it, says why, and what mends it."""


def check_installed(packages: Iterable[str] = ("onnx", "onnxruntime", "onnxscript")) -> None:
    """Raises DeployError while anything is missing that only exporting needs."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise DeployError(f"export needs {', '.join(missing)}: pip install 'comodo[deploy]'")
