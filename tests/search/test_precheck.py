"""What is refused before anything heavy is imported."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.core.store import Store
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.recordings import Recording
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.platt import PLATT_FOLDS as PROBE_FOLDS
from comodo.evaluation.probe import _validation_folds
from comodo.models.students import build_student
from comodo.search.measurable import MIN_CLASS_WINDOWS, unfit_for_probe
from comodo.search.precheck import (
    MULTIPLES,
    most_labelled,
    most_to_train_on,
    most_windows,
    precheck,
    refuse_odd_students,
)
from comodo.search.train_split import TrainSplit
from tests.config.test_load import sweep_file
from tests.errors import raises

QUEUE = {"name": "comodo", "queue_size": 100_000}


def check(path: Path, tmp_path: Path, trials: bool = False) -> None:
    precheck(path, read_sweep_file(path), Store(tmp_path / "store"), trials)


def test_queue_longer_than_a_simulated_training_split(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    with raises(ConfigError, "trial.method.queue_size", "100000", "at most"):
        check(path, tmp_path)
    check(sweep_file(tmp_path), tmp_path)


@pytest.mark.parametrize(("seconds", "most"), [("whole", 5), (1.0, 11)])
def test_queue_longer_than_a_folder(
    tmp_path: Path, make_folder: Callable[..., Path], seconds: Any, most: int
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
    mine = {"kind": "folder", "path": str(manifest), "window_seconds": seconds}
    changes = {"datasets": {"mine": mine}, "trial__dataset": "mine"}
    method = {"name": "comodo", "queue_size": most - 1}
    check(sweep_file(tmp_path, **changes, trial__method=method), tmp_path)
    space = {"method.queue_size": [1, most]}
    path = sweep_file(tmp_path, **changes, trial__method=method, search__space=space)
    with raises(ConfigError, "search.space.method.queue_size", f"{most} ", f"{most + 1} windows"):
        check(path, tmp_path)


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"datasets__demo__split_by_group": {"folds": 11}}, "dataset.too-few-groups", "10 groups"),
        ({"budget": {"trials": 39}, "seeds": [0, 1]}, "budget.trials", "40 trials"),
        (
            {"budget": {"trials": 19}, "seeds": [0, 1], "search__sampler": "random"},
            "budget.trials",
            "20 trials",
        ),
    ],
)
def test_folds_that_cannot_be_made_or_paid_for(
    tmp_path: Path, changes: dict[str, Any], code: str, names: str
) -> None:
    """Ten people, two configurations."""
    simulated: dict[str, Any] = {"kind": "simulated", "seconds": 10.0, "labelled": 1.0}
    simulated |= {"split_by_group": {"folds": "all"}}
    space = {"method.queue_size": [8, 16]}
    changes = {"datasets": {"demo": simulated}, "search__space": space, **changes}
    path = sweep_file(tmp_path, **changes)
    with raises(ConfigError, code, names):
        check(path, tmp_path, trials=True)
    enough = {**changes, "budget": {"trials": 40}, "datasets__demo__split_by_group": {"folds": 10}}
    check(sweep_file(tmp_path, **enough), tmp_path, trials=True)


def test_a_queue_must_fit_the_smallest_fold(tmp_path: Path) -> None:
    people = {"kind": "simulated", "seconds": 10.0, "subjects": 4, "labelled": 1.0}
    people |= {"split_by_group": {"folds": "all", "val": 0}}
    for queue, fits in ((40, True), (100_000, False)):
        path = sweep_file(tmp_path, datasets={"demo": people}, trial__method__queue_size=queue)
        if fits:
            check(path, tmp_path)
            continue
        with raises(ConfigError, "trial.method.queue_size", "100000"):
            check(path, tmp_path)


CPUS = os.cpu_count() or 1


@pytest.mark.parametrize("address", [None, "local"])
@pytest.mark.parametrize(
    ("needed", "key", "names"),
    [
        ({"cpus_per_worker": 10_000}, "cpus_per_worker", "10000 CPUs"),
        ({"workers": CPUS + 1}, "cpus_per_worker", f"{CPUS + 1} CPUs"),
        ({"workers": 2, "cpus_per_worker": CPUS / 2}, "cpus_per_worker", "0.01"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker", "at most 1, or 2"),
    ],
)
def test_impossible_resources(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
    needed: dict[str, Any],
    key: str,
    names: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with raises(ConfigError, f"resources.{key}", names):
        check(sweep_file(tmp_path, resources=needed), tmp_path)


def test_missing_video_folder(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,imu,split\nvideos/a.mp4,imu/a.csv,train\n")
    mine = {"kind": "folder", "path": "m.csv"}
    path = sweep_file(tmp_path, datasets={"mine": mine}, trial__dataset="mine")
    with pytest.raises(ConfigError, match=r"sweep\.yaml: .*the folder .* does not exist"):
        check(path, tmp_path)


LISTED = "imu,video,split,label\n" + "".join(
    f"{i}.csv,{i}.mp4,{split},{label}\n"
    for i, (split, label) in enumerate(itertools.product(("train", "val", "test"), "ab" * 6))
)


@pytest.mark.parametrize(
    ("listed", "changes", "code", "names"),
    [
        (LISTED.replace(",a\n", ",\n").replace(",b\n", ",\n"), {}, "datasets.mine", ["label"]),
        (LISTED.replace(",b\n", ",a\n"), {}, "datasets.mine", ["only the class 'a'"]),
        (LISTED.replace(",b\n", ", a \n"), {}, "datasets.mine", ["only the class 'a'"]),
        (
            LISTED.replace("val", "train"),
            {"search": {"sampler": "tpe", "space": {"epochs": [1, 2]}}, "budget": {"trials": 2}},
            "datasets.mine",
            ["val split"],
        ),
        (LISTED.replace("test", "train"), {"evaluate_on": ["mine"]}, "datasets.mine", ["test"]),
        (
            LISTED,
            {"evaluate_on": ["mine"], "measures": ["probe", "direct"],
             "label_map": {"mine": {"aa": "b"}}},
            "label_map.mine.aa",
            ["'a'"],
        ),
        (
            LISTED,
            {"trial__student": {"name": "mantis", "size": {"seq_len": 500}}},
            "trial.student",
            ["seq_len 500", "num_patches 32"],
        ),
        (
            LISTED,
            {"search": {"space": {"student.size.num_patches": [32, 30]}}},
            "trial.student",
            ["seq_len 512", "num_patches 30"],
        ),
        (
            LISTED,
            {"trial__student": {"name": "moment"}, "datasets__mine__imu_rate": 1},
            "datasets.mine.window_seconds",
            ["8 samples"],
        ),
        (LISTED, {"objective__metric": "val/acc3"}, "objective.metric", ["'mine'", "2 classes"]),
    ],
)  # fmt: skip
def test_what_no_trial_could_use_is_refused_before_anything_is_prepared(
    tmp_path: Path, listed: str, changes: dict[str, Any], code: str, names: list[str]
) -> None:
    (tmp_path / "m.csv").write_text(listed)
    for name in ("0.csv", "0.mp4"):
        (tmp_path / name).touch()
    mine = {"kind": "folder", "path": "m.csv"}
    usual = {"datasets__mine": mine, "trial__dataset": "mine", "trial__method": {"name": "l2"}}
    path = sweep_file(tmp_path, **usual, **changes)
    check(path, tmp_path)  # it can be prepared
    with raises(ConfigError, code, "sweep.yaml", *names):
        check(path, tmp_path, trials=True)
    (tmp_path / "m.csv").write_text(LISTED)
    check(sweep_file(tmp_path, **usual), tmp_path, trials=True)


def test_a_manifest_whose_files_are_all_absent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(LISTED)
    mine = {"kind": "folder", "path": "m.csv"}
    path = sweep_file(tmp_path, datasets={"mine": mine}, trial__dataset="mine")
    for there in ([], ["0.csv"], ["1.mp4"]):  # no recording has both
        for name in there:
            (tmp_path / name).touch()
        with raises(ConfigError, "datasets.mine", f"no such file: {tmp_path / '0.mp4'}", "m.csv"):
            check(path, tmp_path)
    (tmp_path / "0.mp4").touch()
    check(path, tmp_path)


def test_windows_longer_than_every_recording(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=4, seconds=2.0)
    for seconds, fits in ((2.0, True), (60.0, False)):
        mine = {"kind": "folder", "path": str(manifest), "window_seconds": seconds}
        method = {"name": "supervised"}
        path = sweep_file(
            tmp_path, datasets={"mine": mine}, trial__dataset="mine", trial__method=method,
            trial__batch_size=2,
        )  # fmt: skip
        if fits:
            check(path, tmp_path)
            continue
        with raises(ConfigError, "datasets.mine.window_seconds", "windows of 60 s", "has 2 s"):
            check(path, tmp_path)


def test_a_student_without_its_library_is_refused_where_its_trials_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "momentfm", None)
    swept = {"search": {"space": {"student": ["mantis-8m", "moment-small"]}}}
    path = sweep_file(tmp_path, **swept)
    check(path, tmp_path)  # it can be prepared
    with raises(ConfigError, "trial.student", "sweep.yaml", "pip install --no-deps momentfm"):
        check(path, tmp_path, trials=True)
    monkeypatch.setenv("RAY_ADDRESS", "cluster:6379")
    check(path, tmp_path, trials=True)


def test_windows_of_less_than_two_samples(tmp_path: Path) -> None:
    short = {"kind": "simulated", "window_seconds": 0.02, "imu_rate": 50}
    with raises(ConfigError, "datasets.demo.window_seconds", "1 samples"):
        check(sweep_file(tmp_path, datasets={"demo": short}), tmp_path)


@pytest.mark.parametrize("name", ["mantis", "mantis-v2", "chronos-bolt", "informer"])
def test_sizes_are_refused_as_building_the_student_does(tmp_path: Path, name: str) -> None:
    whole, part, size, parts = MULTIPLES[name]
    defaults = {whole: size, part: parts}
    for wrong in ({**defaults, whole: size + 1}, {**defaults, part: parts - 1 or 3}):
        student = {"name": name, "size": wrong}
        path = sweep_file(tmp_path, trial__student=student, trial__method="supervised")
        sweep = read_sweep_file(path)
        with raises(ConfigError, "trial.student") as caught:
            refuse_odd_students(sweep)
        with pytest.raises(ValueError, match="is not a multiple of") as building:
            build_student(sweep.trial.student)
        assert str(building.value) in str(caught.value)
    student = {"name": name, "size": {whole: 2 * size}}
    path = sweep_file(tmp_path, trial__student=student, trial__method="supervised")
    refuse_odd_students(read_sweep_file(path))


def test_a_probe_needs_two_classes_and_a_window_for_each_fold() -> None:
    assert MIN_CLASS_WINDOWS == PROBE_FOLDS  # defined twice, as importing the probe is slow
    assert "no labelled training windows" in str(unfit_for_probe({}))
    for classes in ({"a": 100}, {"a": MIN_CLASS_WINDOWS - 1, "b": 1}, {"a": 50, "b": 1}):
        assert "the probe needs a class of" in str(unfit_for_probe(classes))
    sizes = [(4, 3), (5, 1), (5, 2), (49, 1, 1), (50, 1, 1), (7, 6), (5, 1, 1, 1), (3, 3, 3)]
    for counts in sizes:  # unfit is what fails in every order of the windows
        unfit = unfit_for_probe(dict(zip("abcd", counts, strict=False)))
        assert (unfit is None) == any(map(has_folds, itertools.permutations(enumerate(counts))))


def has_folds(counts: tuple[tuple[int, int], ...]) -> bool:
    codes, sizes = np.array(counts).T
    try:
        _validation_folds(np.repeat(codes, sizes))
    except EvaluateError:
        return False
    return True


def test_refusal_comes_before_anything_heavy(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    program = f"""
import sys
from comodo.cli import app
from tests.errors import raises
try:
    app(["sweep", {str(path)!r}, "--store", {str(tmp_path / "store")!r}])
