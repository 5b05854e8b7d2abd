"""What is tried next: grid, random, TPE, and going on from earlier runs."""

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from comodo.config import Sweep, read_sweep_file
from comodo.search.proposals import GridProposals, OptunaProposals, Outcome
from tests.config.test_load import CONDITIONAL, sweep_file

SPACE: dict[str, Any] = {
    "method": ["none", {"name": "comodo", "queue_size": 8}],
    "learning_rate": {"min": 1e-5, "max": 1e-2, "log": True},
    "epochs": {"min": 1, "max": 50, "integer": True},
}


PRUNED, FAILED = Outcome("pruned"), Outcome("failed")


def score(*values: float) -> Outcome:
    return Outcome("finished", values)


def tpe(tmp_path: Path, space: Any = SPACE, trials: int = 20, **changes: Any) -> Sweep:
    changes = {"search__sampler": "tpe", "search__space": space, **changes}
    return read_sweep_file(sweep_file(tmp_path, budget={"trials": trials}, **changes))


def reported(proposals: OptunaProposals) -> list[optuna.trial.FrozenTrial]:
    return proposals._study.trials


@pytest.fixture(params=["random", "tpe"])
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> Sweep:
    search = {"sampler": request.param, "space": SPACE}
    return read_sweep_file(sweep_file(tmp_path, search=search, budget={"trials": 20}))


def test_grid_in_order_then_nothing(tmp_path: Path) -> None:
    space = {"epochs": [1, 2], "batch_size": [8, 16]}
    proposals = GridProposals(read_sweep_file(sweep_file(tmp_path, search__space=space)))
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
        proposals.tell(values, FAILED if number == 3 else score(0.5))
    assert proposals.ask() is None


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_largest_seed_continues_an_earlier_run(tmp_path: Path, sampler: str) -> None:
    sweep = tpe(tmp_path, search__sampler=sampler, search__seed=2**32 - 1)
    first = OptunaProposals(sweep, 20, []).ask()
    assert first is not None
    assert OptunaProposals(sweep, 20, [(first, score(0.5))]).ask() not in (None, first)


def test_same_seed_same_suggestions(sweep: Sweep) -> None:
    def first() -> Any:
        return OptunaProposals(sweep, limit=5, earlier=[]).ask()

    assert first() == first()


def test_going_on_repeats_nothing_and_finishes_what_was_open(sweep: Sweep) -> None:
    before = OptunaProposals(sweep, limit=20, earlier=[])
    asked = [before.ask() for _ in range(6)]
    earlier: list[Any] = [
        (values, score(0.1 * i) if i < 4 else None) for i, values in enumerate(asked)
    ]
    after = OptunaProposals(sweep, limit=20, earlier=earlier)
    assert [after.ask(), after.ask()] == asked[4:]
    new = [after.ask() for _ in range(15)]
    assert new[14] is None
    assert all(values not in asked for values in new[:14])


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_small_space_is_tried_out_and_ends(tmp_path: Path, sampler: str) -> None:
    space = {"epochs": {"min": 1, "max": 20, "integer": True}, "batch_size": [8, 16]}
    sweep = tpe(tmp_path, space, 50, search__sampler=sampler)
    proposals = OptunaProposals(sweep, limit=50, earlier=[])
    seen = []
    while (values := proposals.ask()) is not None:
        seen.append((values["epochs"], values["batch_size"]))
        proposals.tell(values, score(float(values["epochs"] == 7)))
    assert sorted(seen) == [(epochs, batch) for epochs in range(1, 21) for batch in (8, 16)]


def test_tpe_learns(tmp_path: Path) -> None:
    search = {"sampler": "tpe", "space": {"epochs": {"min": 1, "max": 1000, "integer": True}}}
    sweep = read_sweep_file(sweep_file(tmp_path, search=search, budget={"trials": 60}))
    proposals = OptunaProposals(sweep, limit=60, earlier=[])
    tried = []
    while (values := proposals.ask()) is not None:
        tried.append(values["epochs"])
        proposals.tell(values, score(-abs(values["epochs"] - 700.0)))
    late = [abs(value - 700) for value in tried[30:]]
    assert sum(late) / len(late) < 150  # uniform draws are 290 away on average


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_inactive_keys_are_not_suggested(tmp_path: Path, sampler: str) -> None:
    space = {
        **CONDITIONAL,
        "method.temperature": {
            "min": 0.01,
            "max": 1,
            "log": True,
            "when": {"method.name": "infonce"},
        },
    }
    sweep = tpe(tmp_path, space, 30, search__sampler=sampler)
    proposals = OptunaProposals(sweep, limit=30, earlier=[])
    names = set()
    for _ in range(25):
        values = proposals.ask()
        assert values is not None and values in sweep.space
        names.add(sweep.with_values(values).method.name)
        assert reported(proposals)[-1].params.keys() == values.keys()
        proposals.tell(values, score(0.5))
    assert names == {"comodo", "infonce", "l2"}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_explicit_points_come_first_and_once(tmp_path: Path, sampler: str) -> None:
    starts: list[dict[str, Any]] = [
        {"epochs": 7, "learning_rate": 1e-3, "method": "none"},
        {"epochs": 9},
        {"method": {"queue_size": 8, "name": "comodo"}},
    ]
    sweep = tpe(tmp_path, search__sampler=sampler, search__start_with=starts)
    proposals = OptunaProposals(sweep, limit=20, earlier=[])
    asked = [proposals.ask() for _ in range(3)]
    for start, values in zip(starts, asked, strict=True):
        assert values is not None and start.items() <= values.items()
        assert values in sweep.space
    earlier: list[Any] = [(asked[0], score(0.1)), (asked[1], None)]
    again = OptunaProposals(sweep, limit=20, earlier=earlier)
    assert again.ask() == asked[1]
    third = again.ask()
    assert third is not None and starts[2].items() <= third.items()


