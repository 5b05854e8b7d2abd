"""A trial's name, and its way from arrays to a result on disk."""

import os
import pickle
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from mantis.architecture import MantisV1
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from comodo.config import ComodoMethod, StudentConfig
from comodo.config.dataset_base import FoldSplit
from comodo.config.measures import prompts_of
from comodo.core.errors import ChangedError
from comodo.core.lease import LeaseError
from comodo.core.memory import peak_memory
from comodo.core.provenance import made_by
from comodo.core.store import Store, read_json, write_json
from comodo.core.tensors import WeightsError
from comodo.data.arrays import WindowArrays
from comodo.data.folds import Fold, make_folds
from comodo.data.prompts import prompts_file, save_prompts
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.measured import Measured
from comodo.evaluation.measures import knn, probe
from comodo.models.hand_crafted import window_features
from comodo.models.heads import build_heads
from comodo.models.students import build_student, extract_features, load_student
from comodo.runtime import worker
from comodo.runtime.worker import run_trial
from comodo.search.records import TrainedRecord
from comodo.search.trial import Evaluation, Trial, read_result, weights_id
from comodo.training.distill import seed_of
from tests.core.test_hub import cached
from tests.errors import raises
from tests.helpers import (
    forkserver,
    make_arrays,
    make_folded_arrays,
    run_whole,
    trial_config,
    weights_equal,
)  # fmt: skip
from tests.tiny_students import SIZES


def test_name_depends_on_what_is_computed_and_nothing_else() -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    assert trial.key == Trial(trial_config(dataset="another name"), 0, "w", "f").key
    others = [
        Trial(trial_config(), 1, "w", "f"),
        Trial(trial_config(), 0, "v", "f"),
        Trial(trial_config(), 0, "w", "g"),
        Trial(trial_config(epochs=5), 0, "w", "f"),
        Trial(trial_config(method={"name": "comodo", "queue_size": 11}), 0, "w", "f"),
        Trial(trial_config(precision="bf16"), 0, "w", "f"),
        Trial(trial_config(method="supervised"), 0, "w", "f"),
        trial.untrained,
    ]
    assert len({trial.key, *(other.key for other in others)}) == 9
    more = Evaluation(("probe", "knn"), {"other": "v"})
    assert Trial(trial_config(), 0, "w", "f", more).key == trial.key
    labelled = Trial(trial_config(method="supervised"), 0, "w", "f")
    assert labelled.key == Trial(trial_config(method="supervised"), 0, "w", "other").key


def test_untrained_trials_do_not_depend_on_training() -> None:
    one = Trial(trial_config(epochs=3, learning_rate=0.1), 0, "w", "f").untrained
    other = Trial(trial_config(method="infonce"), 0, "w", "f").untrained
    assert one.key == other.key
    assert one.key == Trial(trial_config(), 0, "w", "other").untrained.key  # nor on the teacher
    assert one.key != Trial(trial_config(), 1, "w", "f").untrained.key


def test_hand_crafted_trials_depend_on_channels_windows_and_seed_alone(tmp_path: Path) -> None:
    weighted = StudentConfig(name="mantis", weights=str(tmp_path)).model_dump()
    others = [
        Trial(trial_config(epochs=3, protocol="published"), 0, "w", "f"),
        Trial(trial_config(method="supervised"), 0, "w", "other"),
        Trial(trial_config(student=weighted), 0, "w", "f", weights={"content": "x"}),
        Trial(trial_config(student="dlinear", method="supervised"), 0, "w", "f"),
    ]
    keys, trial = {trial.hand_crafted.key for trial in others}, Trial(trial_config(), 0, "w", "f")
    assert keys == {trial.hand_crafted.key}
    assert trial.hand_crafted.is_hand_crafted and not trial.untrained.is_hand_crafted
    accelerometer = StudentConfig(name="mantis", channels=("acc_x", "acc_y", "acc_z"))
    different = [
        trial,
        trial.untrained,
        Trial(trial_config(), 1, "w", "f").hand_crafted,
        Trial(trial_config(), 0, "v", "f").hand_crafted,
        Trial(trial_config(student=accelerometer.model_dump()), 0, "w", "f").hand_crafted,
    ]
    assert len(keys | {other.key for other in different}) == 6


