"""The queue against the golden states and against a deque."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from comodo.training.queue import TeacherQueue, published_windows
from tests.paths import GOLDEN

LOSSES = GOLDEN / "losses.npz"
CASES = [
    "comodo_small",
    "comodo_queue_not_multiple",
    "comodo_queue_smaller_than_batch",
    "comodo_sharp",
]


@pytest.mark.parametrize("case", CASES)
def test_golden_queue_after(case: str) -> None:
    golden = np.load(LOSSES)
    queue = TeacherQueue(torch.from_numpy(golden[f"{case}/queue"]))
    for teacher in torch.from_numpy(golden[f"{case}/teacher"]):
        queue.push(teacher)
    expected = torch.from_numpy(golden[f"{case}/queue_after"])
    torch.testing.assert_close(queue.ordered(), expected, rtol=0, atol=1e-12)


@given(size=st.integers(1, 12), batches=st.lists(st.integers(0, 30), max_size=8))
def test_behaves_like_a_deque(size: int, batches: list[int]) -> None:
    numbered = functional.normalize(torch.randn(size + sum(batches), 4), dim=1)
    rows = deque(numbered[:size], maxlen=size)
    queue = TeacherQueue(numbered[:size])
    for batch in numbered[size:].split(batches):
        rows.extend(batch)
        queue.push(batch)
        torch.testing.assert_close(queue.ordered(), torch.stack(list(rows)))
        assert len(queue) == size


def test_embeddings_are_normalised_and_the_input_is_left_alone() -> None:
    first = torch.full((3, 2), 5.0)
    queue = TeacherQueue(first)
    queue.push(torch.full((2, 2), 7.0, requires_grad=True))
    torch.testing.assert_close(queue.keys_QD.norm(dim=1), torch.ones(3))
    assert not queue.keys_QD.requires_grad
    assert torch.equal(first, torch.full((3, 2), 5.0))


def test_a_push_writes_in_place() -> None:
    queue = TeacherQueue(torch.randn(8, 4))
    address = queue.keys_QD.data_ptr()
    queue.push(torch.randn(3, 4))
    assert queue.keys_QD.data_ptr() == address


def test_a_state_restores_bit_for_bit() -> None:
    queue = TeacherQueue(torch.randn(7, 4))
    queue.push(torch.randn(3, 4))
    state = queue.state_dict()
    other = TeacherQueue(torch.randn(7, 4))
    batch = torch.randn(5, 4)
    queue.push(batch)
    other.load_state_dict(state)
    other.push(batch)
    assert torch.equal(queue.keys_QD, other.keys_QD)
    assert torch.equal(queue.ordered(), other.ordered())


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="Q >= 1"):
        TeacherQueue(torch.empty(0, 4))
    with pytest.raises(ValueError, match="Q >= 1"):
        TeacherQueue(torch.randn(4))
    queue = TeacherQueue(torch.randn(7, 4))
    with pytest.raises(ValueError, match=r"expected \[B, 4\]"):
        queue.push(torch.randn(2, 5))
    with pytest.raises(ValueError, match="queue state is"):
        queue.load_state_dict(TeacherQueue(torch.randn(6, 4)).state_dict())


@pytest.mark.parametrize(("count", "size"), [(12, 5), (4553, 2048), (9, 9)])
def test_published_windows_are_visited_in_the_order_of_the_list(count: int, size: int) -> None:
    """The published code goes through the list, and puts those that were drawn into the queue."""
    drawn = set(np.random.RandomState(16349).choice(range(count), size, replace=False))
    queue = [place for place in range(count) if place in drawn]
    assert published_windows(count, size).tolist() == queue
