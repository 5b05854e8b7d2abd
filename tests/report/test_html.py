"""The report's page in a real browser: nothing from the network, at any width, by keyboard."""

import re
import threading
from base64 import b64encode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Page

from comodo.report import html
from comodo.report.html import MAX_ROWS, html_page
from comodo.report.style import save_figure
from comodo.report.tables import Markup, markdown
from tests.browser import Seen, browser

LAPTOP, PHONE = 1280, 390
TEXT = """# A sweep & more

Said of <b>it</b>.

## Accuracy

| configuration | test/acc1 | a column of a long name | another such column | and the last of them |
| --- | --- | --- | --- | --- |
| b | 9.5 (1.0–20.0) | a long text that wants room | 1 | 2 |
| d | – | – | – | 2 |
| c | 10.1 | – | 1,000 | 2 |
| a | -3.0 | – | 20 | 2 |

![what it shows](drawn.png)

### More measures

| configuration | test/acc3 |
| --- | --- |
| b | 9.5 |

After what is folded.

## Trials

A_name_that_cannot_be_broken_anywhere_a_name_that_cannot_be_broken_anywhere_a_name: `/a/long/path`

| trial | record |
| --- | --- |
| first | [run](http://127.0.0.1:5000/#/experiments/1/runs/2) |
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    figure = Figure(figsize=(9, 3))
    figure.add_subplot().plot([1, 2], [1, 2])
    save_figure(figure, tmp_path / "drawn.png")
    page = tmp_path / "report.html"
    page.write_text(html_page(TEXT, tmp_path))
    return page


def test_it_is_one_file(file: Path) -> None:
    page = file.read_text()
    assert "<title>A sweep &amp; more</title>" in page
    assert "&lt;b&gt;it&lt;/b&gt;" in page
    assert '<li><a href="#section-2">Trials</a></li>' in page and 'id="section-2"' in page
    assert 'aria-label="Accuracy"' in page
    assert 'src="data:image/svg+xml;base64,' in page and 'alt="what it shows"' in page
    assert "<figcaption>what it shows</figcaption></figure>" in page
    assert "drawn.png" not in page
    elsewhere = re.findall(r"""<(\w+)[^>]*\b(?:src|href)=["'](?!data:|#)""", page)
    assert elsewhere == ["a"]  # one can be followed, none is loaded
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    allowed = dict(part.split(maxsplit=1) for part in policy.split(";"))
    assert (allowed["default-src"], allowed["script-src"]) == ("'none'", f"'sha256-{digest}'")
    assert allowed["img-src"] == "data:"


def _column(page: Page, number: int) -> list[str]:
    return (
        page.locator("table").first.locator(f"tbody td:nth-child({number + 1})").all_inner_texts()
    )


def _check_clean(seen: Seen, file: Path) -> None:
    assert seen.complaints == []
    own = (file.as_uri(), "data:")
    assert [url for url in seen.requests if not url.startswith(own)] == []


def _focus(page: Page) -> dict[str, Any]:
    """What has the focus, and how wide the line is that shows it."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const shown = document.activeElement, style = getComputedStyle(shown);
            return {tag: shown.tagName, text: shown.textContent.trim(),
                    line: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)};
        }"""
    )
    return found


@pytest.mark.browser
@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_it_fits(file: Path, width: int) -> None:
    with browser(width) as seen:
        seen.page.goto(file.as_uri())
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.evaluate("document.images[0].getBoundingClientRect().width") > 300
        inside = seen.page.evaluate(
            "(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.wide'))"
        )
        assert inside[0] == inside[1]  # also on a phone five columns are seen without scrolling
        _check_clean(seen, file)


@pytest.mark.browser
def test_a_wider_table_scrolls_in_its_frame(file: Path) -> None:
    header = " | ".join(f"measure/number_{n}" for n in range(20))
    table = f"| {header} |\n|{' --- |' * 20}\n| {' | '.join('7' * 20)} |\n"
    file.write_text(html_page(f"# t\n\n## s\n\n{table}", file.parent))
    with browser(PHONE) as seen:
        seen.page.goto(file.as_uri())
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE
        frame = seen.page.locator(".wide")
        assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
        _check_clean(seen, file)


@pytest.mark.browser
def test_all_is_reached_and_sorted_by_keyboard(file: Path) -> None:
    with browser(LAPTOP) as seen:
        page = seen.page
        page.goto(file.as_uri())
        reached = []
        for _ in range(13):
            page.keyboard.press("Tab")
            focus = _focus(page)
            assert focus["line"] >= 2, focus
            reached.append((focus["tag"], focus["text"][:23] if focus["tag"] != "DIV" else ""))
        header = [
            "configuration",
            "test/acc1",
            "a column of a long name",
            "another such column",
            "and the last of them",
        ]
        assert reached == [
            ("A", "Accuracy"),
            ("A", "Trials"),
            ("DIV", ""),  # the table's frame, to be scrolled
            *(("BUTTON", name) for name in header),
            ("SUMMARY", "More measures"),
            ("DIV", ""),
            ("BUTTON", "trial"),
            ("BUTTON", "record"),
            ("A", "run"),
        ]
        _check_clean(seen, file)


@pytest.mark.browser
def test_what_is_folded_opens_by_keyboard_and_in_print(file: Path, tmp_path: Path) -> None:
    with browser(LAPTOP) as seen:
        page = seen.page
        page.goto(file.as_uri())
        fold = page.locator("details")
        assert fold.locator("summary").inner_text() == "More measures"
        assert not fold.locator("table").is_visible()
        assert page.get_by_text("After what is folded").is_visible()
        fold.locator("summary").focus()
        page.keyboard.press("Enter")
        assert fold.locator("table").is_visible()
        page.keyboard.press("Enter")
        assert not fold.locator("table").is_visible()
        opened = "() => window.opened = document.querySelectorAll('details[open]').length"
        page.evaluate(f"() => addEventListener('beforeprint', {opened})")
        page.pdf(path=tmp_path / "page.pdf")
        assert page.evaluate("window.opened") == 1
        assert not fold.locator("table").is_visible()  # again
        _check_clean(seen, file)


def test_a_long_table_is_folded(file: Path) -> None:
    def page_of(rows: int) -> str:
        table = "| a |\n| --- |\n" + "| 1 |\n" * rows
        return html_page(f"# t\n\n## s\n\n{table}\nafter\n", file.parent)

    assert "<details>" not in page_of(MAX_ROWS)
    whole = page_of(MAX_ROWS + 1)
    assert f"<details><summary>{MAX_ROWS + 1} rows</summary>" in whole
    assert whole.index("</table>") < whole.index("</details>") < whole.index("<p>after")
    assert whole.count("<details>") == whole.count("</details>") == 1


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_systems_colours_and_prints_dark_on_white(file: Path, scheme: Any) -> None:
    colours = """() => {
        const of = (name, key) => getComputedStyle(document.querySelector(name))[key];
        return [of("body", "backgroundColor"), of("body", "color"), of("th", "backgroundColor"),
                of("figure img", "filter")];
    }"""
    with browser(PHONE) as seen:
        page = seen.page
        page.emulate_media(color_scheme=scheme)
        page.goto(file.as_uri())
        back, text, head, filtered = page.evaluate(colours)
        assert back == head == ("rgb(26, 26, 26)" if scheme == "dark" else "rgb(255, 255, 255)")
        assert text == ("rgb(232, 232, 232)" if scheme == "dark" else "rgb(26, 26, 26)")
        assert (filtered == "none") == (scheme == "light")
        page.emulate_media(color_scheme=scheme, media="print")
        printed = page.evaluate(colours)
        assert printed == ["rgb(255, 255, 255)", "rgb(26, 26, 26)", "rgb(255, 255, 255)", "none"]
        _check_clean(seen, file)


@pytest.mark.browser
def test_what_is_above_the_sections_is_the_first_screen(file: Path) -> None:
    page = file.read_text()
    order = ["<h1>", "Said of", "<nav ", "<h2 id"]
    assert sorted(order, key=page.index) == order
    with browser(PHONE, 844) as seen:
        seen.page.goto(file.as_uri())
        said = seen.page.get_by_text("Said of").bounding_box()
        assert said is not None and said["y"] < 200


