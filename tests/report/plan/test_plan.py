"""What a plan finds, counts and estimates."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from comodo.config import CHANNELS, Resources, Sweep, TeacherConfig, TrialConfig, read_sweep_file
from comodo.config.metric import WINDOWS_PER_SECOND
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.data import slicing
from comodo.data.feature_sets import feature_key, list_spans, wanted_windows
from comodo.data.packing import pack_windows
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.records import WindowsMeta
from comodo.data.window_sets import WindowSet, fingerprints_of, window_key
from comodo.evaluation.tuning_schedule import tuned_windows
from comodo.report.plan import estimates
from comodo.report.plan.estimates import resources_for
from comodo.report.plan.machine import Machine, this_machine
from comodo.report.plan.plan import Plan, make_plan
from comodo.report.plan.view import show_plan
from comodo.search.records import MeasuringRecord
from comodo.search.trial import Trial
from comodo.training.epoch import TrainingError
from comodo.training.schedule import schedule_of
from comodo.training.speed_test import SpeedRecord
from tests.config.test_load import sweep_file
from tests.conftest import write_video
from tests.helpers import trained_record
from tests.paths import GOLDEN

SCHEDULES = json.loads((GOLDEN / "lr_schedule.json").read_text())


def sweep_of(tmp_path: Path, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(tmp_path, **changes))


def text(plan: Plan) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(show_plan(plan))
    return " ".join(console.export_text().split())


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({}, 2),  # auto: one GPU each
        ({"gpus_per_worker": 0}, 4),
        ({"workers": 2, "cpus_per_worker": 2}, 0),  # nothing is left for the driver
        ({"workers": 2, "cpus_per_worker": 1.9}, 1),
        ({"cpus_per_worker": 8}, 0),
        ({"gpus_per_worker": 0.3}, 4),
        ({"gpus_per_worker": 0.1, "cpus_per_worker": 0.1}, 20),
        ({"gpus_per_worker": 0.5, "cpus_per_worker": 0.1}, 4),
        ({"gpus_per_worker": 1}, 2),
        ({"gpus_per_worker": 1, "workers": 3}, 0),
        ({"max_concurrent_trials": 1}, 1),
    ],
)
def test_what_a_machine_holds(asked: dict[str, Any], fits: int) -> None:
    resources = Resources.model_validate(asked)
    assert Machine(4, 2).holds(resources) == fits
    assert Machine(4, 2, "ray://elsewhere").holds(resources) is None
    if resources.gpus_per_worker:
        assert Machine(4, None).holds(resources) is None


@pytest.mark.parametrize(("peak", "share"), [(None, 1.0), (2 << 30, 0.25), (30 << 30, 0.5)])
def test_gpus_are_shared_by_the_memory_of_earlier_trials(
    tmp_path: Path, peak: int | None, share: float
) -> None:
    sweep = sweep_of(tmp_path)
    peaks, total = (None, None) if peak is None else ({"cuda": peak}, 80 << 30)
    records = [SpeedRecord(sweep.trial, [1.0], peak_memory=peaks, gpu_memory=total)]
    assert resources_for(sweep, Machine(16, 4), records).gpus == share
    assert resources_for(sweep, Machine(16, 0), records).gpus == 0
    assert resources_for(sweep, Machine(16, 4, "ray://elsewhere"), records).gpus == 0


def test_nothing_is_known_before_anything_was_run(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, search__space={"method.queue_size": [32, 64]}, seeds=[0, 1])
    plan = make_plan(sweep, Store(tmp_path / "store"))
    assert (plan.configurations, plan.trials.done, plan.trials.left) == (2, 0, 6)
    assert plan.trial_hours is None
    waiting = plan.inventory.datasets["demo"].waiting
    assert waiting == plan.inventory.datasets["demo"].recordings > 0
    shown = text(plan)
    assert "not known: no earlier run of this student" in shown
    assert "--measure" in shown
    assert "hours" not in shown
    assert f"{waiting} of {waiting} recordings to prepare" in shown


def test_a_local_ray_address_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert this_machine().cluster is None
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere")
    assert this_machine().cluster == "ray://elsewhere"


def test_encoding_is_shown_for_each_teacher(tmp_path: Path) -> None:
    plan = make_plan(sweep_of(tmp_path), Store(tmp_path / "store"))
    ready = WindowSet("key", tmp_path, {"train": 100}, {}, {}, {})
    dataset = replace(plan.inventory.datasets["demo"], ready=ready, windows=[ready.counts])
    first = replace(plan.inventory.features[0], complete=True)
    other = TeacherConfig(name="efficientnet-lite0", frames=3)
    second = replace(first, teacher=other, complete=False, done=40, total=100)
    plan.inventory = replace(plan.inventory, datasets={"demo": dataset}, features=[first, second])
    shown = text(plan)
    assert shown.count("prepared") == 1
    assert " encoded efficientnet-lite0 40 of 100 windows encoded" in shown


def test_what_of_a_teacher_is_the_feature_is_shown(tmp_path: Path) -> None:
    (tmp_path / "vivit").mkdir()
    (tmp_path / "vivit/config.json").write_text('{"model_type": "vivit"}')
    shown = {}
    for name, teacher in {
        "default": {"name": "video", "weights": "./vivit"},
        "chosen": {"name": "video", "weights": "./vivit", "pooling": "mean"},
        "elsewhere": {"name": "video", "weights": "nobody/nothing"},
        "image": {"name": "image", "weights": "nobody/nothing"},
    }.items():
        sweep = sweep_of(tmp_path, trial__teacher=teacher)
        shown[name] = text(make_plan(sweep, Store(tmp_path / "store")))
    folder = tmp_path / "vivit"
    assert f"features of {folder}: pooling cls, the default of vivit" in shown["default"]
    assert f"features of {folder}: pooling mean " in shown["chosen"]
    assert "nobody/nothing: pooling of their architecture, which is not known" in shown["elsewhere"]
    assert "nobody/nothing: pooled output, or the mean of the tokens" in shown["image"]


def test_the_text_of_each_class_is_shown(tmp_path: Path) -> None:
    teacher = {"name": "image", "weights": "openai/clip-vit-base-patch16", "pooling": "joint"}
    sweep = sweep_of(
        tmp_path,
        trial__teacher=teacher,
        trial__method={"name": "infonce", "head": {"kind": "linear"}},
        measures=["probe", "zero-shot-text"],
        prompt="someone {class} outside",
    )
    plan = make_plan(sweep, Store(tmp_path / "store"))
    labels = plan.inventory.datasets["demo"].labels
    assert len(labels) > 2
    assert "stairs_up" in labels
    texts = "; ".join(f"someone {label} outside".replace("_", " ") for label in labels)
    assert f"texts of the classes of demo: {texts}" in text(plan)


def test_each_of_several_teachers_is_encoded(tmp_path: Path) -> None:
    parts = [{"name": "efficientnet-lite0", "frames": frames} for frames in (1, 2)]
    sweep = sweep_of(tmp_path, trial__teacher={"several": parts})
    plan = make_plan(sweep, Store(tmp_path / "store"))
    assert [one.teacher.frames for one in plan.inventory.features] == [1, 2, None]
    assert "these 2 together to combine" in text(plan)
    trial = plan.trials.to_estimate[-1]
    assert trial.features == plan.inventory.features[-1].packed


def test_settings_of_a_teacher_are_different_trials_before_anything_is_prepared(
    tmp_path: Path,
) -> None:
    space = {"teacher.flips": [False, True]}
    plan = make_plan(sweep_of(tmp_path, search__space=space, references=[]), Store(tmp_path / "s"))
    assert len({trial.key for trial in plan.trials.planned}) == plan.trials.left == 2


def test_only_the_splits_that_measures_read_are_planned(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    totals = {}
    for measures in (["probe", "zero-shot"], ["probe", "alignment"]):
        plan = make_plan(sweep_of(tmp_path, measures=measures), store)
        (features,) = plan.inventory.features
        totals[measures[1]] = features.total
        assert f"≤ {features.total} windows to encode" in text(plan)
    windows = plan.inventory.datasets["demo"].windows
    assert windows is not None
    (split,) = windows
    assert totals == {"zero-shot": split["train"], "alignment": sum(split.values())}
    assert plan.disk["features"] == 2 * sum(split.values()) * 1280 * 4


def test_what_an_earlier_set_has_need_not_be_encoded(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 2, 3.0)
    mine = {"kind": "folder", "path": str(manifest), "window_seconds": 1.0, "imu_rate": 25.0}
    changes = {"datasets": {"mine": mine}, "trial__dataset": "mine", "trial__method": "l2"}
    sweep = sweep_of(tmp_path, **changes)
    teacher, settings = sweep.trial.teacher, sweep.datasets["mine"]
    assert teacher is not None

    def features() -> tuple[int | None, float | None, str]:
        plan = make_plan(sweep, store)
        (found,) = plan.inventory.features
        return found.left, found.seconds, text(plan)

    def prepared() -> WindowSet:
        recordings = list_recordings(settings, tmp_path)
        files = fingerprints_of(settings, recordings)
        folder = store.folder("windows", window_key(settings, recordings, files))
        reader = open_dataset(settings, tmp_path)
        rows = slicing.slice_chunk(reader, recordings, settings, store.videos)
        slicing.write_part(folder, "part-0.parquet", rows)
        count = {"train": 3 * len(recordings)}
        WindowsMeta([*CHANNELS], count, {}, {}, {}, 1.0).write(folder)
        return WindowSet(folder.name, folder, count, {}, {}, {}, files)

    left, _, shown = features()
    assert left == 6 and "≤ 6 windows to encode" in shown
    windows = prepared()
    assert features()[0] == 6
    folder = store.folder("features", feature_key(teacher, windows))
    wanted = wanted_windows(windows, store, teacher)
    list_spans(teacher, wanted, folder)
    rows = [{"window": window, "feature": [1.0]} for window in wanted["window"].to_pylist()]
    write_table(folder / "part-0.parquet", pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA))
    manifest.write_text(manifest.read_text().replace("walking", "sitting"))
    left, seconds, shown = features()
    assert (left, seconds) == (0, 0) and "0 of at most 6 windows to encode" in shown
    prepared()
    left, seconds, shown = features()
    assert (left, seconds) == (0, 0) and "6 of 6 windows encoded" in shown
    line = "r9,videos/r000.mp4,imu/r001.csv,walking,train,s1\n"
    manifest.write_text(
        manifest.read_text() + line + line.replace("r9", "r8").replace("0.mp4", "1.mp4")
    )
    assert features()[0] == 0  # of videos that are known
    write_video(tmp_path / "data/videos/r001.mp4", 3.0, shade=9)
    assert features()[0] == 6
    prepared()
    assert features()[0] == 6


@pytest.mark.parametrize(("protocol", "named"), [("corrected", False), ("published", True)])
def test_steps_are_not_known_without_windows(tmp_path: Path, protocol: str, named: bool) -> None:
    (tmp_path / "features.parquet").touch()
    (tmp_path / "imu.csv").touch()
    (tmp_path / "m.csv").write_text("recording,imu,split\na,imu.csv,train\n")
    sweep = sweep_of(
        tmp_path,
        protocol=protocol,
        datasets={"mine": {"kind": "folder", "path": "m.csv"}},
        trial__dataset="mine",
        trial__teacher={"name": "precomputed", "path": "features.parquet"},
        search__space={"method.queue_size": [64, 1024]},
    )
    shown = text(make_plan(sweep, Store(tmp_path / "store")))
    assert "on mine: steps, warm-up and learning rate are not known" in shown
    line = "method.queue_size: learning rate by steps planned for the queue 1216→19456"
    assert (line in shown) == named


def note_a_run(store: Store, sweep: Sweep, key: str, **changes: Any) -> None:
    config = sweep.trial.model_dump(mode="json") | changes
    history = [{WINDOWS_PER_SECOND: speed} for speed in (90.0, 100.0, 110.0)]
    record = trained_record(Trial(sweep.trial, 0, "w", "f"), trial=config, history=history)
    record.write(store.folder("trials", key))


def test_estimates_name_the_earlier_runs_they_are_based_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sweep = sweep_of(tmp_path, trial__epochs=3, references=[])
    note_a_run(store, sweep, "other", batch_size=64)
    plan = make_plan(sweep, store)
    seen = schedule_of(sweep.trial, plan.inventory.datasets["demo"].windows[0]["train"]).windows  # type: ignore[index]
    assert plan.trial_hours == pytest.approx(seen / 100 / 3600)
    shown = text(plan)
    assert "100 windows/s, the median of 3 epochs in this store: mantis from scratch" in shown
    assert "batch 64 where this sweep has 128" in shown
    assert "not counted measuring" in shown
    note_a_run(store, sweep, "same")
    assert "where this sweep has" not in text(make_plan(sweep, store))
    note_a_run(store, sweep, "unreadable", epochs=0)
    assert make_plan(sweep, store).trial_hours == plan.trial_hours
    wider = sweep_of(tmp_path, trial__student={"name": "mantis", "pooling": "mean"})
    assert make_plan(wider, store).trial_hours is None


def test_trials_of_a_kind_are_compared_with_the_records_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, compared = Store(tmp_path / "store"), list[str]()
    space = {"learning_rate": [0.001, 0.002], "epochs": [1, 2], "batch_size": [8, 16]}
    sweep = sweep_of(tmp_path, search__space=space, seeds=[0, 1], references=[])
    note_a_run(store, sweep, "earlier")
    basis = estimates._basis

    def counted(*arguments: Any) -> str:
        compared.append(basis(*arguments))
        return compared[-1]

    monkeypatch.setattr(estimates, "_basis", counted)
    plan = make_plan(sweep, store)
    assert len(plan.training) == 16 and len(compared) == len(set(compared)) == 2  # by batch size
    assert {found.basis for found in plan.training} == set(compared)


def test_fine_tuning_is_counted_from_its_steps(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sweep = sweep_of(tmp_path, measures=["probe", "fine-tuned"], references=[])
    note_a_run(store, sweep, "earlier")
    plan = make_plan(sweep, store)
    (trial, *_) = plan.trials.to_estimate
    assert plan.training[0].tuning == 0  # the windows are not counted yet
    classes = {"train": {"a": 40, "b": 7}, "val": {"a": 30}, "test": {"a": 60, "b": 1}}
    ready = WindowSet("k", tmp_path, {"train": 50, "val": 30, "test": 61}, classes, {}, {})
    name, dataset = trial.config.dataset, plan.inventory.datasets[trial.config.dataset]
    datasets = plan.inventory.datasets | {name: replace(dataset, ready=ready)}
    inventory = replace(plan.inventory, datasets=datasets)
    speeds = estimates.Speeds(sweep, store, inventory, estimates.read_records(store))
    found = speeds.of(trial)
    assert found.tuning == tuned_windows([40, 7], 30, 61) / 100
    assert found.measuring is None and found.training == plan.training[0].training
    assert speeds.to_measure(trial).tuning == found.tuning
    counted = replace(plan, training=[found] * len(plan.training))
    assert plan.trial_hours is not None and counted.trial_hours is not None
    more = counted.trial_hours - plan.trial_hours
    assert more * 3600 == pytest.approx(found.tuning * plan.trials.to_train)
    shown = text(counted)
    assert "fine-tuning at most" in shown and "not counted the rest of measuring" in shown
    places = [str(place) for *_, place in trial.measures()]
    MeasuringRecord(places, 50).write(store.folder("trials", "earlier"))
    speeds = estimates.Speeds(sweep, store, inventory, estimates.read_records(store))
    assert (speeds.of(trial).measuring, speeds.of(trial).tuning) == (50, 0)


def test_half_done_trials_are_those_with_a_checkpoint(tmp_path: Path) -> None:
    store, sweep = Store(tmp_path / "store"), sweep_of(tmp_path, seeds=[0, 1])
    trial = make_plan(sweep, store).trials.to_estimate[-1]
    checkpoint = store.folder("trials", trial.key) / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    plan = make_plan(sweep, store)
    assert (plan.trials.half_done, plan.trials.done, plan.trials.left) == (1, 0, 4)
    assert "0 done, 1 half done, 3 to do" in text(plan)


SEARCH: dict[str, Any] = {
    "search": {"sampler": "random", "space": {"epochs": [1, 2]}},
    "budget": {"trials": 4},
}


@pytest.mark.parametrize("search", [{}, SEARCH])
def test_trained_trials_are_only_measured(tmp_path: Path, search: dict[str, Any]) -> None:
    store = Store(tmp_path / "store")
    sweep = sweep_of(tmp_path, measures=["probe", "knn"], references=[], **search)
    note_a_run(store, sweep, "earlier")
    for name, size in (("student/weights", 1000), ("heads.pt", 500)):
        file = store.folder("trials", "earlier") / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(size))
    trial = make_plan(sweep, store).trials.to_estimate[0]
    assert trial.evaluation.measures == ("probe", "knn")
    places = [str(place) for *_, place in trial.measures()]
    MeasuringRecord(places, 7200).write(store.folder("trials", "earlier"))
    before = make_plan(sweep, store)
    assert before.training[0].measuring == 7200
    asked = [{"values": {"epochs": 1}, "trials": [trial.key]}] if search else []
    write_json(store.folder("sweeps", sweep.name) / "asked.json", asked)
    trained_record(trial).write(store.folder("trials", trial.key))
    write_json(store.folder("trials", trial.key) / f"{places[0]}.json", {})
    note_a_run(store, sweep, "later")
    MeasuringRecord(places[1:], 3600).write(store.folder("trials", "later"))
    plan = make_plan(sweep, store)
    left = before.trials.left
    assert (plan.trials.left, plan.trials.to_train, plan.trials.half_done) == (left, left - 1, 0)
    assert [estimate.measuring for estimate in plan.measuring] == [3600]
    assert "0 half done, 1 to measure only" in text(plan)
    if not search:
        assert plan.trial_hours == pytest.approx(1)
        assert plan.disk["students and checkpoints"] == 0


def test_a_search_is_planned_by_its_budget(tmp_path: Path) -> None:
    search = {"sampler": "random", "space": {"epochs": [1, 2], "batch_size": [32, 64, 128]}}
    file = {"search": search, "budget": {"trials": 4}, "seeds": [0, 1]}
    plan = make_plan(sweep_of(tmp_path, **file), Store(tmp_path / "store"))
    assert (plan.configurations, plan.trials.left) == (6, 4)
    search["space"] = {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}}
    plan = make_plan(sweep_of(tmp_path, **file), Store(tmp_path / "store"))
    assert plan.configurations is None
    assert "infinitely many" in text(plan)


@pytest.mark.parametrize(
    "error", [TrainingError("training.no", "no"), OSError("no"), AssertionError("no")]
)
def test_a_short_run_takes_the_first_trial_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked = []

    def probe(trial: TrialConfig, *_: Any) -> Any:
        asked.append(trial.method.name)
        raise error

    monkeypatch.setattr("comodo.report.plan.plan.measure_speed", probe)
    space = {"method": ["none", "infonce", "l2"]}
    sweep = sweep_of(tmp_path, trial__method="none", search__space=space)
    plan = make_plan(sweep, Store(tmp_path / "store"), measure=True)
    assert (asked, plan.speed_test_failed) == (["infonce"], "no")
    untrained = sweep_of(tmp_path, trial__method="none")
    plan = make_plan(untrained, Store(tmp_path / "store"), measure=True)
    assert plan.speed_test_failed == "no trial of the space trains a student"


def test_a_disk_that_is_too_small_is_named(tmp_path: Path) -> None:
    plan = make_plan(sweep_of(tmp_path), Store(tmp_path / "store"))
    assert plan.disk["windows"]
    assert "the disk is too small" not in text(plan)
    plan.free = 1
    assert "the disk is too small" in text(plan)


def write_parts(store: Store, key: str, lengths: list[int], rate: float) -> None:
    """Prepared windows `key` of whole recordings of these lengths, in samples."""
    rows = [
        {"window": f"r{i}:0", "recording": f"r{i}", "split": "train", "group": f"r{i}",
         "imu": np.zeros(6 * n, np.float32)}
        for i, n in enumerate(lengths)
    ]  # fmt: skip
    folder = store.folder("windows", key)
    table = pa.Table.from_pylist(rows, schema=slicing.WINDOW_SCHEMA)
    write_table(folder / "part-000000.parquet", table)
    about = [
        {"recording": f"r{i}", "split": "train", "group": f"r{i}", "windows": 1,
         "window_seconds": n / rate, "video_seconds": n / rate}
        for i, n in enumerate(lengths)
    ]  # fmt: skip
    quality = pa.Table.from_pylist(about, schema=QUALITY_SCHEMA)
    write_table(folder / "quality-000000.parquet", quality)
    WindowsMeta([*CHANNELS], {"train": len(lengths)}, {}, {}, {}, "whole").write(folder)


def test_whole_recordings_take_their_own_length_on_the_disk(tmp_path: Path) -> None:
    lengths = [100] * 9 + [5000]
    lines = [f"{i}.csv,{i}.mp4,train" for i in range(len(lengths))]
    (tmp_path / "m.csv").write_text("\n".join(["imu,video,split", *lines]))
    mine = {"kind": "folder", "path": "m.csv", "window_seconds": "whole", "imu_rate": 50}
    student = {"name": "chronos-bolt"}
    changes = {"datasets": {"mine": mine}, "trial__dataset": "mine", "trial__method": "l2"}
    sweep = sweep_of(tmp_path, **changes, trial__student=student)
    store = Store(tmp_path / "store")
    plan = make_plan(sweep, store)
    assert plan.disk["windows"] is None
    write_parts(store, plan.inventory.datasets["mine"].key, lengths, 50)
    plan = make_plan(sweep, store)
    assert plan.disk["windows"] == sum(lengths) * 6 * 4
    assert plan.inventory.datasets["mine"].samples == 5000  # which `--measure` needs
    pack_windows(store, plan.inventory.datasets["mine"].key)
    plan = make_plan(sweep, store)
    assert (plan.disk["windows"], plan.inventory.datasets["mine"].samples) == (0, 5000)


def test_a_plan_tells_what_the_listing_leaves_in_doubt(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "recording,imu,video,split,label,group,sun\n"
        "a,a.csv,a.mp4,train,walk,anna,1\nb,b.csv,b.mp4,train,Walk,ben,1\n"
        "c,c.csv,a.mp4,test,run,Anna,1\n"
    )
    mine = {"kind": "folder", "path": "m.csv"}
    sweep = sweep_of(tmp_path, datasets={"mine": mine}, trial__dataset="mine")
    shown = text(make_plan(sweep, Store(tmp_path / "store")))
    for part in ("'sun'", "'Walk' and 'walk'", "1 of 1 groups of test", "1 of 2 files of test",
                 "not in train: run", "no labelled recordings in its val split"):  # fmt: skip
        assert part in shown


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
    for case in SCHEDULES:
        trial = sweep_of(
            tmp_path,
            protocol="published",
            trial__method={"name": "comodo", "queue_size": case["queue"]},
        ).trial
        steps = schedule_of(trial, case["n_train"])
        assert (steps.planned, steps.warmup_steps, steps.real) == (
            case["planned"], case["warmup"], case["actual"]
        )  # fmt: skip
        assert steps.peak == pytest.approx(case["peak_lr"])


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_plan(sweep_of(tmp_path), store)
    assert not (store.root / "sweeps").exists()
    assert not list(store.root.rglob("meta.json"))


def test_folds_multiply_the_trials_and_share_the_windows(tmp_path: Path) -> None:
    """Simulated: ten people, two configurations, two seeds, and as many untrained students."""
    simulated = {"kind": "simulated", "seconds": 10.0, "labelled": 1.0}
    simulated |= {"split_by_group": {"folds": "all"}}
    changes: dict[str, Any] = {"search__space": {"method.queue_size": [8, 16]}}
    changes["datasets"] = {"demo": simulated}
    plan = make_plan(sweep_of(tmp_path, seeds=[0, 1], **changes), Store(tmp_path / "store"))
    assert plan.folds == {"demo": 10}
    assert len(plan.trials.planned) == plan.trials.left == 60
    shown = text(plan)
    assert "configurations 2, each with 2 seeds in 10 folds of demo" in shown
    assert "40 trials: configurations x seeds x folds references 20 trials" in shown
    windows = plan.inventory.datasets["demo"].windows
    assert windows is not None and len(windows) == 10
    assert len({sum(counts.values()) for counts in windows}) == 1
    assert all(set(counts) == {"train", "val", "test"} for counts in windows)
    changes["datasets"]["demo"] = {**simulated, "split_by_group": {"folds": 5}}
    fewer = make_plan(sweep_of(tmp_path, **changes), Store(tmp_path / "store"))
    assert len(fewer.trials.planned) == 15
    assert fewer.inventory.datasets["demo"].key == plan.inventory.datasets["demo"].key
