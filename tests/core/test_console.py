"""What the command line prints: errors as their text, and how far long work is."""

import subprocess
import sys

import pytest
import typer

from comodo.config import ConfigError
from comodo.core.console import Terminated, show_errors, track, watching
from comodo.core.errors import StoreError

WRAPPED = """ray::map() (pid=7)
  File "comodo/data/imu.py", line 3, in read
comodo.data.imu.ImuError: a.csv: the clock has stopped
The above exception was the direct cause of ...
"""


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (ConfigError("seeds", "a.yaml:3: seeds: twice"), 2, "a.yaml:3: seeds: twice"),
        (StoreError("store.full", "the store is full"), 1, "the store is full"),
        (FileNotFoundError(2, "No such file", "a.csv"), 1, "a.csv"),
        (RuntimeError(WRAPPED), 1, "a.csv: the clock has stopped"),
        (KeyboardInterrupt(), 130, "the same command continues from here"),
        (Terminated(), 143, "the same command continues from here"),
    ],
)
def test_errors_end_the_command_with_their_text(
    error: BaseException, status: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, show_errors():
        raise error
    assert ended.value.exit_code == status
    result, printed = capsys.readouterr()
    assert shown in printed
    assert result == ""
    assert "Traceback" not in printed and "ray::" not in printed


def test_an_interrupted_command_that_does_not_resume_claims_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ended, show_errors(lambda: False):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr() == ("", "")


TERMINATED = """
import os, signal, time, typer
from comodo.core.console import show_errors
try:
    with show_errors():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # again, as `timeout` sends it
            print("cleaned up")
except typer.Exit as end:
    raise SystemExit(end.exit_code)
"""


def test_sigterm_ends_a_command_as_ctrl_c_does() -> None:
    done = subprocess.run([sys.executable, "-c", TERMINATED], capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
    assert done.stdout == "cleaned up\n"
    assert "the same command continues" in done.stderr


def test_an_error_of_no_known_kind_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), show_errors():
        raise ZeroDivisionError("a mistake in the package")


def test_an_error_s_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), show_errors():
        raise StoreError("store.odd", "write 'acc_x [red]' in the header")
    assert "acc_x [red]" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "lines"), [(8, range(1, 9)), (64, range(7, 64, 7))])
def test_without_a_terminal_a_line_is_printed_after_each_tenth(
    count: int,
    lines: range,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("UPDATE_SECONDS", "MIN_LINE_SECONDS"):
        monkeypatch.setattr(f"comodo.core.console.{name}", 0)
    items = [(number, 2) for number in range(count)]
    seen: list[tuple[str, int, int]] = []
    with watching(lambda what, done, total, left: seen.append((what, done, total))):
        assert list(track(items, 2 * count, "prepare demo")) == list(range(count))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed] == [
        f"prepare demo: {2 * done}/{2 * count}" for done in (0, *lines)
    ]
    assert seen == [("prepare demo", 2 * done, 2 * count) for done in range(count + 1)]


def test_quick_work_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(track(((i, 1) for i in range(99)), 99, "pack windows"))) == 99
    assert capsys.readouterr().out == "pack windows: 0/99\n"


def test_progress_has_a_note_once_there_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("comodo.core.console.MIN_LINE_SECONDS", 0)
    monkeypatch.setattr("comodo.core.console.UPDATE_SECONDS", 0)
    known = list[str]()
    for item in track([("busy 50%", 1), ("busy 90%", 1)], 2, "encode", lambda: "".join(known[1:])):
        known.append(item)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "encode: 0/2"
    assert [line.rpartition(" s left")[2] for line in lines] == ["", ", busy 90%"]
