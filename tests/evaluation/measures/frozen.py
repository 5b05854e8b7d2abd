"""Frozen students with random weights, on random windows."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.prompts import save_prompts
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.models.students import build_student
from tests.helpers import make_arrays, trial_config


def subject_of(folder: Path, windows: int, classes: int = 3) -> FrozenStudent:
    """A student with random weights, and so many training windows."""
    store = Store(folder)
    keys = make_arrays(store, windows, classes)
    arrays, features = (store.folder("arrays", key) for key in keys)
    student = build_student(trial_config().student)
    teacher = TeacherContext(FeatureArrays.load(features), None)
    return FrozenStudent(student, WindowArrays.load(arrays), 0, teacher=teacher)


def frozen_of(folder: Path, windows: int = 40, classes: int = 4) -> FrozenStudent:
    """A student with random weights and projector, its teacher's features, and texts."""
    store = Store(folder)
    keys = make_arrays(store, windows, classes)
    arrays, packed = (store.folder("arrays", key) for key in keys)
    student, features = build_student(trial_config().student), FeatureArrays.load(packed)
    torch.manual_seed(0)
    first = nn.LayerNorm(student.dim)  # or all windows would be alike
    heads = nn.Sequential(first, nn.Linear(student.dim, features.dim)), nn.Identity()
    loaded = WindowArrays.load(arrays)
    text_KD = nn.functional.normalize(torch.randn(len(loaded.classes), features.dim))
    save_prompts(folder / "texts", [f"doing {name}" for name in loaded.classes], text_KD)
    teacher = TeacherContext(features, heads, texts=folder / "texts")
    return FrozenStudent(student, loaded, 0, teacher=teacher)


def embeddings(frozen: FrozenStudent, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Of a split, the student's and the teacher's, of unit length."""
    assert frozen.teacher is not None and frozen.teacher.heads is not None
    index_N = torch.arange(len(frozen.windows.splits[split]))
    with torch.no_grad():
        student_ND = frozen.teacher.heads[0](torch.from_numpy(frozen.extract(split, index_N)))
    both = student_ND, frozen.teacher.features.gather(split, index_N)
    imu_ND, video_ND = (nn.functional.normalize(part_ND).numpy() for part_ND in both)
    return imu_ND, video_ND
