"""Intervals and tests: what they are by hand, and how often they hold in simulated studies.

A study is drawn from crossed random effects on the probit scale, on which the expectation is known
in closed form: that of Phi(mu + N(0, v)) is Phi(mu / sqrt(1 + v)). Groups have unequal sizes,
independent of their effects. R studies at once; other shape suffixes as in `stats`.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.special import ndtr, ndtri

from comodo.evaluation import feature_metrics
from comodo.evaluation.stats import (
    MAX_SEEDS,
    Comparison,
    accuracy_interval,
    accuracy_on_group,
    compare,
    delete_one_group,
    holm,
    jackknife_bounds,
    jackknife_interval,
    paired_test,
    t_interval,
)

Floats = npt.NDArray[np.float64]
SIZES = [(3, 8), (5, 20), (1, 12), (3, 40), (8, 8)]  # seeds, groups


@dataclass(frozen=True)
class Effects:
    """Standard deviations on the probit scale; 0.5 puts groups of 90 % between 73 and 99 %."""

    group: float
    seed: float
    cell: float


EFFECTS = {
    "groups": Effects(0.5, 0.08, 0.08),
    "seeds": Effects(0.08, 0.3, 0.08),
    "neither": Effects(0, 0, 0),
}
CASES = list(itertools.product(SIZES, EFFECTS, [0.6, 0.9]))
HARD = ((8, 8), "groups", 0.9)
"""Many seeds, few groups, some of which are nearly perfect: 94.1 % in 5000 studies, not 95."""


class Studies:
    """R studies of the same groups, from which any number of configurations are drawn."""

    def __init__(self, sizes: tuple[int, int], effects: Effects, number: int, seed: int) -> None:
        self.effects, self.shape = effects, (number, *sizes)
        if sizes[0] == 1:  # the interval is then for that seed
            self.effects = Effects(effects.group, 0, effects.cell)
        self.generator = np.random.default_rng(seed)
        sizes_RG = 80 * np.exp(0.5 * self.generator.normal(size=(number, sizes[1])))
        self.count_RG = np.maximum(np.round(sizes_RG), 5)
        self.group_R1G = self.effects.group * self.generator.normal(size=(number, 1, sizes[1]))

    def hits(self, accuracy: float, by_configuration: float = 0) -> Floats:
        """[R, S, G] of a configuration whose groups also differ by effects of their own."""
        number, n_seeds, n_groups = self.shape
        normal, effects = self.generator.normal, self.effects
        variance = effects.group**2 + effects.seed**2 + effects.cell**2 + by_configuration**2
        probit_RSG = (
            ndtri(accuracy) * math.sqrt(1 + variance)
            + self.group_R1G
            + effects.seed * normal(size=(number, n_seeds, 1))
            + effects.cell * normal(size=self.shape)
            + by_configuration * normal(size=(number, 1, n_groups))
        )
        counts_R1G = self.count_RG[:, None].astype(int)
        return self.generator.binomial(counts_R1G, ndtr(probit_RSG)).astype(float)


class FoldedStudies(Studies):
    """Groups that are tested in folds: the student of each seed and fold has an effect of its own,
    and so has, for all seeds, what a fold lacks in train."""

    def __init__(self, folds: int, of_fold: float, *study: Any) -> None:
        super().__init__(*study)
        _, _, n_groups = self.shape
        self.fold_G, self.of_fold, self.folds = np.arange(n_groups) % folds, of_fold, folds

    def hits(self, accuracy: float, by_configuration: float = 0) -> Floats:
        number, n_seeds, n_groups = self.shape
        normal, effects = self.generator.normal, self.effects
        variance = effects.group**2 + effects.seed**2 + effects.cell**2 + self.of_fold**2
        of_student_RSF = effects.seed * normal(size=(number, n_seeds, self.folds))
        of_train_R1F = self.of_fold * normal(size=(number, 1, self.folds))
        probit_RSG = (
            ndtri(accuracy) * math.sqrt(1 + variance + by_configuration**2)
            + self.group_R1G
            + (of_student_RSF + of_train_R1F)[..., self.fold_G]
            + effects.cell * normal(size=self.shape)
            + by_configuration * normal(size=(number, 1, n_groups))
        )
        counts_R1G = self.count_RG[:, None].astype(int)
        return self.generator.binomial(counts_R1G, ndtr(probit_RSG)).astype(float)


def only_one_hits(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Windows that only one classified correctly, as few as there can be with these hits."""
    extra = np.subtract(a, b).astype(float)
    return np.maximum(extra, 0), np.maximum(-extra, 0)


