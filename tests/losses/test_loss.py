"""The losses against golden numbers and against plain second formulations."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from comodo.losses import cross_entropy
from comodo.losses.comodo import comodo_loss
from comodo.losses.infonce import infonce_loss
from comodo.losses.l2 import l2_loss
from comodo.losses.relational import relational_angle_loss, relational_distance_loss
from comodo.losses.siglip import siglip_loss
from comodo.losses.vicreg import vicreg_loss
from comodo.training.queue import TeacherQueue
from tests.paths import GOLDEN

LOSSES = GOLDEN / "losses.npz"
COMODO_CASES = [
    "comodo_small",
    "comodo_queue_not_multiple",
    "comodo_queue_smaller_than_batch",
    "comodo_sharp",
]


def plain_comodo_loss(
    student: Tensor, teacher: Tensor, queue: Tensor, teacher_temp: float, student_temp: float
) -> Tensor:
    """The formula of the paper, literally."""
    student, teacher, queue = (functional.normalize(x, dim=1) for x in (student, teacher, queue))
    keys = torch.cat([queue, teacher])
    p_teacher = torch.softmax(teacher @ keys.T / teacher_temp, dim=1)
    log_p_student = torch.log_softmax(student @ keys.T / student_temp, dim=1)
    return -(p_teacher * log_p_student).sum(dim=1).mean()


def golden(key: str) -> Tensor:
    return torch.from_numpy(np.load(LOSSES)[key])


def embeddings(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def with_grad(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


@pytest.fixture(params=["whole", "in chunks"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are compared whole when they are few, else in chunks: the same numbers."""
    monkeypatch.setattr(
        cross_entropy, "_MAX_KEYS_UNCHUNKED", 10**9 if request.param == "whole" else 0
    )


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("case", COMODO_CASES)
def test_golden_comodo(case: str) -> None:
    queue = TeacherQueue(golden(f"{case}/queue"))
    teacher_temp, student_temp = golden(f"{case}/temps").tolist()
    students, teachers = golden(f"{case}/student"), golden(f"{case}/teacher")
    for step in range(len(students)):
        student = with_grad(students[step])
        loss = comodo_loss(student, teachers[step], queue.keys_QD, teacher_temp, student_temp)
        loss.backward()
        queue.push(teachers[step])
        expected_loss, expected_grad = golden(f"{case}/loss"), golden(f"{case}/grad")
        torch.testing.assert_close(loss.detach(), expected_loss[step], rtol=0, atol=1e-10)
        torch.testing.assert_close(student.grad, expected_grad[step], rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", ["infonce", "infonce_symmetric"])
def test_golden_infonce(case: str) -> None:
    student = with_grad(golden(f"{case}/student"))
    temperature, symmetric = golden(f"{case}/temperature"), golden(f"{case}/symmetric")
    loss = infonce_loss(student, golden(f"{case}/teacher"), temperature.item(), bool(symmetric))
    loss.backward()
    torch.testing.assert_close(loss.detach(), golden(f"{case}/loss"), rtol=0, atol=1e-10)
    torch.testing.assert_close(student.grad, golden(f"{case}/grad"), rtol=0, atol=1e-10)


def test_the_temperature_of_infonce_is_that_of_the_paper() -> None:
    student, teacher = embeddings(4, 8), embeddings(4, 8, seed=1)
    assert torch.equal(infonce_loss(student, teacher), infonce_loss(student, teacher, 0.1))


def test_golden_l2() -> None:
    student = with_grad(golden("l2/student"))
    loss = l2_loss(student, golden("l2/teacher"))
    loss.backward()
    torch.testing.assert_close(loss.detach(), golden("l2/loss"), rtol=0, atol=1e-10)
    torch.testing.assert_close(student.grad, golden("l2/grad"), rtol=0, atol=1e-10)


CHUNK = cross_entropy._CHUNK_KEYS_CPU


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("batch", [1, 16, CHUNK + 1])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000, CHUNK - 1, CHUNK, CHUNK + 1])
def test_comodo_equals_the_plain_formula(size: int, batch: int) -> None:
    teacher, queue = embeddings(batch, 8, seed=1), embeddings(size, 8, seed=2)
    ours, plain = with_grad(embeddings(batch, 8)), with_grad(embeddings(batch, 8))
    our_loss = comodo_loss(ours, teacher, queue, 0.1, 0.05)
    plain_loss = plain_comodo_loss(plain, teacher, queue, 0.1, 0.05)
    (3 * our_loss).backward()
    (3 * plain_loss).backward()
    torch.testing.assert_close(our_loss, plain_loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("both_ways")
def test_comodo_gradcheck() -> None:
    teacher, queue = embeddings(3, 4, seed=1), embeddings(7, 4, seed=2)
    assert torch.autograd.gradcheck(
        lambda student: comodo_loss(student, teacher, queue, 0.1, 0.05), with_grad(embeddings(3, 4))
    )


@pytest.mark.usefixtures("both_ways")
def test_comodo_keeps_no_similarities_for_backward() -> None:
    batch, size, width = 16, 4096, 8
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    student = with_grad(embeddings(batch, width))
    with saved_tensors_hooks(note, lambda tensor: tensor):
        comodo_loss(student, embeddings(batch, width), embeddings(size, width), 0.1, 0.05)
    assert kept and max(kept) <= batch * width


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.005, 0.01, 0.05, 1.0])
def test_low_precision_stays_finite(dtype: torch.dtype, temperature: float) -> None:
    teacher, queue = embeddings(8, 16, seed=1).to(dtype), embeddings(600, 16, seed=2).to(dtype)
    # Opposite to its teacher, so that the largest similarities are far apart.
    student = with_grad(-teacher)
    loss = comodo_loss(student, teacher, queue, temperature, temperature)
    loss.backward()
    assert loss.dtype == torch.float32 and student.grad is not None
    assert student.grad.dtype == dtype
    assert loss.isfinite() and student.grad.isfinite().all()


