"""The README and the pages of docs/: everything that they ask users to write or run is tested.

Quick: every code block has a kind; sweep files and parts of them are read; commands are parsed by
the real command line without running them; every relative link exists; quoted errors are in the
code. Python blocks are run by separate tests.

Slow: the blocks of the pages in `RUN`, in order, in a folder with small recordings. Commands that
would take hours or need a download are replaced: `make demo` and every `comodo sweep` run with
--smoke; later commands use the name that --smoke gives to a sweep; `comodo ui` only prints its
help; a stand-in is the Hugging Face hub, of which `hf auth login` only asks who the user is; other
servers run until the end of the page, on a free port; nothing is installed; queues are as short as
the recordings. cluster.md needs a cloud: e2e/test_cluster.py runs its sweeps and jobs on nodes of
this machine.
"""

import ast
import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from comodo.cli import app
from comodo.config import read_sweep_file
from comodo.config.source import Sources
from comodo.core.console import be_quiet, be_verbose
from tests.config.test_source import source
from tests.hub_server import TOKEN, serving
from tests.paths import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
RUN = [
    "README.md",
    *(f"docs/{page}.md" for page in ("quick_start", "own_recordings", "searching", "mlflow")),
    "docs/deploy.md",
]
KINDS = {"bash", "yaml", "python", "text", "csv"}
"""`text` and `csv` are output or the content of a file, and are not run."""
LIMIT = 900  # seconds for a command
# Completes a part of a sweep file to a whole one.
WHOLE: dict[str, Any] = {
    "name": "page",
    "datasets": {name: {"kind": "simulated"} for name in ("mine", "mmea", "watch", "gloves")},
    "trial": {
        "dataset": "mine",
        "teacher": "efficientnet-lite0",
        "student": "mantis-8m",
        "method": "comodo",
    },
    "search": {"space": {"dataset": ["mine", "mmea"], "method": ["comodo", "supervised"]}},
}


class Block(NamedTuple):
    page: str
    number: int
    kind: str
    text: str

    @property
    def file(self) -> str:
        """The file name under which the reader should save it; "" if none."""
        named = re.match(r"# (\S+\.(?:yaml|py))\n", self.text)
        return named[1] if named else ""


def blocks_of(page: Path) -> list[Block]:
    found = re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    name = str(page.relative_to(ROOT))
    return [Block(name, n, kind, text) for n, (kind, text) in enumerate(found, start=1)]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def named(block: Block) -> str:
    return f"{Path(block.page).name}-{block.number}"


def of_kind(kind: str) -> pytest.MarkDecorator:
    blocks = [block for block in BLOCKS if block.kind == kind]
    return pytest.mark.parametrize("block", blocks, ids=named)


def lines_of(block: Block) -> list[str]:
    """The commands of a block: without comments, continued lines joined."""
    text = block.text.replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without `NAME=value` before it and redirections."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&"):
            yield command
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word)


def test_every_fence_says_what_it_holds() -> None:
    assert {block.page for block in BLOCKS} >= {*RUN, "CONTRIBUTING.md"}
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), f"{page}: a fence is not closed"
    for block in BLOCKS:
        assert block.kind in KINDS, f"{named(block)}: ```{block.kind}; known: {sorted(KINDS)}"


@pytest.fixture
def usual_output() -> Iterator[None]:
    """Afterwards: an option such as -q works as soon as it is read."""
    yield
    be_quiet(False)
    be_verbose(False)


