"""`comodo sweep FILE --smoke` for each file of sweeps/: it runs to its report, without its data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_sweeps import FILES

LIMIT = 1800  # seconds; nothing here may wait for ever


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the module: recordings, windows and features are made once."""
    return tmp_path_factory.mktemp("store")


# Gopro's recordings have no labels, and so are encoded only.
CASES = [pytest.param(file, id=file.stem) for file in FILES if file.stem != "gopro"]


@pytest.mark.slow
@pytest.mark.parametrize("file", CASES)
def test_made_small_it_runs_to_its_report(file: Path, store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "comodo", "sweep", str(file), "--smoke", "--store", str(store)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = re.search(r"report: +(\S+)", done.stdout)
    assert report is not None
    assert Path(report[1]).stat().st_size > 500
    ends = re.findall(r" seed \d+: (\w+)", done.stdout)
    assert set(ends) <= {"finished"}
    assert ends or re.search(r"all \d+ trials are done already", done.stdout)
