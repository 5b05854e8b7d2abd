"""Keys of trials and places of measures, as stores have them; histories and results.

What a key depends on is in tests/search/test_ledger.py and tests/runtime/test_worker.py.
"""

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import huggingface_hub.constants
import pytest
import torch

from comodo.config import StudentConfig, TrialConfig
from comodo.config.source import SourceTrial
from comodo.core.errors import ChangedError
from comodo.core.settings import ADDED_LATER
from comodo.core.store import Store, fingerprint, write_json
from comodo.search.history import drop_checkpoint, epoch_history
from comodo.search.records import MeasuringRecord, TrainedRecord
from comodo.search.trial import Evaluation, Trial, read_result, unread_splits, weights_id
from tests.chaos.toy import sweep_of
from tests.config.test_source import source, started
from tests.core.test_hub import cached
from tests.errors import raises
from tests.helpers import TINY_MANTIS, trained_record, trial_config

KEYS = {
    "comodo": "4b59b47ff4c38ecc",
    "infonce": "249e66a40fa799a7",
    "l2": "ef284e803d7c1f59",
    "supervised": "a01831d742d3218b",
    "none": "f052bde9b6e8e0a8",
}
V2 = {"name": "mantis-v2"}
STUDENTS: list[tuple[Any, str, str]] = [
    ("mantis-8m", "comodo", "27d4d3734a813bf4"),
    (V2, "comodo", "a735bcaa252a4f38"),
    ({**V2, "weights": "paris-noah/MantisV2"}, "comodo", "2b816dc27a2aa84e"),
    ({**V2, "output_token": "cls_token"}, "comodo", "a735bcaa252a4f38"),
    ("moment-small", "comodo", "ce964fbb7b1023eb"),
    ("chronos-bolt-tiny", "comodo", "35efce7204dd86e9"),
    ("dlinear", "supervised", "d115bb5dab1bec80"),
]
PLACES = [
    ("d", "probe", "measures/w/probe-080a9ed428559ef6"),
    ("d", "knn", "measures/w/knn-080a9ed428559ef6"),
    ("d", "alignment", "measures/w/alignment-71d830bc8ce81d37"),
    ("other", "probe", "measures/v/probe-080a9ed428559ef6"),
    ("other", "knn", "measures/v/knn-080a9ed428559ef6"),
    ("other", "direct", "measures/v/direct-1931cb26607ee824"),
]
EPOCH = {"epoch": 1, "train/loss": 2.5}


@pytest.mark.parametrize("method", KEYS)
def test_keys_of_trials_that_exist_do_not_change(method: str) -> None:
    """With other keys every finished trial of a user's store would be trained again."""
    assert Trial(trial_config(method=method), 3, "w", "f").key == KEYS[method]


@pytest.mark.parametrize("method", ["supervised", "none"])
def test_a_trial_without_teacher_is_that_with_one_that_makes_no_difference(method: str) -> None:
    trial = Trial(trial_config(method=method, teacher=None), 3, "w", "")
    assert trial.key == KEYS[method]
    assert trial.untrained.key == KEYS["none"]


def test_without_labels_a_trial_is_measured_on_other_data_sets_only() -> None:
    measures = ("probe", "few-shot", "zero-shot", "alignment")
    evaluation = Evaluation(measures, {"watch": "v"}, frozenset({"d"}))
    trial = Trial(trial_config(), 3, "w", "f", evaluation)
    found = [(dataset, measure) for dataset, measure, _ in trial.measures()]
    assert found == [("d", "alignment"), ("watch", "probe"), ("watch", "few-shot")]


class LaterStudent(StudentConfig):
    depth: Annotated[int, ADDED_LATER] = 3


class LaterConfig(TrialConfig):
    student: LaterStudent
    gradient: Annotated[float | None, ADDED_LATER] = None
    clip: Annotated[bool, ADDED_LATER] = True


def later_trial(**changes: object) -> Trial:
    content = trial_config().model_dump(mode="json")
    student = content["student"] | changes.pop("student", {})
    config = LaterConfig.model_validate(content | {"student": student} | changes)
    return Trial(config, 3, "w", "f")


def test_a_setting_that_is_added_later_renames_only_trials_that_change_it() -> None:
    assert later_trial().key == Trial(trial_config(), 3, "w", "f").key
    written = later_trial(gradient=None, clip=True, student={"depth": 3})
    assert written.key == later_trial().key
    changed = [
        later_trial(gradient=1.0),
        later_trial(clip=False),
        later_trial(student={"depth": 4}),
    ]
    assert len({later_trial().key, *(trial.key for trial in changed)}) == 4


