"""Classes by their texts, and retrieval across modalities, against plain formulations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from comodo.config.measures import RANKS
from comodo.core.store import Store
from comodo.data.arrays import NO_LABEL, FeatureArrays, WindowArrays
from comodo.data.prompts import load_prompts, save_prompts
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.shared_space import (
    QUERIES_AT_ONCE,
    measure_retrieval,
    measure_zero_shot_text,
    retrieval_ranks,
)
from comodo.models.students import build_student
from tests.helpers import make_arrays, trial_config


def unit(rng: np.random.Generator, count: int, width: int = 8) -> np.ndarray:
    rows = rng.standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain_rank(query_D: np.ndarray, gallery_ND: np.ndarray, own: int) -> float:
    """By sorting all of the gallery: the mean place of those as similar as its own."""
    similar_N = gallery_ND.astype(np.float64) @ query_D.astype(np.float64)
    places = [
        place
        for place, index in enumerate(np.argsort(-similar_N, kind="stable"), 1)
        if abs(similar_N[index] - similar_N[own]) <= 1e-6
    ]
    return float(np.mean(places))


@pytest.mark.parametrize("count", [2, 3, 50, QUERIES_AT_ONCE + 3])
def test_ranks_are_those_of_sorting_the_whole_gallery(count: int) -> None:
    rng = np.random.default_rng(count)
    video_ND = unit(rng, count)
    imu_ND = video_ND + 0.7 * unit(rng, count)
    imu_ND /= np.linalg.norm(imu_ND, axis=1, keepdims=True)
    imu_ND[1], video_ND[1] = imu_ND[0], video_ND[0]  # a tie in each direction
    found = retrieval_ranks(imu_ND, video_ND)
    some = [*rng.choice(count, min(count, 60), replace=False).tolist(), 0, 1]
    for i in some:
        assert found.imu_to_video[i] == plain_rank(imu_ND[i], video_ND, i)
        assert found.video_to_imu[i] == plain_rank(video_ND[i], imu_ND, i)


def test_embeddings_that_are_all_alike_find_nothing() -> None:
    same_ND = np.tile(unit(np.random.default_rng(0), 1), (9, 1))
    found = retrieval_ranks(same_ND, same_ND)
    assert found.imu_to_video.tolist() == found.video_to_imu.tolist() == [5.0] * 9


def test_perfect_embeddings_and_ones_in_another_order() -> None:
    video_ND = np.eye(6, dtype=np.float32)
    assert retrieval_ranks(video_ND, video_ND).imu_to_video.tolist() == [1.0] * 6
    shifted = retrieval_ranks(np.roll(video_ND, 1, axis=0), video_ND)
    assert set(shifted.imu_to_video) == {4.0}, "behind one that is more similar, amid five alike"


def test_embeddings_that_are_not_finite_are_refused() -> None:
    bad_ND = np.full((3, 2), np.nan, np.float32)
    with pytest.raises(EvaluateError, match="not finite"):
        retrieval_ranks(bad_ND, np.eye(3, 2, dtype=np.float32))


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
    assert frozen.teacher is not None and frozen.teacher.heads is not None
    index_N = torch.arange(len(frozen.windows.splits[split]))
    with torch.no_grad():
        student_ND = frozen.teacher.heads[0](torch.from_numpy(frozen.extract(split, index_N)))
    both = student_ND, frozen.teacher.features.gather(split, index_N)
    imu_ND, video_ND = (nn.functional.normalize(part_ND).numpy() for part_ND in both)
    return imu_ND, video_ND


def test_retrieval_counts_ranks_within_each_split_with_or_without_labels(tmp_path: Path) -> None:
    frozen = frozen_of(tmp_path)
    frozen.windows.splits["val"].label_N[::2] = NO_LABEL
    measured = measure_retrieval(frozen)
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for split in ("val", "test"):
        imu_ND, video_ND = embeddings(frozen, split)
        count = len(imu_ND)
        assert measured.metrics[f"{split}/retrieval/windows"] == count == 20
        of_split = rows[rows.split == split]
        for name, a_ND, b_ND in (
            ("imu_to_video", imu_ND, video_ND), ("video_to_imu", video_ND, imu_ND),
        ):  # fmt: skip
            rank_N = np.array([plain_rank(a_ND[i], b_ND, i) for i in range(count)])
            found = measured.metrics[f"{split}/retrieval/{name}_median_rank"]
            assert found == np.median(rank_N)
            for k in RANKS:
                column = f"retrieval/{name}_r{k}"
                assert measured.metrics[f"{split}/{column}"] == (rank_N <= k).mean()
                assert of_split[column].tolist() == (rank_N <= k).tolist()


def test_a_share_of_ranks_is_not_given_of_as_many_windows(tmp_path: Path) -> None:
    measured = measure_retrieval(frozen_of(tmp_path, windows=20))  # 10 of val, and of test
    assert "val/retrieval/imu_to_video_r5" in measured.metrics
    assert "val/retrieval/imu_to_video_r10" not in measured.metrics


def test_the_class_is_that_of_the_most_similar_text(tmp_path: Path) -> None:
    frozen = frozen_of(tmp_path)
    assert frozen.teacher is not None and frozen.teacher.texts is not None
    prompts, _ = load_prompts(frozen.teacher.texts)
    classes = frozen.windows.classes
    assert prompts == [f"doing {name}" for name in classes]
    student_ND = np.concatenate([embeddings(frozen, split)[0] for split in ("val", "test")])
    apart_ND = student_ND - student_ND.mean(axis=0)  # or one class would be predicted of all
    text_KD = nn.functional.normalize(torch.from_numpy(apart_ND[: len(classes)]))
    save_prompts(frozen.teacher.texts, prompts, text_KD)
    measured = measure_zero_shot_text(frozen)
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for split in ("val", "test"):
        imu_ND, _ = embeddings(frozen, split)
        label_N = [classes[i] for i in frozen.windows.splits[split].label_N]
        predicted = []
        for imu_D in imu_ND:
            cosines = [float(imu_D @ text_D) for text_D in text_KD.numpy()]
            predicted.append(classes[int(np.argmax(cosines))])
        of_split = rows[rows.split == split]
        assert of_split.predicted.tolist() == predicted and of_split.label.tolist() == label_N
        assert len(set(predicted)) > 1
        accuracy = np.mean([p == y for p, y in zip(predicted, label_N, strict=True)])
        assert measured.metrics[f"{split}/zero_shot_text/acc1"] == accuracy
        assert f"{split}/zero_shot_text/macro_f1" in measured.metrics
