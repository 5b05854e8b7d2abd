"""comodo export: one program from raw samples to probabilities, checked in the runtimes."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from itertools import combinations, product
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from huggingface_hub import ModelCard
from mlflow.tracking import MlflowClient
from rich.console import Console
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from torch import nn

from comodo.config import CHANNELS, StudentConfig, read_sweep_file
from comodo.config.student import Family
from comodo.core.parts import write_table
from comodo.core.store import Store, read_json
from comodo.data.arrays import WindowArrays
from comodo.data.folds import Fold, Folds
from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream, resample
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.records import WindowsMeta
from comodo.data.slicing import WINDOW_SCHEMA
from comodo.deploy import DeployError, card, check_installed
from comodo.deploy.export import Exported, export_run
from comodo.deploy.programs import (
    INT8,
    ONNX,
    TORCH,
    largest_difference,
    load_onnx,
    load_torch,
    write_programs,
)
from comodo.deploy.recogniser import Coupling, Recogniser
from comodo.deploy.selection import Selection, resolve_run
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.platt import couple
from comodo.evaluation.sweep_record import SweepRecord
from comodo.models.preprocessing import Preprocessing, Sensor, resampling
from comodo.models.students import build_student, load_student
from comodo.models.trained_student import TrainedOn
from comodo.models.trained_student import load_student as read_student
from comodo.runtime.worker import frozen_student_of
from comodo.search.trial import Evaluation
from comodo.tracking import registry
from comodo.tracking.runs import find_runs, tracking_uri
from comodo.tracking.tracker import Tracker
from tests import tiny_students
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import make_arrays, put_together, run_whole, trial_config
from tests.paths import ROOT

CLASSES = ["c0", "c1", "c2"]
TINY_BASELINES: dict[str, dict[str, int]] = {
    "dlinear": {"seq_len": 32, "moving_average": 5},
    "informer": {"seq_len": 32, "d_model": 16, "heads": 2, "layers": 2, "d_ff": 16, "factor": 2},
}


def finished(
    folder: Path, evaluation: Evaluation | None = None, **changes: Any
) -> tuple[Selection, Store]:
    """A sweep of one trained trial, without Ray, with its run in MLflow; `evaluation`: measured on
    `e`, and trained without labels."""
    store = Store(folder / "store")
    sets, more = {"d": {"kind": "simulated", "window_seconds": 3.2, "imu_rate": 20}}, {}
    if evaluation is not None:
        make_arrays(store, name="e")
        if evaluation.folds:
            put_together(store.folder("arrays", "e"))
        sets["e"] = sets["d"]
        more = {"evaluate_on": ["e"], "objective": {"metric": "on/e/val/acc1"}}
    arrays = make_arrays(store)
    if evaluation is not None:
        without_labels(store, "train", "val", "test")
    trained = trial_config().model_dump(mode="json", exclude_unset=True)
    sweep = read_sweep_file(sweep_file(folder, datasets=sets, trial=trained | changes, **more))
    measuring, of_set = evaluation or Evaluation(), dict.fromkeys(sets, "set")
    saved = SweepRecord.of(
        sweep, "comodo sweep FILE", {sweep.trained_on()[0]: arrays}, measuring, of_set
    )
    saved.write(store)
    (trial,) = [row.trial for row in saved.results(store).rows if row.label != "untrained"]
    result = run_whole(trial, store, lambda metrics: None)
    tracker = Tracker(store, sweep.name, {})
    tracker.finish(trial, "seed 0", result, store.folder("trials", trial.key))
    tracker.settle()
    counts = {"train": 42, "val": 20, "test": 20}
    classes = {"train": {"c0": 14, "c1": 14, "c2": 14}}
    meta = WindowsMeta([*CHANNELS], counts, classes, {"test": "3 of 4"}, {}, window_seconds=3.2)
    meta.write(store.folder("windows", "set"))
    write_table(store.folder("windows", "set") / "quality-0.parquet", QUALITY_SCHEMA.empty_table())
    listed = [
        {"window": f"r{i}:0", "group": f"g{i % 4}", "label": CLASSES[i % 3]} for i in range(12)
    ]
    part = pa.Table.from_pylist(listed, schema=WINDOW_SCHEMA)
    write_table(store.folder("windows", "set") / "part-0.parquet", part)
    return resolve_run(trial.key, store), store


def without_labels(store: Store, *splits: str) -> None:
    for split in splits:
        file = store.folder("arrays", "w") / f"{split}-00000.safetensors"
        arrays = load_file(file)
        save_file(arrays | {"label": np.full_like(arrays["label"], -1)}, file)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Selection, Store]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield finished(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="module")
def exported(found: tuple[Selection, Store]) -> Exported:
    """For a device in other units, at the rate of the windows."""
    return export_run(*found, acc_unit="m/s^2", gyro_unit="rad/s")


def raw(found: tuple[Selection, Store], samples: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Test windows of the trial [N, 6, 64], as trained on and in m/s^2 and rad/s."""
    trial, store = found[0].row.trial, found[1]
    split = WindowArrays.load(store.folder("arrays", trial.windows)).splits["test"]
    imu = split.imu(torch.arange(samples))[0].numpy()
    factor = np.array([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3, np.float32)
    return imu, imu * factor[:, None]


def test_programs_agree_with_the_probe(found: tuple[Selection, Store], exported: Exported) -> None:
    """For windows in other units, in any batch, with ONNX and torch.export."""
    trial, store = found[0].row.trial, found[1]
    student = load_student(store.folder("trials", trial.key) / "student").eval()
    probe = fit_probe(frozen_student_of(trial, store, student, "d"))
    imu, device_imu = raw(found)
    with torch.inference_mode():
        features = student(torch.from_numpy(imu)).numpy()
    wanted = probe.probabilities(features)
    for program in (load_onnx(exported.folder / ONNX), load_torch(exported.folder / TORCH)):
        for count in (1, 3, 20):
            probabilities, got = program(device_imu[:count])
            np.testing.assert_allclose(got, features[:count], atol=1e-4)
            np.testing.assert_allclose(probabilities, wanted[:count], atol=1e-4)


def test_description_and_table(found: tuple[Selection, Store], exported: Exported) -> None:
    about = read_json(exported.folder / "model.json")
    assert about["input"]["shape"] == ["windows", 6, 64]
    assert about["classes"] == CLASSES
    assert about["largest_difference"] <= 1e-4
    measured = about["accuracy"]
    assert measured["trial"] == measured["float32"] == found[0].row.metrics["test/acc1"]
    answers = load_onnx(exported.folder / INT8)(raw(found)[1])[0].argmax(1)
    assert measured["int8"] == pytest.approx((answers == np.arange(20) % 3).mean())
    kinds = {node.op_type for node in onnx.load(exported.folder / INT8).graph.node}
    assert "MatMulInteger" in kinds
    console = Console(width=100, file=StringIO())
    console.print(exported.table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{100 * measured['int8']:.1f}" in shown
    assert exported.facts()["input"] == "windows x 6 x 64, 20 Hz, m/s^2, rad/s"
    assert not list(exported.folder.parent.glob(".*"))  # nothing half-written is left


PLACES = [f"{place}.{name}" for place in ("head", "left_wrist", "right_wrist") for name in CHANNELS]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *product(["cnn", "tinyhar"], [[*CHANNELS[:3]]]),
        ("cnn", PLACES),
        pytest.param("mantis", [*CHANNELS[:3]], marks=pytest.mark.slow),
        pytest.param("mantis", PLACES, marks=pytest.mark.slow),
        pytest.param("tinyhar", PLACES, marks=pytest.mark.slow),
        pytest.param("tinyhar", [*CHANNELS], marks=pytest.mark.slow),
    ],
)
def test_a_program_takes_the_channels_of_its_student(
    name: str, channels: list[str], tmp_path: Path
) -> None:
    """Three of an accelerometer, six, and 18 of three places."""
    torch.manual_seed(0)
    size: dict[str, Any] = tiny_students.SIZES.get(name) or {**Family.of(name).tiny, "seq_len": 32}
    settings = {"name": name, "channels": channels, "size": size}
    student = build_student(StudentConfig.model_validate(settings)).eval()
    preprocessing = Preprocessing(Sensor(25, "m/s^2", "rad/s"), student.channels, 3.2, 20)
    recogniser = Recogniser(preprocessing, student, True, nn.Identity())
    write_programs(recogniser, 80, {}, tmp_path)
    raw_NCR = np.random.default_rng(0).normal(size=(3, len(channels), 80)).astype(np.float32)
    with torch.no_grad():
        wanted_ND = recogniser(torch.from_numpy(raw_NCR))[1]
    for file in (ONNX, INT8):
        _, feature_ND = load_onnx(tmp_path / file)(raw_NCR)
        assert feature_ND.shape == wanted_ND.shape
        if file == ONNX:
            np.testing.assert_allclose(feature_ND, wanted_ND, rtol=1e-3, atol=1e-4)


