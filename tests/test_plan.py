"""What a plan finds, counts and estimates, and which quantities it sees move with a swept key."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from comodo.config import Resources, Sweep, load_sweep
from comodo.confounds import Confound, TrainSplit, confounds
from comodo.inventory import Machine
from comodo.plan import Plan, make_plan
from comodo.plan_view import confound_lines, show
from comodo.schedule import schedule_of
from comodo.store import Store, write_json
from tests.test_config import sweep_file

GOLDEN = json.loads((Path(__file__).parent / "golden" / "lr_schedule.json").read_text())
TRAIN = {"demo": TrainSplit(4553)}


def sweep_of(tmp_path: Path, **changes: Any) -> Sweep:
    return load_sweep(sweep_file(tmp_path, **changes))


def moved(sweep: Sweep, train: dict[str, TrainSplit] = TRAIN) -> dict[str, dict[str, Confound]]:
    found: dict[str, dict[str, Confound]] = {}
    for confound in confounds(sweep, train):
        found.setdefault(confound.key, {})[confound.quantity] = confound
    return found


def text(plan: Plan) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(show(plan))
    return " ".join(console.export_text().split())


def test_a_published_queue_sweep_names_the_learning_rate(tmp_path: Path) -> None:
    queues = [case["queue"] for case in GOLDEN]
    sweep = sweep_of(tmp_path, protocol="published", search__space={"method.queue_size": queues})
    found = moved(sweep)["method.queue_size"]
    for quantity, golden in (
        ("planned steps", "planned"),
        ("warm-up steps", "warmup"),
        ("real steps", "actual"),
        ("peak learning rate", "peak_lr"),
    ):
        expected = [(case["queue"], pytest.approx(case[golden])) for case in GOLDEN]
        assert found[quantity].values == expected, quantity
    (line,) = confound_lines(list(found.values()))
    assert line.startswith("method.queue_size moves planned steps 5544→39312, ")
    assert "peak learning rate 3.0e-4→5.4e-5" in line


def test_as_corrected_only_held_out_windows_change_the_steps(tmp_path: Path) -> None:
    space = {"method.queue_size": [256, 1024]}
    found = moved(sweep_of(tmp_path, search__space=space))["method.queue_size"]
    assert found.keys() == {"planned steps", "real steps", "steps of the first epoch"}
    assert found["real steps"].values == [(256, 718), (1024, 712)]
    kept = sweep_of(tmp_path, trial__method__hold_out_queue=False, search__space=space)
    assert not moved(kept)


def test_a_key_is_no_confound_of_itself(tmp_path: Path) -> None:
    space = {"learning_rate": [1e-3, 1e-4], "method.teacher_temperature": [0.1, 0.2]}
    assert not moved(sweep_of(tmp_path, search__space=space))
    batches = moved(sweep_of(tmp_path, search__space={"batch_size": [64, 128]}))
    assert "batch size" not in batches["batch_size"]
    assert batches["batch_size"]["real steps"].values[0][0] == 64


def test_methods_move_the_head(tmp_path: Path) -> None:
    space = {"method": [{"name": "comodo", "queue_size": 64}, "infonce", "none"]}
    found = moved(sweep_of(tmp_path, protocol="published", search__space=space))["method"]
    heads = [head for _, head in found["head"].values]
    assert heads[0].startswith("mlp with a teacher's projector")
    assert heads[1] == "linear without a teacher's projector"
    assert len(heads) == 2  # what is not trained has none
    assert "head" not in moved(sweep_of(tmp_path, search__space=space)).get("method", {})


def test_other_keys_are_held_fixed(tmp_path: Path) -> None:
    space = {"epochs": [5, 10], "method.student_temperature": [0.05, 0.1]}
    assert moved(sweep_of(tmp_path, search__space=space)).keys() == {"epochs"}
    search = {
        "sampler": "tpe",
        "space": {"warmup": {"min": 0.0, "max": 0.5}, "learning_rate": [1e-3, 1e-4]},
    }
    sweep = sweep_of(tmp_path, search=search, budget={"trials": 4})
    assert not moved(sweep)


def test_conditional_keys_are_compared_where_they_are(tmp_path: Path) -> None:
    space = {
        "method": ["comodo", "infonce"],
        "method.queue_size": {"values": [512, 64], "when": {"method": "comodo"}},
    }
    found = moved(sweep_of(tmp_path, search__space=space))
    assert [value for value, _ in found["method.queue_size"]["real steps"].values] == [512, 64]
    assert [value for value, _ in found["method"]["real steps"].values] == ["comodo", "infonce"]


def test_windows_that_a_trial_trains_on(tmp_path: Path) -> None:
    split = TrainSplit(1000, labelled=200, last=50, labelled_last=10)
    space = {"last_window": ["keep", "drop"], "method": ["supervised", "infonce"]}
    sweep = sweep_of(tmp_path, search__space=space)
    windows = [split.of(sweep.with_values(point)) for point in sweep.grid()]
    assert windows == [200, 1000, 190, 950]
    assert "windows trained on" in moved(sweep, {"demo": split})["last_window"]
    assert "windows trained on" not in moved(sweep, {}).get("last_window", {})


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({}, 4),
        ({"workers": 2, "cpus_per_worker": 2}, 1),
        ({"cpus_per_worker": 8}, 0),
        ({"gpus_per_worker": 0.3}, 4),
        ({"gpus_per_worker": 0.5, "cpus_per_worker": 0.1}, 4),
        ({"gpus_per_worker": 1}, 2),
        ({"gpus_per_worker": 1, "workers": 3}, 0),
        ({"max_concurrent_trials": 2}, 2),
    ],
)
def test_what_a_machine_holds(asked: dict[str, Any], fits: int) -> None:
    resources = Resources.model_validate(asked)
    assert Machine(4, 2).holds(resources) == fits
    assert Machine(4, 2, "ray://elsewhere").holds(resources) is None
    if resources.gpus_per_worker:
        assert Machine(4, None).holds(resources) is None


def test_nothing_is_known_before_anything_was_run(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, search__space={"method.queue_size": [32, 64]}, seeds=[0, 1])
    plan = make_plan(sweep, Store(tmp_path / "store"))
    assert (plan.configurations, plan.trials, plan.done, plan.left) == (2, 6, 0, 6)
    assert not plan.keys_known
    assert plan.trial_hours is None
    assert plan.datasets[0].waiting == plan.datasets[0].recordings > 0
    told = text(plan)
    assert "not known: no earlier run of this student here" in told
    assert "--measure makes a short run" in told
    assert "hours" not in told


def note_a_run(store: Store, sweep: Sweep, key: str, **changes: Any) -> None:
    config = sweep.trial.model_dump(mode="json") | changes
    write_json(
        store.folder("trials", key) / "trained.json",
        {
            "trial": config,
            "windows": "w",
            "history": [{"train/windows_per_second": speed} for speed in (90.0, 100.0, 110.0)],
        },
    )


def test_estimates_rest_on_earlier_runs_and_say_on_which(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sweep = sweep_of(tmp_path, trial__epochs=3, references=[])
    note_a_run(store, sweep, "other", batch_size=64)
    plan = make_plan(sweep, store)
    seen = schedule_of(sweep.trial, plan.datasets[0].windows["train"]).seen  # type: ignore[index]
    assert plan.trial_hours == pytest.approx(seen / 100 / 3600)
    told = text(plan)
    assert "100 windows/s, the median of 3 epochs in this store: mantis from scratch" in told
    assert "batch 64 where this sweep has 128" in told
    assert "without the time of measuring" in told
    note_a_run(store, sweep, "same")
    assert "where this sweep has" not in text(make_plan(sweep, store))
    note_a_run(store, sweep, "unreadable", epochs=0)
    assert make_plan(sweep, store).trial_hours == plan.trial_hours
    wider = sweep_of(tmp_path, trial__student={"name": "mantis", "pooling": "mean"})
    assert make_plan(wider, store).trial_hours is None


def test_half_done_trials_are_those_with_a_checkpoint(tmp_path: Path) -> None:
    store, sweep = Store(tmp_path / "store"), sweep_of(tmp_path, seeds=[0, 1])
    trial, _ = make_plan(sweep, store).estimates[-1]
    checkpoint = store.folder("trials", trial.key) / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    plan = make_plan(sweep, store)
    assert (plan.half_done, plan.done, plan.left) == (1, 0, 4)
    assert "0 done, 1 half done, 3 to do" in text(plan)


def test_a_search_is_planned_by_its_budget(tmp_path: Path) -> None:
    search = {"sampler": "random", "space": {"epochs": [1, 2], "batch_size": [32, 64, 128]}}
    file = {"search": search, "budget": {"trials": 4}, "seeds": [0, 1]}
    plan = make_plan(sweep_of(tmp_path, **file), Store(tmp_path / "store"))
    assert (plan.configurations, plan.left) == (6, 4)
    search["space"] = {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}}
    plan = make_plan(sweep_of(tmp_path, **file), Store(tmp_path / "store"))
    assert plan.configurations is None
    assert "infinitely many" in text(plan)


def test_a_disk_that_is_too_small_is_named(tmp_path: Path) -> None:
    plan = make_plan(sweep_of(tmp_path), Store(tmp_path / "store"))
    assert plan.disk["windows"]
    assert "the disk is too small" not in text(plan)
    plan.free = 1
    assert "the disk is too small" in text(plan)


def test_a_plan_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    path = sweep_file(tmp_path)
    program = f"""
import sys
from comodo.cli import app
try:
    app(["plan", {str(path)!r}, "--store", {str(tmp_path / "store")!r}])
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {{"ray", "torch", "mlflow", "transformers", "sklearn", "pandas"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_distillation_follows_the_schedule_that_the_plan_shows(tmp_path: Path) -> None:
    for case in GOLDEN:
        trial = sweep_of(
            tmp_path,
            protocol="published",
            trial__method={"name": "comodo", "queue_size": case["queue"]},
        ).trial
        steps = schedule_of(trial, case["n_train"])
        assert (steps.planned, steps.rising, steps.real) == (
            case["planned"], case["warmup"], case["actual"]
        )  # fmt: skip
        assert steps.peak == pytest.approx(case["peak_lr"])


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_plan(sweep_of(tmp_path), store)
    assert not (store.root / "sweeps").exists()
    assert not list(store.root.rglob("meta.json"))
