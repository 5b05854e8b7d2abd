"""Retrieval across modalities, in the space of the teacher's embeddings: of each window's own video
among the videos of all windows of its split, and the reverse.

Shape letters: N windows, D width of the embeddings.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from comodo.config.measures import SCORED_SPLITS
from comodo.config.metric import Metric
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import checked_features
from comodo.evaluation.measured import Measured
from comodo.evaluation.shared_space import embed

METRICS = (
    "imu_to_video_r1", "imu_to_video_r5", "imu_to_video_r10",
    "video_to_imu_r1", "video_to_imu_r5", "video_to_imu_r10",
)  # fmt: skip
NUMBERS = ("imu_to_video_median_rank", "video_to_imu_median_rank", "windows")
NEEDS_LABELS = False
NEEDS_TEACHER = True
TEACHER_SPLITS = ("val", "test")
NEEDS_PROJECTORS = True
NEEDS_SHARED_SPACE = True

RANKS = (1, 5, 10)
"""The k of the shares of retrievals whose rank is at most k."""
QUERIES_AT_ONCE = 1_024
SAME = 1e-6
"""Similarities that differ by less are a tie: the embeddings are float32."""


def measure_retrieval(frozen: FrozenStudent) -> Measured:
    """For each window of a split, the rank of its own video among the videos of all its windows by
    the student's embedding, and the reverse: the share with a rank of at most k, the median rank,
    and the number of windows. Other windows of the same recording are other videos.

    Labels are not used, and windows without a video are left out. R@k is only given of more than k
    windows.
    """
    assert frozen.teacher is not None and frozen.teacher.heads is not None
    student_head, teacher_head = frozen.teacher.heads
    features = frozen.teacher.features
    metrics, tables = dict[str, float](), []
    for split in SCORED_SPLITS:
        index_N = features.encoded.get(split)
        if index_N is None or len(index_N) < 2:
            continue
        feature_ND = torch.from_numpy(frozen.extract(split, index_N))
        ranks = retrieval_ranks(
            embed(student_head, feature_ND), embed(teacher_head, features.gather(split, index_N))
        )
        columns = {}
        for direction, rank_N in ranks._asdict().items():
            for k in RANKS:
                if k < len(rank_N):
                    metric = Metric(split, f"{direction}_r{k}", "retrieval")
                    columns[metric.column] = (rank_N <= k).astype(np.float64)
                    metrics[str(metric)] = float((rank_N <= k).mean())
            median = Metric(split, f"{direction}_median_rank", "retrieval")
            metrics[str(median)] = float(np.median(rank_N))
        metrics[str(Metric(split, "windows", "retrieval"))] = float(len(index_N))
        groups = {"split": [split] * len(index_N), "group": frozen.groups(split, index_N)}
        tables.append(pa.table({**groups, **columns}))
    table = pa.concat_tables(tables, promote_options="default") if tables else None
    return Measured(metrics, table)


class Ranks(NamedTuple):
    """Of each window [N] the rank of its counterpart, from 1."""

    imu_to_video: npt.NDArray[np.float64]
    video_to_imu: npt.NDArray[np.float64]


def retrieval_ranks(imu_ND: npt.NDArray[np.floating], video_ND: npt.NDArray[np.floating]) -> Ranks:
    """The ranks by cosine similarity of embeddings of unit length; row i of one is the counterpart
    of row i of the other. One of several that are equally similar has the middle of their ranks.

    Raises EvaluateError, `evaluate.not-finite`.
    """
    both = (checked_features(part_ND) for part_ND in (imu_ND, video_ND))
    imu, video = (torch.from_numpy(part_ND).double() for part_ND in both)
    own_N = (imu * video).sum(dim=1)
    row_ranks, column_N = [], torch.ones(len(own_N), dtype=torch.float64)
    for first in range(0, len(imu), QUERIES_AT_ONCE):
        similar_nN = imu[first : first + QUERIES_AT_ONCE] @ video.T
        own_n = own_N[first : first + QUERIES_AT_ONCE]
        # Its counterpart ties with itself, which is half a rank too much.
        row_ranks.append(_above(similar_nN, own_n[:, None]).sum(dim=1) + 0.5)
        column_N += _above(similar_nN, own_N[None, :]).sum(dim=0)
    return Ranks(torch.cat(row_ranks).numpy(), (column_N - 0.5).numpy())


def _above(similar_nN: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """1 where a similarity is above the counterpart's, 0.5 for a tie."""
    return (similar_nN > own + SAME).double() + 0.5 * ((similar_nN - own).abs() <= SAME)
