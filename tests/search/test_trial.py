"""Keys of trials and places of measures, as stores have them.

What a key depends on is in tests/search/test_ledger.py and tests/runtime/test_worker.py.
"""

from pathlib import Path

import pytest

from comodo.core.errors import ChangedError
from comodo.core.store import fingerprint
from comodo.search.trial import Evaluation, Trial
from tests.errors import raises
from tests.helpers import TINY_MANTIS, trial_config

KEYS = {
    "comodo": "4b59b47ff4c38ecc",
    "infonce": "249e66a40fa799a7",
    "l2": "ef284e803d7c1f59",
    "supervised": "a01831d742d3218b",
    "none": "f052bde9b6e8e0a8",
}
PLACES = [
    ("d", "probe", "measures/w/probe-080a9ed428559ef6"),
    ("d", "knn", "measures/w/knn-080a9ed428559ef6"),
    ("d", "alignment", "measures/w/alignment-71d830bc8ce81d37"),
    ("other", "probe", "measures/v/probe-080a9ed428559ef6"),
    ("other", "knn", "measures/v/knn-080a9ed428559ef6"),
    ("other", "direct", "measures/v/direct-1931cb26607ee824"),
]


@pytest.mark.parametrize("method", KEYS)
def test_keys_of_trials_that_exist_do_not_change(method: str) -> None:
    """With other keys every finished trial of a user's store would be trained again."""
    assert Trial(trial_config(method=method), 3, "w", "f").key == KEYS[method]


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
