"""Every file of sweeps/: what its header says, what it plans, and that it can be made small."""

import re
from pathlib import Path

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.config.datasets import fold_split
from comodo.core.store import Store
from comodo.data.folds import listed_in_folds
from comodo.data.keys import simulated_folder
from comodo.data.readers import list_recordings
from comodo.data.readers.simulated import SimulatedDataset
from comodo.report.published import find, other_settings
from comodo.runtime.smoke import load_smoke
from comodo.search.ledger import Ledger
from comodo.search.precheck import most_windows
from comodo.search.train_split import TrainSplit, refuse_untrainable
from comodo.search.trial import Evaluation
from comodo.search.warm_start import Arrays
from tests.paths import ROOT

FILES = sorted(ROOT.joinpath("sweeps").glob("*.yaml"))
SMOKE_WINDOWS = 72  # of the training split of each data set


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, with empty files and folders where its environment variables point to."""
    given: Path = request.param
    for name, rest in re.findall(r"\$([A-Z][A-Z_0-9]*)((?:/[\w.-]+)*)", given.read_text()):
        monkeypatch.setenv(name, str(tmp_path / name))
        place = tmp_path / name / rest.strip("/")
        if place.suffix:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        else:
            place.mkdir(parents=True, exist_ok=True)
    return given


def trials_of(sweep: Sweep, store: Store) -> int:
    """How many trials there will be; of a search, the most that its budget allows."""
    arrays: Arrays = {(name, t): (name, str(t)) for name, t in sweep.trained_on()}
    evaluation = Evaluation(sweep.measures.names, {name: name for name in sweep.evaluate_on})
    planned = len(Ledger(sweep, store, arrays, evaluation).planned())
    return planned if sweep.search.sampler == "grid" else sweep.budget.trials or 0


def test_there_are_sweep_files() -> None:
    assert len(FILES) > 10


def test_a_header_asks_and_says_how_and_at_what_cost(file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines()
    header = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    starts = ["# Run:", "# Cost:", "# Expect:", "# yaml-language-server:"]
    places = [next(i for i, line in enumerate(header) if line.startswith(s)) for s in starts]
    assert places == sorted(places)
    question = " ".join(line.removeprefix("# ") for line in header[: places[0]])
    assert "?" in question
    assert f"sweeps/{file.name}" in header[places[0]]


def test_the_cost_is_what_the_ledger_plans(file: Path, tmp_path: Path) -> None:
    cost = next(line for line in file.read_text().splitlines() if line.startswith("# Cost:"))
    said = re.search(r"(\d+) trials", cost)
    if said is None:
        assert file.stem == "gopro", "only a file that is not swept goes without a number of trials"
        return
    sweep = read_sweep_file(file)
    in_one_fold = trials_of(sweep, Store(tmp_path / "store"))
    folds = fold_split(sweep.datasets[sweep.trial.dataset])
    if folds is not None and folds.folds == "all":
        assert int(said[1]) % in_one_fold == 0  # as many as there are groups
        return
    assert int(said[1]) == in_one_fold * (1 if folds is None else int(folds.folds))


BATCHES_OF_48 = {"figure3_queue_size": {"ego4d", "egoexo4d"}, "table3_transfer": {"egoexo4d"}}
"""Data sets of which published runs in one table or figure have different batches."""


def test_a_file_of_the_paper_has_the_settings_of_the_numbers_that_it_quotes(file: Path) -> None:
    if not file.stem.startswith(("table", "figure")):
        return
    sweep, compared = read_sweep_file(file), 0
    configs = [sweep.with_values(point) for point in sweep.points()]
    if "supervised" in sweep.references:
        configs += [sweep.supervised_like(config) for config in configs]
    for config in configs:
        for tested_on in {config.dataset, *sweep.evaluate_on}:
            if run := find(sweep, config, tested_on):
                others = other_settings(config, run, stand_in=False)
                if config.dataset in BATCHES_OF_48.get(file.stem, ()):
                    others.pop("batch_size", None)
                if "queue_size" in file.stem:
                    others.pop("method.queue_size", None)  # not all were published
                assert not others, f"{config.method.name} {config.dataset} on {tested_on}"
                compared += 1
    assert compared > 5


def test_made_small_it_still_fits_its_data(file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sweep, whole = load_smoke(file, store), read_sweep_file(file)
    windows = {}
    for name, settings in sweep.datasets.items():
        recordings = list_recordings(settings, simulated_folder(settings, store))
        folds = listed_in_folds(recordings, settings)
        trained = [[r for r in fold if r.split == "train"] for fold in folds]
        windows[name] = min(most_windows(settings, train) or 0 for train in trained)
        assert isinstance(settings, SimulatedDataset)
        if settings.pause_seconds is None:
            assert windows[name] == SMOKE_WINDOWS
        else:  # untrimmed, with overlapping windows and pauses
            assert windows[name] > SMOKE_WINDOWS
    assert whole.datasets.keys() == windows.keys()
    # Recordings of a smoke sweep have two windows, of which published trials drop the last.
    splits = {name: TrainSplit(count, last=count // 2) for name, count in windows.items()}
    refuse_untrainable(sweep, splits)
    seeds = len(sweep.seeds) / len(whole.seeds)
    assert trials_of(sweep, store) <= trials_of(whole, store) * seeds
