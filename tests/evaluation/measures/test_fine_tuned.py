"""Fine-tuning: what no step, early stopping and seeds do, and its frozen line."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from comodo.core.store import Store
from comodo.data.arrays import WindowArrays
from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import EvaluateError, unit_rows
from comodo.evaluation.measures import fine_tuned
from comodo.evaluation.measures.fine_tuned import (
    METRICS,
    LabelledWindows,
    LinearProbe,
    copy_of,
    fine_tune,
    measure_fine_tuned,
)
from comodo.evaluation.tuning_schedule import DRAWS, SHOTS
from comodo.models.students import Student, build_student, extract_features
from tests.errors import raises
from tests.helpers import make_arrays, trial_config, weights_equal
from tests.tiny_students import FAMILIES, make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_its_metrics_are_each_number_of_labels_with_its_frozen_line() -> None:
    assert tuple(f"{kind}{k}" for k in (*SHOTS, "all") for kind in ("", "frozen_")) == METRICS


def frozen_on(store: Store, classes: int = 3, seed: int = 0, windows: int = 40) -> FrozenStudent:
    key, _ = make_arrays(store, windows, classes)
    torch.manual_seed(0)
    student = build_student(trial_config().student)
    return FrozenStudent(student, WindowArrays.load(store.folder("arrays", key)), seed)


def probe_of(frozen: FrozenStudent) -> tuple[StandardScaler, LogisticRegression]:
    """A logistic regression on all train windows, and what standardises them."""
    train_ND, label_N = frozen.train()
    unit_ND = unit_rows(train_ND).astype(np.float64)
    scaler = StandardScaler().fit(unit_ND)
    return scaler, LogisticRegression(max_iter=1000).fit(scaler.transform(unit_ND), label_N)


def all_of(frozen: FrozenStudent, split: str) -> LabelledWindows:
    part = frozen.windows.splits[split]
    return LabelledWindows(part, part.labelled_N, part.label_N[part.labelled_N])


@pytest.mark.parametrize("classes", [2, 3])
def test_no_step_is_the_frozen_student_with_its_linear_probe(store: Store, classes: int) -> None:
    frozen = frozen_on(store, classes)
    scaler, fitted = probe_of(frozen)
    student, head = copy_of(frozen.student), LinearProbe(scaler, fitted)
    of_train, of_val = all_of(frozen, "train"), all_of(frozen, "val")
    assert fine_tune(student, head, of_train, of_val, 0, seed=0) == 0
    assert fine_tune(student, head, of_train, None, 0, seed=0) == 0
    part = frozen.windows.splits["test"]
    labelled = frozen.labelled("test")
    assert labelled is not None
    before_ND = torch.from_numpy(labelled[0])
    assert torch.equal(extract_features(student, part, part.labelled_N), before_ND)
    logit_NK = extract_features(student, part, part.labelled_N, head=head)
    unit_ND = scaler.transform(unit_rows(labelled[0]).astype(np.float64))
    np.testing.assert_array_equal(logit_NK.argmax(1), fitted.predict(unit_ND))
    probability_NK = fitted.predict_proba(unit_ND)
    np.testing.assert_allclose(logit_NK.softmax(1), probability_NK, atol=1e-4)


def test_steps_lower_the_loss_and_leave_other_random_numbers_alone(store: Store) -> None:
    frozen = frozen_on(store)
    part = all_of(frozen, "train")

    def tuned(seed: int) -> tuple[torch.nn.Module, float]:
        student, head = copy_of(frozen.student), LinearProbe(*probe_of(frozen))
        fine_tune(student, head, part, None, 60, seed)
        logit_NK = extract_features(student, part.split, part.index_N, head=head)
        return student, float(F.cross_entropy(logit_NK, part.label_N))

    scaler, fitted = probe_of(frozen)
    head = LinearProbe(scaler, fitted)
    logit_NK = extract_features(frozen.student, part.split, part.index_N, head=head)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    student, loss = tuned(0)
    assert torch.equal(torch.rand(3), expected)
    assert loss < float(F.cross_entropy(logit_NK, part.label_N))
    assert weights_equal(student, tuned(0)[0])
    assert not weights_equal(student, tuned(1)[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_students_of_every_family_are_trained(store: Store, name: str) -> None:
    frozen_on(store)
    torch.manual_seed(0)
    arrays = WindowArrays.load(store.folder("arrays", "w"))
    frozen = FrozenStudent(make(name), arrays, 0)
    student, head = copy_of(frozen.student), LinearProbe(*probe_of(frozen))
    fine_tune(student, head, all_of(frozen, "train"), None, 2, seed=0)
    before = dict(frozen.student.named_parameters())
    change = {
        key: float((x - before[key]).detach().abs().max()) for key, x in student.named_parameters()
    }
    # Weight decay alone changes them less, and some are not used, such as MOMENT's mask token.
    trained = [key for key, size in change.items() if size > fine_tuned.LEARNING_RATE / 10]
    assert len(trained) > len(change) / 2


def test_early_stopping_keeps_the_first_best_weights(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = frozen_on(store)
    val, seen = all_of(frozen, "val"), []
    accuracies = iter([0.5, 0.4, 0.7, 0.7, 0.6, 0.7, 0.9])

    def accuracy(self: LabelledWindows, student: Student, *others: object) -> float:
        seen.append(copy_of(student))
        return next(accuracies)

    monkeypatch.setattr(LabelledWindows, "accuracy", accuracy)
    student, head = copy_of(frozen.student), LinearProbe(*probe_of(frozen))
    steps = fine_tune(student, head, all_of(frozen, "train"), val, 40, seed=0)
    assert steps == 8  # of ten checks the second; three without a higher accuracy followed
    assert len(seen) == 6
    assert weights_equal(seen[0], frozen.student)
    assert weights_equal(seen[2], student) and not weights_equal(seen[5], student)


def test_without_val_all_steps_are_made(store: Store) -> None:
    frozen = frozen_on(store)
    student, head = copy_of(frozen.student), LinearProbe(*probe_of(frozen))
    assert fine_tune(student, head, all_of(frozen, "train"), None, 7, seed=0) == 7


def test_no_batch_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuned, "BATCH_SIZE", 4)
    batches = fine_tuned._batches(9, seed=0)
    epochs = [torch.cat([next(batches), next(batches)]) for _ in range(30)]
    assert all(len(set(epoch.tolist())) == 8 for epoch in epochs)
    assert set(torch.cat(epochs).tolist()) == set(range(9))
    assert len(next(fine_tuned._batches(3, seed=0))) == 3


def test_the_frozen_line_is_the_few_shot_curve_on_the_same_windows(store: Store) -> None:
    frozen = frozen_on(store, seed=3)
    before = copy_of(frozen.student)
    measured = measure_fine_tuned(frozen)
    few = feature_metrics.few_shot_hits(
        frozen.train(), frozen.scored()["test"], (1, 5, 10), DRAWS, seed=3
    )
    linear = feature_metrics.linear_hits(frozen.train(), frozen.scored()["test"])
    for k, hits in {**few, "all": linear["acc1"]}.items():
        assert measured.metrics[f"test/fine_tuned/frozen_{k}"] == pytest.approx(hits.mean())
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    names = {f"fine_tuned/{kind}{k}" for k in ("1", "5", "10", "all") for kind in ("", "frozen_")}
    assert set(rows.columns) == names | {"split", "group"}
    for name in names:
        assert measured.metrics[f"test/{name}"] == pytest.approx(rows[name].mean())
        # All windows can be drawn in one way only.
        assert (f"test/{name}_std" in measured.metrics) == (not name.endswith("all"))
    assert weights_equal(before, frozen.student)
    assert measured.metrics == measure_fine_tuned(frozen).metrics


def test_a_class_without_train_windows_is_never_predicted(store: Store) -> None:
    frozen_on(store)
    path = store.folder("arrays", "w") / "train-00000.safetensors"
    content = load_file(path)
    content["label"][content["label"] == 1] = -1
    save_file(content, path)
    torch.manual_seed(0)
    arrays = WindowArrays.load(store.folder("arrays", "w"))
    frozen = FrozenStudent(build_student(trial_config().student), arrays, 0)
    measured = measure_fine_tuned(frozen)
    assert measured.predictions is not None
    label_N = frozen.scored()["test"][1]
    rows = measured.predictions.to_pandas()
    assert rows["fine_tuned/all"][label_N != 1].mean() > 0.5
    assert not rows["fine_tuned/all"][label_N == 1].any()


def test_one_class_cannot_be_tuned(store: Store) -> None:
    with raises(EvaluateError, "evaluate.one-class"):
        measure_fine_tuned(frozen_on(store, classes=1))
