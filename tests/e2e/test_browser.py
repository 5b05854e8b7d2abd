"""MLflow's pages of a sweep, as `comodo ui` serves them, in a real browser.

With COMODO_SCREENSHOTS naming a folder, each test keeps there what it has seen.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import FloatRect, expect

from comodo.core.store import Store
from comodo.tracking.runs import SweepRuns, experiment_pages, find_runs
from tests.browser import PATIENCE, Seen, browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

WIDTH, HEIGHT = 1440, 900
LIMIT = 900  # seconds; nothing here may wait for ever
SWEEP = {
    "name": "contrast",
    "datasets": {"recordings": {"kind": "simulated"}},
    "trial": {
        "dataset": "recordings",
        "teacher": "timesformer-base-k400",
        "student": "mantis-8m",
        "method": "comodo",
    },
    "search": {
        "space": {
            "method.queue_size": [256, 1024],
            "method.teacher_temperature": [0.05, 0.1],
            "method.student_temperature": [0.05, 0.2],
        }
    },
    "seeds": [0, 1],
}
NAME = "contrast-smoke"
SWEPT = ("method.queue_size", "method.teacher_temperature", "method.student_temperature")
TRIALS = 20  # ten configurations, two of them references, of two seeds
OWN = 16  # of them trained
CONFIGURATIONS = TRIALS // 2
NOT_OURS = (
    "/users/current",  # asks who has logged in, which a server without users does not know
    "ResizeObserver loop",
    "Error: <",  # a chart is drawn before its box has a height, and again when it has
)
"""What MLflow's pages complain of by themselves."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """With a finished sweep over queue size and both temperatures."""
    folder = tmp_path_factory.mktemp("contrast")
    (folder / "contrast.yaml").write_text(yaml.safe_dump(SWEEP))
    place = ["--store", str(folder / "store")]
    done = subprocess.run(
        [sys.executable, "-m", "comodo", "sweep", str(folder / "contrast.yaml"), "--smoke", *place],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Store(folder / "store")


@pytest.fixture(scope="module")
def runs(store: Store) -> SweepRuns:
    found = find_runs(NAME, store)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    """Where `comodo ui` serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "comodo", "ui", "--store", str(store.root)]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(60)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200
            return
        time.sleep(0.5)
    pytest.fail(f"no answer at {url}")


@pytest.fixture(scope="module")
def window() -> Iterator[Seen]:
    with browser(WIDTH, HEIGHT) as seen:
        # Its assistant opens by itself on a first visit.
        opened = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
        seen.page.add_init_script(f"localStorage.setItem('{opened}', 'true')")
        yield seen


@pytest.fixture
def visit(window: Seen, address: str) -> Iterator[Callable[[str], Seen]]:
    """Opens a page of MLflow; afterwards nothing may be wrong with it."""

    def go(page: str) -> Seen:
        window.page.goto("data:,")
        window.complaints.clear()
        window.requests.clear()
        window.page.goto(address + page)
        return window

    yield go
    assert [c for c in window.complaints if not any(known in c for known in NOT_OURS)] == []
    here = (address, "data:", "blob:")
    assert [url for url in window.requests if not url.startswith(here)] == []


def keep(seen: Seen, name: str, below: str = "") -> None:
    """A picture of the window, or of its part below the line with a text, if pictures are asked
    for."""
    if folder := os.environ.get("COMODO_SCREENSHOTS"):
        seen.page.mouse.move(0, 0)
        seen.page.wait_for_timeout(3000)  # until nothing moves any more
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder, f"{name}.png")
        top = 0.0
        if below and (box := seen.page.get_by_text(below).first.bounding_box()):
            top = box["y"] - 8
        part: FloatRect = {"x": 0, "y": top, "width": WIDTH, "height": HEIGHT - top}
        seen.page.screenshot(path=path, clip=part)
        with Image.open(path) as picture:
            # A quarter of the bytes, and hues that few points have are kept.
            small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
        small.save(path, optimize=True)


def test_experiments_are_sweeps_with_their_question(visit: Callable[[str], Seen]) -> None:
    seen = visit("#/experiments")
    row = seen.page.get_by_role("row").filter(has_text=NAME)
    row.wait_for()
    assert "A smoke run, its numbers mean nothing" in row.inner_text()
    keep(seen, "experiments")


def test_the_page_opens_with_the_answer_and_configurations(
    visit: Callable[[str], Seen], runs: SweepRuns, store: Store
) -> None:
    seen = visit(experiment_pages([NAME], store)[NAME])
    page = seen.page
    links = page.get_by_role("gridcell").locator("a[href*='/runs/']")
    links.nth(CONFIGURATIONS).wait_for()
    *configurations, sweep = links.all_inner_texts()
    assert len(configurations) == CONFIGURATIONS and sweep == f"sweep {NAME}"
    means = [float(name.removeprefix("★ ").split()[0]) for name in configurations]
    assert means == sorted(means, reverse=True)
    assert [name.startswith("★ ") for name in configurations].count(True) == 1
    page.get_by_text("A smoke run, its numbers mean nothing").first.wait_for()
    keep(seen, "configurations")
    trial = page.get_by_role("link", name="comodo queue_size=1024", exact=False).filter(
        has_text="seed 0"
    )
    assert trial.count() == 0
    chosen = page.get_by_role("gridcell").filter(has_text="comodo queue_size=1024").first
    chosen.get_by_role("button").first.click()
    trial.first.wait_for()


def test_the_saved_views_have_columns_for_what_was_swept(
    visit: Callable[[str], Seen], runs: SweepRuns
) -> None:
    measured = [f"metrics.`{name}`" for name in ("val/acc1", "test/acc1")]
    params = [f"params.`{key}`" for key in SWEPT]
    seen = visit(runs.runs_page(trials=True))
    seen.page.get_by_text(f"{TRIALS} matching runs").wait_for()
    for name in (*measured, *params, "params.`seed`"):
        head = seen.page.locator(f'.ag-header-cell[col-id="{name}"]')
        head.wait_for()
        box = head.bounding_box()
        assert box is not None and box["x"] + box["width"] <= WIDTH, name
    names = seen.page.locator("a[href*='/runs/']").all_inner_texts()
    assert "comodo queue_size=256 teacher_temperature=0.05 student_temperature=0.05 seed 0" in names
    seen = visit(runs.runs_page())
    seen.page.get_by_text(f"{CONFIGURATIONS} matching runs").wait_for()
    for name in ("tags.`selected`", *measured, *params):
        seen.page.locator(f'.ag-header-cell[col-id="{name}"]').wait_for()
    keep(seen, "runs")


def test_its_charts_begin_with_parallel_coordinates(
    visit: Callable[[str], Seen], runs: SweepRuns
) -> None:
    seen = visit(runs.runs_page(charts=True))
    seen.page.get_by_text("Showing all runs").wait_for()
    for name in (*SWEPT, "val/acc1"):
        seen.page.locator("svg text").get_by_text(name, exact=True).first.wait_for()
    expect(seen.page.locator("svg [transform*=NaN]")).to_have_count(0)
    keep(seen, "charts")


def test_the_compare_page_is_reached_from_the_description(
    visit: Callable[[str], Seen], runs: SweepRuns
) -> None:
    seen = visit(runs.run_page(runs.parent))
    seen.page.get_by_text("Show more").click()
    assert seen.page.locator("table").filter(has_text="test/macro_f1").count() == 1
    keep(seen, "sweep", below="Selected:")  # the path of the sweep file is above
    link = seen.page.get_by_role("link", name="compare all").get_attribute("href")
    assert link is not None
    seen = visit(link)
    seen.page.get_by_text(f"Comparing {OWN} Runs from 1 Experiment").wait_for()
    plot = seen.page.locator(".pcp-plot")
    for name in SWEPT:
        plot.locator("text").get_by_text(name, exact=True).wait_for()
    name = "comodo queue_size=1024 teacher_temperature=0.1 student_temperature=0.2 seed 1"
    seen.page.get_by_text(name).first.wait_for()
    keep(seen, "compare")


def test_a_trial_has_curves_inputs_and_files(visit: Callable[[str], Seen], runs: SweepRuns) -> None:
    client = MlflowClient(runs.uri)
    (run,) = client.search_runs([runs.experiment], "tags.method = 'comodo'", max_results=1)
    place = runs.run_page(run.info.run_id)
    assert run.inputs is not None
    (data,) = run.inputs.dataset_inputs
    page = visit(place).page
    page.get_by_text(f"recordings ({data.dataset.digest})").wait_for()
    seen = visit(f"{place}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("train/")
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    cards.filter(has_text="loss").wait_for()
    assert cards.filter(has_text="grad_norm").count() == 1
    keep(seen, "curves")
    page = visit(f"{place}/artifacts").page
    for name in ("result.json", "student"):
        page.get_by_text(name, exact=True).first.wait_for()


def test_a_sweep_has_figures_and_the_machine_s_load(
    visit: Callable[[str], Seen], runs: SweepRuns
) -> None:
    place = runs.run_page(runs.parent)
    seen = visit(f"{place}/artifacts/figures/accuracy.png")
    picture = seen.page.get_by_role("img", name="figures/accuracy.png")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 400
    page = visit(f"{place}/system-metrics").page
    page.get_by_text("cpu_utilization_percentage", exact=True).wait_for()