@pytest.mark.usefixtures("usual_output")
@of_kind("bash")
def test_commands_are_understood(block: Block) -> None:
    verbs: Any = typer.main.get_command(app)
    targets = re.findall(r"^([a-z./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    saved = {other.file for other in BLOCKS if other.page == block.page}
    for line in lines_of(block):
        for words in commands_of(line):
            if words[:1] == ["make"]:
                assert set(words[1:]) <= set(targets), line
            elif words[:1] == ["comodo"]:
                verbs.make_context("comodo", words[1:2])
                verb = verbs.commands[words[1]]
                verb.make_context(words[1], words[2:])  # SystemExit or UsageError: a wrong option
                for word in words[2:]:
                    if word.endswith(".yaml"):
                        assert word in saved or (ROOT / word).is_file(), f"{line}: no such file"


def test_commands_within_the_text_are_understood() -> None:
    verbs: Any = typer.main.get_command(app)
    seen = 0
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for verb, rest in re.findall(r"`comodo (\w+)([^`]*)`", text):
            options = {name for parameter in verbs.commands[verb].params for name in parameter.opts}
            assert set(re.findall(r"--[\w-]+", rest)) <= options | {"--help"}, f"{verb}{rest}"
            seen += 1
    assert seen >= 15


@of_kind("yaml")
def test_sweep_files_and_parts_of_them_are_read(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creates the files and folders that they name, empty."""
    places = [tmp_path / path for path in re.findall(r"path: (\w[\w/.]+)", block.text)]
    for variable, rest in re.findall(r"\$([A-Z0-9]+)([\w/.-]*)", block.text):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        places.append(tmp_path / variable / rest.strip("/"))
    for place in places:
        (place.parent if place.suffix else place).mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.touch()
    for code in (other for other in BLOCKS if other.page == block.page and other.kind == "python"):
        if code.file:
            (tmp_path / code.file).write_text(code.text)
    content = yaml.safe_load(block.text)
    if not {"name", "datasets", "trial"} <= content.keys():
        part, content = content, {**WHOLE, **content}
        for key in ("datasets", "trial"):
            content[key] = {**WHOLE[key], **part.get(key, {})}
    file = tmp_path / "page.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    found = Sources({}, lambda name: source(title=f"sweep {name}"))
    assert read_sweep_file(file, sources=found).name == content["name"]


def test_every_public_data_set_has_its_lines() -> None:
    kinds = {
        kind
        for block in BLOCKS
        if block.page == "docs/datasets.md" and block.kind == "yaml"
        for kind in re.findall(r"kind: (\S+)\n", block.text)
    }
    with_video = {"ego4d", "egoexo4d", "uestc-mmea-cl", "wear", "epic-kitchens", "hd-epic"}
    imu_only = {"hapt", "wharf", "actrectut", "anymo-bench", "whar"}
    assert kinds - {"folder"} == with_video | imu_only


def test_python_is_run_by_the_test_of_its_page() -> None:
    """A test that prepares what the page needs has the page's name in it."""
    tests = [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    for page in {Path(block.page).name for block in BLOCKS if block.kind == "python"}:
        assert any(page in file.read_text() for file in tests), f"nothing runs what {page} shows"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_merge_was_left_half_done(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}$|>{7})", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}
            assert anchor in anchors, target


def texts_of(source: str) -> Iterator[str]:
    """The strings of a module without its docstrings."""
    for node in ast.walk(ast.parse(source)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and not isinstance(node, ast.Expr):
                yield str(child.value)


def test_quoted_errors_are_those_of_the_code() -> None:
    """The words of each line, except the parts that vary, are in a string of the package; the key
    at its beginning may be a string of its own."""
    texts = "\n".join(
        text for file in (ROOT / "comodo").rglob("*.py") for text in texts_of(file.read_text())
    )
    page = "docs/errors.md"
    quoted = [
        line
        for block in BLOCKS
        if block.page == page and block.kind == "text"
        for line in block.text.splitlines()
    ]
    assert len(quoted) > 30
    for line in quoted:
        words = [part.strip(" :;.,'()") for part in re.split(r"<[^<>]+>|;|(?<=\w): ", line)]
        known = [part for part in words if len(part) > 3]
        assert known, line
        for part in known:
            assert part in texts, f"{page}: {line!r}: no error says {part!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    """A user's checkout after `make`, with recordings next to it."""
    folder = tmp_path_factory.mktemp("checkout")
    make_folder(folder / "recordings", recordings=12, seconds=30.0)
    shutil.copytree(ROOT / "sweeps", folder / "sweeps")
    command = folder / ".venv" / "bin" / "comodo"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m comodo "$@"\n')
    command.chmod(0o755)
    (command.parent / "activate").touch()
    return folder


def smaller(line: str) -> str:
    """A line after the replacements described at the top."""
    line = re.sub(r"\bmake demo\b", "comodo sweep sweeps/demo.yaml --smoke", line)
    line = re.sub(r"\bmake ui\b|\bcomodo ui\b.*", "comodo ui --help", line)
    line = re.sub(r"\b(status|report|export|profile) demo\b", r"\1 demo-smoke", line)
    line = re.sub(r"\bhf auth login\b", "hf auth whoami", line)
    line = re.sub(r"\bpip install\b", "pip install --dry-run --no-index --no-deps", line)
    if re.search(r"\bcomodo sweep\b", line) and "--smoke" not in line:
        line = re.sub(r"(comodo sweep \S+)", r"\1 --smoke", line)
    return line


def test_sections_of_docstrings_are_those_that_the_site_shows_as_such() -> None:
    """Under `Example:` it would show code as quoted text, all in one line."""
    shown = {"Args", "Attributes", "Examples", "Raises", "Returns"}
    found = {
        (path.name, section)
        for path in (ROOT / "comodo").rglob("*.py")
        for section in re.findall(r"^ +([A-Z][a-z]+):$", path.read_text(), re.MULTILINE)
    }
    assert {section for _, section in found} == shown, found


def test_smaller_is_what_the_rules_say() -> None:
    assert smaller("comodo sweep a.yaml   # long") == "comodo sweep a.yaml --smoke   # long"
    assert smaller("comodo plan a.yaml") == "comodo plan a.yaml"
    assert smaller("make ui") == "comodo ui --help"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_server(server: subprocess.Popen[bytes], port: int) -> None:
    """Waits until the server accepts connections."""
    for _ in range(LIMIT):
        assert server.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(1)
    raise TimeoutError(f"no server on port {port}")


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("page", RUN)
def test_a_page_can_be_followed(page: str, folder: Path) -> None:
    own, beside, port = folder / ".venv" / "bin", Path(sys.executable).parent, free_port()
    environment = {
        **os.environ,
        "PATH": f"{own}:{beside}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COMODO_STORE": str(folder / "store"),
        "COLUMNS": "200",
        "HF_TOKEN": TOKEN,
        "HF_HUB_CACHE": str(folder / "hub"),
    }

    def run(line: str) -> None:
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    with contextlib.ExitStack() as servers:
        _, environment["HF_ENDPOINT"] = servers.enter_context(serving())
        if page == "docs/deploy.md":  # starts from a finished sweep
            run(smaller("make demo"))
        for block in (block for block in BLOCKS if block.page == page):
            if block.kind == "yaml" and block.file:
                text = re.sub(r"(method.queue_size: )\[.*\]", r"\1[4, 8]", block.text)
                (folder / block.file).write_text(re.sub(r"(queue_size: )\d+", r"\g<1>4", text))
            for line in lines_of(block) if block.kind == "bash" else []:
                line = smaller(line).replace("5001", str(port))
                if line.startswith("mlflow models serve"):
                    command = shlex.split(line)
                    server = subprocess.Popen(command, cwd=folder, env=environment)
                    servers.callback(server.wait, 60)
                    servers.callback(server.terminate)
                    await_server(server, port)
                else:
                    run(line)
