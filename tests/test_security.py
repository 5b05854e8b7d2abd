"""What docs/security.md promises of what is read: it is never run, and leads nowhere else."""

import ast
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

import comodo
from comodo.config import CHANNELS, ConfigError, StudentConfig, TeacherConfig, read_sweep_file
from comodo.core.errors import StoreError
from comodo.core.store import Store, read_json, write_json
from comodo.core.tensors import WeightsError
from comodo.data.arrays import WindowArrays
from comodo.data.imu import ImuError
from comodo.data.imu_tables import read_npy
from comodo.data.precomputed import EncodeError, precomputed_features
from comodo.data.readers.egoexo4d import EgoExo4dDataset, EgoExo4dReader
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.readers.split_lists import id_and_activity
from comodo.data.recordings import DatasetError
from comodo.data.shards import ArraysError
from comodo.data.tables.presets import Layout
from comodo.models.students import build_student, load_student
from comodo.models.teachers import build_teacher
from comodo.runtime.worker import classifier_of, run_trial
from comodo.search.history import epoch_history
from comodo.search.status import read_status
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import make_arrays, trial_config
from tests.tiny_teachers import save, settings, videomae

PACKAGE = Path(comodo.__file__).parent


# Nothing that is read is run.

MODULES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
READERS = {"load", "loads", "read_pickle", "Unpickler", "unsafe_load", "full_load", "load_all"}
# What the same process has exported, and the file in which Tune, in this process,
# has just put the error that Ray had unpickled here already.
EXPECTED = {
    ("deploy/programs.py", "torch.export.load"),
    ("runtime/callbacks.py", "ray.cloudpickle.loads"),
}
RUNS_CODE = "core/members.py"
"""Files that a sweep file names, and allows: tests/models/test_own.py."""


def test_no_call_of_the_package_can_unpickle() -> None:
    """A call by any other name than these fails here, and is to be looked at."""
    safe = {"json.loads": "", "np.load": "allow_pickle=False", "torch.load": "weights_only=True",
            "onnx.load": "", "tl.load": "", "WindowArrays.load": "",
            "FeatureArrays.load": ""}  # fmt: skip
    found = set()
    for file in PACKAGE.rglob("*.py"):
        where = str(file.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names}
                names |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
                if {name.split(".")[0] for name in names} & MODULES:
                    assert names == {"pickle", "UnpicklingError"}, (where, names)
            if not isinstance(node, ast.Call):
                continue
            name, text = ast.unparse(node.func), ast.unparse(node)
            if where == RUNS_CODE and name in ("compile", "exec"):
                continue
            assert name not in {"eval", "exec", "compile", "__import__"}, (where, text)
            assert "shell=True" not in text and "trust_remote_code=True" not in text, (where, text)
            if name.split(".")[-1] in READERS and not (name in safe and safe[name] in text):
                found.add((where, name))
    assert found == EXPECTED


