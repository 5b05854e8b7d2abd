"""Windows of unequal lengths through a network: chunks, patches and padding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from comodo.models import sequences
from comodo.models.sequences import in_chunks, in_patches
from tests.tiny_students import FAMILIES, left_padded, make, windows


@pytest.mark.parametrize("name", FAMILIES)
def test_chunks_change_no_more_than_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    student, imu = make(name), windows(4, 6, 40)
    whole = student(imu)
    monkeypatch.setattr(sequences, "_CHUNK_SAMPLES_CPU", 5)
    torch.testing.assert_close(student(imu), whole, rtol=1e-5, atol=1e-6)


def test_padding_is_not_read() -> None:
    lengths = torch.tensor([40, 12])
    imu = left_padded(lengths.tolist())
    spoilt = imu.clone()
    spoilt[1, :, :28] = torch.nan
    for name in FAMILIES:
        student = make(name)
        for mask in (True, False):
            assert torch.equal(student(spoilt, lengths, mask), student(imu, lengths, mask)), name


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    patch=st.integers(1, 8),
    at_least=st.integers(0, 24),
)
def test_each_window_is_padded_to_whole_patches_of_its_own(
    lengths: list[int], patch: int, at_least: int
) -> None:
    imu_BCT = left_padded(lengths)

    def encode(x_NT: Tensor, real_NT: Tensor) -> Tensor:
        assert x_NT.shape[1] % patch == 0 and x_NT.shape[1] >= at_least
        assert not x_NT[~real_NT].any()
        width_N = torch.full((len(x_NT),), float(x_NT.shape[1]))
        return torch.stack([x_NT.sum(1), real_NT.sum(1), width_N], dim=1)

    out_BCD = in_patches(encode, imu_BCT, lengths, patch, at_least)
    for window_CT, out_CD, length in zip(imu_BCT, out_BCD, lengths, strict=True):
        torch.testing.assert_close(out_CD[:, 0], window_CT[:, -length:].sum(1))
        assert out_CD[:, 1].tolist() == [length] * 6
        # No wider than whole patches that hold it need to be.
        assert (out_CD[:, 2] - max(length, at_least) < patch).all()
    longest = [imu_BCT.shape[-1]] * len(lengths)
    assert torch.equal(
        in_patches(encode, imu_BCT, None, patch, at_least),
        in_patches(encode, imu_BCT, longest, patch, at_least),
    )


@pytest.mark.parametrize("samples", [1, 7, 2**15 - 1, 2**15, 2**16 + 1])
def test_on_a_cpu_so_many_samples_are_encoded_at_once(samples: int) -> None:
    sizes = []

    def encode(x_NT: Tensor, scale_N1: Tensor) -> Tensor:
        sizes.append(len(x_NT))
        return x_NT[:, :1] * scale_N1

    x_NT, scale_N1 = windows(5, samples), windows(5, 1)
    assert torch.equal(in_chunks(encode, x_NT, scale_N1), x_NT[:, :1] * scale_N1)
    assert max(sizes) * samples <= 2**15 or max(sizes) == 1
    assert sum(sizes) == 5
