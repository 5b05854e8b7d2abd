"""Features of a frozen student."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from comodo.evaluation import evaluate, frozen_student
from comodo.models import features as features_module
from comodo.models.features import extract_features
from tests.tiny_students import left_padded, make


def test_the_probe_sees_features_with_and_without_the_mask() -> None:
    lengths = [40, 12, 64, 30] * 5
    imu, length_N = left_padded(lengths), torch.tensor(lengths)
    split: Any = SimpleNamespace(
        imu=lambda index_B: (imu[index_B], length_N[index_B]),
        labelled_N=torch.arange(20),
        label_N=torch.arange(20) % 2,
    )
    student, index_N = make("moment"), torch.tensor([3, 1, 2])
    for mask in (True, False):
        features = extract_features(student, split, index_N, mask)
        expected = student(imu[index_N], length_N[index_N], mask)
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    seen = []
    student.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    split.group_N = torch.zeros(20, dtype=torch.long)
    data: Any = SimpleNamespace(
        splits={"train": split, "val": split}, classes=["a", "b"], groups=["g"]
    )
    for mask in (True, False):
        evaluate.measure_probe(frozen_student.FrozenStudent(student, data, 0, mask))
    assert seen == [True, True, False, False]


def split_of(count: int) -> Any:
    imu_BCT = left_padded([40] * count)
    return SimpleNamespace(imu=lambda index_B: (imu_BCT[index_B], None))


def test_features_depend_neither_on_the_batch_nor_on_the_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, split, index_N = make("mantis"), split_of(10), torch.tensor([9, 0, 4, 4, 7])
    whole_ND = extract_features(student, split, index_N)
    monkeypatch.setattr(features_module, "EXTRACT_BATCH", 2)
    student.train()
    torch.testing.assert_close(extract_features(student, split, index_N), whole_ND)
    assert student.training  # as it was handed in
    assert not whole_ND.requires_grad and whole_ND.dtype == torch.float32


def test_with_a_head_it_is_what_the_head_makes_of_them() -> None:
    student, split, index_N = make("mantis"), split_of(3), torch.arange(3)
    head = nn.Linear(student.dim, 2)
    with torch.inference_mode():
        expected = head(extract_features(student, split, index_N))
    torch.testing.assert_close(extract_features(student, split, index_N, head=head), expected)
