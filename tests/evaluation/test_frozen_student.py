"""Which windows a student is measured by."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from comodo.config.dataset_base import FoldSplit
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.data.folds import make_folds
from comodo.evaluation import frozen_student
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.evaluation.labelled_features import unit_rows
from comodo.evaluation.measures.zero_shot import measure_zero_shot
from comodo.evaluation.probe import SVMProbe
from comodo.models.students import Student, build_student, extract_features
from tests.helpers import make_arrays, make_folded_arrays, trial_config


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
    published = FrozenStudent(student, windows, 0, probe_windows="published")
    assert len(published.train()[1]) == 15
    assert (published.train(all_windows=True)[0] == whole_ND).all()
    for frozen, fitted_ND in ((one, train_ND), (published, whole_ND)):
        probe = fit_probe(frozen)
        assert isinstance(probe, SVMProbe)
        np.testing.assert_allclose(probe.fitted()["mean"], unit_rows(fitted_ND).mean(0), atol=1e-6)
    # What is scored is never cut.
    assert [len(label_N) for _, label_N in one.scored().values()] == [30, 30]

    sizes, gather = [], FeatureArrays.gather

    def counted(self: FeatureArrays, split: str, index_B: Tensor) -> Tensor:
        sizes.append(len(index_B))
        return gather(self, split, index_B)

    monkeypatch.setattr(FeatureArrays, "gather", counted)
    head = torch.nn.Linear(whole_ND.shape[1], 4), torch.nn.Linear(12, 4)
    measure_zero_shot(FrozenStudent(student, windows, 0, teacher=TeacherContext(features, head)))
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


def test_folds_share_what_was_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window once, with the same features as a fold that shares nothing."""
    store = Store(tmp_path)
    make_folded_arrays(store)
    folds = make_folds({f"g{i}": {"a": 9, "b": 9} for i in range(4)}, FoldSplit(folds="all"))
    student = build_student(trial_config().student)
    seen = list[int]()

    def extract(student: Student, split: Split, index_N: Tensor, mask: bool, **kw: Any) -> Tensor:
        seen.extend(split.stored(index_N).tolist())
        return extract_features(student, split, index_N, mask, **kw)

    monkeypatch.setattr(frozen_student, "extract_features", extract)
    shared: dict[int, npt.NDArray[np.float32]] = {}
    for fold in folds:
        windows = WindowArrays.load(store.folder("arrays", "w"), fold=fold)
        frozen = FrozenStudent(student, windows, 0, extracted=shared)
        before = len(seen)
        found = {split: frozen.labelled(split) for split in ("train", "val", "test")}
        alone = FrozenStudent(student, windows, 0)
        once = seen[before:]
        for split, of_split in found.items():
            expected = alone.labelled(split)
            assert of_split is not None and expected is not None
            np.testing.assert_allclose(of_split[0], expected[0], atol=1e-6)
            np.testing.assert_array_equal(of_split[1], expected[1])
        seen[before:] = once
    assert sorted(seen) == sorted(set(seen)) == sorted(shared)
    assert len(shared) == len(windows.splits["train"]) + sum(
        len(windows.splits[split]) for split in ("val", "test")
    )
