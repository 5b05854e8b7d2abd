"""What measuring a student costs in CPU time, against the direct procedure on the same windows.

    OMP_NUM_THREADS=1 python -m benchmarks.probe fit --windows 2500 5000 --repeats 3
    OMP_NUM_THREADS=1 python -m benchmarks.probe score --windows 1500 10000 --scored 68000
    OMP_NUM_THREADS=1 python -m benchmarks.probe measures --windows 2500

fit        `SVMProbe` against `GridSearchCV` over `SVC(probability=True)`, each with the predictions
           and probabilities of 500 more windows. The results are compared.
score      Probabilities of many windows: ours against scikit-learn's, fitted at the same C.
measures   Every measure of one student of Mantis-8M's size: ours, which extracts features once,
           against the probe as published and one extraction per measure. Then the quick check
           against the epoch before it.

Sides take turns; medians are printed. Knows neither Ray nor MLflow and uses no real recordings:
classes are overlapping Gaussians, or noise, because costs do not depend on the content of a window.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy
import sklearn
import torch
from safetensors.numpy import save_file
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from comodo.config import TrialConfig
from comodo.config.measures import MEASURES
from comodo.core.store import write_json
from comodo.data.arrays import FeatureArrays as TeacherFeatures
from comodo.data.arrays import WindowArrays
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.evaluation.probe import C_GRID, PROBE_FOLDS, SVMProbe
from comodo.models.students import build_student
from comodo.training.distill import Distillation

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Row = dict[str, str]  # column header: cell
TEST_WINDOWS = 500
CLASSES, SAMPLES, TEACHER_FEATURE = 8, 1000, 768  # of the student's windows


class Found(NamedTuple):
    """The result of a side: C, the accuracy at each C of the grid, two predictions per window."""

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
    probe = SVMProbe(seed=0, ties="smallest").fit(train_ND, labels_N)
    top_N = probe.classes_[probe.probabilities(test_ND).argmax(axis=1)]
    return Found(probe.C_, np.array([*probe.cv_accuracy_.values()]), probe.predict(test_ND), top_N)


def published(train_ND: Features, labels_N: Labels, test_ND: Features) -> Found:
    """`GridSearchCV` as in the public evaluation code."""
    scaler = StandardScaler().fit(normalize(train_ND))
    scaled_test_ND = scaler.transform(normalize(test_ND))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # probability= is deprecated
        search = GridSearchCV(SVC(probability=True, random_state=0), {"C": C_GRID}, cv=PROBE_FOLDS)
        search.fit(scaler.transform(normalize(train_ND)), labels_N)
    top_N = search.classes_[search.predict_proba(scaled_test_ND).argmax(axis=1)]
    predicted_N = search.predict(scaled_test_ND)
    cv_accuracy_C = search.cv_results_["mean_test_score"]
    return Found(search.best_params_["C"], cv_accuracy_C, predicted_N, top_N)


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def medians(repeats: int, sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each side; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, call in sides.items():
            seconds[name].append(cpu_seconds(call))
    return {name: statistics.median(values) for name, values in seconds.items()}


def fit(windows: int, args: argparse.Namespace) -> Row:
    features_ND, labels_N = overlapping_classes(windows + TEST_WINDOWS, args.features, args.classes)
    train_ND, test_ND = features_ND[:windows], features_ND[windows:]
    found: dict[str, Found] = {}

    def run(side: Callable[[Features, Labels, Features], Found]) -> None:
        found[side.__name__] = side(train_ND, labels_N[:windows], test_ND)

    took = medians(args.repeats, {side.__name__: partial(run, side) for side in (ours, published)})
    mine, theirs = found["ours"], found["published"]
    return {
        "windows": f"{windows:,}",
        "ours, CPU s": f"{took['ours']:.2f}",
        "published, CPU s": f"{took['published']:.1f}",
        "ratio": f"{took['published'] / took['ours']:.1f}",
        "C (ours, published)": f"{mine.cost:g}, {theirs.cost:g}",
        "same CV scores": f"{(mine.cv_accuracy_C == theirs.cv_accuracy_C).sum()} of {len(C_GRID)}",
        "same predictions": f"{(mine.predicted_N == theirs.predicted_N).mean():.2%}",
        "same top class": f"{(mine.top_N == theirs.top_N).mean():.2%}",
        "Acc@1": f"{(mine.top_N == labels_N[windows:]).mean():.2%}",
    }


def score(windows: int, args: argparse.Namespace) -> Row:
    train_ND, labels_N = overlapping_classes(windows, args.features, args.classes)
    scored_ND, _ = overlapping_classes(args.scored, args.features, args.classes)
    probe = SVMProbe(seed=0, ties="smallest").fit(train_ND, labels_N)
    scaler = StandardScaler().fit(normalize(train_ND))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        direct = SVC(C=probe.C_, probability=True, random_state=0)
        direct.fit(scaler.transform(normalize(train_ND)), labels_N)
    found: dict[str, npt.NDArray[np.floating]] = {}

    def mine() -> None:
        found["ours"] = probe.probabilities(scored_ND)

    def theirs() -> None:
        found["direct"] = direct.predict_proba(scaler.transform(normalize(scored_ND)))

    took = medians(args.repeats, {"ours": mine, "direct": theirs})
    return {
        "windows": f"{windows:,}",
        "scored": f"{args.scored:,}",
        "ours, CPU s": f"{took['ours']:.1f}",
        "scikit-learn, CPU s": f"{took['direct']:.1f}",
        "ratio": f"{took['direct'] / took['ours']:.1f}",
        "largest difference": f"{abs(found['ours'] - found['direct']).max():.1e}",
    }


def measures(windows: int, args: argparse.Namespace) -> Row:
    method = {"name": "comodo", "queue_size": min(1024, windows // 4)}
    config = TrialConfig.model_validate(
        {
            "dataset": "noise",
            "teacher": "efficientnet-lite0",
            "student": {"name": "mantis"},
            "method": method,
            "epochs": args.repeats + 1,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        arrays, features = make_arrays(Path(folder), windows)
        student = build_student(config.student)
        run = Distillation(config, 0, arrays, features, student, "cpu")
        run.train_epoch()  # shorter than the others: the queue's windows are held out
        sides: dict[str, Callable[[], object]] = {
            "epoch": run.train_epoch,
            "check": run.epoch_accuracy,
        }
        training = medians(args.repeats, sides)
        teacher = TeacherContext(features, (run.head, run.teacher_head))
        took: dict[str, list[float]] = {}

        def timed(name: str, call: Callable[[], object]) -> float:
            took.setdefault(name, []).append(cpu_seconds(call))
            return took[name][-1]

        totals: dict[str, list[float]] = {"ours": [], "direct": []}
        for _ in range(args.repeats):
            subject = FrozenStudent(student, arrays, 0, teacher=teacher)
            once = timed("extraction", lambda: [subject.labelled(s) for s in arrays.splits])  # noqa: B023
            each = {
                name: timed(name, partial(MEASURES.get(name), subject))
                for name in MEASURES.built_in
                if name not in ("direct", "classifier")  # of other data sets, of other methods
            }
            (train_ND, label_N), test_ND = subject.train(), subject.scored()["test"][0]
            direct = timed("published probe", partial(published, train_ND, label_N, test_ND))
            totals["ours"].append(once + sum(each.values()))
            others = sum(each.values()) - each["probe"]
            totals["direct"].append(len(each) * once + others + direct)
    mine, theirs = statistics.median(totals["ours"]), statistics.median(totals["direct"])
    return {
        "windows": f"{windows:,}",
        **{f"{name}, CPU s": f"{statistics.median(values):.2f}" for name, values in took.items()},
        "ours, all": f"{mine:.1f}",
        "direct, all": f"{theirs:.1f}",
        "ratio": f"{theirs / mine:.1f}",
        "epoch": f"{training['epoch']:.2f}",
        "quick check": f"{training['check']:.2f}",
        "of the epoch": f"{training['check'] / training['epoch']:.1%}",
    }


def make_arrays(folder: Path, windows: int) -> tuple[WindowArrays, TeacherFeatures]:
    """Three splits: `windows` to train, a quarter as many each to validate and to test."""
    rng = np.random.default_rng(0)
    files = {split: [f"{split}.safetensors"] for split in ("train", "val", "test")}
    for split, (name,) in files.items():
        count = windows if split == "train" else windows // 4
        label_N = np.arange(count) % CLASSES
        imu_NCT = rng.standard_normal((count, 6, SAMPLES), dtype=np.float32)
        imu_NCT += np.sin(label_N[:, None, None] + 1) / 3
        arrays = {"imu": imu_NCT, "length": np.full(count, SAMPLES), "label": label_N}
        arrays |= {"group": np.arange(count) % 20, "last": np.zeros(count, bool)}
        features_NF = rng.standard_normal((count, TEACHER_FEATURE), dtype=np.float32)
        for kind, content in (
            ("windows", arrays),
            ("features", {"feature": features_NF, "encoded": np.ones(count, bool)}),
        ):
            (folder / kind).mkdir(exist_ok=True)
            save_file(content, folder / kind / name)
    names = {"classes": [f"c{k}" for k in range(CLASSES)], "groups": [f"g{k}" for k in range(20)]}
    write_json(folder / "windows/meta.json", names | {"uniform": True, "files": files})
    write_json(folder / "features/meta.json", {"dim": TEACHER_FEATURE, "files": files})
    return WindowArrays.load(folder / "windows"), TeacherFeatures.load(folder / "features")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"fit": fit, "score": score, "measures": measures}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--windows", type=int, nargs="+", default=[1500], help="to train on")
    parser.add_argument("--features", type=int, default=1536)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--scored", type=int, default=68_000, help="windows that `score` scores")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; ", end="")
    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, ", end="")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, torch {torch.__version__}")
    if args.part == "measures":
        print(f"windows of 6 x {SAMPLES}, Mantis-8M's size, batch 128; ", end="")
    else:
        print(f"{args.features} features, {args.classes} classes; ", end="")
    print(f"medians of {args.repeats} interleaved repeats", end="\n\n")
    for i, windows in enumerate(args.windows):
        row = parts[args.part](windows, args)
        if i == 0:
            print(f"| {' | '.join(row)} |")
            print("|---" * len(row) + "|")
        print(f"| {' | '.join(row.values())} |", flush=True)


if __name__ == "__main__":
    main()
