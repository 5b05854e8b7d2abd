"""Sweep files made small."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from comodo.config import ConfigError, StudentConfig, TeacherConfig
from comodo.config.dataset_base import FoldSplit
from comodo.config.source import Sources
from comodo.config.student import FAMILIES
from comodo.core.console import console
from comodo.core.store import Store
from comodo.data.folds import listed_in_folds
from comodo.data.readers import list_recordings
from comodo.data.readers.simulated import SimulatedDataset
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.models.students import build_student
from comodo.models.teachers import build_teacher
from comodo.report.report import accuracy_on_terminal
from comodo.runtime.smoke import load_smoke
from comodo.runtime.tiny_teachers import STAND_INS, TINY_TEACHERS, tiny_teacher
from comodo.search.labels import Labels, swept_keys
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_source import source
from tests.errors import raises
from tests.helpers import answer, write_report


def smoke_of(tmp_path: Path, **changes: Any) -> Any:
    """A sweep of recordings that are not there, made small."""
    content = {
        "name": "large",
        "datasets": {
            "glasses": {"kind": "folder", "path": "nowhere.csv"},
            "clips": {"kind": "uestc-mmea-cl", "path": "/nowhere", "window_seconds": "whole"},
        },
        "trial": {
            "dataset": "glasses",
            "teacher": "videomae-base-k400",
            "student": {"name": "moment", "weights": "./nowhere", "pooling": "mean"},
            "method": "comodo",
        },
        **changes,
    }
    file = tmp_path / "large.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_smoke(file, Store(tmp_path / "store"))


def test_data_sets_and_models_are_replaced_under_their_names(tmp_path: Path) -> None:
    sweep = smoke_of(tmp_path, seeds=[5, 6, 7], budget={"hours": 30})
    assert sweep.name == "large-smoke"
    assert list(sweep.datasets) == ["glasses", "clips"]
    assert all(isinstance(settings, SimulatedDataset) for settings in sweep.datasets.values())
    assert [s.window_seconds for s in sweep.datasets.values()] == [5.0, "whole"]
    assert len({settings.seed for settings in sweep.datasets.values()}) == 2
    student, teacher = sweep.trial.student, sweep.trial.teacher
    assert (student.name, student.weights, student.pooling) == ("moment", None, "mean")
    assert teacher.name == "videomae" and Path(teacher.weights).is_dir()
    assert sweep.trial.epochs == 2 and sweep.trial.method.queue_size == 8
    assert sweep.seeds == [5, 6] and sweep.budget.hours is None


def test_folds_and_intervals_are_kept(tmp_path: Path) -> None:
    """Two folds, and half overlapping windows of untrimmed recordings with a null class."""
    null = {"label": "other", "windows": "drop"}
    cut = {"kind": "folder", "path": "nowhere.csv", "window_seconds": 1, "stride_seconds": 0.2}
    glasses = {**cut, "boundary": 0.8, "null_class": null}
    folded = {
        "kind": "folder",
        "path": "nowhere.csv",
        "split_by_group": {"folds": "all", "seed": 3},
    }
    sweep = smoke_of(
        tmp_path, datasets={"glasses": glasses, "clips": folded}, budget={"trials": 100}
    )
    one, two = sweep.datasets["glasses"], sweep.datasets["clips"]
    assert one.pause_seconds == 5 and one.stride_seconds == one.window_seconds / 2
    assert one.boundary == 0.8 and one.null_class.model_dump() == null | {"label": "null"}
    assert two.split_by_group == FoldSplit(folds=2, seed=3) and two.pause_seconds is None
    assert sweep.budget.trials is None
    assert len(list_recordings(one, tmp_path / "one")) == one.subjects
    folds = listed_in_folds(list_recordings(two, tmp_path / "two"), two)
    assert len(folds) == 2  # with as many people in train as nine sizes of queues need
    assert min(len({r.group for r in fold if r.split == "train"}) for fold in folds) >= 3


def test_numbers_shrink_in_their_order_and_stay_different(tmp_path: Path) -> None:
    sizes = [65536, 256, 1024]
    space = {
        "method.queue_size": {"values": sizes, "when": {"dataset": "glasses"}},
        "method": {
            "values": [{"name": "comodo", "queue_size": 512}, "infonce"],
            "when": {"dataset": "clips"},
        },
        "dataset": ["glasses", "clips"],
        "student": ["mantis-8m", "chronos-bolt-tiny"],
    }
    recipes = [{"when": {"student.name": "mantis"}, "set": {"epochs": 40, "batch_size": 48}}]
    sweep = smoke_of(tmp_path, search={"space": space}, recipes=recipes)
    spans = sweep.search.space
    assert spans["method.queue_size"].values == [17, 8, 14]  # of 256, 512, 1024 and 65536
    assert spans["method"].values == [{"name": "comodo", "queue_size": 11}, {"name": "infonce"}]
    assert len(spans["student"].values) == 2
    assert sweep.recipes[0].set == {"epochs": 2, "batch_size": 16}
    assert len(list(sweep.grid())) == 2 * (3 + 2)


def test_the_output_of_mantis_stays_but_not_layers_that_are_left_out(tmp_path: Path) -> None:
    space = {
        "student.return_transf_layer": [1, 2, 5],
        "student.output_token": ["cls_token", "combined"],
    }
    trial = {"dataset": "glasses", "teacher": "efficientnet-lite0", "method": "comodo"}
    sweep = smoke_of(tmp_path, trial={**trial, "student": "mantis-v2"}, search={"space": space})
    outputs = [sweep.with_values(point).student.options for point in sweep.grid()]
    assert outputs == [{}, {"output_token": "combined"}]
    assert sweep.trial.student.options == {"output_token": "combined"}


def test_a_search_keeps_a_few_trials(tmp_path: Path) -> None:
    search = {
        "sampler": "tpe",
        "space": {"method.teacher_temperature": {"min": 0.01, "max": 1, "log": True}},
        "start_with": [{"method.teacher_temperature": 0.1}],
        "warm_start": ["earlier"],
    }
    sweep = smoke_of(tmp_path, search=search, budget={"trials": 400}, seeds=[0, 1, 2])
    assert sweep.budget.trials == 16
    assert sweep.search.warm_start == []
    assert sweep.search.space["method.teacher_temperature"].max == 1


def test_what_is_wrong_with_the_file_is_still_said(tmp_path: Path) -> None:
    with raises(ConfigError, "trial.epoch", "'epochs'"):
        smoke_of(
            tmp_path,
            trial={
                "dataset": "glasses",
                "teacher": "efficientnet-lite0",
                "student": "mantis-8m",
                "method": "comodo",
                "epoch": 3,
            },
        )


def test_a_tiny_teacher_is_of_the_architecture_that_the_weights_name(tmp_path: Path) -> None:
    def stand_in(**teacher: Any) -> tuple[str, Any]:
        trial = {"dataset": "glasses", "student": "mantis-8m", "method": "comodo"}
        small = smoke_of(tmp_path, trial={**trial, "teacher": teacher}).trial.teacher
        return Path(small.weights).name.partition("-")[0], small.pooling

    assert stand_in(name="video", weights="microsoft/xclip-base-patch32") == ("xclip", None)
    assert stand_in(name="video", weights="a/b", pooling="mean") == ("vivit", "mean")
    prism = "google/videoprism-lvt-base-f16r288"
    assert stand_in(name="video", weights=prism) == ("videoprism", None)
    assert stand_in(name="video", weights=prism, pooling="joint") == ("xclip", "joint")
    siglip = "google/siglip2-base-patch16-224"
    assert stand_in(name="image", weights=siglip, pooling="joint") == ("siglip", "joint")
    assert stand_in(name="image", weights="a/b", pooling="joint") == ("clip", "joint")
    both = {"several": ["clip-vit-base", "efficientnet-lite0"]}
    trial = {"dataset": "glasses", "student": "mantis-8m", "method": "comodo", "teacher": both}
    space = {"teacher": [both, "efficientnet-lite0"]}
    sweep = smoke_of(tmp_path, trial=trial, search={"space": space})
    for several in (sweep.trial.teacher, sweep.trained_on()[0][1]):
        assert [one.name for one in several.encoders] == ["image", "efficientnet-lite0"]
        assert several.encoders[0].weights.startswith(str(tmp_path))
    assert stand_in(name="image", weights=siglip) == ("siglip", None)


@pytest.mark.parametrize("name", TINY_TEACHERS)
def test_tiny_teachers_load_as_others_do(tmp_path: Path, name: str) -> None:
    weights = tiny_teacher(name, Store(tmp_path))
    assert tiny_teacher(name, Store(tmp_path)) == weights  # made once
    family = next((family for family, names in STAND_INS.items() if name in names), name)
    teacher = build_teacher(TeacherConfig.model_validate({"name": family, "weights": str(weights)}))
    shape = (1, teacher.frames, teacher.image_size, teacher.image_size, 3)
    assert teacher(torch.zeros(shape, dtype=torch.uint8)).shape == (1, teacher.dim)


@pytest.mark.parametrize("name", [name for name, of in FAMILIES.items() if of.size])
def test_tiny_students_are_tiny(name: str) -> None:
    settings = StudentConfig.model_validate({"name": name, "size": FAMILIES[name].tiny})
    student = build_student(settings)
    assert sum(parameter.numel() for parameter in student.parameters()) < 100_000
    assert student(torch.zeros(2, 6, 250)).shape == (2, student.dim)


def test_the_table_of_a_smoke_run_says_that_its_numbers_mean_nothing(tmp_path: Path) -> None:
    sweep = smoke_of(tmp_path)
    small = accuracy_on_terminal(Results(sweep, [], Store(tmp_path)))
    assert small.title == "large-smoke: a smoke run, its numbers mean nothing"
    own = sweep.model_copy(update={"name": "large"})
    assert accuracy_on_terminal(Results(own, [], Store(tmp_path))).title == "large"


def test_tables_of_a_smoke_run_have_the_values_of_the_file(tmp_path: Path) -> None:
    """And say what ran in their place, also when they are read from the store."""
    space = {"method": [{"name": "comodo", "queue_size": size} for size in (256, 65536)]}
    sweep, store = smoke_of(tmp_path, search={"space": space}), Store(tmp_path / "store")
    trials = [Trial(sweep.with_values(point), 0, "w", "f") for point in sweep.grid()]
    methods = [trial.config.method.model_dump() for trial in trials]
    assert [method["queue_size"] for method in methods] == [8, 11]
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    SweepRecord.of(sweep, "comodo sweep FILE --smoke", pairs, Evaluation(), {}).write(store)
    record = read_sweep_record(sweep.name, store)
    labels, rows = Labels(record.sweep), list[TrialRow]()
    for trial in trials:
        answer(store, trial, 0.7)
        result = read_result(trial, store)
        assert result is not None
        label = labels.configuration(trial)
        rows.append(TrialRow(trial, label, "finished", result.metrics, trained=result.trained))
    found = Results(record.sweep, rows, store)
    page = (write_report(found, store) / "report.md").read_text()
    ran = "settings are shown as in the file; in their place ran queue_size 8 for 256, 11 for 65536"
    assert f"\n> **A smoke run**: its numbers mean nothing; {ran}.\n" in page
    assert "| swept: method | comodo queue_size=256, comodo queue_size=65536 |" in page
    with console.capture() as captured:
        console.print(accuracy_on_terminal(found), width=200)
    for text in (page, captured.get()):
        assert "comodo queue_size=256 " in text and "comodo queue_size=65536 " in text
        assert "queue_size=8" not in text and "queue_size=11" not in text
    assert ran in captured.get()
    assert found.points()[0][1]["method.queue_size"] == 65536


def test_a_number_that_is_drawn_is_shown_as_it_ran(tmp_path: Path) -> None:
    span = {"min": 64, "max": 65536, "integer": True}
    search = {"sampler": "random", "space": {"method.queue_size": span}}
    sweep = smoke_of(tmp_path, search=search, budget={"trials": 4})
    assert "queue_size" not in sweep.asked
    assert swept_keys(sweep) == {"method.queue_size": "8 to 11"}


def test_a_student_that_starts_from_another_is_a_tiny_one_of_its_family(tmp_path: Path) -> None:
    content = {
        "name": "second",
        "datasets": {"glasses": {"kind": "folder", "path": "nowhere.csv"}},
        "trial": {"dataset": "glasses", "student": {"from": "./x"}, "method": "supervised"},
        "search": {
            "space": {
                "student.from": ["./x"],
                "student": [{"name": "cnn"}, {"from": "first"}],
            }
        },
    }
    file = tmp_path / "second.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    known = Sources({str(tmp_path / "x"): source(), "first": source()})
    sweep = load_smoke(file, Store(tmp_path / "store"), sources=known)
    students = [sweep.trial.student, *(sweep.with_values(p).student for p in sweep.grid())]
    assert [(s.name, s.source) for s in students] == [
        ("mantis", None), ("cnn", None), ("mantis", None)
    ]  # fmt: skip
    assert students[0].size == FAMILIES["mantis"].tiny
    with raises(ConfigError, "trial.student.from", "none was given"):
        load_smoke(file, Store(tmp_path / "store"))
