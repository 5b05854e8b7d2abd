"""By what an artifact was made, besides its settings: this package, libraries, machine."""

import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "torch", "transformers", "mantis-tsfm", "momentfm", "chronos-forecasting",
    "efficientnet-lite-pytorch", "scikit-learn", "scipy", "numpy", "av",
)  # fmt: skip
"""Those that compute what is stored."""

MadeBy = dict[str, str | None]
"""`comodo`, `commit`, `python`, each of LIBRARIES, `host` and `device`; None: there is none."""


@cache
def made_by(gpu: str | None = None) -> MadeBy:
    """This process; `device` is the model of `gpu`, or without one that of the processor."""
    return {
        "comodo": _installed("comodo"),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: _installed(name) for name in LIBRARIES},
        "host": socket.gethostname(),
        "device": gpu or processor(),
    }


@cache
def commit() -> str | None:
    """Of the checkout that this package runs from, with `-dirty` if its files were changed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "--no-optional-locks", "describe", "--always"]
    command += ["--abbrev=40", "--exclude=*", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # without git, or on a disk that hangs
        return None
    return found.stdout.strip() or None


def processor() -> str:
    """The model of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
