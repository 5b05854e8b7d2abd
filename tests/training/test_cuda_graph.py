"""Replayed training against the same training launched kernel by kernel, on a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.epoch import FEATURES, RESIZED, WINDOWS, make_arrays
from comodo.config import TrialConfig
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import build_student
from comodo.training.distill import Distillation

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
COUNT, BATCH = 40, 16  # the last batch of an epoch is shorter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    make_arrays(store, COUNT, 8)
    return store


def begun(store: Store, device: str, **settings: Any) -> Distillation:
    config = TrialConfig.model_validate(
        {
            "dataset": "random",
            "teacher": "timesformer-base-k400",
            "student": {"name": "mantis", "size": {"transf_depth": 2, "hidden_dim": 64}},
            "method": {"name": "comodo", "queue_size": 8, "hold_out_queue": False},
            "batch_size": BATCH,
            "epochs": 3,
            **settings,
        }
    )
    windows = WindowArrays.load(store.folder("arrays", WINDOWS), RESIZED)
    features = FeatureArrays.load(store.folder("arrays", FEATURES))
    torch.manual_seed(0)
    return Distillation(config, 0, windows, features, build_student(config.student), device)


def weights(run: Distillation) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.parameters])


def test_nothing_is_recorded_on_a_cpu(store: Store) -> None:
    run = begun(store, "cpu")
    run.train_epoch()
    assert run.forward.captured_shape is None


@ON_GPU
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_replayed_training_is_the_same_training(store: Store, precision: str) -> None:
    launched, replayed = (begun(store, "cuda", precision=precision) for _ in range(2))
    launched.student.encoder.replayable = False
    for _ in range(2):
        for run in (launched, replayed):
            run.train_epoch()
    assert launched.forward.captured_shape is None
    assert replayed.forward.captured_shape == (BATCH, 6, RESIZED)
    # In bf16 the matrix library may choose other kernels while it is recorded.
    close = {"float32": 1e-6, "bf16": 1e-3}[precision]
    torch.testing.assert_close(weights(replayed), weights(launched), rtol=0, atol=close)


@ON_GPU
def test_replayed_training_goes_on_from_a_checkpoint_in_mid_epoch(
    store: Store, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    whole, stopped, resumed = (begun(store, "cuda") for _ in range(3))
    for _ in range(2):
        whole.train_epoch()
    stopped.train_epoch()

    def after_step() -> None:
        stopped.save(tmp_path / "checkpoint.pt")
        raise Stopped

    with pytest.raises(Stopped):
        stopped.train_epoch(after_step)
    resumed.restore(tmp_path / "checkpoint.pt")
    assert resumed.running is not None and resumed.running.steps == 1
    resumed.train_epoch()
    assert torch.equal(weights(resumed), weights(whole))