def test_name_follows_local_weights(tmp_path: Path) -> None:
    def key() -> str:
        student = StudentConfig(name="mantis", weights=str(tmp_path))
        return Trial(trial_config(student=student.model_dump()), 0, "w", "f").key

    before = key()
    (tmp_path / "model.safetensors").write_bytes(b"1")
    assert key() != before


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_result_student_and_history_are_kept(store: Store) -> None:
    trial, reported = Trial(trial_config(), 0, *make_arrays(store)), list[dict[str, Any]]()
    folder = store.folder("trials", trial.key)
    result = run_whole(trial, store, reported.append)
    assert read_result(trial, store) == result
    assert result.trained.history == reported
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    assert result.trained.made_by == made_by(gpu)
    assert read_json(folder / "measured.json")["made_by"] == made_by(gpu)
    kinds = ("acc1", "balanced_accuracy", "macro_f1")  # there are three classes
    measures = {f"{split}/{kind}" for split in ("val", "test") for kind in kinds}
    assert set(result.metrics) == measures | {"probe/C", "student/parameters"}
    table = trial.predictions(store, "d")
    assert table is not None
    answers = table.to_pandas()
    assert answers.columns.tolist() == ["split", "group", "label", "predicted", "rank"]
    test = answers[answers.split == "test"]
    assert len(test) == 20
    assert (test["rank"] == 0).mean() == result.metrics["test/acc1"]
    assert (test.label == test.predicted).mean() == result.metrics["test/acc1"]
    assert sorted(test.group.unique()) == ["g0", "g1", "g2", "g3"]
    assert not (folder / "checkpoint.pt").exists()
    student = load_student(folder / "student")
    assert student(torch.zeros(2, 6, 64)).shape == (2, student.dim)


def test_untrained_is_where_every_method_starts(store: Store) -> None:
    trial = Trial(trial_config(), 5, *make_arrays(store)).untrained
    run_trial(trial, store, lambda metrics: None)
    torch.manual_seed(seed_of(5, "student"))
    fresh = build_student(trial.config.student)
    assert weights_equal(fresh, load_student(store.folder("trials", trial.key) / "student"))


