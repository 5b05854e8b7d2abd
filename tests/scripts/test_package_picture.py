"""The picture of the packages, and the contracts that it is drawn from."""

import tomllib
from pathlib import Path

from scripts.package_picture import PICTURE, draw, may_load, read_layers
from tests.paths import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]


def test_the_layers_are_all_packages_of_comodo() -> None:
    drawn = {package for layer in read_layers(CONTRACTS) for package in layer}
    folders = {file.parent.name for file in (ROOT / "comodo").glob("*/__init__.py")}
    assert drawn == folders | {"api"}


def test_badges_follow_the_contracts() -> None:
    loads = {
        library: {
            p for layer in read_layers(CONTRACTS) for p in layer if may_load(p, library, CONTRACTS)
        }
        for library in ("ray", "mlflow")
    }
    assert loads["ray"] == {"runtime", "deploy", "api", "cli"}
    assert loads["mlflow"] == loads["ray"] | {"tracking", "report"}


def test_the_committed_picture_is_current(tmp_path: Path) -> None:
    draw(tmp_path / "new.svg")
    assert (tmp_path / "new.svg").read_text() == PICTURE.read_text(), (
        "contracts or package docstrings have changed: python -m scripts.package_picture"
    )