def about_of(selection: Selection, taken: dict[str, Any]) -> dict[str, Any]:
    """What the card's summary reads of `model.json`."""
    measured = {"dataset": selection.row.trial.config.dataset}
    about = {"classes": CLASSES, "input": taken, "accuracy": measured}
    return about | {"encoder_units": ["g", "deg/s"]}


def test_a_program_converts_to_what_its_encoder_sees(found: tuple[Selection, Store]) -> None:
    student = tiny_students.make("mantis").in_units(("m/s^2", "rad/s"))
    here = Preprocessing(Sensor(20, "m/s^2", "rad/s"), CHANNELS, 3.2, 20)
    raw_BCR = torch.tensor(raw(found, 4)[1])
    _, feature_BD = Recogniser(here, student, True, nn.Identity())(raw_BCR)
    expected_BD = student.encoder(raw_BCR, None, True).flatten(1)
    torch.testing.assert_close(feature_BD, expected_BD, rtol=1e-4, atol=1e-5)
    taken = {"seconds": 3.2, "channels": [*CHANNELS]}
    about = about_of(found[0], taken) | {"encoder_units": list(student.units)}
    assert "The encoder sees m/s^2 and rad/s." in card._summary(found[0], about)
    assert "The encoder sees" not in card._summary(found[0], about_of(found[0], taken))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (["comodo"], "encoder distilled from `efficientnet-lite0`, then"),
        (["comodo", "supervised"], "from `efficientnet-lite0` and trained with labels, then"),
        (["supervised"], "encoder trained with labels, then"),
    ],
)
def test_the_card_says_what_a_student_has_learnt_from(
    found: tuple[Selection, Store], terms: list[str], said: str
) -> None:
    taken = {"seconds": 3.2, "channels": [*CHANNELS]}
    row, about = found[0].row, about_of(found[0], taken)
    method = trial_config(method={"terms": terms}).method
    trial = replace(row.trial, config=row.trial.config.model_copy(update={"method": method}))
    selection = replace(found[0], row=replace(row, trial=trial))
    assert said in card._summary(selection, about)


