"""Retrieval across modalities, against a plain formulation."""

from pathlib import Path

import numpy as np
import pytest

from comodo.core.labels import NO_LABEL
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.measures.retrieval import (
    METRICS,
    QUERIES_AT_ONCE,
    RANKS,
    Ranks,
    measure_retrieval,
    retrieval_ranks,
)
from tests.evaluation.measures.frozen import embeddings, frozen_of


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


def test_its_shares_are_declared() -> None:
    assert tuple(f"{way}_r{k}" for way in Ranks._fields for k in RANKS) == METRICS


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
