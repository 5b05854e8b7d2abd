"""Which windows a student is measured by."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from comodo import evaluate, subject
from comodo.arrays import Features, Windows
from comodo.store import Store
from comodo.students import build_student
from comodo.subject import Subject, Teacher, extract
from tests.helpers import make_arrays, trial_config


@pytest.fixture
def measured(tmp_path: Path) -> tuple[Windows, Features]:
    store = Store(tmp_path)
    windows, features = make_arrays(store, windows=60)
    return (
        Windows.load(store.folder("arrays", windows)),
        Features.load(store.folder("arrays", features)),
    )


def test_measures_learn_from_so_many_windows_and_no_more(
    measured: tuple[Windows, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, features = measured
    student = build_student(trial_config().student)
    whole_ND, whole_N = Subject(student, windows, seed=0).train()
    assert len(whole_N) == 62

    monkeypatch.setattr(subject, "MOST_TRAIN", 15)
    one, again, other = (Subject(student, windows, seed) for seed in (0, 0, 1))
    train_ND, label_N = one.train()
    assert [int((label_N == label).sum()) for label in range(3)] == [5, 5, 5]
    assert {tuple(row) for row in train_ND} < {tuple(row) for row in whole_ND}
    assert (train_ND == again.train()[0]).all()
    assert (train_ND != other.train()[0]).any()
    # What is scored is never cut.
    assert [len(label_N) for _, label_N in one.scored().values()] == [30, 30]

    asked, gather = [], Features.gather

    def counted(self: Features, split: str, index_B: Tensor) -> Tensor:
        asked.append(len(index_B))
        return gather(self, split, index_B)

    monkeypatch.setattr(Features, "gather", counted)
    head = torch.nn.Linear(whole_ND.shape[1], 4), torch.nn.Linear(12, 4)
    evaluate.zero_shot(Subject(student, windows, 0, teacher=Teacher(features, head)))
    assert asked == [15]


def test_rows_are_those_of_the_windows_asked_for(measured: tuple[Windows, Features]) -> None:
    windows, _ = measured
    train, student = windows.splits["train"], build_student(trial_config().student).eval()
    index_N = torch.tensor([5, 3, 44])
    with torch.inference_mode():
        expected = student(*train.imu(index_N))
    torch.testing.assert_close(extract(student, train, index_N), expected)
