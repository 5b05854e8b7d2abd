"""Students and teachers that are classes of another package or of the user's file."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from comodo.config import ConfigError, StudentConfig, Sweep, TeacherConfig, read_sweep_file
from comodo.models.students import CODE_FILE, StudentError, build_student, load_student
from comodo.models.students import save_student as save
from comodo.models.teachers import build_teacher
from tests.config.test_load import sweep_file
from tests.core.test_members import installed
from tests.test_docs import BLOCKS

NET = """
import torch
from torch import nn

class Net(nn.Module):
    SAMPLES = 32
    TINY = {"width": 3}
    VERSION = 4

    def __init__(self, channels: int, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(channels, width, 5), nn.ReLU())

    def forward(self, imu_BCT):
        return self.layers(imu_BCT).mean(dim=2)
"""
OWN: dict[str, Any] = {"name": "custom", "file": "net.py", "class": "Net"}


def sweep(folder: Path, text: str = NET, allow: Any = ("net.py",), **student: Any) -> Sweep:
    (folder / "net.py").write_text(text)
    return read_sweep_file(sweep_file(folder, trial__student=OWN | student, allow_code=list(allow)))


def test_a_class_of_a_file_is_a_student(tmp_path: Path) -> None:
    settings = sweep(tmp_path, size={"width": 5}).trial.student
    assert (settings.samples, settings.is_baseline) == (32, False)
    student = build_student(settings).eval()
    imu_BCT = torch.randn(3, 6, 50)
    resized = torch.nn.functional.interpolate(imu_BCT, size=32, mode="linear")
    torch.testing.assert_close(student(imu_BCT), student.encoder.network(resized))
    assert student.dim == 5
    save(student, tmp_path / "saved")
    assert (tmp_path / "saved" / CODE_FILE).read_text() == NET
    again = load_student(tmp_path / "saved", settings.code).eval()
    torch.testing.assert_close(again(imu_BCT), student(imu_BCT), rtol=0, atol=0)


def test_a_file_that_is_not_allowed_is_never_run(tmp_path: Path) -> None:
    text = NET + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n"
    with pytest.raises(
        ConfigError, match=r"trial\.student: file: net\.py is code.*allow_code: \[n"
    ):
        sweep(tmp_path, text, allow=())
    settings = sweep(tmp_path, text).trial.student
    assert not (tmp_path / "ran").exists()  # neither when the file is read
    save(build_student(settings), tmp_path / "saved")
    (tmp_path / "ran").unlink()
    for code in (None, "0" * 64):
        with pytest.raises(StudentError, match="only run if that is allowed; read .*encoder.py"):
            load_student(tmp_path / "saved", code)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_store_is_known_and_never_run(tmp_path: Path) -> None:
    """As `comodo report` reads `sweep.json`, on a machine without the file."""
    text = NET + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n"
    written = sweep(tmp_path, text)
    settings = written.model_dump(mode="json", exclude_unset=True)
    (tmp_path / "net.py").unlink()
    context = {"folder": tmp_path, "read_back": True, "code": written.code}
    student = Sweep.model_validate(settings, context=context).trial.student
    assert student == written.trial.student
    assert student.samples == 32
    with pytest.raises(ValueError, match="not allowed to run"):
        build_student(student)
    assert not (tmp_path / "ran").exists()


def test_the_key_follows_the_content_and_not_the_path(tmp_path: Path) -> None:
    def key(**changes: Any) -> dict[str, Any]:
        return sweep(tmp_path, **changes).trial.student.for_key()

    (tmp_path / "copy.py").write_text(NET)
    assert key() == key(file="copy.py", allow=["copy.py"])
    assert key() != key(text=NET + "#")
    assert "file" not in key()
    assert "code" not in StudentConfig(name="cnn").for_key()


def test_names_and_files_are_swept(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(NET.replace("= 8", "= 9"))
    allow = ["net.py", "wide.py"]
    file = sweep_file(
        tmp_path,
        trial__student=OWN | {"size": {"width": 3}},
        allow_code=allow,
        search={"space": {"student.name": ["custom", "cnn"]}},
    )
    (tmp_path / "net.py").write_text(NET)
    read = read_sweep_file(file)
    own, cnn = (read.with_values(point).student for point in read.points())
    assert (own.code, own.own_code is None) == (read.trial.student.code, False)
    assert cnn == StudentConfig(name="cnn", size={"width": 3})
    space = {"student.file": allow}
    file = sweep_file(tmp_path, trial__student=OWN, allow_code=allow, search={"space": space})
    read = read_sweep_file(file)
    (tmp_path / "net.py").write_text("no longer Python, while the sweep runs")
    built = [build_student(read.with_values(point).student) for point in read.points()]
    assert [student.dim for student in built] == [8, 9]


@pytest.mark.parametrize(
    ("student", "reason"),
    [
        ({"size": {"widht": 3}}, r"size\.widht: unknown; did you mean 'width'"),
        ({"class": "Nett"}, "net.py defines no Nett; it has Net"),
        ({"class": None}, "class: is missing; write {name: custom, file: my_code.py"),
        ({"file": None}, "file: is missing"),
        ({"name": "cnn"}, "file: only for name: custom; remove file"),
        ({"weights": "a/b"}, "weights: custom starts from scratch"),
        ({"name": "costum"}, r"student\.name: unknown 'costum'; did you mean 'custom'"),
    ],
)
def test_wrong_settings_name_key_and_fix(tmp_path: Path, student: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        sweep(tmp_path, **student)
    with pytest.raises(ConfigError, match="allow_code: .*other.py does not exist"):
        sweep(tmp_path, allow=["other.py"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (".mean(dim=2)", r"has to map windows \[2, 6, 32\] to features \[2, D\], but gives"),
        ("(nn.Module)", "Net is no torch.nn.Module|Net cannot be used"),
        ("channels, width, 5", "Net cannot be used: "),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused(
    tmp_path: Path, change: str, reason: str
) -> None:
    settings = sweep(tmp_path, NET.replace(change, "")).trial.student
    with pytest.raises(ValueError, match=reason):
        build_student(settings)


def test_an_installed_package_has_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comodo.config.student import STUDENTS

    installed(tmp_path, monkeypatch, "[comodo.students]\ntheirs = others:Net\n", NET)
    monkeypatch.delitem(vars(STUDENTS), "installed", raising=False)
    for written in ("theirs", {"name": "theirs"}):
        settings = read_sweep_file(sweep_file(tmp_path, trial__student=written)).trial.student
        assert settings.code == "version 4"
    save(build_student(settings), tmp_path / "saved")
    assert load_student(tmp_path / "saved").dim == 8
    (tmp_path / "others.py").write_text(NET.replace("VERSION = 4", "VERSION = 5"))
    with pytest.raises(StudentError, match="trained with version 4 of 'theirs', but version 5"):
        load_student(tmp_path / "saved")
    (tmp_path / "others.py").write_text(NET.replace("VERSION = 4", ""))
    with pytest.raises(ConfigError, match="'theirs' of others has no VERSION"):
        read_sweep_file(sweep_file(tmp_path, trial__student="theirs"))
    monkeypatch.delitem(vars(STUDENTS), "installed")


TEACHER = next(block.text for block in BLOCKS if block.file == "my_teacher.py")


def teacher(folder: Path, text: str = TEACHER, **changes: Any) -> TeacherConfig:
    (folder / "my_teacher.py").write_text(text)
    own = {"name": "custom", "file": "my_teacher.py", "class": "Colours", **changes}
    file = sweep_file(folder, trial__teacher=own, allow_code=["my_teacher.py"])
    found = read_sweep_file(file).trial.teacher
    assert found is not None
    return found


def test_the_teacher_of_the_page_encodes_frames(tmp_path: Path) -> None:
    built = build_teacher(pickle.loads(pickle.dumps(teacher(tmp_path))))  # as in Ray's workers
    assert (built.frames, built.image_size, built.dim) == (4, 64, 48)
    frames_BFHW3 = torch.randint(0, 256, (2, 4, 64, 64, 3), dtype=torch.uint8)
    mean_BHW3 = frames_BFHW3.float().mean(dim=1) / 255
    mean_B3HW = mean_BHW3.movedim(-1, 1)
    squares_B3 = mean_B3HW[:, :, :16, :16].mean(dim=(2, 3))  # the first of 4 x 4
    torch.testing.assert_close(built(frames_BFHW3)[:, ::16], squares_B3)
    assert build_teacher(teacher(tmp_path, frames=2)).frames == 2


def test_a_teachers_features_follow_its_content(tmp_path: Path) -> None:
    one, other = teacher(tmp_path), teacher(tmp_path, TEACHER + "#")
    assert one.for_key() != other.for_key() and "file" not in one.for_key()
    assert len({one, other, teacher(tmp_path)}) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class": "Colors"}, "my_teacher.py defines no Colors; it has Colours"),
        ({"weights": "a/b"}, "weights: custom loads its own; remove weights"),
        ({"name": "costum"}, r"teacher\.name: unknown 'costum'; did you mean 'custom'"),
    ],
)
def test_wrong_settings_of_a_teacher(tmp_path: Path, changes: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        teacher(tmp_path, **changes)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (".flatten(1)", "", r"has to map frames \[1, 4, 3, 64, 64\] to features \[1, D\]"),
        ("mean(dim=1)", "mean(dims=1)", "Colours of my_teacher.py cannot be used: TypeError"),
    ],
)
def test_a_teacher_that_breaks_the_contract(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    settings = teacher(tmp_path, TEACHER.replace(old, new))
    with pytest.raises(ValueError, match=reason):
        build_teacher(settings)
