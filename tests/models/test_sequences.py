"""Windows of unequal lengths through a network: chunks, patches and padding."""

import pytest
import torch

from comodo.models import sequences
from tests.tiny_students import FAMILIES, left_padded, make, windows


@pytest.mark.parametrize("name", FAMILIES)
def test_chunks_change_no_more_than_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    student, imu = make(name), windows(4, 6, 40)
    whole = student(imu)
    monkeypatch.setattr(sequences, "_AT_ONCE_CPU", 5)
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
