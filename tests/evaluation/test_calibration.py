"""Calibration against plain formulations, and its intervals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss

from comodo.config.metric import Metric, Objective
from comodo.core.parts import write_table
from comodo.core.store import Store
from comodo.evaluation import calibration
from comodo.evaluation.predictions import Predictions
from comodo.evaluation.stats import jackknife_interval
from comodo.search.trial import Evaluation, Trial
from tests.helpers import trial_config

CLASSES_K = np.array(["a", "b", "c", "d"])


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, K] and labels [N]."""
    rng = np.random.default_rng(0)
    return rng.dirichlet([0.4] * 4, size=500), rng.choice(CLASSES_K, size=500)


def plain_ece(probability_NK: np.ndarray, label_N: np.ndarray, bins: int = 15) -> float:
    """Guo et al. (2017), equations 3 and 5."""
    confidence_N = probability_NK.max(axis=1)
    hit_N = CLASSES_K[probability_NK.argmax(axis=1)] == label_N
    total = 0.0
    for m in range(1, bins + 1):
        in_bin_N = (confidence_N > (m - 1) / bins) & (confidence_N <= m / bins)
        if in_bin_N.any():
            gap = abs(hit_N[in_bin_N].mean() - confidence_N[in_bin_N].mean())
            total += in_bin_N.mean() * gap
    return total


def test_scores_are_those_of_plain_formulations(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    probability_NK, label_N = drawn
    scores = calibration.scores(calibration.columns(probability_NK, CLASSES_K, label_N))
    assert scores["ece"] == pytest.approx(plain_ece(*drawn), abs=1e-12)
    of_class_K = [
        brier_score_loss(label_N == name, probability_NK[:, k]) for k, name in enumerate(CLASSES_K)
    ]
    assert scores["brier"] == pytest.approx(sum(of_class_K) / 2, abs=1e-12)


def test_certain_and_right_is_the_best_certain_and_wrong_the_worst() -> None:
    certain_NK = np.eye(4)
    for label_N, score in ((CLASSES_K, 0.0), (CLASSES_K[::-1], 1.0)):
        columns = calibration.columns(certain_NK, CLASSES_K, label_N)
        assert calibration.scores(columns) == {"ece": score, "brier": score}


def test_a_class_that_was_never_seen_has_probability_zero() -> None:
    columns = calibration.columns(np.array([[0.5, 0.3, 0.2, 0.0]]), CLASSES_K, np.array(["z"]))
    assert calibration.scores(columns)["brier"] == pytest.approx((0.25 + 0.09 + 0.04 + 1) / 2)
    assert columns["correct"].tolist() == [0]


def test_replicates_are_the_scores_without_each_group(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    group_N = np.random.default_rng(1).choice(["p", "q", "r"], size=500)
    columns = calibration.columns(drawn[0], CLASSES_K, drawn[1])
    without, count_G = calibration.replicates(columns, group_N)
    assert count_G.tolist() == [(group_N == name).sum() for name in "pqr"]
    for g, name in enumerate("pqr"):
        rest = {key: x[group_N != name] for key, x in columns.items()}
        for key, value in calibration.scores(rest).items():
            assert without[key][g] == pytest.approx(value, abs=1e-12)
    alone, _ = calibration.replicates(columns, np.full(500, "p"))
    for key, value in calibration.scores(columns).items():
        assert alone[key].tolist() == pytest.approx([value])


def test_intervals_come_from_seeds_and_groups(tmp_path: Path) -> None:
    store, trials = Store(tmp_path), []
    estimates, replicates = [], []
    group_N = np.repeat(["p", "q", "r", "s"], 50)
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        probability_NK = rng.dirichlet([0.4] * 4, size=200)
        columns = calibration.columns(probability_NK, CLASSES_K, rng.choice(CLASSES_K, 200))
        trial = Trial(trial_config(), seed, "w", "f", Evaluation(("calibration",)))
        ((_, _, place),) = trial.measures()
        table = pa.table({"split": ["test"] * 200, "group": group_N, **columns})
        write_table(store.folder("trials", trial.key) / f"{place}.parquet", table)
        estimates.append(calibration.scores(columns)["ece"])
        without, count_G = calibration.replicates(columns, group_N)
        replicates.append(without["ece"])
        trials.append(trial)
    metric = replace(Metric.parse("test/calibration/ece"), dataset="d")
    found = Predictions(store).interval(trials, metric)
    assert found == jackknife_interval(estimates, replicates, count_G)
    assert found is not None and found.low < found.mean < found.high
    for absent in ("test/calibration/classifier_ece", "val/calibration/brier"):
        metric = replace(Metric.parse(absent), dataset="d")
        assert Predictions(store).interval(trials, metric) is None


def test_the_interval_of_a_score_holds_for_new_groups() -> None:
    """One student, twelve groups of unequal difficulty; the truth is that of very many groups."""
    rng, level = np.random.default_rng(0), {"ece": 0, "brier": 0}

    def columns(groups: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        group_N = np.repeat(np.arange(groups), 80)
        confidence_N = rng.uniform(0.5, 1, len(group_N))
        worse_N = rng.normal(0.12, 0.06, groups)[group_N]  # confident by so much too often
        correct_N = (rng.random(len(group_N)) < confidence_N - worse_N).astype(float)
        brier_N = (confidence_N - correct_N) ** 2
        return {"confidence": confidence_N, "correct": correct_N, "brier": brier_N}, group_N

    truth = calibration.scores(columns(4_000)[0])
    studies = 300
    for _ in range(studies):
        found, group_N = columns(12)
        without, count_G = calibration.replicates(found, group_N)
        for name, estimate in calibration.scores(found).items():
            interval = jackknife_interval([estimate], [without[name]], count_G)
            assert interval is not None
            level[name] += interval.low <= truth[name] <= interval.high
    assert level["brier"] / studies >= 0.92
    assert level["ece"] / studies >= 0.92


def test_less_is_better() -> None:
    assert Objective(metric="val/calibration/brier").mode == "min"
    assert Objective(metric="on/calibration/test/acc1").mode == "max"