def test_the_card(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard.load(exported.folder / "README.md")
    assert card.data.eval_results is None  # of simulated recordings
    tags = ["accelerometer", "gyroscope", "knowledge-distillation"]
    assert card.data.tags == ["human-activity-recognition", "imu", "onnx", *tags]
    assert (card.data.library_name, card.data.license) == ("comodo", None)
    for expected in ("**A demonstration**", "efficientnet-lite0", "Leakage: 3 of 4 groups of test",
                 "2503.07259", "| method.queue_size | 10 |", "Intended use"):  # fmt: skip
        assert expected in card.text
    with_onnx, with_comodo = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    monkeypatch.chdir(exported.folder)
    shown = list[Any]()
    monkeypatch.setattr("builtins.print", shown.append)
    exec(with_onnx, {})
    exec(with_comodo, {})
    labels, shape = shown
    assert set(labels) <= set(CLASSES) and len(labels) == 2
    assert shape == (2, exported.about["feature"])


def test_an_accuracy_on_real_recordings_is_one_for_the_hub(
    found: tuple[Selection, Store], exported: Exported
) -> None:
    record = found[0].record
    real = record.sweep.datasets["d"].model_copy(update={"kind": "folder"})
    sweep = record.sweep.model_copy(update={"datasets": {"d": real}})
    metadata = card._metadata(
        replace(found[0], record=replace(record, sweep=sweep)), exported.about, None
    )
    assert metadata.eval_results is not None
    (result,) = metadata.eval_results
    assert (result.dataset_name, result.metric_type) == ("d", "accuracy")
    assert result.metric_value == round(exported.about["accuracy"]["float32"], 4)


def test_a_licence_is_the_users(found: tuple[Selection, Store], exported: Exported) -> None:
    without = (exported.folder / "README.md").read_text()
    assert "No licence is given" in without and "license:" not in without
    with_one = ModelCard(card.model_card(found[0], exported.about, found[1], "cc-by-4.0"))
    assert with_one.data.to_dict()["license"] == "cc-by-4.0"
    assert "Licence: cc-by-4.0; besides it those of the recordings" in with_one.text


def test_nobody_is_named(found: tuple[Selection, Store], exported: Exported) -> None:
    """The groups, which may be people, that a student was tested on, and folders of the machine."""
    for name in ("README.md", "model.json", "student.json"):
        text = (exported.folder / name).read_text()
        assert not re.search(r"\bg[0-3]\b", text)
        assert str(found[1].root) not in text
    selection, row = found[0], found[0].row
    trial = replace(row.trial, fold=Fold(2, 5, ("anna",), ("ben", "carla")))
    settings = card._settings(replace(selection, row=replace(row, trial=trial)))
    assert ["fold", "2 (of 5); tested on 2 groups"] in settings
    own = row.trial.config.student.model_copy(update={"file": "/home/anna/net.py"})
    trial = replace(row.trial, config=row.trial.config.model_copy(update={"student": own}))
    settings = card._settings(replace(selection, row=replace(row, trial=trial)))
    assert ["student.file", "net.py"] in settings
    assert "the probe's support vectors" in (exported.folder / "README.md").read_text().replace(
        "\n", " "
    )


def test_the_student_is_part_of_it(found: tuple[Selection, Store], exported: Exported) -> None:
    """Its features are those that were measured, whatever the device delivers."""
    student = read_student(exported.folder)
    assert student.trained_on == TrainedOn(rate=20, seconds=3.2, mask=True, gravity=True)
    trial, store = found[0].row.trial, found[1]
    alone = load_student(store.folder("trials", trial.key) / "student").eval()
    measured, _ = frozen_student_of(trial, store, alone, "d").scored()["test"]
    imu, device_imu = raw(found)
    np.testing.assert_array_equal(student.embed(imu, 20, ("g", "deg/s")), measured)
    converted = student.embed(device_imu, 20, ("m/s^2", "rad/s"))
    np.testing.assert_allclose(converted, measured, rtol=1e-4, atol=1e-4)


def test_a_card_names_the_sensors_that_the_program_takes() -> None:
    """A gyroscope was named of programs that take three channels of an accelerometer."""
    taken = {"shape": ["windows", 2, 64], "type": "float32", "rate": 32, "seconds": 2,
             "acc_unit": "g", "gyro_unit": "deg/s"}  # fmt: skip
    taken["channels"] = ["hand.acc_x", "hip.acc_y"]
    assert card._input(taken)[3:] == [["accelerometer", "g"]]
    taken["channels"] = [*CHANNELS]
    assert card._input(taken)[3:] == [["accelerometer", "g"], ["gyroscope", "deg/s"]]


def test_mlflow_has_it(found: tuple[Selection, Store], exported: Exported) -> None:
    assert exported.registered == "comodo-small@exported"
    client = MlflowClient(tracking_uri(found[1]))
    version = client.get_model_version_by_alias("comodo-small", "exported")
    runs = find_runs("small", found[1])
    assert runs is not None
    assert version.run_id == runs.trials[found[0].row.trial.key]
    again = registry.register(exported.folder, exported.about, found[1])
    assert again == exported.registered
    assert len(client.search_model_versions("name = 'comodo-small'")) == 1
    model = mlflow.pyfunc.load_model(version.source)
    signature = model.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, 6, 64)
    answer = model.predict(raw(found)[1][:2])
    wanted, _ = load_onnx(exported.folder / ONNX)(raw(found)[1][:2])
    np.testing.assert_array_equal(answer["probabilities"], wanted)
    assert answer["label"].tolist() == [CLASSES[best] for best in wanted.argmax(1)]


