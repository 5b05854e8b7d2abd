"""A headless Chromium for tests: its pages note what they complain of, and whom they ask."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120.0  # seconds, of a machine that does much else
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Seen:
    """An open page, and what came of it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors of the console and of scripts, with the address that they name."""
    requests: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")


@contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[Seen]:
    """A page of a browser of its own; skips the test where there is none."""
    named = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES))
    command = next((found for found in named if found), None)
    if command is None:
        pytest.skip(
            "no Chromium to open the page in: install the package chromium, or let CHROMIUM name it"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=command, args=FLAGS)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE * 1000)
        seen = Seen(page)
        page.on("console", seen.note)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        yield seen
        chromium.close()
