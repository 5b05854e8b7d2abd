"""Draws the packages of comodo in their layers, from the import contracts in pyproject.toml.

    python -m scripts.package_picture          writes docs/packages.svg

Reads the contracts and the first line of each package's docstring; imports nothing of comodo.
"""

import ast
import tomllib
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "packages.svg"
LIBRARIES = {"ray": "#d9e8fb", "mlflow": "#fdebd0"}
"""What only some packages may load, and the colour of its badge."""
WIDTH, HEIGHT, GAP = 12.0, 1.0, 0.12  # of a layer, in the picture's units
GREY = "#444444"
FIXED: Any = {"svg.fonttype": "none", "svg.hashsalt": "comodo", "font.family": "sans-serif"}


def read_layers(contracts: list[dict[str, Any]]) -> list[list[str]]:
    """The packages of each layer, top first."""
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.replace(" ", "").split("|") for layer in layers]


def may_load(package: str, library: str, contracts: list[dict[str, Any]]) -> bool:
    """Whether no contract forbids it, directly or through what the package imports."""
    return not any(
        contract["type"] == "forbidden"
        and library in contract["forbidden_modules"]
        and f"comodo.{package}" in contract["source_modules"]
        and not contract.get("allow_indirect_imports", False)
        for contract in contracts
    )


def first_line(package: str) -> str:
    """What a package does, without the sentences about what it does not know."""
    path = ROOT / "comodo" / package
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


def draw(target: Path) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = read_layers(contracts["contracts"])
    with plt.rc_context(FIXED):
        figure, axes = plt.subplots(figsize=(10, 0.8 * len(layers) + 0.5))
        for row, packages in enumerate(reversed(layers)):
            width = WIDTH / len(packages)
            for column, package in enumerate(packages):
                badges = [
                    name for name in LIBRARIES if may_load(package, name, contracts["contracts"])
                ]
                _draw_package(axes, package, badges, column * width, row * (HEIGHT + GAP), width)
        note = (
            "A package imports only packages below it. "
            "Badges: may load Ray or MLflow, itself or through what it imports."
        )
        axes.text(0.1, -0.15, note, va="top", fontsize=8, color=GREY)
        axes.set(xlim=(0, WIDTH), ylim=(-0.5, len(layers) * (HEIGHT + GAP)))
        axes.axis("off")
        figure.savefig(target, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)


def _draw_package(
    axes: Axes, package: str, badges: list[str], left: float, bottom: float, width: float
) -> None:
    corner = (left + GAP / 2, bottom)
    axes.add_patch(Rectangle(corner, width - GAP, HEIGHT, facecolor="#f7f7f7", edgecolor=GREY))
    axes.text(left + 0.2, bottom + 0.9, package, va="top", fontsize=12, weight="bold")
    job = fill(first_line(package), round(8.5 * width))
    axes.text(left + 0.2, bottom + 0.5, job, va="top", fontsize=8, color=GREY)
    for place, name in enumerate(badges):
        box = {"boxstyle": "round,pad=0.25", "facecolor": LIBRARIES[name], "edgecolor": "none"}
        right = left + width - 0.2 - 0.75 * place
        axes.text(right, bottom + 0.88, name, ha="right", va="top", fontsize=8, bbox=box)


if __name__ == "__main__":
    draw(PICTURE)