def test_weights_of_the_hub_are_those_of_the_commit_in_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a machine on which the branch has moved."""
    hub = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    first, second = "1" * 40, "2" * 40
    folders = {c: hub / "models--some--mantis/snapshots" / c for c in (first, second)}
    for commit, folder in folders.items():
        cached(hub, "some/mantis", commit)
        MantisV1(**SIZES["mantis"], device="cpu").save_pretrained(folder)
    main = hub / "models--some--mantis/refs/main"
    main.write_text(first)
    store = Store(tmp_path / "store")
    config = trial_config(student={"name": "mantis", "weights": "some/mantis"}, method="none")
    trial = Trial(config, 0, *make_arrays(store), weights=weights_id(config.student))
    main.write_text(second)
    run_trial(trial, store, lambda metrics: None)
    student = load_student(store.folder("trials", trial.key) / "student")
    for commit, folder in folders.items():
        fresh = build_student(StudentConfig(name="mantis", weights=str(folder)))
        assert weights_equal(student, fresh) == (commit == first)


def in_process(store: Store, epochs: int) -> tuple[BaseProcess, Connection]:
    """Trains in another process. After each epoch it sends its number and waits for an answer."""
    context = forkserver()
    here, there = context.Pipe()
    process = context.Process(target=train_and_ask, args=(store, epochs, there))
    process.start()
    there.close()
    return process, here


def train_and_ask(store: Store, epochs: int, other: Connection) -> None:
    def report(metrics: dict[str, Any]) -> None:
        other.send(metrics["epoch"])
        other.recv()

    torch.set_num_threads(1)
    run_trial(Trial(trial_config(epochs=epochs), 0, "w", "f"), store, report)


@pytest.mark.parametrize("epochs_before", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_trial_ends_as_one_that_never_stopped(
    store: Store, tmp_path: Path, epochs_before: int
) -> None:
    trial = Trial(trial_config(epochs=6), 0, *make_arrays(store))
    torch.set_num_threads(1)
    run_trial(trial, store, lambda metrics: None)
    undisturbed = load_student(store.folder("trials", trial.key) / "student")

    other = Store(tmp_path / "other")
    make_arrays(other)
    process, epochs = in_process(other, epochs=6)
    while epochs.recv() < epochs_before:
        epochs.send("go on")
    process.kill()
    process.join()
    folder = other.folder("trials", trial.key)
    assert (folder / "checkpoint.pt").exists()
    assert read_result(trial, other) is None
    result = run_whole(trial, other, lambda metrics: None)
    assert [metrics["epoch"] for metrics in result.trained.history] == [1, 2, 3, 4, 5, 6]
    assert weights_equal(undisturbed, load_student(folder / "student"))


def test_what_another_process_trains_is_waited_for_and_read(store: Store) -> None:
    trial = Trial(trial_config(epochs=2), 0, *make_arrays(store))
    process, epochs = in_process(store, epochs=2)
    epochs.recv()
    reported = list[dict[str, Any]]()

    def report(metrics: dict[str, Any]) -> None:
        reported.append(metrics)
        epochs.send("go on")
        epochs.send("go on")

    result = run_whole(trial, store, report)
    process.join(60)
    assert process.exitcode == 0
    (waiting,) = reported  # it has trained nothing
    assert waiting["waiting"].startswith(f"process {process.pid} on ")
    assert [metrics["epoch"] for metrics in result.trained.history] == [1, 2]
    assert not (store.folder("trials", trial.key) / "lease.json").exists()


def test_a_run_whose_trial_was_taken_writes_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comodo.core.lease.RENEW_SECONDS", 0.02)
    trial = Trial(trial_config(epochs=50), 0, *make_arrays(store))
    folder = store.folder("trials", trial.key)
    theirs = {"id": "theirs", "pid": 1, "host": "other", "since": "then"}
    written = b""

    def report(metrics: dict[str, Any]) -> None:
        nonlocal written
        if metrics["epoch"] == 2:
            written = (folder / "checkpoint.pt").read_bytes()
            for _ in range(25):  # as it is renewed, its thread may write just after the first
                write_json(folder / "lease.json", theirs)
                time.sleep(0.02)

    with raises(LeaseError, "lease.lost", "process 1 on other"):
        run_trial(trial, store, report)
    assert (folder / "checkpoint.pt").read_bytes() == written
    assert read_json(folder / "lease.json") == theirs
    assert not (folder / "trained.json").exists()


def test_what_was_cut_off_is_made_again(store: Store) -> None:
    trial = Trial(trial_config(epochs=1), 0, *make_arrays(store, windows=12))
    folder = store.folder("trials", trial.key)
    result, student = run_whole(trial, store), load_student(folder / "student")
    for cut in (
        "checkpoint.pt",
        "heads.pt",
        "student/model.safetensors",
        "measures/w/probe-*.json",
        "measures/w/probe-*.parquet",
    ):
        if cut == "checkpoint.pt":
            (folder / "trained.json").unlink()
            (folder / cut).write_bytes((folder / "heads.pt").read_bytes())
        (path,) = folder.glob(cut)
        os.truncate(path, path.stat().st_size // 2)
        if not cut.startswith("measures"):  # else nothing would be left to do
            (probed,) = folder.glob("measures/w/*.json")
            probed.unlink()
        assert read_result(trial, store) is None
        assert run_whole(trial, store).metrics == result.metrics
        assert weights_equal(load_student(folder / "student"), student)
        assert trial.predictions(store, "d") is not None


@pytest.mark.chaos
def test_weights_that_were_replaced_are_refused(tmp_path: Path) -> None:
    student = StudentConfig(name="mantis", weights=str(tmp_path)).model_dump()
    trial = Trial(trial_config(student=student), 0, "w", "f")
    assert trial.key
    sent = pickle.loads(pickle.dumps(trial))  # as Ray sends it to a worker
    sent.refuse_changed()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with raises(ChangedError, "trial.student.weights", str(tmp_path)):
        sent.refuse_changed()
    Trial(trial_config(student=student), 0, "w", "f").refuse_changed()  # a trial by the new ones


def test_without_labels_there_is_nothing_to_probe(store: Store) -> None:
    trial = Trial(trial_config(), 0, *make_arrays(store)).untrained
    path = store.folder("arrays", "w") / "train-00000.safetensors"
    content = load_file(path)
    content["label"] = content["label"] * 0 - 1
    save_file(content, path)
    with raises(EvaluateError, "evaluate.no-labels"):
        run_trial(trial, store, print)


ALL = ("probe", "linear", "knn", "few-shot", "zero-shot", "alignment", "direct")


def other_dataset(store: Store) -> str:
    """The same arrays under another key and other class names, of which the map shares two."""
    key = make_arrays(store, name="v")[0]
    meta = store.folder("arrays", key) / "meta.json"
    write_json(meta, read_json(meta) | {"classes": ["one", "three", "two"]})
    return key


def test_what_is_asked_later_is_measured_without_training_again(store: Store) -> None:
    arrays = make_arrays(store)
    trial, reported = Trial(trial_config(), 0, *arrays), list[dict[str, Any]]()
    before = run_whole(trial, store, reported.append)
    names = {"d": {"c0": "one", "c1": "two"}}
    asked = Evaluation(ALL, {"other": other_dataset(store)}, label_map=names)
    more = Trial(trial_config(), 0, *arrays, asked)
    assert read_result(more, store) is None
    result = run_whole(more, store, reported.append)
    assert len(reported) == 4  # the epochs of the first run
    metrics = result.metrics
    assert {key: metrics[key] for key in before.metrics} == before.metrics
    assert {"test/linear/acc1", "val/knn/acc1", "test/few_shot/1", "test/few_shot/5"} <= set(
        metrics
    )
    linear = more.predictions(store, "d", "linear")
    assert linear is not None
    test = linear.to_pandas().query("split == 'test'")
    assert test["linear/acc1"].mean() == metrics["test/linear/acc1"]
    few = more.predictions(store, "d", "few-shot")
    assert few is not None
    shares = few["few_shot/5"].to_numpy()
    assert shares.mean() == pytest.approx(metrics["test/few_shot/5"])
    assert "test/few_shot/1_std" in metrics
    assert {"test/zero_shot/acc1", "test/alignment/cka", "on/other/test/acc1"} <= set(metrics)
    # The other data set has the same windows, so that a probe of its own comes out the same.
    assert metrics["on/other/test/acc1"] == metrics["test/acc1"]
    assert not any(key.startswith("on/other/test/alignment") for key in metrics)
    # Classes "one" and "two" are c0 and c2 there, c0 and c1 here: "three" is left out.
    direct = more.predictions(store, "other", "direct")
    assert direct is not None
    assert set(direct["label"].to_pylist()) == {"one", "two"}
    of_test = direct.to_pandas().query("split == 'test'")
    right = (of_test["label"] == of_test["predicted"]).mean()
    assert right == metrics["on/other/direct/test/acc1"]
    answers = more.predictions(store, "other")
    assert answers is not None
    assert set(answers["label"].to_pylist()) == {"one", "three", "two"}

    renamed = replace(asked, label_map={"d": {"c0": "one", "c2": "two"}})
    same = run_whole(Trial(trial_config(), 0, *arrays, renamed), store, reported.append)
    assert same.metrics["on/other/direct/test/acc1"] > 0.9
    assert len(reported) == 4


FOLDS = make_folds({f"g{i}": {"c0": 9, "c1": 9} for i in range(4)}, FoldSplit(folds="all"))


def cut_apart(store: Store, fold: Fold) -> tuple[str, str]:
    """The same with the splits of a fold packed apart, as of a data set with one split."""
    windows = load_file(store.folder("arrays", "w") / "all-00000.safetensors")
    split_N = np.array([fold.split_of(f"g{code}") for code in windows["group"]])
    for key in ("w", "f"):
        folder, target = store.folder("arrays", key), store.folder("arrays", f"{key}-cut")
        target.mkdir(parents=True)
        whole, files = load_file(folder / "all-00000.safetensors"), {}
        for split in ("train", "val", "test"):
            files[split] = [f"{split}-00000.safetensors"]
            rows = {name: values[split_N == split] for name, values in whole.items()}
            save_file(rows, target / files[split][0])
        write_json(target / "meta.json", read_json(folder / "meta.json") | {"files": files})
    return "w-cut", "f-cut"


@pytest.mark.parametrize("method", [None, "supervised", "none"])
def test_a_fold_computes_what_its_splits_packed_apart_would(
    store: Store, method: str | None
) -> None:
    """Student, metrics and predictions, bit for bit."""
    make_folded_arrays(store)
    config = trial_config() if method is None else trial_config(method=method)
    asked = Evaluation(("probe", "knn", "few-shot", "zero-shot", "alignment"))
    fold = FOLDS[1]
    trial = Trial(config, 0, "w", "f", asked, fold=fold)
    apart = Trial(config, 0, *cut_apart(store, fold), asked)
    assert trial.key != apart.key
    one, other = (run_whole(t, store) for t in (trial, apart))
    assert one.metrics == other.metrics
    assert one.trained.fold is not None and Fold.of(one.trained.fold) == fold
    students = [load_student(store.folder("trials", t.key) / "student") for t in (trial, apart)]
    assert weights_equal(*students)
    for measure in ("probe", "knn", "few-shot"):
        mine, wanted = (t.predictions(store, "d", measure) for t in (trial, apart))
        assert mine is not None and wanted is not None and mine.equals(wanted)
        assert set(mine.filter(pc.equal(mine["split"], "test"))["group"].to_pylist()) == {"g1"}


def test_another_data_set_with_folds_is_tested_in_all_of_them(store: Store) -> None:
    """By each student, as it was trained on none of it; each window once."""
    make_folded_arrays(store)
    folds = {"d": FOLDS, "other": FOLDS}
    asked = Evaluation(("probe", "direct"), {"other": "w"}, folds=folds)
    trial = Trial(trial_config(epochs=1), 0, "w", "f", asked, fold=FOLDS[0])
    metrics = run_whole(trial, store).metrics
    for measure in ("probe", "direct"):
        table = trial.predictions(store, "other", measure)
        assert table is not None
        tested = table.filter(pc.equal(table["split"], "test")).to_pandas()
        assert tested.group.value_counts().to_dict() == {"g0": 21, "g1": 21, "g2": 20, "g3": 20}
        name = "test/acc1" if measure == "probe" else "direct/test/acc1"
        by_fold = (tested["rank"] == 0).groupby(tested.group).mean()
        hits = (tested["rank"] == 0).mean() if measure == "direct" else by_fold.mean()
        assert metrics[f"on/other/{name}"] == pytest.approx(hits)
    assert "on/other/val/acc1" in metrics and "on/other/direct/val/acc1" not in metrics
    apart = replace(asked, folds={"d": FOLDS})
    places = [
        {place for *_, place in replace(trial, evaluation=e).measures()} for e in (asked, apart)
    ]
    assert len(places[0] - places[1]) == 2


def test_hand_crafted_features_are_measured_as_a_student_is(store: Store) -> None:
    """Against plain scikit-learn; without a teacher, and with nothing trained."""
    arrays = make_arrays(store)
    names = {"d": {"c0": "one", "c2": "two"}}
    asked = Evaluation((*ALL, "classifier"), {"other": other_dataset(store)}, label_map=names)
    trial = Trial(trial_config(), 3, *arrays, asked).hand_crafted
    (store.folder("arrays", "f") / "meta.json").unlink()
    metrics = run_whole(trial, store).metrics
    assert metrics["student/parameters"] == 0
    windows = WindowArrays.load(store.folder("arrays", "w")).splits
    values = {}
    for split, part in windows.items():
        imu_NCT, _ = part.imu(torch.arange(len(part)))
        features_ND = window_features(imu_NCT.numpy()).astype(np.float32)
        values[split] = (features_ND, part.label_N.numpy())
    model = make_pipeline(StandardScaler(), LogisticRegression(C=metrics["probe/C"], max_iter=1000))
    model.fit(*values["train"])
    for split in ("val", "test"):
        assert metrics[f"{split}/acc1"] == pytest.approx(model.score(*values[split]))
    assert metrics["on/other/test/acc1"] == metrics["test/acc1"] > 0.9
    assert metrics["on/other/direct/test/acc1"] > 0.9
    assert metrics["test/linear/acc1"] > 0.9 and metrics["test/knn/acc1"] > 0.9
    assert metrics["test/few_shot/1"] <= metrics["test/few_shot/10"]
    assert not any("zero_shot" in name or "alignment" in name for name in metrics)


def test_the_unit_of_a_hand_crafted_feature_does_not_matter(store: Store) -> None:
    """A gyroscope in other units would decide the norm of each window's features."""
    trial = Trial(trial_config(), 0, *make_arrays(store), Evaluation(("knn",))).hand_crafted
    before = run_whole(trial, store).metrics["test/knn/acc1"]
    for path in store.folder("arrays", "w").glob("*.safetensors"):
        content = load_file(path)
        content["imu"][:, 3:] *= 300
        save_file(content, path)
    other = replace(trial, seed=1)
    assert run_whole(other, store).metrics["test/knn/acc1"] == pytest.approx(before, abs=0.051)


