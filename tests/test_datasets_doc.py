"""docs/datasets.md: what it tells users to write can be read."""

import re
from pathlib import Path

import pytest
import yaml

from comodo.config import read_sweep_file

DOCUMENT = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
TRIAL = {"teacher": "efficientnet-lite0", "student": "mantis-8m", "method": {"name": "infonce"}}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"kind: (\S+)", block)[-1])
def test_every_block_loads(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, folders in {
        "EGO4D": ["v2/full_scale", "v2/imu"],
        "EGOEXO4D": ["."],
        "MMEA": ["."],
        "HAPT": ["."],
        "SPLITS": ["Ego4D", "EgoExo4D", "UESTC-MMEA-CL"],
    }.items():
        monkeypatch.setenv(variable, str(tmp_path / variable))
        for folder in folders:
            (tmp_path / variable / folder).mkdir(parents=True)
    content = yaml.safe_load(block)
    name = next(iter(content["datasets"]))
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({"name": "s", "trial": {"dataset": name, **TRIAL}} | content))
    assert read_sweep_file(file).datasets.keys() == content["datasets"].keys()


def test_every_data_set_of_the_paper_has_a_block() -> None:
    kinds = set(re.findall(r"kind: (\S+)\n", "".join(BLOCKS)))
    assert kinds == {"ego4d", "egoexo4d", "uestc-mmea-cl", "hapt"}
