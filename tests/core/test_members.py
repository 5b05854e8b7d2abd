"""Members of open sets: what is read of code without running it, and whose code breaks what."""

import sys
from pathlib import Path

import pytest

from comodo.core.members import MAX_BYTES, Code, CodeError, Members, read_code

TEXT = """
import a_library_that_nobody_has

class Base:
    WIDTH: int = 4
    SAMPLES = 64

    def __init__(self, channels, width=WIDTH, *, depth=1):
        pass

class Net(Base):
    SAMPLES = 128
    TINY = {"width": 2, "depth": 1.5}
    COMPUTED = 2 * SAMPLES
    lower = 1

class Any(Base):
    def __init__(self, channels, **size):
        pass

def measure(features, *, k=3):
    pass

VERSION = 3
"""


def test_constants_and_arguments_are_read_without_running_the_code() -> None:
    net = Code("net.py", "Net", TEXT, may_run=True)
    assert net.constants == {"WIDTH": 4, "SAMPLES": 128, "TINY": {"width": 2, "depth": 1.5}}
    assert net.arguments == ("channels", "width", "depth")
    assert Code("net.py", "Any", TEXT).arguments is None
    function = Code("net.py", "measure", TEXT)
    assert function.constants == {"VERSION": 3}
    assert function.arguments == ("features", "k")
    with pytest.raises(CodeError, match=r"net\.py cannot be run: ModuleNotFoundError"):
        net.run()


def test_code_runs_only_if_it_may() -> None:
    with pytest.raises(CodeError, match="not allowed to run"):
        Code("net.py", "Net", "class Net: ...").run()
    assert Code("net.py", "Net", "class Net: ...", may_run=True).run().__name__ == "Net"


def test_each_changed_byte_is_another_digest() -> None:
    assert Code("a", "A", "x = 1").digest == Code("b", "B", "x = 1").digest
    assert Code("a", "A", "x = 1").digest != Code("a", "A", "x = 2").digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class Nett: ...", "net.py defines no Net; it has Nett"),
        ("x = 1", "net.py defines no Net; it has no class or function"),
        ("\n\nclass Net", "net.py:3: not valid Python"),
        ("(" * 10_000, "not valid Python"),
        ("x = '\0'", "not valid Python"),
    ],
)
def test_a_file_without_the_class_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CodeError, match=reason):
        _ = Code("net.py", "Net", text).arguments


def test_a_traceback_shows_the_lines_of_the_file() -> None:
    loaded = Code(
        "net.py", "Net", "class Net:\n    def run(self):\n        return 1 / 0\n", True
    ).run()
    with pytest.raises(ZeroDivisionError) as raised:
        loaded().run()
    assert "return 1 / 0" in str(raised.traceback[-1].statement)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="does not exist"):
        read_code(tmp_path / "net.py")
    (tmp_path / "net.py").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(CodeError, match=f"at most {MAX_BYTES} are read"):
        read_code(tmp_path / "net.py")
    (tmp_path / "net.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CodeError, match="cannot be read"):
        read_code(tmp_path / "net.py")


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, entries: str, code: str) -> None:
    """A package with these entry points, as pip installs it."""
    about = folder / "others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entries)
    (folder / "others.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "others", raising=False)


def test_a_broken_package_fails_only_where_its_member_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "[tests.kinds]\nnet = others:Net\nown = others:Net\nlost = not_there:Net\n"
    installed(tmp_path, monkeypatch, entries, "class Net:\n    VERSION = 2\n" + "1 / 0\n")
    members = Members("tests.kinds", {"own": "comodo.core.members:Members"})
    assert members.names() == ["own", "net", "lost"]
    assert members.get("own") is Members  # this package's names stay its own
    assert members.code("net").constants == {"VERSION": 2}
    for name, reason in (("net", "division by zero"), ("lost", "No module named")):
        with pytest.raises(CodeError, match=f"'{name}', which an installed.*{reason}"):
            members.get(name)
    with pytest.raises(CodeError, match="update or remove that package"):
        members.code("lost")
