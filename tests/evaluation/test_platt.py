"""The parts of libsvm's probabilities, each against what defines it."""

from typing import Any

import numpy as np
from scipy.optimize import minimize

from comodo.evaluation import platt


def test_random_numbers_are_those_of_the_standard_mersenne_twister() -> None:
    generator = platt.LibsvmRandom(5489)
    words = [generator._below(2**32) for _ in range(10_000)]
    assert words[-1] == 4123659995  # the C++ standard's check value for mt19937
    generator.reseed()
    assert sorted(generator.permutation(100)) == list(range(100))


def test_sigmoid_minimises_the_smoothed_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    is_first_M = rng.random(60) < 0.3
    decisions_M = rng.normal(size=60) + is_first_M
    n_first = is_first_M.sum()
    target_M = np.where(is_first_M, (n_first + 1) / (n_first + 2), 1 / (60 - n_first + 2))

    def cross_entropy(parameters: Any) -> float:
        first_M = 1 / (1 + np.exp(parameters[0] * decisions_M + parameters[1]))
        return float(-(target_M * np.log(first_M) + (1 - target_M) * np.log(1 - first_M)).sum())

    found = platt.fit_sigmoid(decisions_M, is_first_M)
    np.testing.assert_allclose(found, minimize(cross_entropy, [0, 0]).x, atol=1e-4)


def test_coupling_recovers_consistent_probabilities() -> None:
    truth_NK = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    first_wins_NP = np.stack(
        [truth_NK[:, i] / (truth_NK[:, i] + truth_NK[:, j]) for i, j in pairs], axis=1
    )
    coupled_NK = platt.couple(first_wins_NP, pairs)
    np.testing.assert_allclose(coupled_NK, truth_NK, atol=0.01)  # libsvm stops at 0.005 / classes
