"""A trained student as a transformer of scikit-learn: windows to features, in a pipeline.

Knows no classifier. Shape letters: N windows, C channels, R samples, D width of a feature.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from comodo.models.trained_student import TrainedStudent, load_student


class StudentTransformer(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # scikit-learn has no types
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Windows `[N, C, R]` to a frozen student's features `[N, D]`, in pipelines of scikit-learn.

    Args:
        student: a `TrainedStudent`, or what `load_student` takes: a folder or a hub id.
        rate: samples per second of the windows, in Hz.
        units: of acceleration and rotation, as in `TrainedStudent.embed`.
        channels: names of the windows' channels, if they are not exactly the student's.
        revision: of a hub id, as in `load_student`.
        allow_code: whether the code of the student's file may run, as in `load_student`.

    Attributes:
        student_: after `fit`, the student.

    `fit` only loads the student, which is never trained. A pickle contains the student.

    Examples:
        >>> embed = comodo.StudentTransformer("recogniser", rate=50, units=("g", "deg/s"))
        >>> model = make_pipeline(embed, StandardScaler(), SVC()).fit(windows, labels)
    """

    def __init__(
        self,
        student: TrainedStudent | str | Path,
        rate: float,
        units: str | Sequence[str],
        channels: Sequence[str] | None = None,
        revision: str | None = None,
        allow_code: bool = False,
    ) -> None:
        self.student, self.rate, self.units, self.channels = student, rate, units, channels
        self.revision, self.allow_code = revision, allow_code

    def fit(self, X: npt.ArrayLike, y: object = None) -> "StudentTransformer":
        """Loads the student. Raises StudentError if there is none, or if it cannot take the first
        of these windows."""
        student = self.student
        if not isinstance(student, TrainedStudent):
            student = load_student(student, self.revision, self.allow_code)
        self.student_ = student
        self._n_features_out = student.dim
        self.transform(np.asarray(X)[:1])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Features `[N, D]`; raises StudentError as `TrainedStudent.embed` does."""
        check_is_fitted(self)
        return self.student_.embed(X, self.rate, self.units, self.channels)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags
