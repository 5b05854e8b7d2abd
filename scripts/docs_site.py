"""Makes the site of `make docs` out of what the repository has: a hook of mkdocs.yml.

Pages of docs/ are written to be read in the repository, and stay as they are. For the site the
README is the first page, and the files and folders that pages link to outside of docs/ become pages
that show them. Knows nothing of what the pages say.
"""

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("*.md")}
    docs = {f"docs/{path.name}": path.read_text() for path in (ROOT / "docs").glob("*.md")}
    linked = {target for path, text in (texts | docs).items() for target in _targets(path, text)}
    outside = {path for path in linked - set(texts) if not path.startswith("docs/")}
    pages = {path: _linked(path, text) for path, text in texts.items()}
    for path in outside | {file for folder in outside for file in _files_in(folder)}:
        pages[path] = f"{NOT_SEARCHED}# {path}\n\n{_shown(path)}"
    for path, text in pages.items():
        files.append(File.generated(config, _address(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page of docs/ with links to where the site has their targets."""
    path = f"docs/{page.file.src_uri}"
    return _linked(path, markdown) if (ROOT / path).exists() else markdown


def _address(path: str) -> str:
    """Where the site has a file or folder of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}" if path.endswith(".md") and "/" not in path else f"source/{path}.md"


def _linked(path: str, text: str) -> str:
    """The text of a page with links to where the site has their targets."""
    here = posixpath.dirname(_address(path)) or "."

    def moved(link: re.Match[str]) -> str:
        return posixpath.relpath(_address(_target(path, link[1])), here)

    return LINK.sub(moved, text)


def _targets(path: str, text: str) -> Iterator[str]:
    return (_target(path, link) for link in LINK.findall(text))


def _target(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _files_in(path: str) -> list[str]:
    found = sorted((ROOT / path).iterdir()) if (ROOT / path).is_dir() else []
    return [
        file.relative_to(ROOT).as_posix()
        for file in found
        if file.is_file() and file.name != "__init__.py"
    ]


def _shown(path: str) -> str:
    """A folder as a list of its files, a file as text."""
    if (ROOT / path).is_dir():
        names = {Path(file).name: _first_line(file) for file in _files_in(path)}
        return "".join(f"- [{name}]({name}.md): {line}\n" for name, line in names.items())
    kind = {".yaml": "yaml", ".toml": "toml", ".py": "python"}.get(Path(path).suffix, "text")
    return f"````{kind}\n{(ROOT / path).read_text()}````\n"


def _first_line(path: str) -> str:
    """What a file says of itself: the first line of its docstring, or of its first comment."""
    text = (ROOT / path).read_text()
    if path.endswith(".py"):
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return text.partition("\n")[0].lstrip("# ") if text.startswith("#") else ""
