"""Two workers compute what one computes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import build_student
from comodo.training.distill import Distillation, distil
from tests.helpers import TINY_MANTIS, forkserver, make_arrays, trial_config

HEAD = {"hidden_dim": 16, "output_dim": 8}
TERMS = {
    "comodo": {"queue_size": 5},  # shorter than the batch
    "infonce": {"learn_temperature": True},
    "supervised": {"weight": 0.5},
    "vicreg": {"weight": 0.1, "width": 8},
}
METHODS: list[dict[str, Any]] = [
    {"terms": TERMS, "head": HEAD},
    {"name": "infonce", "head": HEAD},
]


def train(root: Path, method: dict[str, Any], name: str) -> None:
    """Trains a student without dropout and keeps all that came out.

    In float64: directions that batch normalisation takes out have no gradient but rounding, which
    in float32 Adam blows up to whole steps, with any number of workers.
    """
    torch.set_default_dtype(torch.float64)
    size = {**TINY_MANTIS["size"], "transf_dropout": 0.0}  # type: ignore[dict-item]
    # 40 windows in batches of 19: the last one has 2, fewer than three workers.
    config = trial_config(
        method=method,
        student={**TINY_MANTIS, "size": size},
        batch_size=19,
        epochs=3,
        learning_rate=1e-2,
        augment={"rotation": 20, "shift": 0.2, "noise": 0.1, "drop_sensor": 0.2},
    )
    store = Store(root)
    windows = WindowArrays.load(store.folder("arrays", "w"))
    features = FeatureArrays.load(store.folder("arrays", "f"))
    torch.manual_seed(0)
    student = build_student(config.student).double()
    run = Distillation(config, 0, windows, features, student, "cpu")
    history = distil(run, root / f"{name}.checkpoint", lambda metrics: None)
    queue = None if run.queue is None else run.queue.ordered()
    parts = {"student": run.student, "head": run.head, "terms": run.terms}
    state = {name: part.state_dict() for name, part in parts.items()} | {"queue": queue}
    losses = [metrics["train/loss"] for metrics in history]
    torch.save({**state, "losses": losses}, root / f"{name}-{run.workers.rank}.pt")


def worker(rank: int, root: Path, method: dict[str, Any], workers: int) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{root}/rendezvous"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
    train(root, method, "all")
    dist.destroy_process_group()


def flat(state: Any) -> torch.Tensor:
    """All weights in one row."""
    weights = [weight for part in ("student", "head", "terms") for weight in state[part].values()]
    return torch.cat([weight.flatten() for weight in weights])


@pytest.fixture(autouse=True)
def usual_precision() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("method", "workers"),
    [(METHODS[0], 2), pytest.param(METHODS[1], 3, marks=pytest.mark.slow)],
)
def test_several_workers_are_as_one(tmp_path: Path, method: dict[str, Any], workers: int) -> None:
    make_arrays(Store(tmp_path), dtype=np.float64)
    train(tmp_path, method, "one")
    forkserver()
    start_processes(worker, (tmp_path, method, workers), workers, start_method="forkserver")
    names = ["one-0", *(f"all-{rank}" for rank in range(workers))]
    one, *several = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in names)
    for each in several:
        torch.testing.assert_close(each["losses"], one["losses"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(flat(each), flat(one), rtol=0, atol=1e-5)
        if one["queue"] is not None:
            assert torch.equal(each["queue"], several[0]["queue"])
            torch.testing.assert_close(each["queue"], one["queue"], rtol=0, atol=1e-6)
