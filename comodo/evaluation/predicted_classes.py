"""The classes that a trial predicted for the windows of a split, as small numbers: thousands of
trials fit into memory. Knows neither trials nor files. N windows, G groups, K classes.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from comodo.evaluation import feature_metrics
from comodo.evaluation.stats import FloatArray

UNSEEN = np.iinfo(np.int16).max  # rank of a class that the classifier was not fitted on, or larger

Names = tuple[str, ...]
Codes = npt.NDArray[np.integer]


@dataclass(frozen=True)
class PredictedClasses:
    """Names are sorted, and each occurs; `..._N` have the place of each window's name."""

    groups: Names
    group_N: Codes
    labels: Names
    label_N: Codes
    predicted: Names
    predicted_N: Codes
    rank_N: npt.NDArray[np.int16]
    """Place of the true class by probability, 0 the first, at most `UNSEEN`."""

    def hits(self, k: int) -> tuple[FloatArray, FloatArray]:
        """Windows of each group whose true class is among the first k, and all [G]."""
        return _sums(self.group_N, self.rank_N < k), _sums(self.group_N)

    def confusion(self) -> npt.NDArray[np.int64]:
        """`confusion_matrices` of the groups [G, K, K]."""
        classes = sorted({*self.labels, *self.predicted})
        label_N = _recoded(self.labels, self.label_N, classes)
        predicted_N = _recoded(self.predicted, self.predicted_N, classes)
        return feature_metrics.confusion_matrices(label_N, predicted_N, self.group_N)

    def only_hits(self, other: "PredictedClasses") -> tuple[FloatArray, FloatArray, FloatArray]:
        """Windows of each group that only this, and that only the other got right, and all [G].
        Raises ValueError if they are not the same windows."""
        for of, mine_N, its, its_N in (
            ("groups", self.group_N, other.groups, other.group_N),
            ("labels", self.label_N, other.labels, other.label_N),
        ):
            same = mine_N is its_N or np.array_equal(mine_N, its_N)
            if not same or getattr(self, of) != its:
                raise ValueError(f"trials cannot be paired: {of} of their windows differ")
        hit_N, other_N = self.rank_N == 0, other.rank_N == 0
        first_G, second_G = (
            _sums(self.group_N, only_N) for only_N in (hit_N & ~other_N, other_N & ~hit_N)
        )
        return first_G, second_G, _sums(self.group_N)


def by_split(table: pa.Table, shared: dict[Hashable, Any]) -> dict[str, PredictedClasses]:
    """The predictions of `evaluate.Measured`, by split. `shared`: what other trials have, of which
    equal parts are not kept twice."""
    splits, split_N = _coded(table["split"])
    columns = [_coded(table[name]) for name in ("group", "label", "predicted")]
    rank_N = np.minimum(table["rank"].to_numpy(), UNSEEN).astype(np.int16)
    found = {}
    for code, split in enumerate(splits):
        here_N = split_N == code
        parts: list[Any] = []
        for names, code_N in columns:
            present, place_N = np.unique(code_N[here_N], return_inverse=True)
            kept = tuple(names[place] for place in present)
            place_N = place_N.astype(np.min_scalar_type(len(kept)))
            parts += [shared.setdefault(kept, kept)]
            parts += [shared.setdefault((place_N.dtype.str, place_N.tobytes()), place_N)]
        parts.append(rank_N[here_N])
        found[split] = PredictedClasses(*parts)
    return found


def pooled(folds: Sequence[PredictedClasses]) -> PredictedClasses:
    """The windows of all folds, one fold after the other."""
    if len(folds) == 1:
        return folds[0]
    parts: list[Any] = []
    named = ("groups", "group_N"), ("labels", "label_N"), ("predicted", "predicted_N")
    for names, codes in named:
        whole = tuple(sorted({name for fold in folds for name in getattr(fold, names)}))
        of_folds = [_recoded(getattr(x, names), getattr(x, codes), whole) for x in folds]
        parts += [whole, np.concatenate(of_folds)]
    parts.append(np.concatenate([fold.rank_N for fold in folds]))
    return PredictedClasses(*parts)


def classes_named(splits: Sequence[PredictedClasses]) -> int:
    """How many classes there are, as far as a trial's predictions tell."""
    named, ranks = set[str](), 0
    for part in splits:
        known_N = part.rank_N < UNSEEN
        named |= {part.labels[code] for code in np.unique(part.label_N[known_N])}
        named |= set(part.predicted)
        ranks = max(ranks, int(part.rank_N[known_N].max(initial=-1)) + 1)
    return max(len(named), ranks)


def _sums(group_N: Codes, counted_N: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Windows of each group [G], all or those that are counted."""
    return np.bincount(group_N, counted_N).astype(np.float64)


def _coded(column: pa.ChunkedArray) -> tuple[list[str], Codes]:
    """The names of a column, sorted, and the place of each row's."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.intp)
    place[order] = np.arange(len(names))
    return [names[i] for i in order], place[encoded.indices.to_numpy()]


def _recoded(names: Names, code_N: Codes, among: Sequence[str]) -> Codes:
    """The places of the same names among others."""
    places = {name: place for place, name in enumerate(among)}
    return np.array([places[name] for name in names], np.intp)[code_N]