except SystemExit as end:
    assert end.code == 2, end.code
slow = {{"ray", "torch", "mlflow", "transformers", "sklearn", "pandas", "scipy.signal"}}
heavy = slow & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trial.method.queue_size" in done.stderr


def test_a_draw_limits_the_windows_of_training_recordings() -> None:
    settings = SimulatedDataset(kind="simulated", seconds=60, window_seconds=5)
    few = settings.model_copy(update={"windows_per_recording": 3})
    for split, each in (("train", 3), ("test", 12)):
        listed = [Recording(str(i), "v.mp4", "i.csv", split, "g") for i in range(4)]
        assert most_windows(few, listed) == 4 * each
        assert most_windows(settings, listed) == 4 * 12
    untrimmed = settings.model_copy(update={"pause_seconds": 15})
    assert most_windows(untrimmed, listed) == 4 * (12 * 12 + 11 * 3)


def test_windows_of_parts_and_intervals_are_bounded_by_their_lengths() -> None:
    settings = FolderDataset.model_construct(kind="folder", path="m.csv", window_seconds=2.0)
    labelled = ((10.0, 14.0, "walk"), (20.0, 21.0, "run"))
    part = Recording("r", "", "i.csv", "train", "g", start=10.0, end=30.0, intervals=labelled)
    assert most_windows(settings, [part]) == 10
    assert most_windows(settings.model_copy(update={"stride_seconds": 0.5}), [part]) == 37
    assert most_windows(settings, [replace(part, end=None)]) is None  # its length is not known
    assert most_labelled(settings, [part]) == {"train": {"run": 2, "walk": 4}}
    split = most_to_train_on(settings, [part, replace(part, intervals=None, label="sit")])
    assert split == TrainSplit(20, 20, last=2, labelled_last=1)
