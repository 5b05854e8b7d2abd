"""Accuracy by the nearest class mean, against a plain second formulation."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from comodo.core.labels import NO_LABEL
from comodo.training import epoch_accuracy as module
from comodo.training.epoch_accuracy import (
    AnchorAccuracy,
    ClassMeans,
    anchor_rows,
    epoch_accuracy,
)
from tests.helpers import trial_config
from tests.tiny_students import make, windows


def features(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.manual_seed(seed))


@given(
    labels=st.lists(st.integers(NO_LABEL, 3), min_size=1, max_size=30),
    batch=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_the_nearest_is_by_angle_among_the_classes_that_were_seen(
    labels: list[int], batch: int, seed: int
) -> None:
    label_N, feature_ND = torch.tensor(labels), features(len(labels), 5, seed)
    means = ClassMeans(4, 5, "cpu")
    for index_B in torch.arange(len(labels)).split(batch):
        means.add(feature_ND[index_B], label_N[index_B])
    indices_ND = features(7, 5, seed + 1)
    found_N = means.nearest(indices_ND)
    seen = sorted(set(labels) - {NO_LABEL})
    if not seen:
        assert found_N is None
        return
    unit_ND = functional.normalize(feature_ND, dim=1)
    mean_KD = torch.stack([unit_ND[label_N == label].mean(0) for label in seen])
    cosine_NK = functional.cosine_similarity(indices_ND[:, None], mean_KD[None], dim=2)
    assert found_N is not None
    assert found_N.tolist() == [seen[k] for k in cosine_NK.argmax(1)]


def test_a_state_restores_the_means_and_is_no_view_of_them() -> None:
    means, other = ClassMeans(2, 2, "cpu"), ClassMeans(2, 2, "cpu")
    means.add(torch.eye(2), torch.tensor([0, 1]))
    state = means.state_dict()
    means.add(torch.eye(2), torch.tensor([1, 0]))
    means.add(torch.eye(2), torch.tensor([1, 0]))
    other.load_state_dict(state)
    before_N, after_N = other.nearest(torch.eye(2)), means.nearest(torch.eye(2))
    assert before_N is not None and after_N is not None
    assert before_N.tolist() == [0, 1]
    assert after_N.tolist() == [1, 0]


def test_at_most_so_many_labelled_windows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    imu_BCT, indices = windows(9, 6, 40), []
    label_N = torch.tensor([0, -1, 1, 0, 1, 0, 1, -1, 0])

    def imu(index_B: torch.Tensor) -> Any:
        indices.append(index_B.tolist())
        return imu_BCT[index_B], None

    split: Any = SimpleNamespace(
        imu=imu, label_N=label_N, labelled_N=torch.nonzero(label_N >= 0).squeeze(1)
    )
    student = make("mantis")
    with torch.no_grad():
        feature_ND = student(imu_BCT)
    means = ClassMeans(2, feature_ND.shape[1], "cpu")
    assert epoch_accuracy(student, means, split, 5) is None  # no label was seen
    means.add(feature_ND, label_N)
    answer_N = means.nearest(feature_ND)
    assert answer_N is not None
    right_N = (answer_N == label_N).float()
    indices.clear()
    assert epoch_accuracy(student, means, split, 3) == pytest.approx(right_N[[0, 4, 8]].mean())
    assert indices == [[0, 4, 8]]  # evenly spread, the first and the last among them
    monkeypatch.setattr(module, "MAX_WINDOWS", 2)
    epoch_accuracy(student, means, split, 3)
    assert indices[1:] == [[0, 8]]
    assert epoch_accuracy(student, means, split, 0) is None


@pytest.mark.parametrize(("last_window", "expected"), [("keep", [3, 1, 6]), ("drop", [4, 1, 6])])
def test_anchors_are_the_first_encoded_windows_of_val(
    last_window: str, expected: list[int]
) -> None:
    """Window 0 has no label, and 2 no feature; 3 is the last of its recording."""
    val: Any = SimpleNamespace(
        label_N=torch.tensor([NO_LABEL, 2, 0, 0, 0, 2, 5]),
        last_N=torch.tensor([False, False, False, True, False, False, False]),
    )
    arrays: Any = SimpleNamespace(splits={"val": val})
    features: Any = SimpleNamespace(encoded={"val": torch.tensor([0, 1, 3, 4, 5, 6])})
    trial = trial_config(last_window=last_window)
    assert anchor_rows(trial, arrays, features).tolist() == expected
    assert not len(anchor_rows(trial, SimpleNamespace(splits={}), features))  # type: ignore[arg-type]


def test_anchor_accuracy_by_a_plain_second_formulation() -> None:
    student, label_N = make("mantis"), torch.arange(9) % 3
    imu = torch.randn(9, 6, 64, generator=torch.manual_seed(1))
    split: Any = SimpleNamespace(imu=lambda index_B: (imu[index_B], None), label_N=label_N)
    head = torch.nn.Sequential(torch.nn.Linear(student.dim, 4), torch.nn.BatchNorm1d(4))
    anchor_KD = functional.normalize(features(2, 4, 0), dim=1)
    row_N, classes = torch.tensor([0, 2, 3, 5, 8]), [2, 0]
    accuracy = AnchorAccuracy(split, row_N, anchor_KD, torch.tensor(classes))
    student.train()
    found = accuracy.measure(student, head)
    assert head.training and student.training
    student.eval()
    head.eval()
    hits = 0
    with torch.inference_mode():
        for row in row_N.tolist():
            embedding_1D = head(student(imu[row : row + 1], None))
            nearest = int(functional.cosine_similarity(embedding_1D, anchor_KD).argmax())
            hits += classes[nearest] == int(label_N[row])
    assert found == pytest.approx(hits / 5)
