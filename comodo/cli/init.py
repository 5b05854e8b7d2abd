"""`comodo init`: a user's first sweep file and manifest."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

from typer import Argument

from comodo.core.console import console
from comodo.core.errors import ComodoError
from comodo.core.store import atomic

TEMPLATES = {"sweep.yaml": "first_sweep.yaml", "recordings/manifest.csv": "first_manifest.csv"}
"""The files that are written, and those of this package that they are copies of."""


class InitError(ComodoError, ValueError):
    """The files cannot be written."""


def init(
    folder: Annotated[Path, Argument(help="Folder to write them in.")] = Path("."),
) -> None:
    """Write a first sweep file, with comments, and a manifest to list your recordings in."""
    for name in TEMPLATES:
        if (folder / name).exists():
            fix = "move it away, or name another folder: comodo init FOLDER"
            raise InitError("init.exists", f"{folder / name} exists and is not replaced; {fix}")
    for name, template in TEMPLATES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic(folder / name) as temporary:
            temporary.write_text(files(__package__).joinpath(template).read_text())
    sweep, manifest = (folder / name for name in TEMPLATES)
    for line in (
        f"written: {sweep}, {manifest}",
        f"next: comodo sweep {sweep} --smoke   (does it run? minutes, on simulated recordings)",
        f"then: list your recordings in {manifest}",
        f"      comodo plan {sweep}",
        f"      comodo sweep {sweep}",
    ):
        console.print(line, markup=False, soft_wrap=True)