def test_float32_is_close_to_float64_and_autocast_changes_nothing() -> None:
    student, teacher, queue = (
        embeddings(size, 32, seed=seed) for seed, size in enumerate((16, 16, 700))
    )
    exact = comodo_loss(student, teacher, queue, 0.1, 0.05)
    student, teacher, queue = student.float(), teacher.float(), queue.float()
    rounded = comodo_loss(student, teacher, queue, 0.1, 0.05)
    contrast = infonce_loss(student, teacher)
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-5, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(comodo_loss(student, teacher, queue, 0.1, 0.05), rounded)
        assert torch.equal(infonce_loss(student, teacher), contrast)


def test_only_the_student_receives_a_gradient() -> None:
    student, teacher, queue = (with_grad(embeddings(4, 8, seed=seed)) for seed in range(3))
    total = comodo_loss(student, teacher, queue, 0.1, 0.05)
    total = total + infonce_loss(student, teacher, symmetric=True) + l2_loss(student, teacher)
    total.backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teacher.grad is None and queue.grad is None


@settings(max_examples=25)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_losses_ignore_the_length_of_embeddings(scale: float, seed: int) -> None:
    student, teacher, queue = (embeddings(5, 8, seed=3 * seed + i) for i in range(3))
    for loss in (
        lambda s, t, q: comodo_loss(s, t, q, 0.1, 0.05),
        lambda s, t, q: infonce_loss(s, t),
        lambda s, t, q: l2_loss(s, t),
    ):
        torch.testing.assert_close(
            loss(scale * student, teacher / scale, scale * queue), loss(student, teacher, queue)
        )


@settings(max_examples=25)
@given(temperature=st.floats(0.01, 2.0), seed=st.integers(0, 1000))
def test_a_student_that_equals_its_teacher_is_at_the_minimum(temperature: float, seed: int) -> None:
    teacher, queue = embeddings(5, 8, seed=2 * seed), embeddings(20, 8, seed=2 * seed + 1)
    student = with_grad(teacher)
    loss = comodo_loss(student, teacher, queue, temperature, temperature)
    loss.backward()
    assert student.grad is not None and student.grad.abs().max() < 1e-12
    moved = comodo_loss(teacher + 0.1, teacher, queue, temperature, temperature)
    assert moved >= loss.detach()


def test_errors_name_what_is_wrong() -> None:
    four, five, narrow = embeddings(4, 8), embeddings(5, 8), embeddings(4, 7)
    for loss in (lambda s, t: comodo_loss(s, t, four, 0.1, 0.05), infonce_loss, l2_loss):
        for student, teacher in ((four, five), (four, narrow), (four[0], four[0])):
            with pytest.raises(ValueError, match="student and teacher"):
                loss(student, teacher)
        with pytest.raises(ValueError, match="non-empty"):
            loss(four[:0], four[:0])
    with pytest.raises(ValueError, match=r"expected \[Q, 8\]"):
        comodo_loss(four, four, narrow, 0.1, 0.05)
    with pytest.raises(ValueError, match="teacher_temperature must be positive, got 0"):
        comodo_loss(four, four, four, 0.0, 0.05)
    with pytest.raises(ValueError, match="student_temperature must be positive, got -1"):
        comodo_loss(four, four, four, 0.1, -1.0)
    with pytest.raises(ValueError, match="temperature must be positive, got nan"):
        infonce_loss(four, four, float("nan"))