@pytest.mark.parametrize(("student", "method", "key"), STUDENTS)
def test_keys_of_students_that_exist_do_not_change(student: Any, method: str, key: str) -> None:
    assert Trial(trial_config(student=student, method=method), 3, "w", "f").key == key


def test_another_output_of_mantis_is_another_trial() -> None:
    outputs: list[dict[str, Any]] = [
        {},
        {"output_token": "combined"},
        {"output_token": "mean_token"},
        {"return_transf_layer": 2},
        {"return_transf_layer": 2, "output_token": "combined"},
    ]
    weights = {"name": "mantis-v2", "weights": "paris-noah/MantisV2"}
    configs = [trial_config(student={**weights, **output}) for output in outputs]
    keys = [Trial(config, 3, "w", "f").key for config in configs]
    assert len(set(keys)) == len(keys)
    assert Trial(trial_config(student="mantis-v2"), 3, "w", "f").key == keys[-1]


def test_places_of_measures_that_exist_do_not_change() -> None:
    evaluation = Evaluation(
        ("probe", "knn", "alignment", "direct"), {"other": "v"}, label_map={"other": {"a": "b"}}
    )
    trial = Trial(trial_config(), 0, "w", "f", evaluation)
    assert [(name, measure, str(place)) for name, measure, place in trial.measures()] == PLACES


def test_what_needs_labels_or_a_teacher_is_measured_where_they_are() -> None:
    measures = ("probe", "zero-shot", "alignment", "direct", "classifier")
    targets = {"other": "v", "bare": "u"}
    evaluation = Evaluation(measures, targets, unlabelled=frozenset({"bare"}))

    def asked(method: str) -> list[tuple[str, str]]:
        trial = Trial(trial_config(method=method), 0, "w", "f", evaluation)
        return [(name, measure) for name, measure, _ in trial.measures()]

    elsewhere = [("other", "probe"), ("other", "direct"), ("bare", "direct")]
    own = [("d", "probe"), ("d", "zero-shot"), ("d", "alignment")]
    assert asked("infonce") == own + elsewhere
    assert asked("none") == [own[0], own[2], *elsewhere]
    assert asked("supervised") == [own[0], own[2], ("d", "classifier"), *elsewhere]


def test_training_with_labels_follows_the_other_trial_s_schedule_alone() -> None:
    schedule = {
        "epochs": 9,
        "batch_size": 3,
        "learning_rate": 0.5,
        "weight_decay": 0.25,
        "warmup": 0.75,
        "precision": "bf16",
    }
    trial = Trial(trial_config(), 3, "w", "f")
    labelled = trial.supervised(trial_config(**schedule, dataset="other", student="moment-small"))
    assert labelled.config == trial_config(**schedule, method="supervised")
    assert (labelled.seed, labelled.windows, labelled.features) == (3, "w", "f")


def test_weights_that_are_replaced_after_naming_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"1")
    trial = Trial(trial_config(student={"name": "mantis", "weights": str(weights)}), 0, "w", "f")
    before = trial.key
    trial.refuse_changed()
    (weights / "model.safetensors").write_bytes(b"12")
    assert trial.key == before  # as it was named
    with raises(ChangedError, "trial.student.weights", str(weights)):
        trial.refuse_changed()