def test_without_labels_for_a_probe_there_is_still_direct_transfer(store: Store) -> None:
    arrays, other = make_arrays(store), other_dataset(store)
    names = {"d": {"c0": "one", "c2": "two"}}
    asked = Evaluation(("probe", "direct"), {"other": other}, frozenset({"other"}), names)
    trial = Trial(trial_config(), 0, *arrays, asked)
    metrics = run_whole(trial, store, lambda metrics: None).metrics
    assert "on/other/direct/test/acc1" in metrics
    assert "on/other/test/acc1" not in metrics
    assert trial.predictions(store, "other") is None
    answers = trial.predictions(store, "other", "direct")
    assert answers is not None
    assert set(answers["label"].to_pylist()) == {"one", "two"}


def test_a_class_that_the_probe_never_saw_is_always_wrong(store: Store) -> None:
    arrays = make_arrays(store)
    path = store.folder("arrays", "w") / "train-00000.safetensors"
    content = load_file(path)
    content["label"][content["label"] == 2] = -1
    save_file(content, path)
    trial = Trial(trial_config(), 0, *arrays).untrained
    run_whole(trial, store, lambda metrics: None)
    table = trial.predictions(store, "d")
    assert table is not None
    answers = table.to_pandas().query("split == 'test'")
    assert (answers["rank"] < 2).sum() == (answers.label != "c2").sum() == 14


