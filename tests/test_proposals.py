"""What is tried next: grid, random, TPE, and going on from earlier runs."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, load_sweep
from comodo.proposals import GridProposals, OptunaProposals
from tests.test_config import sweep_file

SPACE: dict[str, Any] = {
    "method": ["none", {"name": "comodo", "queue_size": 8}],
    "learning_rate": {"min": 1e-5, "max": 1e-2, "log": True},
    "epochs": {"min": 1, "max": 50, "integer": True},
}


@pytest.fixture(params=["random", "tpe"])
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> Sweep:
    search = {"sampler": request.param, "space": SPACE}
    return load_sweep(sweep_file(tmp_path, search=search, budget={"trials": 20}))


def test_grid_in_order_then_nothing(tmp_path: Path) -> None:
    space = {"epochs": [1, 2], "batch_size": [8, 16]}
    proposals = GridProposals(load_sweep(sweep_file(tmp_path, search__space=space)))
    asked = [proposals.ask() for _ in range(5)]
    assert asked[0] == {"epochs": 1, "batch_size": 8}
    assert asked[3] == {"epochs": 2, "batch_size": 16}
    assert asked[4] is None


def test_suggestions_lie_in_the_space_and_are_valid_trials(sweep: Sweep) -> None:
    proposals = OptunaProposals(sweep, limit=12, earlier=[])
    for number in range(12):
        values = proposals.ask()
        assert values is not None
        assert values["method"] in SPACE["method"]
        assert 1e-5 <= values["learning_rate"] <= 1e-2
        assert isinstance(values["epochs"], int)
        sweep.with_values(values)
        proposals.tell(values, None if number == 3 else 0.5)
    assert proposals.ask() is None


def test_same_seed_same_suggestions(sweep: Sweep) -> None:
    def first() -> Any:
        return OptunaProposals(sweep, limit=5, earlier=[]).ask()

    assert first() == first()


def test_going_on_repeats_nothing_and_finishes_what_was_open(sweep: Sweep) -> None:
    before = OptunaProposals(sweep, limit=20, earlier=[])
    asked = [before.ask() for _ in range(6)]
    earlier: list[Any] = [(values, 0.1 * i if i < 4 else None) for i, values in enumerate(asked)]
    after = OptunaProposals(sweep, limit=20, earlier=earlier)
    assert [after.ask(), after.ask()] == asked[4:]
    new = [after.ask() for _ in range(15)]
    assert new[14] is None
    assert all(values not in asked for values in new[:14])


def test_a_small_space_ends(tmp_path: Path) -> None:
    search = {"sampler": "random", "space": {"epochs": [1, 2, 3]}}
    sweep = load_sweep(sweep_file(tmp_path, search=search, budget={"trials": 50}))
    proposals = OptunaProposals(sweep, limit=50, earlier=[])
    seen = []
    while (values := proposals.ask()) is not None:
        seen.append(values["epochs"])
        proposals.tell(values, 0.0)
    assert sorted(seen) == [1, 2, 3]


def test_tpe_learns(tmp_path: Path) -> None:
    search = {"sampler": "tpe", "space": {"epochs": {"min": 1, "max": 1000, "integer": True}}}
    sweep = load_sweep(sweep_file(tmp_path, search=search, budget={"trials": 60}))
    proposals = OptunaProposals(sweep, limit=60, earlier=[])
    tried = []
    while (values := proposals.ask()) is not None:
        tried.append(values["epochs"])
        proposals.tell(values, -abs(values["epochs"] - 700.0))
    late = [abs(value - 700) for value in tried[30:]]
    assert sum(late) / len(late) < 150  # uniform draws are 290 away on average
