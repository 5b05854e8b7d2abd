"""A run that leaves in mid-epoch ends as one that never did."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.multiprocessing.spawn import spawn

from comodo.config import TrialConfig
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import build_student
from comodo.training import epoch
from comodo.training.distill import Distillation, distil
from comodo.training.epoch import Paused, TrainingError
from comodo.training.loader import Batch
from tests.errors import raises
from tests.helpers import TINY_MANTIS, make_arrays, trial_config, weights_equal

HEAD = {"hidden_dim": 16, "output_dim": 8}
METHODS: dict[str, Any] = {
    "comodo": {"name": "comodo", "queue_size": 10, "head": HEAD},
    "infonce": {"name": "infonce", "head": HEAD},
    "l2": {"name": "l2", "head": HEAD},
    "supervised": {"name": "supervised"},
}
STEPS = 6  # of a whole epoch of 40 windows in batches of 7
DROPOUT = {**TINY_MANTIS, "size": {**TINY_MANTIS["size"], "transf_dropout": 0.2}}  # type: ignore[dict-item]

Arrays = tuple[WindowArrays, FeatureArrays]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    return load(Store(tmp_path_factory.mktemp("store")))


def load(store: Store) -> Arrays:
    windows, features = (store.folder("arrays", key) for key in make_arrays(store))
    return WindowArrays.load(windows), FeatureArrays.load(features)


def config_of(method: str) -> TrialConfig:
    return trial_config(method=METHODS[method], student=DROPOUT, epochs=3)


def new_run(config: TrialConfig, arrays: Arrays) -> Distillation:
    torch.manual_seed(0)
    return Distillation(config, 0, *arrays, build_student(config.student), "cpu")


def ignore(metrics: dict[str, Any]) -> None:
    """A report that nobody reads."""


class After:
    """Says after so many questions that the run has to leave."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def compare(whole: Distillation, again: Distillation) -> None:
    assert weights_equal(whole.student, again.student)
    assert weights_equal(whole.head, again.head)
    if whole.queue is not None:
        assert again.queue is not None
        assert torch.equal(whole.queue.ordered(), again.queue.ordered())
    timed = "train/windows_per_second"
    for before, after in zip(whole.history, again.history, strict=True):
        assert {k: v for k, v in before.items() if k != timed} == {
            k: v for k, v in after.items() if k != timed
        }
        assert after[timed] > 0


@pytest.mark.parametrize(
    "method",
    ["comodo", *(pytest.param(m, marks=pytest.mark.slow) for m in METHODS if m != "comodo")],
)
@given(leaves=st.lists(st.integers(0, 2 * STEPS), min_size=1, max_size=4))
@settings(max_examples=5)
def test_left_at_any_steps_it_ends_bit_for_bit_the_same(
    method: str, leaves: list[int], arrays: Arrays, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, config = tmp_path_factory.mktemp("run"), config_of(method)
    whole = new_run(config, arrays)
    distil(whole, folder / "whole.pt", ignore)
    path = folder / "left.pt"
    for number, steps in enumerate(leaves):
        torch.manual_seed(number)  # each process starts anywhere
        try:
            distil(new_run(config, arrays), path, ignore, After(steps))
        except Paused:
            assert torch.load(path, weights_only=True)["epoch"] < 3
    again = new_run(config, arrays)
    distil(again, path, ignore)
    compare(whole, again)


def test_long_epochs_are_saved_between(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = config_of("comodo"), tmp_path / "checkpoint.pt"
    whole = new_run(config, arrays)
    distil(whole, tmp_path / "whole.pt", ignore)
    monkeypatch.setattr(epoch, "MAX_SECONDS_UNSAVED", 0.0)
    loss, taken = Distillation.loss, 0

    def killed(self: Distillation, batch: Batch) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken == STEPS + 3:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Distillation, "loss", killed)
        distil(new_run(config, arrays), path, ignore)
    again = new_run(config, arrays)
    again.restore(path)
    assert again.running is not None
    first = again.schedule.first_epoch_steps
    assert again.schedule.steps_before(again.epoch) + again.running.steps == STEPS + 2 > first
    distil(again, path, ignore)
    compare(whole, again)


def test_what_has_gone_to_infinity_is_not_kept(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Distillation.loss

    def poisoned(self: Distillation, batch: Batch) -> torch.Tensor:
        return loss(self, batch) * (math.nan if self.epoch == 1 else 1)

    monkeypatch.setattr(Distillation, "loss", poisoned)
    path = tmp_path / "checkpoint.pt"
    with raises(TrainingError, "training.loss-not-finite", "epoch 2, step 1"):
        distil(new_run(config_of("l2"), arrays), path, ignore, After(STEPS + 1))
    assert "running" not in torch.load(path, weights_only=True)


def worker(rank: int, root: Path, workers: int) -> None:
    """Two workers, of which the second has to leave; then the rest of the run without leaving."""
    torch.set_num_threads(1)
    epoch.STOP_POLL_STEPS = 2
    rendezvous = f"file://{root}/rendezvous"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
    config, pair = config_of("comodo"), load(Store(root / str(rank)))
    whole = new_run(config, pair)
    distil(whole, root / "whole.pt", ignore)
    try:
        # Polled at every second step: it has to leave at the eighth, five of them in epoch one.
        distil(new_run(config, pair), root / "left.pt", ignore, After(3 if rank else 1000))
    except Paused as paused:
        (root / f"{rank}.txt").write_text(str(paused))
    dist.barrier()
    torch.rand(rank + 1)
    again = new_run(config, pair)
    distil(again, root / "left.pt", ignore)
    compare(whole, again)
    dist.destroy_process_group()


@pytest.mark.slow  # processes of their own, each of which loads torch
def test_several_workers_leave_at_the_same_step(tmp_path: Path) -> None:
    spawn(worker, args=(tmp_path, 2), nprocs=2)
    reasons = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert reasons == ["paused after 8 steps"] * 2