def test_untrained_and_supervised_students_have_no_zero_shot(store: Store) -> None:
    asked = Evaluation(("probe", "zero-shot", "alignment"))
    for method in ("none", "supervised"):
        trial = Trial(trial_config(method=method), 0, *make_arrays(store), asked)
        metrics = run_whole(trial, store, lambda metrics: None).metrics
        assert "test/alignment/cka" in metrics
        assert "test/zero_shot/acc1" not in metrics


def test_a_student_in_its_teacher_s_space_is_measured_by_texts_and_retrieval(store: Store) -> None:
    windows, features = make_arrays(store)
    folder, template = store.folder("arrays", features), "someone doing {class}"
    classes, width = WindowArrays.load(store.folder("arrays", windows)).classes, 12
    text_KD = torch.nn.functional.normalize(torch.randn(len(classes), width))
    save_prompts(prompts_file(folder, template), prompts_of(classes, template), text_KD)
    asked = Evaluation(("probe", "zero-shot-text", "retrieval"), prompt=template)
    linear = {"name": "infonce", "head": {"kind": "linear"}}
    trial = Trial(trial_config(epochs=1, method=linear), 0, windows, features, asked)
    metrics = run_whole(trial, store).metrics
    names = {f"{split}/zero_shot_text/{name}" for split in ("val", "test")
             for name in ("acc1", "macro_f1", "balanced_accuracy")}  # fmt: skip
    names |= {f"test/retrieval/imu_to_video_{name}" for name in ("r1", "r5", "median_rank")}
    assert names <= metrics.keys()
    table = trial.predictions(store, "d", "zero-shot-text")
    assert table is not None and set(table["predicted"].to_pylist()) <= set(classes)
    places = {measure: place for _, measure, place in trial.measures()}
    other = replace(trial, evaluation=replace(asked, prompt="{class}"))
    moved = {measure: place for _, measure, place in other.measures()}
    assert {name for name in places if places[name] != moved[name]} == {"zero-shot-text"}
    untrained = [measure for _, measure, _ in trial.untrained.measures()]
    assert untrained == ["probe"], "it has no projector into that space"


