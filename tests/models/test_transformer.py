"""A student in pipelines of scikit-learn."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import set_config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from comodo.models.students import StudentError
from comodo.models.trained_student import TrainedStudent
from comodo.models.transformer import StudentTransformer
from tests import tiny_students
from tests.errors import raises
from tests.models.test_trained_student import TRAINED_ON, worn, write_export

LABELS = ["sit", "walk"] * 8


def windows() -> np.ndarray:
    """Sitting and walking, which are easily told apart."""
    imu = worn(16)
    imu[1::2] += np.sin(np.arange(64) * 0.9).astype(np.float32)
    return imu


def test_a_pipeline(tmp_path: Path) -> None:
    """Of a folder: fitted, cloned, cross-validated, searched, pickled."""
    folder = write_export(tiny_students.make("mantis"), tmp_path / "out")
    embed = StudentTransformer(str(folder), rate=20, units=("g", "deg/s"))
    model = make_pipeline(embed, SVC(kernel="linear"))
    model.fit(windows(), LABELS)
    assert list(model.predict(windows())) == LABELS
    student = embed.student_
    assert_array_equal(embed.transform(windows()), student.embed(windows(), 20, ("g", "deg/s")))
    names = embed.get_feature_names_out()
    assert (len(names), names[0]) == (student.dim, "studenttransformer0")
    features = embed.transform(windows())
    alone = cross_val_score(SVC(kernel="linear"), features, LABELS, cv=2)
    assert_array_equal(cross_val_score(clone(model), windows(), LABELS, cv=2), alone)
    found = GridSearchCV(model, {"svc__C": [1]}, cv=2).fit(windows(), LABELS)
    assert found.best_score_ == alone.mean()
    pickled = pickle.dumps(model)
    for file in folder.iterdir():
        file.unlink()
    assert list(pickle.loads(pickled).predict(windows())) == LABELS


def test_parameters() -> None:
    student = TrainedStudent(tiny_students.make("mantis"), TRAINED_ON)
    embed = StudentTransformer(student, 20, ("g", "deg/s"))
    assert embed.get_params() == {
        "student": student, "rate": 20, "units": ("g", "deg/s"), "channels": None,
        "revision": None, "allow_code": False,
    }  # fmt: skip
    copied = clone(embed)
    assert copied is not embed and copied.get_params()["rate"] == 20
    assert_array_equal(copied.fit_transform(windows()), embed.fit_transform(windows()))
    with pytest.raises(NotFittedError):
        clone(embed).transform(windows())


def test_windows_that_do_not_fit_are_refused_by_fit() -> None:
    student = TrainedStudent(tiny_students.make("mantis"), TRAINED_ON)
    with raises(StudentError, "student.wrong-length"):
        StudentTransformer(student, 50, ("g", "deg/s")).fit(windows())
    with raises(StudentError, "student.not-found", "no-such-folder"):
        StudentTransformer("./no-such-folder", 20, "g").fit(windows())


def test_frames_have_the_features_names() -> None:
    student = TrainedStudent(tiny_students.make("mantis"), TRAINED_ON)
    embed = StudentTransformer(student, 20, ("g", "deg/s")).set_output(transform="pandas")
    frame = embed.fit(windows()).transform(windows())
    set_config()
    assert list(frame) == list(embed.get_feature_names_out())
