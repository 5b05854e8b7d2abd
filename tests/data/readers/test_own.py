"""Readers that are classes of another package or of the user's file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comodo.config import ConfigError, DatasetConfig, read_sweep_file
from comodo.config.datasets import READERS
from comodo.data.imu import ImuError
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.recordings import DatasetError
from comodo.data.window_sets import window_key
from tests.config.test_load import sweep_file
from tests.core.test_members import installed
from tests.errors import raises
from tests.test_docs import BLOCKS

PAGE = {block.file: block.text for block in BLOCKS if block.page == "docs/extending.md"}
READER = PAGE["my_reader.py"]


def dataset(folder: Path, text: str = READER, allow: bool = True, **changes: Any) -> DatasetConfig:
    """Two recordings of each of two people, and the settings of their reader."""
    if not (folder / "npz").exists():
        (folder / "npz").mkdir()
        rng = np.random.default_rng(0)
        for name in ("anna-walk", "anna-sit", "ben-walk", "ben-sit"):
            arrays: Any = {"seconds": np.arange(100) / 50, "imu": rng.normal(size=(100, 6))}
            np.savez(folder / "npz" / f"{name}.npz", **arrays)
    (folder / "my_reader.py").write_text(text)
    own = {"kind": "custom", "file": "my_reader.py", "class": "Npz", "path": "npz"}
    allowed = ["my_reader.py"] if allow else []
    file = sweep_file(folder, datasets={"demo": own | changes}, allow_code=allowed)
    return read_sweep_file(file).datasets["demo"]


def test_the_reader_of_the_page_reads_recordings(tmp_path: Path) -> None:
    settings = dataset(tmp_path, settings={"test": "ben"})
    found = list_recordings(settings, tmp_path)
    assert [(r.id, r.split, r.group, r.label) for r in found] == [
        ("anna-sit", "train", "anna", "sit"),
        ("anna-walk", "train", "anna", "walk"),
        ("ben-sit", "test", "ben", "sit"),
        ("ben-walk", "test", "ben", "walk"),
    ]
    (stream,) = open_dataset(settings, tmp_path).read_imu(found[0])
    arrays = np.load(tmp_path / "npz/anna-sit.npz")
    np.testing.assert_allclose(stream.imu_NC, arrays["imu"], rtol=1e-6)
    assert stream.rate == pytest.approx(50)


def test_windows_follow_the_code_and_its_settings(tmp_path: Path) -> None:
    def key(**changes: Any) -> str:
        settings = dataset(tmp_path, **changes)
        return window_key(settings, list_recordings(settings, tmp_path))

    keys = [key(), key(settings={"test": "ben"}), key(text=READER + "#")]
    assert len({*keys, key()}) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"allow": False}, r"is code.*allow_code: \[my_reader\.py\]"),
        ({"class": "Np"}, "my_reader.py defines no Np; it has Npz"),
        ({"settings": {"tset": "anna"}}, r"settings\.tset: unknown; did you mean 'test'"),
        ({"path": "nowhere"}, "nowhere does not exist"),
        ({"kind": "costum"}, "unknown kind 'costum'; did you mean 'custom'"),
    ],
)
def test_wrong_settings_name_key_and_fix(tmp_path: Path, changes: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        dataset(tmp_path, **changes)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("yield Recording(", "yield str(file)  # (", ["recordings() has to give a list of"]),
        ("self.files, self.test =", "1 / 0 #", ["Npz of my_reader.py: ZeroDivisionError"]),
        ("*.npz", "*.csv", ["Npz of my_reader.py lists no recordings"]),
    ],
)
def test_what_cannot_be_listed_is_an_error(
    tmp_path: Path, old: str, new: str, names: list[str]
) -> None:
    assert old in READER
    settings = dataset(tmp_path, READER.replace(old, new))
    with raises(DatasetError, "dataset.own-reader", *names):
        list_recordings(settings, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ('arrays["imu"]', 'arrays["imu"][:, :3]', "times [N] and samples [N, 6], not [100] and"),
        ('arrays["imu"]', "None + 1", "anna-sit.npz: Npz of my_reader.py: TypeError"),
    ],
)
def test_what_cannot_be_read_names_the_recording(
    tmp_path: Path, old: str, new: str, name: str
) -> None:
    settings = dataset(tmp_path, READER.replace(old, new))
    first = list_recordings(settings, tmp_path)[0]
    with raises(ImuError, "imu.own-reader", name):
        open_dataset(settings, tmp_path).read_imu(first)


def test_an_installed_package_has_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = READER.replace("class Npz:", "class Npz:\n    VERSION = 1")
    installed(tmp_path, monkeypatch, "[comodo.readers]\nnpz = others:Npz\n", code)
    monkeypatch.delitem(vars(READERS), "installed", raising=False)
    dataset(tmp_path)
    theirs = {"demo": {"kind": "npz", "path": "npz"}}
    settings = read_sweep_file(sweep_file(tmp_path, datasets=theirs)).datasets["demo"]
    assert len(list_recordings(settings, tmp_path)) == 4
    assert settings.for_key()["code"] == "version 1"
    monkeypatch.delitem(vars(READERS), "installed")
