"""Measuring one network."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comodo.config import StudentConfig
from comodo.core.store import Store, read_json
from comodo.deploy import footprint
from comodo.deploy.footprint import (
    Network,
    count_flops,
    energy_counters,
    joules_between,
    load_network,
    main,
    measure_footprint,
    read_energy,
    repeat,
)
from comodo.models.students import build_student, save_student
from comodo.runtime.tiny_teachers import tiny_teacher
from tests.helpers import TINY_MANTIS


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Measuring takes all threads but one from torch."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@torch.inference_mode()
def test_flops_of_plain_layers() -> None:
    linear, convolution = nn.Linear(8, 16), nn.Conv1d(6, 4, 5)
    x_38, x_3CT, x_HTD = torch.randn(3, 8), torch.randn(3, 6, 20), torch.randn(1, 2, 7, 4)
    assert count_flops(lambda: linear(x_38)) == 2 * 3 * 8 * 16
    assert count_flops(lambda: convolution(x_3CT)) == 2 * 3 * 16 * 4 * 6 * 5
    attention = 2 * (2 * 2 * 7 * 7 * 4)  # queries by keys, then by values
    assert count_flops(lambda: F.scaled_dot_product_attention(x_HTD, x_HTD, x_HTD)) == attention
    assert count_flops(lambda: F.gelu(x_38)) == 0


def test_flops_of_a_teacher(tmp_path: Path) -> None:
    """By hand: 2 frames of 2 x 2 patches and the first token, one layer of width 32."""
    weights = str(tiny_teacher("clip", Store(tmp_path)))
    network = load_network(Network("teacher", {"name": "image", "weights": weights, "frames": 2}))
    tokens, width = 5, 32
    patches = 4 * 3 * 16 * 16 * width
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    mlp = 2 * tokens * width * width
    assert count_flops(network.run) == 2 * 2 * (patches + attention + mlp)
    assert network.takes == "2 decoded frames of 32 x 32 pixels"


def test_a_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "WARM_UP", (1, 1, 0.0))
    monkeypatch.setattr(footprint, "REPEATS", (3, 3, 0.0))
    student = build_student(StudentConfig.model_validate(TINY_MANTIS))
    save_student(student, tmp_path / "student")
    found = measure_footprint(Network("student", str(tmp_path / "student"), 64))
    parameters = sum(parameter.numel() for parameter in student.parameters())
    assert (found.parameters, found.runs) == (parameters, 3)
    assert found.takes == "64 samples of 6 channels"
    assert found.disk > 4 * parameters
    with torch.inference_mode():
        assert found.flops == count_flops(lambda: student.eval()(torch.randn(1, 6, 64)))
    assert found.flops
    assert 0 < found.latency <= found.latency_p95
    assert found.memory is not None and found.process is not None
    assert 0 <= found.memory < found.process


def test_runs_fit_into_the_time() -> None:
    assert len(repeat(lambda: None, 3, 5, 0.0)) == 3
    assert len(repeat(lambda: None, 3, 5, 10.0)) == 5


def test_energy(tmp_path: Path) -> None:
    """Of whole processors; counters wrap around."""
    for name, energy in (("intel-rapl:0", 900), ("intel-rapl:0:0", 7), ("intel-rapl:1", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999\n")
    counters = energy_counters(tmp_path)
    before = read_energy(counters)
    assert before == [900, 100]
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("50\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("400\n")
    spent = joules_between(before, read_energy(counters), counters)
    assert spent == pytest.approx((150 + 300) / 1e6)
    assert energy_counters(tmp_path / "absent") == []
    assert joules_between([], [], []) is None


def test_a_network_that_cannot_be_loaded(tmp_path: Path) -> None:
    asked = {"kind": "student", "source": str(tmp_path / "absent"), "samples": 64}
    main(json.dumps(asked), str(tmp_path / "answer.json"))
    assert "holds no saved student" in read_json(tmp_path / "answer.json")["error"]
