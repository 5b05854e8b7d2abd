"""Where the settings of another sweep lie in a space; see also tests/search/test_ledger.py."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.config.dataset_base import FoldSplit
from comodo.core.store import Store, write_json
from comodo.data.folds import Folds, make_folds
from comodo.search.configuration import trials_of
from comodo.search.records import AskedConfiguration, read_asked
from comodo.search.trial import Evaluation
from comodo.search.warm_start import WarmStart, learn, locate, refuse_unknown_sweeps
from tests.config.test_load import CONDITIONAL, sweep_file
from tests.errors import raises
from tests.helpers import trained_record

WHOLE: dict[str, Any] = {
    "student.pooling": ["concat", "mean"],
    "method": ["none", {"name": "comodo", "queue_size": 8}, "infonce"],
    "method.queue_size": {"values": [16, 32], "when": {"method.name": "comodo"}},
}


@pytest.mark.parametrize("space", [CONDITIONAL, WHOLE])
def test_every_point_of_a_space_is_found_again_from_its_settings(
    tmp_path: Path, space: dict[str, Any]
) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    points = list(sweep.grid())
    assert len(points) >= 6
    assert [locate(sweep.with_values(point), sweep) for point in points] == points


def test_settings_outside_the_space_have_no_point(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__sampler": "random", "budget": {"trials": 9}}
    space: dict[str, Any] = {
        "learning_rate": {"min": 0.1, "max": 0.2},
        "epochs": {"min": 1, "max": 4, "integer": True},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
    for rate, epochs, inside in (
        (0.1, 4, True),
        (0.15, 1, True),
        (0.21, 1, False),
        (0.1, 5, False),
    ):
        config = sweep.trial.model_copy(update={"learning_rate": rate, "epochs": epochs})
        point = {"learning_rate": rate, "epochs": epochs}
        assert locate(config, sweep) == (point if inside else None)


def test_entries_of_the_first_versions_have_no_trials(tmp_path: Path) -> None:
    assert read_asked(tmp_path) == []
    later = {"values": {"epochs": 2}, "trials": ["k"]}
    write_json(tmp_path / "asked.json", [{"epochs": 1}, later])
    assert read_asked(tmp_path) == [
        AskedConfiguration({"epochs": 1}, []),
        AskedConfiguration({"epochs": 2}, ["k"]),
    ]


def test_a_sweep_that_is_not_there_is_named_with_one_that_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    changes: dict[str, Any] = {
        "search": {"sampler": "tpe", "warm_start": ["erlier"], "space": {"epochs": [1, 2]}},
        "budget": {"trials": 2},
    }
    sweep = read_sweep_file(sweep_file(tmp_path, **changes))
    with raises(ConfigError, "search.warm_start", "'erlier'"):
        refuse_unknown_sweeps(sweep, store)
    write_json(store.folder("sweeps", "earlier") / "asked.json", [])
    with raises(ConfigError, "search.warm_start", "'erlier'", "'earlier'"):
        refuse_unknown_sweeps(sweep, store)
    write_json(store.folder("sweeps", "erlier") / "asked.json", [])
    refuse_unknown_sweeps(sweep, store)


def test_a_configuration_in_folds_is_learnt_from_in_the_same_folds(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    changes: dict[str, Any] = {"search__sampler": "tpe", "budget": {"trials": 9}}
    space = {"method.queue_size": [8, 16]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, **changes))
    groups: dict[str, dict[str | None, int]] = {f"g{i}": {"a": 4, "b": 4} for i in range(4)}
    folds = make_folds(groups, FoldSplit(folds="all"))
    halves = make_folds(groups, FoldSplit(folds=2))
    arrays = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    point = {"method.queue_size": 8}

    def learnt(asked: list[AskedConfiguration], folds: Folds) -> WarmStart:
        evaluation = Evaluation(folds={"demo": folds} if folds else {})
        return learn(asked, sweep, store, arrays, evaluation)

    evaluation = Evaluation(folds={"demo": folds})
    trials = trials_of(sweep.with_values(point), [0], ("w", "f"), evaluation)
    asked = [AskedConfiguration(point, [trial.key for trial in trials])]
    for number, trial in enumerate(trials):
        folder = store.folder("trials", trial.key)
        if number == 3:
            assert learnt(asked, folds).passed_over == {"not finished": 1}
        trained_record(trial).write(folder)
        for _, _, place in trial.measures():
            write_json(folder / f"{place}.json", {"val/acc1": number / 10})
    ((where, scores),) = learnt(asked, folds).points
    assert where == point and scores == pytest.approx((0.15,))
    for other in (halves, ()):
        assert learnt(asked, other).passed_over == {"with other folds": 1}