@pytest.mark.browser
def test_a_column_is_sorted_by_its_numbers(file: Path) -> None:
    with browser(LAPTOP) as seen:
        page = seen.page
        page.goto(file.as_uri())
        head = page.locator("th", has_text="test/acc1")
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert _column(page, 0) == ["a", "b", "c", "d"]  # -3.0, 9.5, 10.1, and what is missing
        assert head.get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Space")
        assert _column(page, 0) == ["c", "b", "a", "d"]
        assert head.get_attribute("aria-sort") == "descending"
        page.locator("th button").nth(3).click()
        assert _column(page, 3) == ["1", "20", "1,000", "–"]
        assert head.get_attribute("aria-sort") is None  # one column at a time
        page.locator("th button").first.click()
        assert _column(page, 0) == ["a", "b", "c", "d"]
        _check_clean(seen, file)


REMOTE = "http://127.0.0.1:9/drawn.png"  # named as the report's own


@pytest.mark.parametrize(
    "text",
    [
        f"![p]({REMOTE})",
        "![p](../drawn.png)",
        f"see ![p]({REMOTE})",
        f"| a |\n| --- |\n| ![p]({REMOTE}) |",
        f"| a |\n| --- |\n| see ![p]({REMOTE}) |",
        f"[![p]({REMOTE})](http://127.0.0.1:9)",
        f"## ![p]({REMOTE})",
        "![p][q]\n\n[q]: " + REMOTE,
    ],
)
def test_pictures_that_are_not_the_reports_are_text(file: Path, text: str) -> None:
    page = html_page(f"# t\n\n{text}\n", file.parent)
    assert "<img" not in page.partition("<main>")[2]


@pytest.mark.browser
def test_the_browser_lets_a_page_load_and_run_nothing_else(file: Path) -> None:
    asked: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: Any) -> None: ...

    with browser() as seen, ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        remote = f"http://127.0.0.1:{server.server_port}"
        planted = f"<img src={remote}/img><link rel=stylesheet href={remote}/css>"
        planted += f"<iframe src={remote}/frame></iframe><script src={remote}/js></script>"
        planted += "<script>document.title = 'ran'</script><img src=x onerror=document.title='ran'>"
        file.write_text(file.read_text().replace("</main>", f"{planted}</main>"))
        try:
            seen.page.goto(file.as_uri())
            assert seen.page.title() == "A sweep & more"
            assert len(seen.page.locator("th button").all()) == 9  # its own script ran
        finally:
            server.shutdown()
    assert asked == []


def test_long_tables_are_rendered_as_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        *("", "9.5 (1.0–20.0)", "a_b__c", "_a_", "a\\", "a|b", "*a*", "<b>&amp;", "a  b", "a_"),
        *("~~a~~", "`a`", "![a](b.png)", "[a](https://b)", "&lt;", "1. a", "- a", "# a", "a!"),
        *("\\|", 'a = "b c"', "x_é_y", "_", "__a__b"),
    ]
    rows = [[cell, *map(Markup, (f"**{n}**", f"[run](http://a/#/{n})", "![p](q.png)"))]
            for n, cell in enumerate(3 * cells)]  # fmt: skip
    rows += [[Markup(cell.replace("|", "")) for cell in (a, b, a, b)]
             for a, b in zip(cells, reversed(cells), strict=True)]  # fmt: skip
    lines = ["# A", "", *TEXT.split("\n"), "### B", "", *markdown(["a", "b", "c", "d"], rows)]
    text = "\n".join([*lines, "After it.", "", *markdown(["a"], [["a_b"]] * 30), "After it."])
    figure = Figure(figsize=(9, 3))
    save_figure(figure, tmp_path / "drawn.png")
    whole = html_page(text, tmp_path)
    for long in (50, 20, 3, 0):
        monkeypatch.setattr(html, "LONG", long)
        assert html_page(text, tmp_path) == whole