def test_recorded_weights_name_a_trial_where_the_weights_are_not(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.bin").write_text("w")
    config = trial_config(student={"name": "mantis", "weights": str(weights)})
    here, recorded = Trial(config, 0, "w", "f"), fingerprint(weights)
    keys = [here.key, here.untrained.key]
    (weights / "model.bin").unlink()
    weights.rmdir()
    there = Trial(config, 0, "w", "f", weights=recorded)
    assert [there.key, there.untrained.key] == keys
    assert Trial(config, 0, "w", "f").key != keys[0]
    plain = trial_config(student=TINY_MANTIS)
    assert Trial(plain, 0, "w", "f").key != keys[0]


def test_weights_are_known_by_their_content_wherever_they_are(tmp_path: Path) -> None:
    def key(folder: Path) -> str:
        config = trial_config(student={"name": "mantis", "weights": str(folder)})
        return Trial(config, 0, "w", "f").key

    for name, content in (("mine", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        os.utime(tmp_path / name / "model.safetensors", ns=(1, 1))
    before = key(tmp_path / "mine")
    shutil.copytree(tmp_path / "mine", tmp_path / "elsewhere")
    assert key(tmp_path / "elsewhere") == before
    shutil.copy2(tmp_path / "other/model.safetensors", tmp_path / "mine")
    assert key(tmp_path / "mine") == key(tmp_path / "other") != before


def test_weights_of_the_hub_are_known_by_their_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a branch moves: what was trained from the old commit is another trial."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def trial(revision: str | None) -> Trial:
        student = {"name": "mantis", "weights": "some/mantis", "revision": revision}
        config = trial_config(student=student)
        return Trial(config, 0, "w", "f", weights=weights_id(config.student))

    unknown, first, second = trial(None), "1" * 40, "2" * 40
    assert unknown.weights == {}
    assert unknown.pinned_student == unknown.config.student
    cached(tmp_path, "some/mantis", first)
    before = trial(None)
    assert before.pinned_student.revision == first
    assert before.key == trial("main").key == trial(first).key
    assert len({before.key, before.untrained.key, unknown.key}) == 3
    cached(tmp_path, "some/mantis", second)  # main has moved
    assert trial(None).key == trial(second).key != before.key
    assert trial(first).key == before.key
    before.refuse_changed()  # it still starts from the commit that it is named by


def test_a_checkpoint_is_known_by_its_content_wherever_it_is(tmp_path: Path) -> None:
    def trial(file: Path) -> Trial:
        config = trial_config(student={"name": "mantis", "weights": str(file)})
        return Trial(config, 0, "w", "f")

    mine, copy = tmp_path / "model.pth", tmp_path / "elsewhere" / "best.pth"
    mine.write_bytes(b"1")
    before = trial(mine).key
    copy.parent.mkdir()
    copy.write_bytes(b"1")
    named = trial(copy)
    assert named.key == before
    recorded = fingerprint(copy, by_content=True)
    copy.write_bytes(b"2")  # of the same size
    assert trial(copy).key != before
    with raises(ChangedError, "trial.student.weights", "best.pth"):
        named.refuse_changed()
    assert Trial(named.config, 0, "w", "f", weights=recorded).key == before


def test_training_with_labels_follows_the_other_trial_s_classifier_and_cosine() -> None:
    supervised = {"name": "supervised", "layer_norm": True}
    trial = Trial(trial_config(), 3, "w", "f")
    labelled = trial.supervised(trial_config(method=supervised, schedule="cosine"))
    assert labelled.config == trial_config(method=supervised, schedule="cosine")
    swept = Trial(trial_config(schedule="cosine"), 3, "w", "f")
    assert swept.supervised(trial_config(method="supervised")).config.schedule == "steps"
    published = Trial(trial_config(schedule="published"), 3, "w", "f")
    assert published.supervised(trial_config()).config.schedule == "published"  # its key is known
    chronos = {"protocol": "published", "student": {"name": "chronos-bolt"}}
    distilled = Trial(trial_config(**chronos), 3, "w", "f")
    by_labels = trial_config(**chronos, method="supervised")
    assert not distilled.config.student.train_encoder
    assert distilled.supervised(by_labels).key == Trial(by_labels, 3, "w", "f").key


def test_recorded_times_of_weights_name_trials_as_they_did() -> None:
    student = {"name": "mantis", "weights": "/nowhere/weights"}
    config = TrialConfig.model_validate(
        trial_config().model_dump() | {"student": student}, context={"read_back": True}
    )
    trial = Trial(config, 0, "w", "f", weights={"size": 1, "modified_ns": 2})
    assert trial.key == "456ea1778db4a014"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_trial_that_trains_has_the_history_of_its_checkpoint(store: Store) -> None:
    path = store.folder("trials", "k")
    assert (epoch_history(path), TrainedRecord.find(path)) == ([], None)
    path.mkdir(parents=True)
    torch.save({"history": [EPOCH], "student": torch.zeros(2)}, path / "checkpoint.pt")
    assert epoch_history(path) == [EPOCH]


def test_of_a_pruned_trial_only_the_history_is_kept(store: Store) -> None:
    path = store.folder("trials", "k")
    path.mkdir(parents=True)
    torch.save({"history": [EPOCH], "student": torch.zeros(2)}, path / "checkpoint.pt")
    drop_checkpoint(path)
    assert [file.name for file in path.iterdir()] == ["history.json"]
    assert epoch_history(path) == [EPOCH]
    torch.save({"history": []}, path / "checkpoint.pt")  # it runs again
    assert epoch_history(path) == []


@pytest.mark.parametrize("content", [b"", bytes(300), None])
def test_a_checkpoint_that_was_cut_off_has_no_history(store: Store, content: bytes | None) -> None:
    path = store.folder("trials", "k") / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    torch.save({"history": [EPOCH], "student": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    assert epoch_history(path.parent) == []


def test_a_trained_one_has_its_own(store: Store) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    path = store.folder("trials", trial.key)
    trained_record(trial, history=[EPOCH]).write(path)
    assert epoch_history(path) == [EPOCH]
    assert TrainedRecord.find(path) == trained_record(trial, history=[EPOCH])
    MeasuringRecord(["measures/w/probe"], 3.0).write(path)
    assert MeasuringRecord.find(path) == MeasuringRecord(["measures/w/probe"], 3.0)


def test_a_result_needs_every_measure_on_every_data_set(store: Store) -> None:
    evaluation = Evaluation(("probe", "direct"), {"other": "v"})
    trial = Trial(trial_config(), 0, "w", "f", evaluation)
    folder = store.folder("trials", trial.key)
    written = {
        ("d", "probe"): {"test/acc1": 0.1, "probe/C": 1.0},
        ("other", "probe"): {"test/acc1": 0.2, "probe/C": 2.0},
        ("other", "direct"): {"direct/test/acc1": 0.3, "direct/probe/C": 4.0},
    }
    assert read_result(trial, store) is None
    trained_record(trial, parameters=7).write(folder)
    for dataset, measure, place in trial.measures():
        assert read_result(trial, store) is None
        write_json(folder / f"{place}.json", written[dataset, measure])
    result = read_result(trial, store)
    assert result is not None and result.trained.parameters == 7
    assert result.metrics == {
        "student/parameters": 7,
        "test/acc1": 0.1,
        "probe/C": 1.0,
        "on/other/test/acc1": 0.2,
        "on/other/probe/C": 2.0,
        "on/other/direct/test/acc1": 0.3,
        "on/other/direct/probe/C": 4.0,
    }


def test_a_baseline_is_read_by_its_classifier(store: Store) -> None:
    config = trial_config(student={"name": "dlinear"}, method={"name": "supervised"})
    trial = Trial(config, 0, "w", "f")
    folder = store.folder("trials", trial.key)
    trained_record(trial).write(folder)
    ((_, measure, place),) = trial.measures()
    assert measure == "classifier"
    write_json(folder / f"{place}.json", {"classifier/test/acc1": 0.5})
    result = read_result(trial, store)
    assert result is not None
    assert result.metrics == {
        "student/parameters": 9, "classifier/test/acc1": 0.5, "test/acc1": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("measures", "anchors", "unread"),
    [
        (["probe", "linear", "knn", "few-shot", "zero-shot"], "medoid", ("val", "test")),
        (["probe", "alignment"], "medoid", ()),
        (["probe", "zero-shot"], "first", ("test",)),  # as published, anchors are windows of val
        (["probe"], "first", ("val", "test")),
    ],
)
def test_teacher_features_of_val_and_test_are_read_by_few_measures(
    measures: list[str], anchors: str, unread: tuple[str, ...]
) -> None:
    sweep = sweep_of({"measures": measures, "trial": {"zero_shot_anchors": anchors}})
    assert unread_splits(sweep) == unread


def test_hand_crafted_features_are_the_same_under_each_protocol() -> None:
    """Also the units in which they see the windows, which are not in their key."""
    units = Evaluation(published_units={"d": ("m/s^2", "rad/s")})
    corrected, published = (
        Trial(trial_config(dataset="d", protocol=protocol), 0, "w", "f", units).hand_crafted
        for protocol in ("corrected", "published")
    )
    assert published.key == corrected.key
    assert published.units_on("d") == corrected.units_on("d") == ("g", "deg/s")


def test_a_key_names_the_student_that_training_starts_from() -> None:
    """However the file spells it; trained again, under another key, it is another trial."""

    def key(key: str, seed: int = 0, name: str = "first", **changes: Any) -> str:
        return Trial(started(source(SourceTrial(key, 0)), name, **changes), seed, "w", "f").key

    assert key("aaaa") == "07c821754a5cf729" != Trial(trial_config(), 0, "w", "f").key
    assert key("aaaa") == key("aaaa", name="aaaa") != key("bbbb")
    folder = source(trials=(), folder="/x", content="c0")
    assert Trial(started(folder), 0, "w", "f").key != key("aaaa")
    trial = Trial(started(source(SourceTrial("aaaa", 0))), 0, "w", "f")
    schedule = trial_config(method={"name": "supervised"}, epochs=9)
    for compared in (trial.untrained, trial.supervised(schedule)):
        assert compared.start == trial.start == {"trial": "aaaa"}
    assert trial.hand_crafted.key == Trial(trial_config(), 0, "w", "f").hand_crafted.key
    assert not trial.hand_crafted.start


def test_each_seed_has_the_key_of_its_own_start() -> None:
    found = source(SourceTrial("aaaa", 0), SourceTrial("bbbb", 1))
    trials = [Trial(started(found), seed, "w", "f") for seed in (0, 1)]
    assert [trial.start for trial in trials] == [{"trial": "aaaa"}, {"trial": "bbbb"}]
    alone = Trial(started(source(SourceTrial("bbbb", 1))), 1, "w", "f")
    assert trials[1].key == alone.key
