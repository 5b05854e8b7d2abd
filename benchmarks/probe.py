"""CPU time of `comodo.probe.SVMProbe` against the published procedure on the same windows.

    OMP_NUM_THREADS=1 python benchmarks/probe.py --windows 2500 --features 1536 --classes 8

The published procedure is `GridSearchCV` over `SVC(probability=True)` and then `predict_proba`.
Both sides take turns and each reports the median of its repeats; what they find is compared too.
`--score 68000` instead times the probabilities of that many windows, for ours alone.

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
Found = tuple[float, float, Labels]  # C, its cross-validated accuracy, top class of test windows
TEST_WINDOWS = 500


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
    top = probe.probabilities(test_ND).argmax(axis=1)
    return probe.C_, probe.cv_accuracy_[probe.C_], probe.classes_[top]


def published(train_ND: Features, labels_N: Labels, test_ND: Features) -> Found:
    scaler = StandardScaler().fit(normalize(train_ND))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # probability= is deprecated
        search = GridSearchCV(SVC(probability=True, random_state=0), {"C": C_GRID}, cv=FOLDS)
        search.fit(scaler.transform(normalize(train_ND)), labels_N)
    top = search.predict_proba(scaler.transform(normalize(test_ND))).argmax(axis=1)
    return search.best_params_["C"], float(search.best_score_), search.classes_[top]


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(windows: int, features: int, classes: int, repeats: int) -> None:
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
    for name, (cost, cv_accuracy, top_N) in found.items():
        acc1 = (top_N == labels_N[windows:]).mean()
        print(
            f"{name:10} {medians[name]:9.2f} CPU s   "
            f"C {cost:g}, cross-validated {cv_accuracy:.4f}, test Acc@1 {acc1:.4f}"
        )
    agreement = (found["ours"][2] == found["published"][2]).mean()
    print(f"ratio {medians['published'] / medians['ours']:.1f}, same top class {agreement:.2%}")


def score(windows: int, features: int, classes: int, repeats: int, scored: int) -> None:
    train_ND, labels_N = overlapping_classes(windows, features, classes)
    probe = SVMProbe(seed=0).fit(train_ND, labels_N)
    scored_ND, _ = overlapping_classes(scored, features, classes)
    seconds = [cpu_seconds(partial(probe.probabilities, scored_ND)) for _ in range(repeats)]
    print(f"{scored} windows scored in {statistics.median(seconds):.1f} CPU s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1500)
    parser.add_argument("--features", type=int, default=1536)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--score", type=int, metavar="N", help="time scoring N windows instead")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}")
    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, ", end="")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}")
    print(f"{args.windows} training windows x {args.features} features, {args.classes} classes")
    sizes = (args.windows, args.features, args.classes, args.repeats)
    if args.score:
        score(*sizes, args.score)
    else:
        compare(*sizes)


if __name__ == "__main__":
    main()