class Planted:
    """Unpickled, it leaves a file."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.ran),))


@pytest.fixture
def plant(tmp_path: Path) -> Any:
    """Writes an object whose unpickling is seen afterwards, as `torch.save` or pickle does."""
    ran = tmp_path / "ran"

    def write(path: Path, by: Callable[[Any, Path], object] | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if by is None:
            path.write_bytes(pickle.dumps({"history": Planted(ran)}))
        else:
            by({"history": Planted(ran)}, path)
        return path

    yield write
    assert not ran.exists()


def test_the_plant_grows_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Planted(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("by", [None, torch.save])
def test_a_planted_checkpoint_is_refused(tmp_path: Path, plant: Any, by: Any) -> None:
    store = Store(tmp_path / "store")
    trial = Trial(trial_config(), 0, *make_arrays(store))
    path = plant(store.folder("trials", trial.key) / "checkpoint.pt", by)
    with raises(WeightsError, "weights.not-tensors", str(path)):
        run_trial(trial, store, print)
    assert epoch_history(path.parent) == []  # named, and absent for a report


def test_planted_heads_are_refused(tmp_path: Path, plant: Any) -> None:
    store = Store(tmp_path / "store")
    method = {"name": "supervised"}
    trial = Trial(trial_config(method=method, epochs=1), 0, *make_arrays(store))
    run_trial(trial, store, print)
    folder = store.folder("trials", trial.key)
    plant(folder / "heads.pt", torch.save)
    with raises(WeightsError, "weights.not-tensors", "heads.pt"):
        classifier_of(trial, store, load_student(folder / "student"))


def test_a_planted_student_and_planted_arrays_are_refused(tmp_path: Path, plant: Any) -> None:
    write_json(tmp_path / "student/student.json", {})
    plant(tmp_path / "student/model.safetensors")
    with pytest.raises(ValueError, match="student holds no saved student"):
        load_student(tmp_path / "student")
    store = Store(tmp_path / "store")
    windows, _ = make_arrays(store)
    for path in store.folder("arrays", windows).glob("*.safetensors"):
        plant(path)
    with pytest.raises(ValueError, match="damaged arrays"):
        WindowArrays.load(store.folder("arrays", windows))


def test_planted_weights_of_teachers_and_students_are_refused(tmp_path: Path, plant: Any) -> None:
    """A folder as hubs had them before safetensors, with a pickle alone."""
    folder = tmp_path / "hub"
    plant(folder / "pytorch_model.bin", torch.save)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"intermediate_size": 32, "image_size": 32, "patch_size": 16}
    config = {"model_type": "videomae", "architectures": ["VideoMAEModel"], **size}
    write_json(folder / "config.json", config)
    weights = str(folder)
    with pytest.raises(ValueError, match=f"weights '{weights}' are damaged"):
        build_teacher(TeacherConfig(name="videomae", weights=weights))
    with pytest.raises(ValueError, match=f"{weights} has no model.safetensors"):
        build_student(StudentConfig(name="moment", weights=weights))


def test_planted_features_and_samples_are_refused(tmp_path: Path, plant: Any) -> None:
    def arrays(planted: Any, path: Path) -> None:
        objects = np.array([planted], dtype=object)
        if path.suffix == ".npy":
            np.save(path, objects, allow_pickle=True)
        else:
            np.savez(path, id=np.array(["a"]), feature=objects)

    path = plant(tmp_path / "given.npz", arrays)
    wanted = pa.table({"window": ["a"], "recording": ["a"]})
    with raises(EncodeError, "features.unreadable", str(path), "Object arrays"):
        precomputed_features(TeacherConfig(name="precomputed", path=str(path)), wanted)
    path = plant(tmp_path / "imu.npy", arrays)
    with raises(ImuError, "imu.unreadable", str(path), "Object arrays"):
        read_npy(path, CHANNELS, Layout(rate=50, acc_unit="g", gyro_unit="deg/s"))


# Sweep files.

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name: !!python/object/apply:os.mkdir [ran]\n", "file.not-yaml"),
        (LAUGHS, "file.too-many-values"),
        ("a: &a {b: 1, <<: *a}\n", "file.too-many-values"),
        ("a: &a [*a]\n", "file.too-many-values"),
        ("name: " + "[" * 2000, "file.too-deep"),
        ("- " * 2000, "file.too-deep"),
        ("# " + "x" * 300_000, "file.too-large"),
        ("name: " + "9" * 5000 + "\n", "file.not-yaml"),
        ("name: \x00\n", "file.not-yaml"),
        ("{a: 1}: 2\n", "file.not-yaml"),
    ],
)
def test_a_sweep_file_is_small_data(
    tmp_path: Path, text: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(text)
    with raises(ConfigError, code):
        read_sweep_file("sweep.yaml")
    assert not Path("ran").exists()


# Paths that come from files.


@pytest.mark.parametrize("kind", ["up", "absolute", "link", "linked folder", "parent"])
def test_a_manifest_s_paths_stay_in_its_folder(tmp_path: Path, kind: str) -> None:
    folder, outside = tmp_path / "set", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "a.csv").touch()
    (folder / "link.csv").symlink_to(outside / "a.csv")
    (folder / "links").symlink_to(outside)
    written = {
        "up": "../outside/a.csv",
        "absolute": str(outside / "a.csv"),
        "link": "link.csv",
        "linked folder": "links/a.csv",
        "parent": "..",
    }[kind]
    manifest = folder / "manifest.csv"
    manifest.write_text(f"imu,split\n{written},train\n")
    settings = FolderDataset(kind="folder", path=str(manifest))
    with raises(DatasetError, "dataset.bad-row", "row 2", written, str(folder)):
        FolderReader(settings).recordings()
    if kind != "parent":
        wider = settings.model_copy(update={"root": str(tmp_path)})
        assert FolderReader(wider).recordings()[0].imu == str(folder / written)
    assert "root" not in settings.model_dump()  # so that what is prepared already keeps its key


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/passwd", "..", "a\0b"])
def test_names_in_lists_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError) as error:
        id_and_activity(f"{name}\twalking")
    assert error.value.code == "dataset.bad-name"
    pytest.importorskip("projectaria_tools")
    capture = {"take_name": "t_1", "capture": {"capture_name": name}}
    (tmp_path / "takes.json").write_text(json.dumps([capture]))
    (tmp_path / "train.txt").write_text("t_1\twalking\n")
    settings = EgoExo4dDataset(kind="egoexo4d", path=str(tmp_path), splits=str(tmp_path))
    with pytest.raises(DatasetError) as error:
        EgoExo4dReader(settings).recordings()
    assert error.value.code == "dataset.bad-name"


@pytest.mark.parametrize("name", ["../../up", "/etc", "..", "", "a\0b"])
def test_names_in_a_store_stay_in_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in its files, which others may have written, and names on the command line."""
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path))
    store = Store("memory://names")
    for read in (
        lambda: store.folder("trials", name),
        lambda: read_status(name, store),
        lambda: store.local(f"store:{name}"),
    ):
        with raises(StoreError, "store.bad-name", str(store)):
            read()


def test_arrays_are_read_from_their_own_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = store.folder("arrays", make_arrays(store)[0])
    meta = read_json(folder / "meta.json")
    (name, *_) = meta["files"]["train"]
    (folder / name).rename(tmp_path / name)
    meta["files"]["train"][0] = f"../../../{name}"
    write_json(folder / "meta.json", meta)
    with raises(ArraysError, "arrays.damaged", str(folder), f"../../../{name}"):
        WindowArrays.load(folder)


def test_weights_are_read_from_their_own_folder(tmp_path: Path) -> None:
    folder = save(videomae(), tmp_path / "hub")
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}
    write_json(folder / "model.safetensors.index.json", index)
    with pytest.raises(ValueError, match="elsewhere.safetensors' leads out of"):
        build_teacher(settings("videomae", folder))


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", ".hidden", "a\n"])
def test_a_sweep_and_its_data_sets_have_plain_names(tmp_path: Path, name: str) -> None:
    for changes in ({"name": name}, {"datasets": {name: {"kind": "simulated"}}}):
        with pytest.raises(ConfigError, match="needs letters, digits"):
            read_sweep_file(sweep_file(tmp_path, **changes))


@pytest.mark.parametrize("weights", ["../../up", "a/../../b", "a/b/c"])
def test_the_hub_s_names_are_no_paths(tmp_path: Path, weights: str) -> None:
    with pytest.raises(ValueError, match="could not be loaded|no such folder|does not exist"):
        build_student(StudentConfig(name="moment", weights=weights))
