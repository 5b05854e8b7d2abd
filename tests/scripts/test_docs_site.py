"""The site of `make docs`: complete, linked within itself, and read without a network."""

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import browser
from tests.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.browser]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the site, which is built strictly: a link without its target is an error."""
    built = subprocess.run(["make", "docs"], cwd=ROOT, text=True, capture_output=True)
    assert built.returncode == 0, built.stdout + built.stderr
    handler = partial(Quiet, directory=str(ROOT / "build/site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_has_all_pages_and_what_they_link_to(site: str) -> None:
    built = ROOT / "build/site"
    pages = {"index", *(path.stem for path in (ROOT / "docs").glob("*.md"))}
    assert {path.stem for path in built.glob("*.html")} == pages | {"404"}
    shown = (built / "source/sweeps/demo.yaml.html").read_text()
    assert "simulated" in shown
    assert 'href="source/sweeps/index.html"' in (built / "index.html").read_text()


def test_it_asks_nobody_else_and_is_searched(site: str) -> None:
    with browser() as seen:
        seen.page.goto(f"{site}/api.html")
        assert "load_sweep" in seen.page.inner_text("article")
        seen.page.keyboard.press("f")
        seen.page.keyboard.type("queue size")
        seen.page.wait_for_selector(".md-search-result__item")
        assert not [each for each in seen.requests if not each.startswith((site, "data:", "blob:"))]
        assert not seen.complaints


@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_needs_no_sideways_scrolling(site: str, width: int) -> None:
    with browser(width=width) as seen:
        for path in sorted(Path(ROOT / "build/site").glob("*.html")):
            seen.page.goto(f"{site}/{path.name}")
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, path.name
