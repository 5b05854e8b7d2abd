"""Settings of data sets."""

import re
from pathlib import Path

import pytest

from comodo.config import read_sweep_file
from tests.paths import ROOT


def test_every_sweep_of_the_page_on_cameras_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOPRO", "ARIA"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "manifest.csv").touch()
    page = (ROOT / "docs" / "cameras.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = []
    for block in blocks:
        (tmp_path / "sweep.yaml").write_text(block)
        kinds += [
            dataset.kind for dataset in read_sweep_file(tmp_path / "sweep.yaml").datasets.values()
        ]
    assert kinds == ["gopro", "aria", "folder"]