def plain_siglip(student: Tensor, teacher: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """The paper's sum, pair by pair."""
    student, teacher = (functional.normalize(x, dim=1) for x in (student, teacher))
    total = torch.zeros((), dtype=student.dtype)
    for i, window in enumerate(student):
        for j, video in enumerate(teacher):
            logit = scale * (window * video).sum() + bias
            total = total + torch.log1p(torch.exp(-logit if i == j else logit))
    return total / len(student)


def huber(difference: Tensor) -> Tensor:
    size = difference.abs()
    return torch.where(size <= 1, difference**2 / 2, size - 0.5)


def plain_distances(rows: Tensor) -> Tensor:
    """Pair by pair, divided by the mean over those of two windows."""
    zero = rows.new_zeros(())
    pairs = [
        [(one - other).square().sum().sqrt() if i != j else zero for j, other in enumerate(rows)]
        for i, one in enumerate(rows)
    ]
    distances = torch.stack([torch.stack(row) for row in pairs])
    return distances / (distances.sum() / (len(rows) * (len(rows) - 1)))


def plain_angles(rows: Tensor) -> Tensor:
    """Cosine of the angle at j between i and k, triplet by triplet; 0 where two are the same."""
    cosines = []
    for j, corner in enumerate(rows):
        for i, one in enumerate(rows):
            for k, other in enumerate(rows):
                a, b = one - corner, other - corner
                same = i == j or k == j
                cosine = a @ b / (a.norm() * b.norm()) if not same else rows.new_zeros(())
                cosines.append(cosine)
    return torch.stack(cosines)


def plain_relational(compare: str, student: Tensor, teacher: Tensor) -> Tensor:
    of = plain_distances if compare == "distance" else plain_angles
    student, teacher = (of(functional.normalize(x, dim=1)) for x in (student, teacher))
    return huber(student - teacher).mean()


def test_siglip_and_its_gradients_are_those_of_the_paper_s_sum() -> None:
    student, teacher = embeddings(6, 4), embeddings(6, 4, seed=1)
    results = []
    for loss in (siglip_loss, plain_siglip):
        inputs = [with_grad(student), *map(with_grad, torch.tensor([3.0, -1.5]).double())]
        value = loss(inputs[0], teacher, *inputs[1:])
        results.append((value, torch.autograd.grad(value, inputs)))
    torch.testing.assert_close(*results)
    low = with_grad(student.float())
    value = siglip_loss(low, teacher.float(), 3.0, -1.5)
    (gradient,) = torch.autograd.grad(value, low)
    torch.testing.assert_close(gradient.double(), results[0][1][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compare", ["distance", "angle"])
def test_relational_losses_are_those_of_the_paper_s_sums(compare: str) -> None:
    of = {"distance": relational_distance_loss, "angle": relational_angle_loss}[compare]
    student, teacher = embeddings(5, 4), embeddings(5, 4, seed=1)
    results = []
    for loss in (of, lambda *both: plain_relational(compare, *both)):
        given = with_grad(student)
        value = loss(given, teacher)
        results.append((value, torch.autograd.grad(value, given)))
    torch.testing.assert_close(*results)
    assert float(results[0][0].detach()) > 0.01
    low = with_grad(student.float())
    (gradient,) = torch.autograd.grad(of(low, teacher.float()), low)
    torch.testing.assert_close(gradient.double(), results[0][1][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss])
def test_relational_losses_see_no_rotation_and_survive_equal_windows(loss: Any) -> None:
    student = embeddings(6, 4)
    turn, _ = torch.linalg.qr(embeddings(4, 4, seed=2))
    assert float(loss(student, student @ turn)) == pytest.approx(0, abs=1e-12)
    same = with_grad(student[:1].repeat(3, 1))
    loss(same, embeddings(3, 4)).backward()
    assert same.grad is not None and same.grad.isfinite().all()


def plain_vicreg(one: Tensor, other: Tensor) -> Tensor:
    """Dimension by dimension, with torch's variance and covariance."""
    views, width = (one, other), one.shape[1]
    total = 25 * (one - other).square().mean()
    for view in views:
        covariance = torch.cov(view.T)
        for i in range(width):
            total = total + 25 * (1 - (view[:, i].var() + 1e-4).sqrt()).clamp(min=0) / width / 2
            for j in range(width):
                if i != j:
                    total = total + covariance[i, j] ** 2 / width
    return total


def test_vicreg_and_its_gradients_are_those_of_the_plain_sum() -> None:
    one, other = 0.6 * embeddings(7, 5), 1.4 * embeddings(7, 5, seed=1)
    results = []
    for loss in (vicreg_loss, plain_vicreg):
        inputs = [with_grad(one), with_grad(other)]
        value = loss(*inputs)
        results.append((value, torch.autograd.grad(value, inputs)))
    torch.testing.assert_close(*results)
    low = with_grad(one.float())
    (gradient,) = torch.autograd.grad(vicreg_loss(low, other.float()), low)
    torch.testing.assert_close(gradient.double(), results[0][1][0], rtol=1e-4, atol=1e-5)
