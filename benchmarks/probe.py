"""CPU time of `comodo.probe.SVMProbe` against the published procedure on the same windows.

    OMP_NUM_THREADS=1 python benchmarks/probe.py --windows 2500 5000 --repeats 3

The published procedure is `GridSearchCV` over `SVC(probability=True)`, then the predictions and
probabilities of 500 more windows; ours does the same. Both sides take turns, the table holds the
median of each, and what they find is compared. `--score 68000` instead times the probabilities of
that many windows, for ours alone.

It knows neither Ray nor MLflow, and no real features: classes are Gaussians that overlap.
"""

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from comodo.probe import C_GRID, FOLDS, SVMProbe

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
TEST_WINDOWS = 500


class Found(NamedTuple):
    """What a side finds: C, the accuracy at each C of the grid, two answers for each window."""

    cost: float
    cv_accuracy_C: npt.NDArray[np.float64]
    predicted_N: npt.NDArray[np.generic]
    top_N: npt.NDArray[np.generic]


def overlapping_classes(windows: int, features: int, classes: int) -> tuple[Features, Labels]:
    """Unit Gaussians around class means close enough that accuracy stays between 50 and 80 %."""
    rng = np.random.default_rng(0)
    means_KD = rng.normal(size=(classes, features)) * 2.6 / np.sqrt(features)
    labels_N = rng.integers(classes, size=windows)
    features_ND = rng.standard_normal((windows, features), dtype=np.float32)
    features_ND += means_KD[labels_N].astype(np.float32)
    return features_ND, labels_N


def ours(train_ND: Features, labels_N: Labels, test_ND: Features) -> Found:
    probe = SVMProbe(seed=0).fit(train_ND, labels_N)
    top_N = probe.classes_[probe.probabilities(test_ND).argmax(axis=1)]
    return Found(probe.C_, np.array([*probe.cv_accuracy_.values()]), probe.predict(test_ND), top_N)


def published(train_ND: Features, labels_N: Labels, test_ND: Features) -> Found:
    scaler = StandardScaler().fit(normalize(train_ND))
    scaled_test_ND = scaler.transform(normalize(test_ND))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # probability= is deprecated
        search = GridSearchCV(SVC(probability=True, random_state=0), {"C": C_GRID}, cv=FOLDS)
        search.fit(scaler.transform(normalize(train_ND)), labels_N)
    top_N = search.classes_[search.predict_proba(scaled_test_ND).argmax(axis=1)]
    predicted_N = search.predict(scaled_test_ND)
    cv_accuracy_C = search.cv_results_["mean_test_score"]
    return Found(search.best_params_["C"], cv_accuracy_C, predicted_N, top_N)


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(windows: int, features: int, classes: int, repeats: int) -> dict[str, str]:
    """One row of the table: the heads of its columns and what stands below."""
    features_ND, labels_N = overlapping_classes(windows + TEST_WINDOWS, features, classes)
    train_ND, test_ND = features_ND[:windows], features_ND[windows:]
    found: dict[str, Found] = {}

    def run(side: Callable[[Features, Labels, Features], Found]) -> None:
        found[side.__name__] = side(train_ND, labels_N[:windows], test_ND)

    seconds: dict[str, list[float]] = {"ours": [], "published": []}
    for _ in range(repeats):
        for side in (ours, published):
            seconds[side.__name__].append(cpu_seconds(partial(run, side)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    mine, theirs = found["ours"], found["published"]
    return {
        "windows": f"{windows:,}",
        "ours, CPU s": f"{medians['ours']:.2f}",
        "published, CPU s": f"{medians['published']:.1f}",
        "ratio": f"{medians['published'] / medians['ours']:.1f}",
        "C (ours, published)": f"{mine.cost:g}, {theirs.cost:g}",
        "same CV scores": f"{(mine.cv_accuracy_C == theirs.cv_accuracy_C).sum()} of {len(C_GRID)}",
        "same predictions": f"{(mine.predicted_N == theirs.predicted_N).mean():.2%}",
        "same top class": f"{(mine.top_N == theirs.top_N).mean():.2%}",
        "Acc@1": f"{(mine.top_N == labels_N[windows:]).mean():.2%}",
    }


def score(windows: int, features: int, classes: int, repeats: int, scored: int) -> dict[str, str]:
    train_ND, labels_N = overlapping_classes(windows, features, classes)
    probe = SVMProbe(seed=0).fit(train_ND, labels_N)
    scored_ND, _ = overlapping_classes(scored, features, classes)
    seconds = [cpu_seconds(partial(probe.probabilities, scored_ND)) for _ in range(repeats)]
    return {
        "windows": f"{windows:,}",
        "scored": f"{scored:,}",
        "ours, CPU s": f"{statistics.median(seconds):.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, nargs="+", default=[1500], help="to train on")
    parser.add_argument("--features", type=int, default=1536)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--score", type=int, metavar="N", help="time scoring N windows instead")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; ", end="")
    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, ", end="")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}")
    print(f"{args.features} features, {args.classes} classes; ", end="")
    print(f"medians of {args.repeats} interleaved repeats", end="\n\n")
    for i, windows in enumerate(args.windows):
        sizes = (windows, args.features, args.classes, args.repeats)
        row = score(*sizes, args.score) if args.score else compare(*sizes)
        if i == 0:
            print(f"| {' | '.join(row)} |")
            print("|---" * len(row) + "|")
        print(f"| {' | '.join(row.values())} |", flush=True)


if __name__ == "__main__":
    main()
