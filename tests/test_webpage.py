"""The report's page in a real browser: nothing from the network, at any width, by keyboard."""

import asyncio
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from comodo.style import keep
from comodo.webpage import webpage
from tests.browser import Page, browser

TEXT = """# A sweep & more

Said of <b>it</b>.

## Accuracy

| configuration | test/acc1 | a column of a long name | another such column | and the last of them |
| --- | --- | --- | --- | --- |
| b | 9.5 (1.0–20.0) | a long text that wants room | 1 | 2 |
| c | 10.1 | – | 1,000 | 2 |
| a | -3.0 | – | 20 | 2 |

![what it shows](drawn.png)

## Trials

A_name_that_cannot_be_broken_anywhere_a_name_that_cannot_be_broken_anywhere_a_name: `/a/long/path`
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    figure = Figure(figsize=(9, 3))
    figure.add_subplot().plot([1, 2], [1, 2])
    keep(figure, tmp_path / "drawn.png")
    page = tmp_path / "report.html"
    page.write_text(webpage(TEXT, tmp_path))
    return page


def test_it_is_one_file(file: Path) -> None:
    page = file.read_text()
    assert "<title>A sweep &amp; more</title>" in page
    assert "&lt;b&gt;it&lt;/b&gt;" in page
    assert '<li><a href="#section-2">Trials</a></li>' in page and 'id="section-2"' in page
    assert 'aria-label="Accuracy"' in page
    assert 'src="data:image/svg+xml;base64,' in page and 'alt="what it shows"' in page
    assert "<figcaption>what it shows</figcaption></figure>" in page
    assert "drawn.png" not in page and "http" not in page


async def _column(page: Page, number: int) -> list[str]:
    rows = "[...document.querySelectorAll('tbody tr')]"
    return list(await page.evaluate(f"{rows}.map(row => row.cells[{number}].textContent)"))


def test_it_opens_sorts_and_fits(file: Path, tmp_path: Path) -> None:
    async def look() -> None:
        async with browser(tmp_path / "profile") as page:
            await page.open(file)
            for width in (400, 1280):
                await page.width(width)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                assert await page.evaluate("document.images[0].getBoundingClientRect().width") > 300
            for _ in range(40):
                await page.press("Tab")
                if await page.evaluate("document.activeElement.textContent") == "test/acc1":
                    break
            assert await page.evaluate("document.activeElement.tagName") == "BUTTON"
            await page.press("Enter", "\r")
            assert await _column(page, 0) == ["a", "b", "c"]  # by number: -3.0, 9.5, 10.1
            assert await page.evaluate("document.activeElement.parentNode.ariaSort") == "ascending"
            await page.press("Enter", "\r")
            assert await _column(page, 0) == ["c", "b", "a"]
            await page.evaluate("document.querySelectorAll('th button')[3].click()")
            assert await _column(page, 3) == ["1", "20", "1,000"]
            assert page.complaints == []
            mine = (file.as_uri(), "data:")
            assert [url for url in page.requests if not url.startswith(mine)] == []

    asyncio.run(look())
