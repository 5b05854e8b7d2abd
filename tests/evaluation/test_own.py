"""Measures that are classes of another package or of the user's file."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comodo.config import Sweep
from comodo.config.measures import Measure
from comodo.core.labels import NO_LABEL
from comodo.core.store import Store
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.measures.knn import measure_knn
from comodo.evaluation.own import measure_own, refuse_unusable
from comodo.evaluation.results import Results, TrialRow
from comodo.models.students import build_student
from comodo.report.tables import measured as shown
from comodo.search.trial import Evaluation, Trial
from tests.config.test_measures import LOSSES, NEAREST, OWN, sweep
from tests.errors import raises
from tests.evaluation.measures.frozen import subject_of
from tests.helpers import make_arrays, run_whole, trial_config

SEEN = """
seen = []
class Seen:
    METRICS = ("a",)
    CONSTANTS
    def __init__(self, seed):
        self.seed = seed
    def __call__(self, train, scored):
        seen.append((self.seed, train, scored))
        return GIVEN
"""


def own(folder: Path, text: str, name: str = "Seen") -> Measure:
    entry = OWN | {"class": name, "name": "mine"}
    return sweep(folder, "probe", entry, text=text).measures.own["mine"]


def seen_by(folder: Path, frozen: FrozenStudent, constants: str = "", given: str = "") -> Any:
    """What it was called with: seed, train, scored of each split; its result."""
    text = SEEN.replace("CONSTANTS", constants).replace("GIVEN", given or "{'a': 0.5}")
    settings = own(folder, text)
    assert settings.own_code is not None
    seen = settings.own_code.run().__call__.__globals__["seen"]
    seen.clear()  # a text is one module, whoever runs it
    return seen, measure_own(settings, frozen)


def test_the_measure_of_the_page_is_its_formula(tmp_path: Path) -> None:
    frozen = subject_of(tmp_path, 40)
    settings = sweep(tmp_path, "probe", OWN | {"settings": {"k": 1}}).measures.own["nearest"]
    measured = measure_own(settings, frozen)
    (train_ND, train_N), scored = frozen.train(), frozen.scored()
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for split in ("val", "test"):
        x_ND, label_N = scored[split]
        closeness_NM = torch.cosine_similarity(
            torch.tensor(x_ND)[:, None], torch.tensor(train_ND)[None], dim=2
        )
        hit_N = train_N[closeness_NM.argmax(1).numpy()] == label_N
        assert measured.metrics[f"{split}/nearest/precision"] == pytest.approx(hit_N.mean())
        part = rows[rows.split == split]
        assert part["nearest/precision"].tolist() == hit_N.tolist()
    knn = measure_knn(frozen).predictions
    assert knn is not None
    assert rows.group.tolist() == knn.to_pandas().group.tolist()


def test_it_sees_labelled_windows_of_each_split(tmp_path: Path) -> None:
    frozen = subject_of(tmp_path, 40)
    frozen.windows.splits["val"].label_N[:5] = NO_LABEL
    calls, measured = seen_by(tmp_path, frozen)
    assert measured.metrics == {"val/mine/a": 0.5, "test/mine/a": 0.5}
    assert measured.predictions is None
    assert [(seed, len(t.label_N), len(s.label_N)) for seed, t, s in calls] == [
        (0, 42, 15),
        (0, 42, 20),
    ]
    for _, train, scored in calls:
        assert train.teacher_NF is None and scored.teacher_NF is None
        assert train.classes == ("c0", "c1", "c2")
        assert scored.features_ND.shape == (len(scored.label_N), frozen.student.dim)
        assert scored.features_ND.dtype == np.float32
    assert calls[0][2].group_N.tolist() == [f"g{i % 4}" for i in range(5, 20)]


def test_without_labels_it_sees_all_windows(tmp_path: Path) -> None:
    frozen = subject_of(tmp_path, 40)
    for part in frozen.windows.splits.values():
        part.label_N.fill_(NO_LABEL)
    with raises(EvaluateError, "evaluate.own-measure", "Seen of my_measure.py", "train split"):
        seen_by(tmp_path, frozen)
    calls, _ = seen_by(tmp_path, frozen, "NEEDS_LABELS = False")
    assert [len(scored.label_N) for *_, scored in calls] == [20, 20]
    assert all((scored.label_N == NO_LABEL).all() for *_, scored in calls)


@pytest.mark.parametrize("labels", ["True", "False"])
def test_with_a_teacher_it_sees_windows_with_video(tmp_path: Path, labels: str) -> None:
    frozen = subject_of(tmp_path, 40)
    assert frozen.teacher is not None
    constants = f"NEEDS_TEACHER = True; NEEDS_LABELS = {labels}"
    calls, _ = seen_by(tmp_path, frozen, constants)
    for (_, train, scored), split in zip(calls, ("val", "test"), strict=True):
        assert (len(train.label_N), len(scored.label_N)) == (40, 20)  # 0 and 1 have none
        features = frozen.teacher.features
        np.testing.assert_array_equal(
            train.teacher_NF, features.gather("train", torch.arange(2, 42)).numpy()
        )
        np.testing.assert_array_equal(
            scored.teacher_NF, features.gather(split, torch.arange(20)).numpy()
        )
    np.testing.assert_array_equal(calls[0][1].features_ND, frozen.train()[0][2:])


def test_hand_crafted_features_are_standardised(tmp_path: Path) -> None:
    frozen = subject_of(tmp_path, 40)
    student = build_student(Trial(trial_config(), 0, "w", "f").hand_crafted.config.student)
    calls, _ = seen_by(tmp_path, FrozenStudent(student, frozen.windows, 0))
    train_ND = calls[0][1].features_ND
    varied_D = train_ND.std(axis=0) > 0.5
    assert varied_D.any()
    np.testing.assert_allclose(train_ND.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(train_ND.std(axis=0)[varied_D], 1, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("{'b': 1}", r"has to give a dict with a, not \['b'\]"),
        ("0.5", "has to give a dict with a, not float"),
        ("{'a': [1, 0]}", r"a number or 20 scores, one of each window, not of shape \(2,\)"),
        ("{'a': float('nan')}", "a is nan"),
        ("{'a': [2.0] * len(scored.label_N)}", "are 2 to 2, and not from 0 to 1"),
        ("{'a': 'high'}", "ValueError: could not convert string to float: 'high'"),
        ("{'a': 1 / 0}", "Seen of my_measure.py: ZeroDivisionError: division by zero"),
    ],
)
def test_what_it_may_not_give(tmp_path: Path, given: str, reason: str) -> None:
    with pytest.raises(EvaluateError, match=reason):
        seen_by(tmp_path, subject_of(tmp_path, 40), given=given)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("self.k = k", "1 / 0", "Nearest of my_measure.py cannot be used: ZeroDivisionError"),
        ("def __call__", "def call", "needs a method __call__"),
        ("import numpy", "import a_library_that_is_not_there", "my_measure.py cannot be run"),
    ],
)
def test_a_class_that_cannot_be_built_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    assert old in NEAREST
    found = sweep(tmp_path, "probe", OWN, text=NEAREST.replace(old, new, 1))
    with pytest.raises(ValueError, match=reason):
        refuse_unusable(found.measures)


def test_reading_runs_nothing_and_what_was_stored_may_not_run(tmp_path: Path) -> None:
    left = tmp_path / "left"
    text = f"open({str(left)!r}, 'w').close()\n{NEAREST}"
    found = sweep(tmp_path, "probe", OWN, text=text, objective="val/nearest/precision")
    trial = Trial(trial_config(), 0, "w", "f", Evaluation(("nearest",), own=found.measures.own))
    assert len(list(trial.measures())) == 1
    settings = found.model_dump(mode="json", exclude_unset=True)
    context = {"folder": tmp_path, "code": found.code, "read_back": True}
    again = Sweep.model_validate(settings, context=context).measures
    with pytest.raises(ValueError, match=r"my_measure\.py is code that was not allowed to run"):
        refuse_unusable(again)
    assert not left.exists()
    refuse_unusable(pickle.loads(pickle.dumps(found.measures)))  # as a worker gets it
    assert left.exists()


def test_a_trial_is_measured_again_and_not_trained_again(tmp_path: Path) -> None:
    """After a change of the file; with the intervals of an accuracy for scores of windows."""
    store = Store(tmp_path / "store")
    arrays = make_arrays(store)

    def measured(text: str, *classes: str) -> tuple[Trial, dict[str, float], Results]:
        entries = [OWN | {"class": name, "name": name.lower()} for name in classes]
        found = sweep(tmp_path, "probe", *entries, text=text)
        evaluation = Evaluation(found.measures.names, own=found.measures.own)
        trial = Trial(trial_config(method={"name": "none"}), 0, *arrays, evaluation)
        metrics = run_whole(trial, store).metrics
        return trial, metrics, Results(found, [TrialRow(trial, "x", "finished", metrics)], store)

    trial, first, results = measured(NEAREST + LOSSES, "Nearest", "Losses")
    assert first["test/losses/error"] == 2.5
    accuracy = results.measure("x", "test/nearest/precision")
    assert accuracy is not None and accuracy.mean == pytest.approx(first["test/nearest/precision"])
    assert 0 < accuracy.low < accuracy.mean <= accuracy.high <= 1
    assert shown(results, "x", "test/nearest/precision").startswith(f"{100 * accuracy.mean:.1f} (")
    assert shown(results, "x", "test/losses/error") == "2.5"  # neither cut at 1 nor in percent
    folder = store.folder("trials", trial.key)
    before = (folder / "trained.json").read_bytes()  # with the seconds that it took
    again, second, _ = measured(NEAREST + LOSSES.replace("2.5", "3.5"), "Nearest", "Losses")
    assert again.key == trial.key
    assert (folder / "trained.json").read_bytes() == before
    assert second["test/losses/error"] == 3.5
    places = sorted(path.stem for path in folder.glob("measures/w/*.json"))
    assert [place.split("-")[0] for place in places] == ["losses"] * 2 + ["nearest"] * 2 + ["probe"]
