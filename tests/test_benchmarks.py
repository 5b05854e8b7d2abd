"""The benchmarks' frame: what is printed of them, and what they may import."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import ON_GPU, RESULTS, WITH_RAY, WITHOUT_RAY, run, table
from benchmarks.common import Row, in_turns, show
from tests.paths import ROOT


def test_what_runs_on_a_borrowed_gpu_needs_neither_ray_nor_mlflow() -> None:
    modules = sorted({command.split()[0] for command in (WITHOUT_RAY | ON_GPU).values()})
    imports = ", ".join(f"benchmarks.{module}" for module in modules)
    code = f"import sys, {imports}; print({{'ray', 'mlflow'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "set()", found.stderr


def test_the_table_has_the_rows_of_what_ran_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(Row("speed", "direct: 2 s", "1 s", "2.0x", "1.5x"))
    show(Row("memory", "8 MB", "1 MB", "0.1x", "less"))
    first, second = capsys.readouterr().out.splitlines()
    (tmp_path / "b.txt").write_text(f"a machine\n{first}\n")
    (tmp_path / "a.txt").write_text(f"{second}\nno row\n")
    lines = table(tmp_path, ["b", "never ran", "a"]).splitlines()
    assert lines[2:] == [
        "| speed | direct: 2 s | 1 s | 2.0x | 1.5x |",
        "| memory | 8 MB | 1 MB | 0.1x | less |",
    ]


def test_the_output_of_what_fails_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "loss.txt"
    file.write_text("earlier")
    assert not run("loss --no-such-option", file)
    assert file.read_text() == "earlier"
    assert run("loss --help", file)
    assert file.read_text().startswith("$ python -m benchmarks.loss --help\n")


def test_sides_take_turns_and_the_first_round_only_warms_up() -> None:
    order = list[str]()
    values = {"ours": iter([9.0, 1.0, 2.0, 6.0]), "theirs": iter([9.0, 3.0, 5.0, 4.0])}

    def side(name: str) -> float:
        order.append(name)
        return next(values[name])

    found = in_turns(3, {name: lambda name=name: side(name) for name in values})  # type: ignore[misc]
    assert found == {"ours": 2.0, "theirs": 4.0}
    assert order == ["ours", "theirs"] * 4


def test_the_performance_page_shows_what_was_measured() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    folders = [path for path in RESULTS.iterdir() if path.is_dir()]
    assert any(table(folder, [*WITHOUT_RAY, *WITH_RAY]) in page for folder in folders)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "overhead --between 1 2",
        "terms --batch 4 --repeats 1",
        "sharing --megabytes 20 --trials 2",
        "scaling --trials 3 --windows 600 1200 --repeats 1",
        "lockstep --device cpu --student cnn mantis-small --together 2 --batch 4 --repeats 1",
        "shares --device cpu --student cnn --at-once 2 --batch 4 --steps 2",
    ],
)
def test_the_other_benchmarks_run(command: str, tmp_path: Path) -> None:
    """At the smallest sizes: their numbers mean nothing."""
    assert run(command, tmp_path / "out.txt")
