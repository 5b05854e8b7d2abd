"""The training loop: schedule, order, resuming bit for bit, and what ends a run."""

import gc
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from comodo.config import TrialConfig
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import build_student
from comodo.training.augment import Augment
from comodo.training.distill import Distillation, distil
from comodo.training.epoch import TrainingError
from comodo.training.loader import Batch
from tests.errors import raises
from tests.helpers import TINY_MANTIS, make_arrays, trial_config, weights_equal

Arrays = tuple[WindowArrays, FeatureArrays]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    store = Store(tmp_path_factory.mktemp("store"))
    windows, features = (store.folder("arrays", key) for key in make_arrays(store))
    return WindowArrays.load(windows), FeatureArrays.load(features)


def new_run(config: TrialConfig, arrays: Arrays, seed: int = 0) -> Distillation:
    torch.manual_seed(seed)
    return Distillation(config, seed, *arrays, build_student(config.student), "cpu")


def ignore(metrics: dict[str, Any]) -> None:
    """A report that nobody reads."""


def test_queue_members_join_from_the_second_epoch(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rows = new_run(trial_config(), arrays), []
    gather = FeatureArrays.gather

    def noting(self: FeatureArrays, split: str, index_B: torch.Tensor) -> torch.Tensor:
        rows.extend(index_B.tolist())
        return gather(self, split, index_B)

    monkeypatch.setattr(FeatureArrays, "gather", noting)
    for expected in (run.row_N[~torch.isin(torch.arange(40), run.reserved)], run.row_N):
        rows.clear()
        run.train_epoch()
        assert sorted(rows) == expected.tolist()


METHODS: list[Any] = [
    {"name": "comodo", "queue_size": 10, "head": {"hidden_dim": 16, "output_dim": 8}},
    {"name": "comodo", "queue_size": 3, "head": {"kind": "linear"}},
    {"name": "infonce", "head": {"hidden_dim": 16, "output_dim": 8}},
    {"name": "l2", "head": {"kind": "linear"}},
]


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss_and_reports_every_epoch(
    arrays: Arrays, tmp_path: Path, method: dict[str, Any]
) -> None:
    config = trial_config(method=method, epochs=8)
    reported: list[dict[str, Any]] = []
    history = distil(new_run(config, arrays), tmp_path / "checkpoint.pt", reported.append)
    assert history == reported
    assert [metrics["epoch"] for metrics in history] == list(range(1, 9))
    assert history[-1]["train/loss"] < history[0]["train/loss"]
    for metrics in history:
        assert metrics["train/grad_norm"] > 0
        assert metrics["train/windows_per_second"] > 0
        assert 0 <= metrics["val/quick_acc1"] <= 1


def with_graphs() -> set[int]:
    """All tensors there are that know what they were computed from."""
    tensors = [found for found in gc.get_objects() if type(found) is torch.Tensor]
    return {id(tensor) for tensor in tensors if tensor.grad_fn is not None}


def test_nothing_of_a_step_is_held_during_the_next(arrays: Arrays) -> None:
    """Else the next step's tensors lie around it, and a trial takes a fifth more memory."""
    run, of_other_tests, counts = new_run(trial_config(), arrays), with_graphs(), list[int]()
    run.train_epoch(lambda: counts.append(len(with_graphs() - of_other_tests)))
    assert counts
    assert set(counts) == {0}


class Stop(Exception):
    """A run's sudden end."""


ALL_CHANGES = {"rotation": 30, "scale": 0.2, "shift": 0.2, "noise": 0.3, "drop_sensor": 0.3}


@pytest.mark.parametrize("augment", [{}, ALL_CHANGES], ids=["plain", "augmented"])
@pytest.mark.parametrize("stop_at_step", [0, 3, 6, 11, 17, 21])
def test_a_stopped_run_goes_on_bit_for_bit(
    arrays: Arrays,
    tmp_path: Path,
    stop_at_step: int,
    augment: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = trial_config(augment=augment)
    whole = new_run(config, arrays)
    history = distil(whole, tmp_path / "whole.pt", ignore)

    taken, loss = 0, Distillation.loss

    def stopping_loss(self: Distillation, batch: Batch) -> torch.Tensor:
        nonlocal taken
        if taken == stop_at_step:
            raise Stop
        taken += 1
        return loss(self, batch)

    path = tmp_path / "stopped.pt"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Distillation, "loss", stopping_loss)
        distil(new_run(config, arrays), path, ignore)
    torch.manual_seed(12345)  # the second process starts anywhere
    again = new_run(config, arrays)
    torch.rand(7)
    resumed = distil(again, path, ignore)
    assert weights_equal(whole.student, again.student)
    assert weights_equal(whole.head, again.head)
    assert whole.queue is not None
    assert again.queue is not None
    assert torch.equal(whole.queue.keys_QD, again.queue.keys_QD)
    assert [m["train/loss"] for m in history] == [m["train/loss"] for m in resumed]


@pytest.mark.parametrize("method", [*METHODS, "supervised"])
def test_only_what_the_student_sees_in_training_is_augmented(
    arrays: Arrays, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teacher's features, labels and validation stay; each epoch has changes of its own."""
    seen: dict[str, list[list[Batch]]] = {}
    loss = Distillation.loss

    def noting(self: Distillation, batch: Batch) -> torch.Tensor:
        seen["now"][-1].append(batch)
        return loss(self, batch)

    monkeypatch.setattr(Distillation, "loss", noting)
    for name, augment in (("plain", {}), ("augmented", {"noise": 0.1})):
        run = new_run(trial_config(method=method, augment=augment), arrays)
        seen["now"] = seen[name] = []
        for _ in range(2):
            seen[name].append([])
            run.train_epoch()
    became: list[dict[bytes, bytes]] = [{}, {}]
    for epoch, plain, changed in zip(became, seen["plain"], seen["augmented"], strict=True):
        for one, other in zip(plain, changed, strict=True):
            assert torch.equal(one.label_B, other.label_B)
            if one.feature_BF is None or other.feature_BF is None:
                assert one.feature_BF is other.feature_BF
            else:
                assert torch.equal(one.feature_BF, other.feature_BF)
            windows = zip(one.imu_bCT.numpy(), other.imu_bCT.numpy(), strict=True)
            epoch |= {before.tobytes(): after.tobytes() for before, after in windows}
    first, second = became
    assert first.keys() & second.keys()
    for window in first.keys() & second.keys():
        assert len({window, first[window], second[window]}) == 3


def test_a_run_without_augmentation_changes_no_window(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a window was changed")

    monkeypatch.setattr(Augment, "__call__", refused)
    new_run(trial_config(augment={"rotation": 0}), arrays).train_epoch()
    with pytest.raises(AssertionError, match="a window was changed"):
        new_run(trial_config(augment={"rotation": 1}), arrays).train_epoch()


def test_seed_decides_everything(arrays: Arrays, tmp_path: Path) -> None:
    runs = [new_run(trial_config(epochs=1), arrays, seed) for seed in (0, 0, 1)]
    losses = [
        distil(run, tmp_path / f"{i}.pt", ignore)[0]["train/loss"] for i, run in enumerate(runs)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_teachers_head_is_frozen_and_off(arrays: Arrays, tmp_path: Path) -> None:
    run = new_run(trial_config(epochs=2), arrays)
    before = [parameter.clone() for parameter in run.teacher_head.parameters()]
    distil(run, tmp_path / "c.pt", ignore)
    assert not run.teacher_head.training
    for old, new in zip(before, run.teacher_head.parameters(), strict=True):
        assert torch.equal(old, new)


def test_nan_ends_the_run_and_keeps_the_last_good_checkpoint(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(trial_config(), arrays)
    path = tmp_path / "checkpoint.pt"
    loss = Distillation.loss

    def poisoned(self: Distillation, batch: Batch) -> torch.Tensor:
        return loss(self, batch) * (math.nan if self.epoch == 2 else 1)

    monkeypatch.setattr(Distillation, "loss", poisoned)
    with raises(TrainingError, "training.loss-not-finite", "epoch 3, step 1"):
        distil(run, path, ignore)
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_a_queue_that_takes_all_windows_is_refused(arrays: Arrays) -> None:
    method = {"name": "comodo", "queue_size": 39}
    with raises(TrainingError, "training.queue-too-long", "method.queue_size", "39", "40"):
        new_run(trial_config(method=method), arrays)


def test_a_split_that_leaves_no_step_is_refused(arrays: Arrays) -> None:
    windows, features = arrays
    one = FeatureArrays(features.dim, {"train": torch.tensor([5])}, features._shards)
    with raises(TrainingError, "training.no-step", "1 training windows"):
        new_run(trial_config(method="l2"), (windows, one))


def test_windows_without_a_feature_teach_nothing(arrays: Arrays) -> None:
    run = new_run(trial_config(), arrays)
    assert run.row_N.tolist() == list(range(2, 42))
    assert len(arrays[0].splits["train"]) == 42


def test_bf16_stays_close(arrays: Arrays, tmp_path: Path) -> None:
    losses = [
        distil(new_run(trial_config(epochs=1, precision=p), arrays), tmp_path / p, ignore)[0]
        for p in ("float32", "bf16")
    ]
    assert losses[0]["train/loss"] == pytest.approx(losses[1]["train/loss"], rel=0.05)
    assert losses[0]["train/loss"] != losses[1]["train/loss"]


@pytest.mark.parametrize("method", ["comodo", "infonce", "supervised"])
def test_without_train_encoder_only_the_head_learns(
    arrays: Arrays, tmp_path: Path, method: str
) -> None:
    def run_with(train_encoder: bool) -> tuple[Distillation, dict[str, torch.Tensor], list[float]]:
        student = {**TINY_MANTIS, "train_encoder": train_encoder}
        settings: dict[str, Any] = {"name": method}
        if method == "comodo":
            settings["queue_size"] = 10
        run = new_run(trial_config(student=student, method=settings), arrays)
        before = {key: value.clone() for key, value in run.student.state_dict().items()}
        was_training = set[bool]()

        def note(module: nn.Module, _: Any) -> None:
            if torch.is_grad_enabled():
                was_training.add(module.training)

        run.student.register_forward_pre_hook(note)
        history = distil(run, tmp_path / f"{train_encoder}.pt", ignore)
        assert was_training == ({True} if train_encoder else set())
        return run, before, [metrics["train/loss"] for metrics in history]

    frozen, before, losses = run_with(False)
    assert all(torch.equal(x, before[key]) for key, x in frozen.student.state_dict().items())
    assert losses[-1] < losses[0]
    assert {id(p) for p in frozen.parameters} == {id(p) for p in frozen.head.parameters()}
    assert not frozen.student.training
    trained, before, other = run_with(True)
    assert not all(torch.equal(x, before[key]) for key, x in trained.student.state_dict().items())
    assert other != losses


def test_a_run_that_trains_only_its_head_goes_on_bit_for_bit(
    arrays: Arrays, tmp_path: Path
) -> None:
    config = trial_config(student={**TINY_MANTIS, "train_encoder": False})
    whole, first = new_run(config, arrays), new_run(config, arrays)
    history = distil(whole, tmp_path / "whole.pt", ignore)
    first.train_epoch()
    first.save(tmp_path / "part.pt")
    again = new_run(config, arrays)
    resumed = distil(again, tmp_path / "part.pt", ignore)
    assert weights_equal(whole.head, again.head)
    assert [m["train/loss"] for m in history[1:]] == [m["train/loss"] for m in resumed]


def test_with_a_layer_norm_the_classifier_is_that_of_the_published_mantis(arrays: Arrays) -> None:
    plain, normed = (
        new_run(trial_config(method={"name": "supervised", "layer_norm": wanted}), arrays)
        for wanted in (False, True)
    )
    norm, linear = normed.head.children()
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(linear, nn.Linear) and isinstance(plain.head, nn.Linear)
    assert torch.equal(plain.head.weight, linear.weight)  # drawn from the same seed
    feature_BD = torch.randn(5, normed.student.dim)
    expected = plain.head(torch.nn.functional.layer_norm(feature_BD, feature_BD.shape[1:]))
    torch.testing.assert_close(normed.head(feature_BD), expected)


def test_the_cosine_schedule_reaches_the_optimizer(arrays: Arrays, tmp_path: Path) -> None:
    config = trial_config(schedule="cosine", warmup=0.0, epochs=2, learning_rate=1e-2)
    run = new_run(config, arrays)
    rates = [m["train/learning_rate"] for m in distil(run, tmp_path / "c.pt", ignore)]
    steps, first = run.schedule.real, run.schedule.first_epoch_steps
    expected = [
        1e-2 * (1 + math.cos(math.pi * step / steps)) / 2 for step in (first - 1, steps - 1)
    ]
    assert rates == pytest.approx(expected)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(expected[-1])