@pytest.mark.parametrize("rule", ["medoid", "first"])
def test_published_anchors_are_measured_after_every_epoch(store: Store, rule: str) -> None:
    arrays = make_arrays(store)
    config = trial_config(epochs=2, zero_shot_anchors=rule)
    result = run_whole(Trial(config, 0, *arrays, Evaluation(("zero-shot",))), store)
    by_epoch = [epoch.get("val/anchor_acc1") for epoch in result.trained.history]
    assert result.metrics["val/zero_shot/acc1"] > 0
    if rule == "first":  # the measure compares the same windows by the same anchors
        assert by_epoch[-1] == pytest.approx(result.metrics["val/zero_shot/acc1"])
    assert [accuracy is not None for accuracy in by_epoch] == [rule == "first"] * 2
    other = run_whole(Trial(config, 1, *arrays), store)
    assert "val/anchor_acc1" not in other.trained.history[0]  # zero-shot is not requested


def test_the_teacher_s_projector_is_made_again_from_its_seed(store: Store) -> None:
    arrays = make_arrays(store)
    trial = Trial(trial_config(epochs=1), 0, *arrays, Evaluation(("zero-shot", "alignment")))
    folder = store.folder("trials", trial.key)
    metrics = run_whole(trial, store).metrics
    state, digest = torch.load(folder / "heads.pt")
    assert isinstance(digest, str)
    torch.manual_seed(seed_of(0, "heads"))
    method = trial.config.method
    assert isinstance(method, ComodoMethod)
    projector = build_heads(method.head, load_student(folder / "student").dim, 12)[1].state_dict()

    def measured_with(of_teacher: object) -> dict[str, float]:
        for path in folder.glob("measures/w/*"):
            path.unlink()
        torch.save([state, of_teacher], folder / "heads.pt")
        return run_whole(trial, store).metrics

    assert measured_with(projector) == metrics  # as an earlier version stored it
    with raises(WeightsError, "weights.other-projector", str(folder)):
        measured_with("of another PyTorch")