def test_how_a_configuration_ended_is_told_as_it_is(tmp_path: Path) -> None:
    sweep = tpe(tmp_path)
    ends = [score(0.5), Outcome("pruned", reached=(3, 0.2)), PRUNED, FAILED, score(float("nan"))]
    states = [TrialState.COMPLETE, *[TrialState.PRUNED] * 2, *[TrialState.FAIL] * 2]
    proposals = OptunaProposals(sweep, limit=20, earlier=[])
    asked = [proposals.ask() for _ in ends]
    for values, outcome in zip(asked, ends, strict=True):
        assert values is not None
        proposals.tell(values, outcome)
    again = OptunaProposals(sweep, limit=20, earlier=list(zip(asked, ends, strict=True)))  # type: ignore[arg-type]
    for study in (reported(proposals), reported(again)):
        assert [trial.state for trial in study] == states
        assert study[0].value == 0.5
        assert study[1].intermediate_values == {3: 0.2}
        assert study[2].intermediate_values == {}
    assert [t.params for t in reported(proposals)] == [t.params for t in reported(again)]


def test_what_can_be_no_trial_takes_nothing_of_the_budget(tmp_path: Path) -> None:
    proposals = OptunaProposals(tpe(tmp_path), limit=2, earlier=[])
    for outcome in (Outcome("rejected"), score(0.5), Outcome("rejected"), FAILED):
        values = proposals.ask()
        assert values is not None
        proposals.tell(values, outcome)
    assert proposals.ask() is None


def test_several_objectives_are_told_together(tmp_path: Path) -> None:
    objective = [{"metric": "val/acc1"}, {"metric": "student/parameters"}]
    space = {"epochs": {"min": 1, "max": 1000, "integer": True}, "batch_size": [8, 16]}
    sweep = tpe(tmp_path, space, 60, objective=objective)
    proposals = OptunaProposals(sweep, limit=60, earlier=[])
    tried = []
    for number in range(60):
        values = proposals.ask()
        assert values is not None
        tried.append(values["epochs"])
        x = values["epochs"] / 1000
        good = score(-abs(x - 0.7), abs(x - 0.7))
        reached = Outcome("pruned", reached=(1, 0.5))
        proposals.tell(
            values, reached if number % 10 == 4 else FAILED if number % 10 == 5 else good
        )
    assert [d.name for d in proposals._study.directions] == ["MAXIMIZE", "MINIMIZE"]
    late = [abs(value - 700) for value in tried[30:]]
    assert sum(late) / len(late) < 180


def test_what_other_sweeps_know_is_learnt_and_not_repeated(tmp_path: Path) -> None:
    space = {"epochs": {"min": 1, "max": 1000, "integer": True}}
    sweep = tpe(tmp_path, space, 20)
    learnt = [({"epochs": n}, score(-abs(n - 700.0))) for n in range(1, 1000, 4)]
    proposals = OptunaProposals(sweep, limit=20, earlier=[], learnt=learnt)
    asked = []
    while (values := proposals.ask()) is not None:
        asked.append(values["epochs"])
        proposals.tell(values, score(-abs(values["epochs"] - 700.0)))
    assert len(set(asked)) == 20  # of the budget nothing is taken
    assert not {values["epochs"] for values, _ in learnt} & set(asked)
    assert sum(abs(epochs - 700) for epochs in asked) / 20 < 150  # from the first on


@settings(max_examples=6)
@given(st.integers(0, 2**31), st.sampled_from(["random", "tpe"]))
def test_whenever_it_is_interrupted_no_suggestion_comes_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sampler: str
) -> None:
    space = {**CONDITIONAL, "epochs": {"min": 1, "max": 5, "integer": True}}
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("sweep")
    sweep = tpe(folder, space, 24, search__sampler=sampler)  # of 30 points
    record: dict[str, tuple[Any, Outcome | None]] = {}
    proposals = OptunaProposals(sweep, limit=24, earlier=[])
    while True:
        if chance.random() < 0.2:
            proposals = OptunaProposals(sweep, limit=24, earlier=list(record.values()))
            continue
        open_before = {name for name, (_, outcome) in record.items() if outcome is None}
        values = proposals.ask()
        if values is None:
            break
        name = str(sorted(values.items(), key=str))
        assert name not in record or name in open_before
        record[name] = (values, None)
        if chance.random() < 0.5:
            outcome = chance.choice([score(0.3), score(0.6), PRUNED])
            proposals.tell(values, outcome)
            record[name] = (values, outcome)
    assert len(record) == 24