def compare_hits(a_SG: npt.ArrayLike, b_SG: npt.ArrayLike, count_G: npt.ArrayLike) -> Comparison:
    return compare(*only_one_hits(a_SG, b_SG), count_G)


def sampling_error(rate: float, number: int) -> float:
    return 3 * math.sqrt(rate * (1 - rate) / number)


def coverage(case: Any, number: int) -> float:
    sizes, effects, accuracy = case
    studies = Studies(sizes, EFFECTS[effects], number, seed=CASES.index(case))
    jackknife = delete_one_group(studies.hits(accuracy), studies.count_RG)
    _, low_R, high_R = jackknife_bounds(jackknife, studies.count_RG, 0.95)
    return float(((low_R <= accuracy) & (accuracy <= high_R)).mean())


def false_alarms(case: Any, by_configuration: float, number: int) -> float:
    sizes, effects, accuracy = case
    studies = Studies(sizes, EFFECTS[effects], number, seed=CASES.index(case))
    a, b = (studies.hits(accuracy, by_configuration) for _ in range(2))
    difference_R, half_R, _ = paired_test(*only_one_hits(a, b), studies.count_RG, 0.95)
    return float((abs(difference_R) > half_R).mean())


def family_errors(case: Any, by_configuration: float, number: int) -> float:
    """How often any of ten configurations that equal a baseline is called different by Holm."""
    sizes, effects, accuracy = case
    studies = Studies(sizes, EFFECTS[effects], number, seed=CASES.index(case))
    base = studies.hits(accuracy, by_configuration)
    others = (studies.hits(accuracy, by_configuration) for _ in range(10))
    p_10R = [
        paired_test(*only_one_hits(other, base), studies.count_RG, 0.95)[2] for other in others
    ]
    return float(np.mean([min(holm(p_10)) <= 0.05 for p_10 in np.transpose(p_10R).tolist()]))


def power(sizes: tuple[int, int], effects: Effects, a: float, b: float, number: int) -> float:
    studies = Studies(sizes, effects, number, seed=0)
    only = only_one_hits(studies.hits(a), studies.hits(b))
    difference_R, half_R, p_R = paired_test(*only, studies.count_RG, 0.95)
    assert ((p_R <= 0.05) == (abs(difference_R) >= half_R)).all()
    return float((abs(difference_R) > half_R).mean())


def assert_coverage(number: int) -> None:
    rates = {case: coverage(case, number) for case in CASES}
    for case, rate in rates.items():
        nominal = 0.94 if case == HARD else 0.95
        assert rate >= nominal - sampling_error(nominal, number), case
        # Where neither varies, three seeds cannot show that they do not: 99.9 %.
        assert rate <= (0.995 if case[1] != "neither" else 1), case
    assert 0.93 < np.mean(list(rates.values())) < 0.985


def assert_no_false_alarms(number: int) -> None:
    for case, by_configuration in itertools.product(CASES, [0, 0.25]):
        rate = false_alarms(case, by_configuration, number)
        assert rate <= 0.05 + sampling_error(0.05, number), (case, by_configuration)


