"""Teacher and student compared: real processes on tiny networks, and the files that result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from mlflow.tracking import MlflowClient
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from comodo.cli import app
from comodo.config import read_sweep_file
from comodo.core.console import console
from comodo.core.store import Store, read_json, write_json
from comodo.deploy.footprint import Footprint, Network
from comodo.deploy.profiling import (
    Profile,
    ProfileError,
    describe_machine,
    measure_apart,
    profile_trial,
    show_profile,
    write_profile,
)
from comodo.deploy.selection import Selection, resolve_run
from comodo.models.students import build_student, save_student
from comodo.runtime.tiny_teachers import tiny_teacher
from comodo.search.trial import Evaluation, TrialResult
from comodo.tracking.runs import find_runs, tracking_uri
from comodo.tracking.tracker import Tracker
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.evaluation.test_sweep_record import saved_of
from tests.helpers import TINY_MANTIS, answer, make_arrays, trained_record

TEACHER = Footprint(
    "8 frames", 121_000_000, 392 * 10**9, 485_000_000, 10, 24.5, 29.9, 633_000_000, 10**9, 300.0
)
STUDENT = Footprint(
    "250 samples", 8_200_000, 1_200_000_000, 33_000_000, 300, 0.031, 0.04, 61_000_000, 10**8, 0.4
)
EXPORTED = replace(STUDENT, parameters=None, flops=None)
FILES = {"profile.json", "profile.md", "profile.png", "profile.svg"}


def profile_of(**networks: Footprint) -> Profile:
    notes = ["teacher takes 8 frames."]
    return Profile("k", "small", "comodo", 0, networks, notes, describe_machine())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "store")


def finished(tmp_path: Path, store: Store, teacher: dict[str, str]) -> Selection:
    """A sweep of one trial with a tiny student."""
    file = sweep_file(tmp_path, trial__teacher=teacher, trial__student=TINY_MANTIS, references=[])
    saved = saved_of(read_sweep_file(file), Evaluation())
    saved.write(store)
    (row,) = saved.results(store).rows
    answer(store, row.trial, 0.5)
    student = build_student(row.trial.config.student)
    save_student(student, store.folder("trials", row.trial.key) / "student")
    return resolve_run("small", store)


def write_product(path: Path, rows: int, columns: int) -> None:
    """An ONNX file that takes windows [B, 6, rows] and multiplies them with a matrix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = numpy_helper.from_array(np.zeros((rows, columns), np.float32), "matrix")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["imu", "matrix"], ["product"])],
        "product",
        [helper.make_tensor_value_info("imu", TensorProto.FLOAT, ["batch", 6, rows])],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, ["batch", 6, columns])],
        [matrix],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)


def test_processes_do_not_add_to_each_other(tmp_path: Path) -> None:
    """The parent process may use more memory than the measured network."""
    write_product(tmp_path / "model.onnx", 2048, 4096)
    mine = b"x" * 700_000_000
    found = measure_apart(Network("onnx", str(tmp_path / "model.onnx")))
    assert found.takes == "2048 samples of 6 channels"
    assert (found.parameters, found.flops) == (None, None)
    assert found.disk == (tmp_path / "model.onnx").stat().st_size
    assert found.runs >= 10
    assert 0 < found.latency <= found.latency_p95
    if found.memory is None or found.process is None:
        pytest.skip("this system does not report the memory of a process")
    assert 30e6 < found.memory < 300e6
    assert found.memory < found.process < len(mine)


def test_a_process_that_dies(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("no network")
    with raises(ProfileError, "profile.died"):
        measure_apart(Network("onnx", str(tmp_path / "model.onnx")))


def test_nothing_to_measure(tmp_path: Path, store: Store) -> None:
    (tmp_path / "features.npz").touch()
    teacher = {"name": "precomputed", "path": str(tmp_path / "features.npz")}
    found = finished(tmp_path, store, teacher)
    with raises(ProfileError, "profile.nothing"):
        profile_trial(found, store)


def test_ratios_and_files(store: Store) -> None:
    networks = {"teacher": TEACHER, "student": STUDENT, "exported": EXPORTED}
    made = profile_of(**networks)
    folder = write_profile(made, store)
    assert {path.name for path in folder.iterdir()} == FILES
    kept = read_json(folder / "profile.json")
    assert kept["networks"]["teacher"]["flops"] == 392 * 10**9
    assert kept["teacher_over_student"]["latency"] == pytest.approx(24.5 / 0.031)
    assert kept["machine"]["threads"] == "1"
    page = (folder / "profile.md").read_text()
    assert "| parameters | 121 M | 8.2 M | – | 14.8 |" in page
    assert "| latency, median | 24.5 s | 31 ms | 31 ms | 790 |" in page
    assert "| energy | 300 J | 400 mJ | 400 mJ | 750 |" in page
    assert "an estimate" in page
    assert "decoding" in page
    picture = np.asarray(Image.open(folder / "profile.png").convert("L"))
    assert (picture < 128).mean() > 0.005  # letters and dots
    svg = (folder / "profile.svg").read_bytes()
    write_profile(made, store)
    assert (folder / "profile.svg").read_bytes() == svg


def test_what_is_missing(store: Store) -> None:
    """Without a teacher there is no ratio; without counters no energy."""
    made = profile_of(student=replace(STUDENT, joules=None, memory=None, process=None))
    with console.capture() as capture:
        console.print(show_profile(made), width=80)
    shown = capture.get()
    assert "teacher / student" not in shown
    assert "peak memory" not in shown
    assert "Energy: this machine has no counters" in shown
    assert "profile.png" in (write_profile(made, store) / "profile.md").read_text()
    assert read_json(store.folder("profiles", "k") / "profile.json")["teacher_over_student"] == {}


@pytest.mark.slow
def test_the_verb(tmp_path: Path, store: Store) -> None:
    """Teacher, student and export are measured, and attached to the trial's run."""
    weights = str(tiny_teacher("timesformer", store))
    trial = finished(tmp_path, store, {"name": "timesformer", "weights": weights}).row.trial
    make_arrays(store)
    write_product(store.folder("exports", trial.key) / "model.onnx", 64, 8)
    write_json(tmp_path / "t/student/student.json", {})
    tracker = Tracker(store, "small", {"name": "small"})
    tracker.finish(trial, "x", TrialResult(trained_record(trial), {}), tmp_path / "t")
    tracker.settle()
    done = CliRunner().invoke(app, ["profile", trial.key[:8], "--store", str(store.root)])
    assert done.exit_code == 0, done.output
    folder = store.folder("profiles", trial.key)
    networks = read_json(folder / "profile.json")["networks"]
    assert list(networks) == ["teacher", "student", "exported"]
    assert networks["teacher"]["parameters"] == 36_736
    assert networks["teacher"]["takes"] == "2 decoded frames of 32 x 32 pixels"
    assert networks["student"]["takes"] == "64 samples of 6 channels"
    assert all(found["runs"] >= 10 for found in networks.values())
    runs = find_runs("small", store)
    assert runs is not None
    client = MlflowClient(tracking_uri(store))
    attached = client.list_artifacts(runs.trials[trial.key], "profile")
    assert {file.path for file in attached} == {f"profile/{name}" for name in FILES}


@pytest.mark.slow
def test_a_teacher_without_weights(tmp_path: Path) -> None:
    settings = {"name": "timesformer", "weights": str(tmp_path / "absent")}
    with raises(ProfileError, "profile.unavailable"):
        measure_apart(Network("teacher", settings))
