"""The two protocols: what each sets, and that every setting can be swept on its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comodo.config import TrialConfig, read_sweep_file
from comodo.core.store import Store, read_json
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import build_student
from comodo.search.trial import Trial
from comodo.training.distill import Distillation, distil
from comodo.training.schedule import steps_in
from tests.config.test_load import sweep_file
from tests.helpers import TINY_MANTIS, make_arrays, trial_config
from tests.paths import GOLDEN


@pytest.mark.parametrize(
    ("protocol", "schedule", "last_window", "probe_mask", "linear", "selected_by"),
    [
        ("corrected", "steps", "keep", True, False, "val/acc1"),
        ("published", "published", "drop", False, True, "test/acc1"),
    ],
)
def test_one_key_sets_them_all(
    tmp_path: Path,
    protocol: str,
    schedule: str,
    last_window: str,
    probe_mask: bool,
    linear: bool,
    selected_by: str,
) -> None:
    space = {"method": [{"name": "comodo", "queue_size": 8}, "infonce", "l2"]}
    sweep = read_sweep_file(sweep_file(tmp_path, protocol=protocol, search__space=space))
    trials = [sweep.with_values(values) for values in sweep.grid()]
    for trial in trials:
        assert trial.schedule == schedule
        assert trial.last_window == last_window
        assert trial.probe_mask == probe_mask
        assert trial.probe_ties == ("middle" if protocol == "corrected" else "smallest")
        assert trial.imu_units == ("g, deg/s" if protocol == "corrected" else "published")
        assert (trial.batch_size, trial.epochs, trial.learning_rate) == (128, 20, 3e-4)
    heads = [getattr(trial.method, "head").kind for trial in trials]  # noqa: B009
    assert heads == (["mlp", "linear", "linear"] if linear else ["mlp"] * 3)
    assert sweep.objective.metric == selected_by


def test_what_is_given_wins_over_the_protocol(tmp_path: Path) -> None:
    method = {"name": "infonce", "head": {"kind": "mlp"}}
    file = sweep_file(tmp_path, protocol="published", trial__method=method, trial__schedule="steps")
    trial = read_sweep_file(file).trial
    assert trial.schedule == "steps"
    assert trial.last_window == "drop"
    assert trial.method.name == "infonce"
    assert trial.method.head.kind == "mlp"


def test_protocol_and_each_of_its_settings_can_be_swept(tmp_path: Path) -> None:
    spaces: list[dict[str, list[Any]]] = [
        {"protocol": ["corrected", "published"]},
        {"schedule": ["steps", "published"]},
        {"schedule": ["steps", "cosine"]},
        {"student.train_encoder": [True, False]},
        {"last_window": ["keep", "drop"]},
        {"imu_units": ["g, deg/s", "published"]},
        {"probe_mask": [True, False]},
        {"probe_ties": ["middle", "smallest"]},
        {"probe_windows": ["seed", "published"]},
        {"zero_shot_anchors": ["medoid", "first"]},
        {"method.head.kind": ["mlp", "linear"]},
        {"method.head.teacher_projector": [True, False]},
        {"batch_size": [48, 128]},
    ]
    for space in spaces:
        method = {"name": "infonce"}
        sweep = read_sweep_file(sweep_file(tmp_path, trial__method=method, search__space=space))
        trials = [sweep.with_values(values) for values in sweep.grid()]
        keys = {Trial(trial, 0, "w", "f").key for trial in trials}
        assert len(keys) == 2, space
    for space in (
        {"method.hold_out_queue": [True, False]},
        {"queue_windows": ["seed", "published"]},
    ):
        comodo = read_sweep_file(sweep_file(tmp_path, search__space=space))
        assert len({Trial(comodo.with_values(v), 0, "w", "f").key for v in comodo.grid()}) == 2


def test_a_trial_is_named_by_what_it_computes_not_by_its_protocol() -> None:
    published = trial_config(
        protocol="published",
        schedule="steps",
        last_window="keep",
        imu_units="g, deg/s",
        probe_mask=True,
        probe_ties="middle",
        queue_windows="seed",
        probe_windows="seed",
        zero_shot_anchors="medoid",
    )
    assert Trial(published, 0, "w", "f").key == Trial(trial_config(), 0, "w", "f").key


def moment(**changes: Any) -> dict[str, Any]:
    return {"student": {"name": "moment", **changes}}


def test_students_are_trained_and_measured_as_published() -> None:
    """Only the settings of a family, and only those that are not given."""
    published = trial_config(protocol="published", **moment()).student
    assert (published.padding, published.averaged_patches) == ("batch", "all")
    given = trial_config(protocol="published", **moment(padding="window")).student
    assert (given.padding, given.averaged_patches) == ("window", "all")
    assert trial_config(**moment()).student.options == {}
    chronos = {"student": {"name": "chronos-bolt"}}
    assert not trial_config(protocol="published", **chronos).student.train_encoder
    assert trial_config(**chronos).student.train_encoder
    for method in ("infonce", "l2", "supervised", "none"):
        student = trial_config(protocol="published", method=method, **chronos).student
        assert student.train_encoder == (method in ("supervised", "none"))
    mantis = trial_config(protocol="published", student="mantis-8m").student
    assert mantis == trial_config(student="mantis-8m").student
    supervised = {
        (protocol, name): trial_config(protocol=protocol, student=name, method="supervised").method
        for protocol in ("corrected", "published")
        for name in ("mantis-8m", "moment-small", "dlinear")
    }
    normed = [key for key, method in supervised.items() if method.for_key().get("layer_norm")]
    assert normed == [("published", "mantis-8m")]


def test_published_students_have_keys_of_their_own() -> None:
    def key(**changes: Any) -> str:
        return Trial(trial_config(**changes), 0, "w", "f").key

    alike = {
        "schedule": "steps", "last_window": "keep", "probe_mask": True, "probe_ties": "middle",
        "imu_units": "g, deg/s", "queue_windows": "seed", "probe_windows": "seed",
        "zero_shot_anchors": "medoid",
    }  # fmt: skip
    for name, changed in (
        ("moment-small", True),
        ("chronos-bolt-tiny", True),
        ("mantis-8m", False),
    ):
        published = key(student=name, protocol="published", **alike)
        assert (published != key(student=name)) == changed, name
    as_corrected = moment(padding="window", averaged_patches="real")
    assert key(**as_corrected, protocol="published", **alike) == key(**moment())
    one_of_both = {
        key(**moment(**{k: v})) for k, v in {"padding": "batch", "averaged_patches": "all"}.items()
    }
    assert len(one_of_both | {key(**moment())}) == 3
    # An untrained student is the same with and without training it.
    frozen = Trial(trial_config(student={**TINY_MANTIS, "train_encoder": False}), 0, "w", "f")
    assert frozen.key != Trial(trial_config(), 0, "w", "f").key
    assert frozen.untrained.key == Trial(trial_config(), 0, "w", "f").untrained.key


def test_what_the_protocol_sets_in_a_student_follows_a_change_of_it(tmp_path: Path) -> None:
    space = {"protocol": ["published", "corrected"], "student": ["moment-small", "mantis-8m"]}
    file = sweep_file(tmp_path, trial__protocol="published", **{"trial__student": "moment-small"})
    assert read_sweep_file(file).with_values({"protocol": "corrected"}).student.options == {}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    paddings = [sweep.with_values(values).student.padding for values in sweep.grid()]
    assert sorted(paddings) == ["batch", "window", "window", "window"]
    swept = {"student.padding": ["window", "batch"], "student.averaged_patches": ["real", "all"]}
    sweep = read_sweep_file(
        sweep_file(tmp_path, trial__student="moment-small", search__space=swept)
    )
    assert len({Trial(sweep.with_values(v), 0, "w", "f").key for v in sweep.grid()}) == 4


def test_a_record_of_a_published_trial_reads_back_as_it_was() -> None:
    for student in (moment(), moment(padding="window")):
        config = trial_config(protocol="published", **student)
        assert TrialConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> tuple[WindowArrays, FeatureArrays]:
    store = Store(tmp_path_factory.mktemp("store"))
    windows, features = (store.folder("arrays", key) for key in make_arrays(store))
    return WindowArrays.load(windows), FeatureArrays.load(features)


def run_of(arrays: tuple[WindowArrays, FeatureArrays], **changes: Any) -> Distillation:
    config = trial_config(**changes)
    torch.manual_seed(0)
    return Distillation(config, 0, *arrays, build_student(config.student), "cpu")


def test_last_windows_are_dropped_for_training_only(
    arrays: tuple[WindowArrays, FeatureArrays],
) -> None:
    last = set(torch.nonzero(arrays[0].splits["train"].last_N).flatten().tolist())
    assert last
    kept, dropped = (run_of(arrays, last_window=rule).row_N for rule in ("keep", "drop"))
    assert set(kept.tolist()) - set(dropped.tolist()) == last & set(kept.tolist())
    assert len(arrays[0].splits["train"].labelled_N) == len(arrays[0].splits["train"])


@pytest.mark.parametrize("rule", ["seed", "published"])
def test_published_queues_have_the_same_windows_for_every_seed(
    arrays: tuple[WindowArrays, FeatureArrays], rule: str
) -> None:
    windows, features = arrays
    reserved = []
    for seed in (0, 1):
        config = trial_config(queue_windows=rule)
        run = Distillation(config, seed, windows, features, build_student(config.student), "cpu")
        reserved.append(run.reserved.tolist())
        assert run.queue is not None
        expected_QD = run._embeddings(features.gather("train", run.row_N[run.reserved]))
        torch.testing.assert_close(run.queue.ordered(), expected_QD)
    drawn = np.random.RandomState(16349).choice(40, 10, replace=False)
    if rule == "published":
        assert reserved == [sorted(drawn)] * 2
    else:
        assert reserved[0] != reserved[1]


def test_what_the_protocols_did_alike_before_is_in_no_key() -> None:
    """Of `published` what is new names other trials; stores of `corrected` ones stay valid."""
    new = {"queue_windows", "probe_windows", "zero_shot_anchors"}
    assert not new & trial_config().for_key().keys()
    assert new <= trial_config(protocol="published").for_key().keys()
    none = [trial_config(protocol="published", method="none", probe_windows=w)
            for w in ("seed", "published")]  # fmt: skip
    assert len({Trial(config, 0, "w", "f").key for config in none}) == 2


def test_queue_members_may_train_from_the_first_epoch(
    arrays: tuple[WindowArrays, FeatureArrays],
) -> None:
    method = {"name": "comodo", "queue_size": 10}
    held = run_of(arrays, method=method)
    joined = run_of(arrays, method={**method, "hold_out_queue": False})
    assert held.queue is not None
    assert joined.queue is not None
    assert torch.equal(held.queue.keys_QD, joined.queue.keys_QD)
    assert held.schedule.first_epoch_steps == steps_in(30, 7)
    assert joined.schedule.first_epoch_steps == steps_in(40, 7)


@pytest.mark.parametrize("kind", ["mlp", "linear"])
@pytest.mark.parametrize("projector", [True, False])
@pytest.mark.parametrize("name", ["comodo", "infonce", "l2"])
def test_every_method_takes_every_head(
    arrays: tuple[WindowArrays, FeatureArrays],
    tmp_path: Path,
    kind: str,
    projector: bool,
    name: str,
) -> None:
    head = {"kind": kind, "teacher_projector": projector, "hidden_dim": 16, "output_dim": 8}
    method: dict[str, Any] = {"name": name, "head": head}
    if name == "comodo":
        method["queue_size"] = 10
    run = run_of(arrays, method=method, epochs=1)
    student_BD = run.head(torch.randn(4, run.student.dim))
    assert student_BD.shape[1] == (8 if projector else 12)  # 12: the size of the feature
    assert len(list(run.head.children())) == (4 if kind == "mlp" else 1)
    assert sum(1 for _ in run.teacher_head.parameters()) == (6 if projector else 0)
    assert distil(run, tmp_path / "c.pt", lambda metrics: None)[0]["train/loss"] > 0


def test_published_schedule_lowers_the_rate_as_the_queue_grows(
    arrays: tuple[WindowArrays, FeatureArrays], tmp_path: Path
) -> None:
    peaks = {}
    for schedule in ("steps", "published"):
        for size in (5, 30):
            run = run_of(
                arrays,
                schedule=schedule,
                method={"name": "comodo", "queue_size": size},
                epochs=3,
                warmup=0.5,
            )
            history = distil(run, tmp_path / f"{schedule}{size}.pt", lambda metrics: None)
            peaks[schedule, size] = max(m["train/learning_rate"] for m in history)
    assert peaks["published", 30] < 0.6 * peaks["published", 5]
    assert peaks["steps", 30] > 0.9 * peaks["steps", 5]


def test_the_golden_loss_curve(arrays: tuple[WindowArrays, FeatureArrays], tmp_path: Path) -> None:
    """A change of numbers is a decision: then write the file anew, and raise trial.VERSION."""
    golden = read_json(GOLDEN / "loss_curve.json")
    for name, expected in golden.items():
        method: dict[str, Any] = {"name": name, "head": {"hidden_dim": 16, "output_dim": 8}}
        if name == "comodo":
            method["queue_size"] = 10
        torch.set_num_threads(1)
        history = distil(run_of(arrays, method=method), tmp_path / name, lambda metrics: None)
        losses = [metrics["train/loss"] for metrics in history]
        # Processors differ in the last bits, and training carries them on.
        assert losses == pytest.approx(expected, rel=1e-5), name
