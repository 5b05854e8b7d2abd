"""Reading tensors, and nothing else, from files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comodo.core.tensors import WeightsError, load_tensors
from tests.errors import raises


@pytest.mark.parametrize("mmap", [False, True])
def test_tensors_and_plain_values_come_back(tmp_path: Path, mmap: bool) -> None:
    content: dict[str, Any] = {"weight": torch.arange(6.0).view(2, 3), "history": [{"epoch": 1}]}
    torch.save(content, tmp_path / "c.pt")
    found = load_tensors(tmp_path / "c.pt", mmap=mmap)
    assert torch.equal(found["weight"], content["weight"])
    assert found["history"] == content["history"]


def test_a_damaged_file_is_named_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save({"weight": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with raises(WeightsError, "weights.not-tensors", "c.pt"):
            load_tensors(path)


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "absent.pt")
