"""Which windows a student is measured by."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.evaluation import evaluate, frozen_student
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.models.students import build_student, extract_features
from tests.helpers import make_arrays, trial_config


@pytest.fixture
def measured(tmp_path: Path) -> tuple[WindowArrays, FeatureArrays]:
    store = Store(tmp_path)
    windows, features = make_arrays(store, windows=60)
    return (
        WindowArrays.load(store.folder("arrays", windows)),
        FeatureArrays.load(store.folder("arrays", features)),
    )


def test_measures_learn_from_so_many_windows_and_no_more(
    measured: tuple[WindowArrays, FeatureArrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, features = measured
    student = build_student(trial_config().student)
    whole_ND, whole_N = FrozenStudent(student, windows, seed=0).train()
    assert len(whole_N) == 62

    monkeypatch.setattr(frozen_student, "MAX_TRAIN_WINDOWS", 15)
    one, again, other = (FrozenStudent(student, windows, seed) for seed in (0, 0, 1))
    train_ND, label_N = one.train()
    assert [int((label_N == label).sum()) for label in range(3)] == [5, 5, 5]
    assert {tuple(row) for row in train_ND} < {tuple(row) for row in whole_ND}
    assert (train_ND == again.train()[0]).all()
    assert (train_ND != other.train()[0]).any()
    # What is scored is never cut.
    assert [len(label_N) for _, label_N in one.scored().values()] == [30, 30]

    sizes, gather = [], FeatureArrays.gather

    def counted(self: FeatureArrays, split: str, index_B: Tensor) -> Tensor:
        sizes.append(len(index_B))
        return gather(self, split, index_B)

    monkeypatch.setattr(FeatureArrays, "gather", counted)
    head = torch.nn.Linear(whole_ND.shape[1], 4), torch.nn.Linear(12, 4)
    evaluate.measure_zero_shot(
        FrozenStudent(student, windows, 0, teacher=TeacherContext(features, head))
    )
    assert sizes == [15]


def test_rows_are_those_of_the_windows_sizes_for(
    measured: tuple[WindowArrays, FeatureArrays],
) -> None:
    windows, _ = measured
    train, student = windows.splits["train"], build_student(trial_config().student).eval()
    index_N = torch.tensor([5, 3, 44])
    with torch.inference_mode():
        expected = student(*train.imu(index_N))
    torch.testing.assert_close(extract_features(student, train, index_N), expected)