def assert_family_errors(cases: list[Any], number: int) -> None:
    for case, by_configuration in itertools.product(cases, [0, 0.25]):
        rate = family_errors(case, by_configuration, number)
        assert rate <= 0.05 + sampling_error(0.05, number), (case, by_configuration)


def test_the_interval_holds_the_expectation_as_often_as_it_says() -> None:
    assert_coverage(1000)


def test_equal_configurations_are_rarely_called_different() -> None:
    assert_no_false_alarms(600)


def test_with_holm_rarely_any_of_ten_equal_configurations_is_called_different() -> None:
    assert_family_errors([case for case in CASES if case[1:] == ("seeds", 0.6)], 300)


@pytest.mark.parametrize("name", feature_metrics.MACRO_AVERAGES)
@pytest.mark.parametrize("sizes", [(3, 20), (1, 12), (5, 40)])
def test_the_interval_of_balanced_accuracy_and_f1_holds_what_is_expected(
    sizes: tuple[int, int], name: str
) -> None:
    """Three classes of unequal size and difficulty; what is wrong is taken for the next class."""
    shares_K, accuracy_K = np.array([0.6, 0.3, 0.1]), np.array([0.9, 0.7, 0.5])
    wrong_KK = np.roll(np.eye(3), 1, axis=1)
    number = 400
    studies = Studies(sizes, EFFECTS["groups"], number, seed=3)
    total_RG = studies.count_RG
    hits_KRSG = []
    for share, accuracy in zip(shares_K, accuracy_K, strict=True):
        studies.count_RG = np.maximum(np.round(share * total_RG), 1)
        hits_KRSG.append((studies.count_RG, studies.hits(accuracy)))

    def confusions(hits: npt.ArrayLike, count: npt.ArrayLike) -> Floats:
        """[..., K, K] from each class's hits and windows [K, ...]."""
        hit_K1 = np.moveaxis(np.asarray(hits, np.float64), 0, -1)[..., None]
        miss_K1 = np.moveaxis(np.asarray(count, np.float64), 0, -1)[..., None] - hit_K1
        return hit_K1 * np.eye(3) + miss_K1 * wrong_KK

    expected = feature_metrics.macro_averages(
        confusions(1000 * shares_K * accuracy_K, 1000 * shares_K)
    )[name]
    held = 0
    for study in range(number):
        count_KG = np.array([count_RG[study] for count_RG, _ in hits_KRSG])
        hits_KSG = np.array([hits_RSG[study] for _, hits_RSG in hits_KRSG])
        each_SGKK = confusions(hits_KSG, np.broadcast_to(count_KG[:, None], hits_KSG.shape))
        total_SKK = each_SGKK.sum(1)
        found = jackknife_interval(
            feature_metrics.macro_averages(total_SKK)[name],
            feature_metrics.macro_averages(total_SKK[:, None] - each_SGKK)[name],
            count_KG.sum(0),
        )
        assert found is not None
        held += bool(found.low <= expected <= found.high)
    assert held / number >= 0.95 - sampling_error(0.95, number)


HARD_FOLDS = ((3, 40, 5), "neither", 0.6)
"""Nothing varies but what the folds lack in train, which eight groups of each fold share: 91 %."""
FOLDED = [(3, 8, 8), (3, 20, 5), (5, 12, 12), (3, 40, 5), (1, 12, 12)]  # seeds, groups, folds


def folded_rates(case: Any, number: int) -> tuple[float, float]:
    """How often the pooled interval holds the expectation, and two configurations that are equal
    in expectation are called different."""
    (seeds, groups, folds), effects, accuracy = case
    study = ((seeds, groups), EFFECTS[effects], number, groups + folds)
    studies = FoldedStudies(folds, 0.05, *study)
    a, b = studies.hits(accuracy), studies.hits(accuracy)
    _, low_R, high_R = jackknife_bounds(
        delete_one_group(a, studies.count_RG), studies.count_RG, 0.95
    )
    difference_R, half_R, _ = paired_test(*only_one_hits(a, b), studies.count_RG, 0.95)
    held = (low_R <= accuracy) & (accuracy <= high_R)
    return float(held.mean()), float((abs(difference_R) > half_R).mean())