def test_another_rate_is_resampled_as_recordings_are() -> None:
    """A window at 50 Hz through the matrix, and through the reader of recordings."""
    window = np.random.default_rng(0).normal(size=(6, 160)).astype(np.float32)
    to_20 = Preprocessing(Sensor(50), CHANNELS, 3.2, 20)
    stream = ImuStream(np.arange(160) / 50, window.T)
    wanted = resample(stream, 0, 3.2, 20).T
    got = to_20(torch.from_numpy(window[None]))[0].numpy()
    assert got.shape == (6, 64)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert resampling(3.2, 20, 20) is None


def test_units() -> None:
    window = torch.ones(1, 6, 8)
    got = Preprocessing(Sensor(20, "m/s^2", "rad/s"), CHANNELS, 0.4, 20)(window)
    torch.testing.assert_close(got[0, :3], torch.full((3, 8), 1 / STANDARD_GRAVITY))
    torch.testing.assert_close(got[0, 3:], torch.full((3, 8), 180 / np.pi))
    with raises(ImuError, "imu.unknown-unit", "gyroscope", "turns"):
        Sensor(20, gyro_unit="turns").factors(CHANNELS)


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_coupling_is_libsvms(classes: int) -> None:
    """Also for pairs that are almost certain, or contradict each other."""
    pairs = list(combinations(range(classes), 2))
    odds = np.random.default_rng(0).normal(size=(60, len(pairs)))
    odds *= np.repeat([1, 10, 30], 20)[:, None]
    program = torch.export.export(Coupling(classes), (torch.zeros(60, len(pairs)),))
    got = program.module()(torch.tensor(odds, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(got, couple(expit(odds), pairs), atol=1e-4)


def test_what_cannot_be_exported(found: tuple[Selection, Store], tmp_path: Path) -> None:
    one, store = found
    whole = one.record.sweep.datasets["d"].model_copy(update={"window_seconds": "whole"})
    sweep = one.record.sweep.model_copy(update={"datasets": {"d": whole}})
    with raises(DeployError, "export.whole-recordings"):
        export_run(replace(one, record=replace(one.record, sweep=sweep)), store)
    other = replace(one.row, metrics=one.row.metrics | {"test/acc1": 0.01})
    with raises(DeployError, "export.other-accuracy"):
        export_run(replace(one, row=other), store)
    with raises(DeployError, "export.not-installed"):
        check_installed(["no_such_package"])


def test_without_labels(found: tuple[Selection, Store], tmp_path: Path) -> None:
    shutil.copytree(found[1].root, tmp_path / "store")
    store = Store(tmp_path / "store")
    without_labels(store, "train")
    with raises(DeployError, "export.no-labels"):
        export_run(resolve_run("small", store), store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "folds", [(), (Fold(1, 2, ("g0",), ("g1",)), Fold(2, 2, ("g1",), ("g2",)))]
)
def test_distilled_without_labels(
    folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is that of the data set that the student is measured on."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folded = {"e": folds} if folds else {}
    evaluation = Evaluation(targets={"e": "e"}, unlabelled=frozenset("d"), folds=folded)
    found, store = finished(tmp_path, evaluation)
    exported = export_run(found, store)
    measured = exported.about["accuracy"]
    assert (measured["dataset"], measured["split"]) == ("e", "test")
    assert exported.about["classes"] == CLASSES
    if folds:
        assert measured["trial"] is None and measured["windows"] < 80
    else:
        assert measured["float32"] == measured["trial"] == found.row.metrics["on/e/test/acc1"]
    card = ModelCard.load(exported.folder / "README.md")
    part = ", those of train in the first of its 2 folds" if folds else ""
    why = "d, on which the encoder was distilled, has too few labels"
    assert f"**The probe was fitted on the people of data set e{part}:** {why}." in card.text
    assert "| measured by the sweep on e | Acc@1 |" in card.text
    assert "labelled windows of test of e in the input" in card.text
    other = replace(found.row, metrics=found.row.metrics | {"on/e/test/acc1": 0.01})
    if not folds:
        with raises(DeployError, "export.other-accuracy"):
            export_run(replace(found, row=other), store)


def test_timesnet_cannot_be_exported(tmp_path: Path) -> None:
    size = {"seq_len": 16, "d_model": 4, "d_ff": 4, "periods": 2, "kernels": 1, "layers": 1}
    student = build_student(StudentConfig.model_validate({"name": "timesnet", "size": size}))
    recogniser = Recogniser(
        Preprocessing(Sensor(16), student.channels, 1, 16), student, True, nn.Identity()
    )
    with raises(DeployError, "export.unsupported"):
        write_programs(recogniser, 16, {}, tmp_path)


@pytest.mark.slow
def test_a_baseline_is_its_own_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    student = {"name": "dlinear", "size": TINY_BASELINES["dlinear"]}
    found, store = finished(tmp_path, student=student, method="supervised")
    exported = export_run(found, store, out=tmp_path / "out")
    measured = exported.about["accuracy"]
    assert measured["float32"] == measured["trial"] == found.row.metrics["test/acc1"] > 0.5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "mlflow", "model.int8.onnx", "model.json", "model.onnx", "model.pt2",
        "model.safetensors", "student.json",
    ]  # fmt: skip
    untrained = replace(found.row, trial=found.row.trial.untrained)
    shutil.copytree(
        store.folder("trials", found.row.trial.key), store.folder("trials", untrained.trial.key)
    )
    with raises(DeployError, "export.no-classes"):
        export_run(replace(found, row=untrained), store)


def answering(url: str, body: bytes) -> Any:
    """The answer to a request, as soon as there is a server."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(1200):
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
    raise AssertionError("no server")


@pytest.mark.slow
def test_it_answers_over_http(found: tuple[Selection, Store], exported: Exported) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", *shlex.split(exported.facts()["serve"].replace("5001", port))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it looks for uvicorn
    with subprocess.Popen(
        command, env=os.environ | {"PATH": path}, start_new_session=True
    ) as server:
        try:
            window = raw(found)[1][:2]
            body = json.dumps({"inputs": window.tolist()}).encode()
            answer = answering(f"http://127.0.0.1:{port}/invocations", body)["predictions"]
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    wanted, _ = load_onnx(exported.folder / ONNX)(window)
    np.testing.assert_allclose(answer["probabilities"], wanted, atol=1e-6)
    assert answer["label"] == [CLASSES[best] for best in wanted.argmax(1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*tiny_students.FAMILIES, *TINY_BASELINES])
def test_students(name: str, tmp_path: Path) -> None:
    """Each encoder as a program of any batch size; windows longer and shorter than it takes."""
    if name in TINY_BASELINES:
        settings = {"name": name, "size": TINY_BASELINES[name]}
        student = build_student(StudentConfig.model_validate(settings)).eval()
    else:
        student = tiny_students.make(name)
    for samples in (40, 70):
        imu = tiny_students.windows(5, 6, samples)
        with torch.inference_mode():
            wanted = student(imu).numpy()
        head = nn.Linear(student.dim, 3)
        preprocessing = Preprocessing(Sensor(samples), student.channels, 1, samples)
        write_programs(Recogniser(preprocessing, student, True, head), samples, {}, tmp_path)
        assert largest_difference(tmp_path, imu.numpy()) < 1e-5
        _, features = load_onnx(tmp_path / ONNX)(imu.numpy())
        np.testing.assert_allclose(features, wanted, atol=1e-4)


def test_the_pages_python_runs(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    (tmp_path / "recogniser").symlink_to(exported.folder)
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, {})


def test_nothing_but_an_export_is_replaced(
    found: tuple[Selection, Store], exported: Exported, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.json").write_text("{}")  # other programs have such a file too
    (other / "weights.bin").write_text("mine")
    with raises(DeployError, "export.out-not-empty"):
        export_run(*found, out=other)
    assert (other / "weights.bin").read_text() == "mine"


def test_no_program_knows_where_it_was_made(exported: Exported) -> None:
    with zipfile.ZipFile(exported.folder / TORCH) as archive:
        graphs = [archive.read(name) for name in archive.namelist() if name.endswith("model.json")]
    assert graphs
    for content in (*graphs, (exported.folder / ONNX).read_bytes()):
        assert str(ROOT).encode() not in content
