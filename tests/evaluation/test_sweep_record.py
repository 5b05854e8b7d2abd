"""A sweep read back from the store, where its file, recordings and weights are not."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.dataset_base import FoldSplit
from comodo.core.store import Store, read_json, write_json
from comodo.data.folds import make_folds
from comodo.evaluation.sweep_record import UNRECORDED, SweepRecord, read_sweep_record
from comodo.report.head import overridden
from comodo.report.page import protocol_section
from comodo.search.ledger import Ledger
from comodo.search.recorded_settings import refuse_other_overrides
from comodo.search.status import StatusError
from comodo.search.trial import Evaluation, Trial, Versions
from tests.config.test_load import sweep_file
from tests.core.test_hub import cached
from tests.errors import raises
from tests.helpers import answer

EVALUATION = Evaluation(
    ("probe",),
    {"demo": "w"},
    frozenset({"x"}),
    {"demo": {"walk": "walking"}},
    {"demo": ("m/s^2", "rad/s")},
    rates={"demo": 50.0},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def saved_of(sweep: Sweep, evaluation: Evaluation = EVALUATION) -> SweepRecord:
    arrays = {pair: ("w", f"f{i}") for i, pair in enumerate(sweep.trained_on())}
    return SweepRecord.of(sweep, "comodo sweep FILE", arrays, evaluation, {"demo": "windows"})


def test_it_comes_back_as_it_was(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, protocol="published"))
    saved_of(sweep).write(store)
    back = read_sweep_record("small", store)
    assert back.sweep.model_dump() == sweep.model_dump()
    assert (back.command, back.windows) == ("comodo sweep FILE", {"demo": "windows"})
    assert back.arrays == saved_of(sweep).arrays
    assert back.evaluation == EVALUATION
    assert list(map(back.sweep.with_values, back.sweep.grid())) == list(
        map(sweep.with_values, sweep.grid())
    )


def test_students_of_earlier_versions_saw_g_and_degrees(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, protocol="published"))
    saved_of(sweep).write(store)
    seen = {
        row.trial.units_on("demo") for row in read_sweep_record("small", store).results(store).rows
    }
    assert seen == {("m/s^2", "rad/s")}
    path = store.folder("sweeps", "small") / "sweep.json"
    kept = read_json(path)
    del kept["evaluation"]["published_units"]
    write_json(path, kept)
    seen = {
        row.trial.units_on("demo") for row in read_sweep_record("small", store).results(store).rows
    }
    assert seen == {("g", "deg/s")}


FOLDS = make_folds({f"g{i}": {"a": 4, "b": 4} for i in range(3)}, FoldSplit(folds="all"))


def test_folds_come_back_and_with_them_the_trials(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, seeds=[0, 1]))
    evaluation = Evaluation(folds={"demo": FOLDS})
    saved_of(sweep, evaluation).write(store)
    back = read_sweep_record("small", store)
    assert back.evaluation == evaluation
    rows = back.results(store).rows
    assert [row.trial.number for row in rows] == 2 * [(s, f) for s in (0, 1) for f in (1, 2, 3)]
    ledger = Ledger(sweep, store, back.arrays, evaluation)
    assert [row.trial.key for row in rows] == [trial.key for trial in ledger.planned()]


def test_what_was_stopped_in_its_first_fold_is_not_listed_as_missing(
    tmp_path: Path, store: Store
) -> None:
    changes: dict[str, Any] = {"search__space": {"epochs": [1, 2]}, "references": []}
    sweep = read_sweep_file(sweep_file(tmp_path, early_stopping={"name": "asha"}, **changes))
    saved = saved_of(sweep, Evaluation(folds={"demo": FOLDS}))
    ledger = Ledger(sweep, store, saved.arrays, saved.evaluation)
    stopped, *_ = asked = list(iter(ledger.next_trial, None))
    assert [trial.number for trial in asked] == [(0, 1), (0, 1)]  # the others wait
    ledger.end(stopped, "pruned", "slow", reached=(1, 0.2))
    states = [(row.trial.config.epochs, row.state) for row in saved.results(store).rows]
    assert states == [(1, "pruned"), *[(2, "not begun")] * 3]


def test_what_the_command_line_set_comes_back_and_is_reported(tmp_path: Path, store: Store) -> None:
    overrides = ["trial.protocol=published", "seeds=[3, 4]"]
    sweep = read_sweep_file(sweep_file(tmp_path), overrides=overrides)
    saved_of(sweep).write(store)
    back = read_sweep_record("small", store).sweep
    assert back.overrides == sweep.overrides == {"trial.protocol": "published", "seeds": [3, 4]}
    assert (back.trial, back.seeds, back.protocol) == (sweep.trial, [3, 4], "published")
    assert "`trial.protocol=published, seeds=[3, 4]`" in overridden(back)[0]
    assert overridden(read_sweep_file(sweep_file(tmp_path))) == []


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ([], [], False),
        (["trial.epochs=3"], ["trial.epochs=3"], False),
        (["trial.epochs=3", "budget.hours=1"], ["resources.retries=0", "trial.epochs=3"], False),
        ([], ["trial.epochs=3"], True),
        (["trial.epochs=3"], [], True),
        (["trial.epochs=3"], ["trial.epochs=4"], True),
        (["seeds=[0, 1]"], ["seeds=[0]"], True),
        (["name=small", "trial.epochs=3"], ["trial.epochs=3"], False),
    ],
)
def test_a_sweep_with_other_overrides_needs_a_name_of_its_own(
    tmp_path: Path, store: Store, before: list[str], now: list[str], refused: bool
) -> None:
    file = sweep_file(tmp_path)
    refuse_other_overrides(read_sweep_file(file, overrides=before), store)
    saved_of(read_sweep_file(file, overrides=before)).write(store)
    sweep = read_sweep_file(file, overrides=now)
    if not refused:
        refuse_other_overrides(sweep, store)
        return
    with raises(ConfigError, "name", "'small'", "--set name=small-2"):
        refuse_other_overrides(sweep, store)
    refuse_other_overrides(read_sweep_file(file, overrides=[*now, "name=small-2"]), store)


def test_an_override_that_moves_into_the_file_is_the_same_sweep(
    tmp_path: Path, store: Store
) -> None:
    saved_of(read_sweep_file(sweep_file(tmp_path), overrides=["trial.epochs=3"])).write(store)
    refuse_other_overrides(read_sweep_file(sweep_file(tmp_path, trial__epochs=3)), store)


def test_a_sweep_of_both_protocols_by_a_version_whose_teacher_saw_the_same_under_each(
    tmp_path: Path, store: Store
) -> None:
    space = {"protocol": ["corrected", "published"], "teacher.frames": [2, 3]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    saved_of(sweep).write(store)
    path = store.folder("sweeps", "small") / "sweep.json"
    kept = read_json(path)
    assert len(kept["arrays"]) == 4
    for recorded, names in (
        (kept["arrays"], ["f0", "f1", "f2", "f3"]), ([["w", "a"], ["w", "b"]], ["a", "b", "a", "b"])
    ):  # fmt: skip
        write_json(path, kept | {"arrays": recorded})
        back = read_sweep_record("small", store)
        found = [back.arrays[c.dataset, c.teacher] for c in map(sweep.with_values, sweep.grid())]
        assert found == [("w", name) for name in names]
    write_json(path, kept | {"arrays": [["w", "a"]]})
    with raises(StatusError, "status.other-version", "sweep.json"):
        read_sweep_record("small", store)


def test_neither_files_nor_variables_are_needed(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not the weights by which trials are named."""
    here = tmp_path / "here"
    (here / "weights").mkdir(parents=True)
    (here / "weights/model.bin").write_text("w")
    (here / "features.npz").touch()
    (here / "manifest.csv").touch()
    monkeypatch.setenv("HERE", str(here))
    precomputed = {"name": "precomputed", "path": "$HERE/features.npz"}
    changes: dict[str, Any] = {
        "datasets": {"demo": {"kind": "folder", "path": "$HERE/manifest.csv"}},
        "search__space": {
            "teacher": ["efficientnet-lite0", precomputed],
            "student": [{"name": "mantis"}, {"name": "mantis", "weights": "weights"}],
        },
    }
    sweep = read_sweep_file(sweep_file(here, **changes))
    saved = saved_of(sweep)
    saved.write(store)
    rows = saved.results(store).rows
    keys = [row.trial.key for row in rows]
    assert len(set(keys)) == 4 + 2  # both students also untrained
    shutil.rmtree(here)
    monkeypatch.delenv("HERE")
    assert [row.trial.key for row in read_sweep_record("small", store).results(store).rows] == keys
    with pytest.raises(ConfigError):
        read_sweep_file(sweep_file(tmp_path, **changes))