def assert_folds_hold(number: int) -> None:
    for case in itertools.product(FOLDED, EFFECTS, [0.6, 0.9]):
        held, alarms = folded_rates(case, number)
        nominal, error = 0.94 if case[1:] == ("groups", 0.9) else 0.95, 0.05
        if case == HARD_FOLDS:
            nominal, error = 0.91, 0.08
        assert held >= nominal - sampling_error(nominal, number), case
        if case[0][0] > 1:  # from one seed nothing is claimed
            assert alarms <= error + sampling_error(error, number), case


def test_the_pooled_interval_of_folds_holds_the_expectation() -> None:
    assert_folds_hold(600)


FEW = list(itertools.product((1, 2, 3), (1, 2, 3, 8)))
"""Seeds and groups of small studies."""
WHAT_VARIES = {  # standard deviations of seeds, of groups of a configuration; share of tied windows
    "seeds": (0.15, 0.1, 0.0),
    "groups": (0.05, 0.25, 0.0),
    "little, with ties": (0.03, 0.03, 0.95),
}


def small_studies(
    sizes: tuple[int, int], what: str, windows: int, number: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Hits [R, S, G] of the first of two configurations that are equal in expectation, 75 %, the
    windows that only the first and only the second classified correctly, and all windows [R, G].
    The same windows are hard for both, and with ties at most as in the other configuration."""
    of_seeds, of_groups, tied = WHAT_VARIES[what]
    normal = np.random.default_rng([*sizes, windows]).normal
    shape, (n_seeds, n_groups) = (number, *sizes, windows), sizes
    variance = 0.4**2 + 0.7**2 + of_seeds**2 + of_groups**2
    base = np.asarray(ndtri(0.75) * math.sqrt(1 + variance))
    base = base + 0.4 * normal(size=(number, 1, n_groups, 1))
    base = base + 0.7 * normal(size=(number, 1, n_groups, windows)) + tied * normal(size=shape)

    def hits() -> npt.NDArray[np.bool_]:
        effects = of_seeds * normal(size=(number, n_seeds, 1, 1))
        effects = effects + of_groups * normal(size=(number, 1, n_groups, 1))
        return np.asarray(base + effects + math.sqrt(1 - tied**2) * normal(size=shape) > 0)

    a, b = hits(), hits()
    hits_RSG, a_RSG, b_RSG = (x.sum(-1).astype(float) for x in (a, a & ~b, b & ~a))
    return hits_RSG, a_RSG, b_RSG, np.full((number, n_groups), float(windows))


def assert_small_studies_hold(number: int) -> None:
    """At most 5 % claims of a difference that there is not; intervals that hold what they are of,
    and are never without width."""
    for sizes, what, windows in itertools.product(FEW, WHAT_VARIES, (7, 40)):
        hits_RSG, a_RSG, b_RSG, count_RG = small_studies(sizes, what, windows, number)
        case = (sizes, what, windows)
        if 1 in sizes:
            for study in range(5):
                found = compare(a_RSG[study], b_RSG[study], count_RG[study])
                assert found.p is None, case
        else:
            difference_R, half_R, p_R = paired_test(a_RSG, b_RSG, count_RG, 0.95)
            assert (half_R > 0).all(), case
            claims = (p_R <= 0.05).mean()
            assert claims <= 0.05 + sampling_error(0.05, number), case
            assert claims == (abs(difference_R) > half_R).mean(), case
            jackknife = delete_one_group(hits_RSG, count_RG)
            _, low_R, high_R = jackknife_bounds(jackknife, count_RG, 0.95)
            held = ((low_R <= 0.75) & (high_R >= 0.75)).mean()
            assert held >= 0.95 - sampling_error(0.95, number), case


def test_small_studies_claim_no_more_than_they_show() -> None:
    assert_small_studies_hold(200)


@pytest.mark.slow
def test_all_that_in_many_more_studies() -> None:
    assert_coverage(5000)
    assert_no_false_alarms(5000)
    assert_family_errors(CASES, 2000)
    assert_small_studies_hold(3000)
    assert_folds_hold(3000)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_real_difference_with_little_noise_is_found(sizes: tuple[int, int]) -> None:
    assert power(sizes, Effects(0.4, 0.02, 0.02), 0.75, 0.65, 500) > 0.85


def test_as_many_seeds_more_as_said_make_a_difference_distinguishable() -> None:
    """About every second time, as it then just is when it comes out as expected."""
    effects, a, b = Effects(0.3, 0.15, 0.05), 0.75, 0.7
    studies = Studies((5, 20), effects, 300, seed=1)
    pairs = zip(studies.hits(a), studies.hits(b), studies.count_RG, strict=True)
    found = [compare_hits(*pair) for pair in pairs]
    as_expected = [c for c in found if abs(c.difference - (a - b)) < 0.01]
    more = int(
        np.median([MAX_SEEDS if c.more_seeds is None else c.more_seeds for c in as_expected])
    )
    assert 0 < more < 20
    now, then, twice = (power((5 + m, 20), effects, a, b, 500) for m in (0, more, 2 * more))
    assert now < 0.35 < then < twice
    assert twice > 0.55


def test_one_seed_of_equal_groups_has_the_paired_t_interval_over_groups() -> None:
    a_SG, b_SG, count_G = [[50, 61, 40, 72]], [[45, 60, 31, 66]], [90, 90, 90, 90]
    found = compare_hits(a_SG, b_SG, count_G)
    expected = scipy_stats.ttest_rel(np.array(a_SG[0]) / 90, np.array(b_SG[0]) / 90)
    bounds = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    p = paired_test(*only_one_hits(a_SG, b_SG), np.array(count_G), 0.95)[2]
    assert p == pytest.approx(expected.pvalue, abs=1e-9)


def test_one_group_has_the_t_interval_over_seeds_as_a_group_but_not_as_a_test_split() -> None:
    found = accuracy_on_group([50, 54, 61], 90)
    assert found is not None
    shares = np.array([50, 54, 61]) / 90
    spread = np.std(shares, ddof=1) / math.sqrt(3) * scipy_stats.t.ppf(0.975, 2)
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.1)  # nearly symmetric
    assert accuracy_interval([[50], [54], [61]], [90]) is None
    assert accuracy_on_group([50], 90) is None


def test_the_variance_is_that_of_a_two_way_analysis_of_equal_groups() -> None:
    """In the plain formulation, loops over cells; the t is then between the two."""
    extra_SG, count_G = np.array([[9, 4, 14, 7], [12, 1, 13, 9], [14, 6, 19, 6]]), [90] * 4
    share = (extra_SG / 90).tolist()
    n_seeds, n_groups = 3, 4
    mean = sum(map(sum, share)) / 12
    of_seed = [sum(row) / n_groups for row in share]
    of_group = [sum(row[g] for row in share) / n_seeds for g in range(n_groups)]
    seeds = n_groups * sum((m - mean) ** 2 for m in of_seed) / 2
    groups = n_seeds * sum((m - mean) ** 2 for m in of_group) / 3
    rest = 0.0
    for s, g in itertools.product(range(n_seeds), range(n_groups)):
        rest += (share[s][g] - of_seed[s] - of_group[g] + mean) ** 2 / 6
    assert groups > rest and seeds > rest
    error = math.sqrt((groups + seeds - rest) / 12)
    found = compare_hits(extra_SG, np.zeros((3, 4)), count_G)
    t = (found.high - found.difference) / error
    assert scipy_stats.t.ppf(0.975, 3) < t < scipy_stats.t.ppf(0.975, 2)


def test_an_interval_of_unequal_groups_by_hand() -> None:
    """Jackknife by leaving out, then the exact binomial interval of the effective size."""
    hits_G, count_G = [30, 90, 35], [50, 100, 40]
    mean = 155 / 190
    left_out = [(155 - h) / (190 - n) for h, n in zip(hits_G, count_G, strict=True)]
    pseudo = [3 * mean - 2 * share for share in left_out]
    variance = np.var(pseudo, ddof=1) / 3
    t = scipy_stats.t.ppf(0.975, 190**2 / (50**2 + 100**2 + 40**2) - 1)
    size = mean * (1 - mean) / variance * (scipy_stats.norm.ppf(0.975) / t) ** 2
    low = scipy_stats.beta.ppf(0.025, mean * size, (1 - mean) * size + 1)
    high = scipy_stats.beta.ppf(0.975, mean * size + 1, (1 - mean) * size)
    found = accuracy_interval([hits_G], count_G)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((mean, low, high))


def test_the_mean_lies_within_and_more_level_is_wider() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        n_seeds, n_groups = generator.integers(1, 5, size=2)
        count_G = generator.integers(1, 9, size=n_groups)
        hits_SG = generator.integers(0, count_G + 1, size=(n_seeds, n_groups))
        narrow, wide = accuracy_interval(hits_SG, count_G, 0.8), accuracy_interval(hits_SG, count_G)
        if n_groups == 1:
            assert narrow is None
            continue
        assert narrow is not None and wide is not None
        assert 0 <= wide.low <= narrow.low <= wide.mean <= narrow.high <= wide.high <= 1


def test_every_window_right_is_no_certainty() -> None:
    count_G = [30, 50, 40, 60]
    found, none = (
        accuracy_interval([count_G] * 3, count_G),
        accuracy_interval([[0] * 4] * 3, count_G),
    )
    assert found is not None and none is not None
    assert found.mean == found.high == 1
    assert 0.9 < found.low < 0.97
    assert (none.mean, none.low, none.high) == pytest.approx((0, 0, 1 - found.low))


def test_the_same_results_do_not_differ() -> None:
    """Here: another window could."""
    found = compare([[0, 0], [0, 0]], [[0, 0], [0, 0]], [5, 5])
    assert (found.difference, found.p, found.more_seeds) == (0, 1, None)
    assert found.low == -found.high
    assert found.high == pytest.approx(scipy_stats.t.ppf(0.975, 1) / math.sqrt(2) / 10)


def test_a_difference_of_no_net_windows_is_not_exact() -> None:
    """8 of 56 windows differ, in every cell as many one way as the other."""
    found = compare([[2, 2], [2, 2]], [[2, 2], [2, 2]], [28, 28])
    assert (found.difference, found.p) == (0, 1)
    half = scipy_stats.t.ppf(0.975, 1) * math.sqrt(8 / 2) / 56  # two groups, means of two seeds
    assert (found.low, found.high) == pytest.approx((-half, half))
    fewer = compare([[1, 1], [1, 1]], [[1, 1], [1, 1]], [28, 28])
    assert 0 < fewer.high < found.high


@given(st.data())
def test_more_windows_that_differ_give_no_narrower_interval(data: st.DataObject) -> None:
    sizes = data.draw(st.tuples(st.integers(1, 3), st.integers(2, 4)))

    def drawn(most: int) -> npt.NDArray[np.int64]:
        cells = math.prod(sizes)
        listed = st.lists(st.integers(0, most), min_size=cells, max_size=cells)
        return np.reshape(data.draw(listed), sizes)

    a_SG, b_SG, both_SG = drawn(10), drawn(10), drawn(5)
    count_G = [40] * sizes[1]
    few, many = compare(a_SG, b_SG, count_G), compare(a_SG + both_SG, b_SG + both_SG, count_G)
    assert few.difference == pytest.approx(many.difference)
    assert -1 <= many.low <= few.low + 1e-9 < few.high <= many.high + 1e-9 <= 1 + 1e-9


def test_the_jackknife_of_a_share_is_its_interval() -> None:
    hits_SG, count_G = np.array([[30, 90, 35], [33, 80, 30]]), np.array([50, 100, 40])
    whole_S = hits_SG.sum(1) / count_G.sum()
    without_SG = (hits_SG.sum(1, keepdims=True) - hits_SG) / (count_G.sum() - count_G)
    assert jackknife_interval(whole_S, without_SG, count_G) == accuracy_interval(hits_SG, count_G)
    assert jackknife_interval([0.7, 0.8], [[0], [0]], [9]) is None  # one group
    assert jackknife_interval([0.7], [[0]], [9]) is None
    for wrong in ([[0.5]], [5, 5]), (np.zeros((0, 2)), [5, 5]):
        with pytest.raises(ValueError, match="replicates must be \\[seeds, groups\\]"):
            jackknife_interval([0.5], *wrong)
    with pytest.raises(ValueError, match="every group needs windows"):
        jackknife_interval([0.5], [[0.5, 0.5]], [5, 0])


@pytest.mark.parametrize(("seeds", "groups"), [(1, 1), (1, 8), (3, 1)])
def test_one_seed_or_one_group_claims_nothing(seeds: int, groups: int) -> None:
    """However large the difference is. One group says nothing about others: it has no bounds, where
    two have wide ones."""
    b_SG = np.zeros((seeds, groups))
    found = compare(b_SG + 30 + np.arange(groups), b_SG, [50] * groups)
    assert found.difference > 0.5
    assert (found.p, found.more_seeds) == (None, None)
    assert math.isnan(found.low) == math.isnan(found.high) == (groups == 1)
    assert (accuracy_interval(b_SG + 30, [50] * groups) is None) == (groups == 1)


def test_one_window_more_everywhere_is_no_certainty() -> None:
    """The difference does not vary; many windows more everywhere are another matter."""
    count_G = [100] * 6
    base, one, twenty = ([[hits] * 6] * 2 for hits in (50, 51, 70))
    few, many = compare_hits(one, base, count_G), compare_hits(twenty, base, count_G)
    assert few.p is not None and many.p is not None
    assert few.p > 0.01 and few.low > -0.01
    assert many.p < 1e-4 and many.more_seeds == 0


def test_no_seeds_help_where_groups_disagree() -> None:
    count_G = [100] * 4
    base, other = (
        np.full((3, 4), 50),
        np.array([[90, 20, 80, 45], [88, 22, 81, 44], [91, 21, 79, 46]]),
    )
    found = compare_hits(other, base, count_G)
    assert found.p is not None
    assert found.difference > 0.05 and found.p > 0.3 and found.more_seeds is None


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        compare([[1, 2]], [[1, 2], [1, 2]], [5, 5])
    with pytest.raises(ValueError, match="every group needs windows"):
        compare([[1, 3]], [[1, 3]], [5, 5])  # six windows of five
    for hits_SG, count_G in ([1, 2], [5, 5]), ([[1, 2]], [5]), (np.zeros((0, 2)), [5, 5]):
        with pytest.raises(ValueError, match="hits must be"):
            accuracy_interval(hits_SG, count_G)
    for hits_SG, count_G in ([[1, 6]], [5, 5]), ([[-1, 2]], [5, 5]), ([[0, 2]], [0, 5]):
        with pytest.raises(ValueError, match="every group needs windows"):
            accuracy_interval(hits_SG, count_G)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.4]) == [1, 1, 1]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_t_interval_is_students() -> None:
    values = [0.4, 0.55, 0.5]
    found = t_interval(values)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(values))
    assert t_interval([0.5]) is None
    same = t_interval([0.5, 0.5])
    assert same is not None
    assert same.low == same.high == 0.5