def test_labels_train_a_supervised_student(store: Store) -> None:
    reported = list[dict[str, Any]]()
    trial = Trial(trial_config(method="supervised", epochs=40), 0, *make_arrays(store))
    run_trial(trial, store, reported.append)
    assert reported[-1]["train/loss"] < 0.5 * reported[0]["train/loss"]
    assert reported[-1]["val/quick_acc1"] > 0.6


def test_a_transfer_changes_units_as_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ego4D in m/s^2 and rad/s, MMEA in g and deg/s: each data set is seen in its own units."""
    seen: dict[int, tuple[str, str]] = {}

    def remember(frozen: FrozenStudent) -> Measured:
        seen[len(frozen.windows.splits["train"])] = frozen.student.units
        return Measured({})

    windows, features = make_arrays(store)
    mmea, _ = make_arrays(store, windows=30, name="v")
    units = {"d": ("m/s^2", "rad/s"), "mmea": ("g", "deg/s")}
    evaluation = Evaluation(("knn",), {"mmea": mmea}, published_units=units)
    monkeypatch.setattr(knn, "measure_knn", remember)
    config = trial_config(epochs=1, imu_units="published")
    trial = Trial(config, 0, windows, features, evaluation)
    run_whole(trial, store)
    assert seen == {42: ("m/s^2", "rad/s"), 32: ("g", "deg/s")}
    student = load_student(store.folder("trials", trial.key) / "student")
    assert student.units == ("m/s^2", "rad/s")
    usual = Trial(trial_config(epochs=1), 0, windows, features, evaluation)
    assert len({t.key for t in (trial, usual, trial.untrained, usual.untrained)}) == 4
    run_whole(usual, store)
    assert set(seen.values()) == {("g", "deg/s")}
    other = load_student(store.folder("trials", usual.key) / "student")
    assert not weights_equal(student, other)


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True)])
def test_tf32_is_for_training_alone(
    store: Store, precision: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    trial = Trial(trial_config(precision=precision), 0, *make_arrays(store))
    while_training, while_measuring = list[Any](), list[Any]()
    measure_probe = probe.measure_probe

    def watched(subject: Any) -> Any:
        while_measuring.append(flags())
        return measure_probe(subject)

    monkeypatch.setattr(probe, "measure_probe", watched)
    result = run_whole(trial, store, lambda metrics: while_training.append(flags()))
    assert set(while_training) == {(allowed, allowed)}
    assert set(while_measuring) == {(False, False)}
    assert result.trained.trial["precision"] == precision


def test_a_classifier_with_a_layer_norm_is_measured_as_it_was_trained(store: Store) -> None:
    method = {"name": "supervised", "layer_norm": True}
    config = trial_config(method=method, schedule="cosine", epochs=30, learning_rate=1e-2)
    trial = Trial(config, 0, *make_arrays(store), Evaluation(("classifier",)))
    result = run_whole(trial, store)
    student = load_student(store.folder("trials", trial.key) / "student").eval()
    head = worker.classifier_of(trial, store, student)
    assert [type(layer) for layer in head.children()] == [nn.LayerNorm, nn.Linear]
    test = WindowArrays.load(store.folder("arrays", "w")).splits["test"]
    score_NK = extract_features(student, test, torch.arange(len(test)), head=head)
    right_N = score_NK.argmax(1) == test.label_N
    assert result.metrics["classifier/test/acc1"] == pytest.approx(float(right_N.float().mean()))
    assert result.metrics["classifier/test/acc1"] > 0.5  # of three classes


def test_a_student_with_projector_and_classifier_is_measured_by_both(store: Store) -> None:
    terms = {"l2": {}, "supervised": {"layer_norm": True}}
    method = {"terms": terms, "head": {"hidden_dim": 16, "output_dim": 8}}
    config = trial_config(method=method, epochs=30)
    evaluation = Evaluation(("probe", "classifier", "zero-shot"))
    trial = Trial(config, 0, *make_arrays(store), evaluation)
    result = run_whole(trial, store)
    assert {"test/acc1", "classifier/test/acc1", "test/zero_shot/acc1"} <= result.metrics.keys()
    folder = store.folder("trials", trial.key)
    student = load_student(folder / "student").eval()
    *_, classifier = torch.load(folder / "heads.pt")
    test = WindowArrays.load(store.folder("arrays", "w"), 32).splits["test"]
    feature_ND = extract_features(student, test, torch.arange(len(test)))
    normed_ND = nn.functional.layer_norm(
        feature_ND, (student.dim,), classifier["0.weight"], classifier["0.bias"]
    )
    score_NK = normed_ND @ classifier["1.weight"].T + classifier["1.bias"]
    right_N = score_NK.argmax(1) == test.label_N
    assert result.metrics["classifier/test/acc1"] == pytest.approx(float(right_N.float().mean()))
    assert result.metrics["classifier/test/acc1"] > 0.5  # of three classes


@pytest.mark.parametrize(
    ("protocol", "method", "expected"),
    [("corrected", "supervised", 128), ("published", "supervised", 7), ("published", "none", 48)],
)
def test_features_that_depend_on_their_batch_are_measured_in_the_published_ones(
    store: Store, protocol: str, method: str, expected: int
) -> None:
    size = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32, "seq_len": 32}
    config = trial_config(
        protocol=protocol, method=method, student={"name": "moment", "size": size}, batch_size=7
    )
    trial = Trial(config, 0, *make_arrays(store))
    frozen = worker.frozen_student_of(trial, store, build_student(config.student), "d")
    assert frozen.batch_size == expected


def test_peak_memory_is_that_of_the_trial_not_of_those_before_in_the_same_process(
    store: Store,
) -> None:
    before = np.ones(2**26)  # 512 MiB
    most = peak_memory()
    del before
    trial = Trial(trial_config(epochs=1), 0, *make_arrays(store))
    run_trial(trial, store, lambda metrics: None)
    record = TrainedRecord.find(store.folder("trials", trial.key))
    assert record is not None and record.peak_memory is not None
    assert record.peak_memory["cpu"] < most - 2**28