def test_commits_of_the_hub_are_those_of_its_start(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, main, tag = tmp_path / "hub", "1" * 40, "2" * 40
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    cached(hub, "some/mantis", main)
    cached(hub, "some/mantis", tag, "v1")
    student = {"name": "mantis", "weights": "some/mantis"}
    space = {"student": [student, {**student, "revision": "v1"}, {"name": "mantis"}]}
    saved = saved_of(read_sweep_file(sweep_file(tmp_path, search__space=space)))
    commits = {"some/mantis": {"commit": main}, "some/mantis@v1": {"commit": tag}}
    assert saved.weights == commits
    saved.write(store)
    keys = [row.trial.key for row in saved.results(store).rows]
    assert len(set(keys)) == 3 + 3  # all also untrained
    shutil.rmtree(hub)
    back = read_sweep_record("small", store)
    assert [row.trial.key for row in back.results(store).rows] == keys
    shown = "\n".join(protocol_section(back, {}, store))
    assert f"some/mantis at commit {main}" in shown and f"some/mantis@v1 at commit {tag}" in shown


def test_rows_say_how_trials_ended(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(
        sweep_file(tmp_path, search__space={"method.queue_size": [8, 16]}, seeds=[1])
    )
    saved = saved_of(sweep, Evaluation())
    untrained, first, second = [row.trial for row in saved.results(store).rows]
    assert untrained.config.method.name == "none"
    answer(store, untrained, 0.5)
    (store.folder("trials", first.key)).mkdir(parents=True)
    (store.folder("trials", first.key) / "checkpoint.pt").touch()
    end = {"state": "failed", "reason": "the loss became nan"}
    write_json(store.folder("sweeps", "small") / "ended.json", {second.key: end})
    rows = saved.results(store).rows
    assert [row.state for row in rows] == ["finished", "half done", "failed"]
    assert rows[2].reason == "the loss became nan"
    assert rows[0].trained is not None and rows[0].trained.seconds == 1.0


def test_of_a_search_what_was_asked(tmp_path: Path, store: Store) -> None:
    """Seeds that a hopeless first was not worth are no missing ones."""
    space = {"method.queue_size": [8, 16, 32]}
    search = {"sampler": "random", "space": space, "hopeless_below": 0.1}
    file = sweep_file(tmp_path, search=search, budget={"trials": 6}, seeds=[0, 1], references=[])
    saved = saved_of(read_sweep_file(file), Evaluation())
    points = [{"method.queue_size": queue} for queue in (32, 8)]
    asked = [{"values": point, "trials": []} for point in [*points, {"method.queue_size": 99}]]
    write_json(store.folder("sweeps", "small") / "asked.json", asked)
    assert [row.trial.seed for row in saved.results(store).rows] == [0, 1, 0, 1]
    for point, seeds, accuracy in ((points[0], (0, 1), 0.8), (points[1], (0,), 0.3)):
        for seed in seeds:
            arrays = next(iter(saved.arrays.values()))
            answer(store, Trial(saved.sweep.with_values(point), seed, *arrays), accuracy)
    rows = saved.results(store).rows
    assert [(row.label, row.trial.seed) for row in rows] == [
        ("comodo queue_size=32", 0), ("comodo queue_size=32", 1), ("comodo queue_size=8", 0)
    ]  # fmt: skip


@pytest.mark.parametrize("recorded", [True, False])
def test_a_later_version_finds_what_was_finished(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """Also of a sweep that recorded neither versions nor references."""
    search = {"sampler": "random", "space": {"method.queue_size": [8, 16]}}
    file = sweep_file(tmp_path, search=search, budget={"trials": 4}, seeds=[0, 1])
    saved = saved_of(read_sweep_file(file), Evaluation())
    ledger = Ledger(saved.sweep, store, saved.arrays, saved.evaluation)
    while (trial := ledger.next_trial()) is not None:
        answer(store, trial, 0.5)
    saved.write(store)
    before = saved.results(store).rows
    folder = store.folder("sweeps", "small")
    content = read_json(folder / "sweep.json")
    versions = content.pop("versions")
    if recorded:  # then keys are not computed
        content["versions"] = versions | {"trial": 5}
    else:
        asked = read_json(folder / "asked.json")
        stale = [entry["values"] for entry in asked]
        write_json(folder / "asked.json", [{"values": v, "trials": ["x", "y"]} for v in stale])
    write_json(folder / "sweep.json", content)
    monkeypatch.setattr("comodo.search.trial.TRIAL_VERSION", 1000)
    monkeypatch.setattr("comodo.search.trial.MEASURES_VERSION", 1000)
    back = read_sweep_record("small", store)
    assert back.versions == (Versions(5, 1) if recorded else UNRECORDED)
    assert back.other_versions
    rows = back.results(store).rows
    assert [(row.trial.key, row.label, row.state, row.metrics) for row in rows] == [
        (row.trial.key, row.label, "finished", row.metrics) for row in before
    ]
    again = saved_of(saved.sweep, Evaluation())
    assert (again.versions, again.other_versions) == (Versions(1000, 1000), "")
    Ledger(saved.sweep, store, saved.arrays, saved.evaluation).record_keys()
    assert {row.state for row in again.results(store).rows} == {"not begun"}


@pytest.mark.parametrize("evaluate_on", [[], ["demo"]])
def test_a_sweep_of_an_earlier_version_has_the_references_of_its_time(
    tmp_path: Path, store: Store, evaluate_on: list[str]
) -> None:
    """Those were not recorded where the file named none."""
    now = ["none", "features", *["supervised" for _ in evaluate_on]]
    file = sweep_file(tmp_path, evaluate_on=evaluate_on)
    settings = yaml.safe_load(file.read_text())
    del settings["references"]
    saved = saved_of(Sweep.model_validate(settings), Evaluation())
    saved.write(store)
    path = store.folder("sweeps", "small") / "sweep.json"
    content = read_json(path)
    assert content["sweep"]["references"] == now
    assert read_sweep_record("small", store).sweep.references == now
    del content["sweep"]["references"]
    write_json(path, content)
    back = read_sweep_record("small", store)
    assert back.sweep.references == [name for name in now if name != "features"]
    assert not any(row.trial.is_hand_crafted for row in back.results(store).rows)


def test_what_cannot_be_read_is_said(tmp_path: Path, store: Store) -> None:
    saved_of(read_sweep_file(sweep_file(tmp_path))).write(store)
    with raises(StatusError, "sweep.unknown", "'smal'", "'small'"):
        read_sweep_record("smal", store)
    path = store.folder("sweeps", "small") / "sweep.json"
    content = read_json(path)
    content["sweep"]["seeds"] = []
    write_json(path, content)
    with raises(StatusError, "status.other-version", str(path)):
        read_sweep_record("small", store)
    path.unlink()
    with raises(StatusError, "status.no-trials", str(path)):
        read_sweep_record("small", store)
