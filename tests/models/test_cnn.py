"""The convolutional student: a plain formulation, and what its feature does not depend on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.signal import correlate

from comodo.config import StudentConfig
from comodo.models.cnn import GROUPS, SILENCE, CnnEncoder, ResidualBlock
from comodo.models.students import build_student, load_student, save_student
from tests.tiny_students import left_padded, windows

SIZE = {"seq_len": 32, "width": 8, "kernel": 3}


def make(**size: int) -> Any:
    torch.manual_seed(0)
    settings = StudentConfig.model_validate({"name": "cnn", "size": {**SIZE, **size}})
    return build_student(settings).eval()


def convolved(x_CT: np.ndarray, layer: Any) -> np.ndarray:
    """A convolution, one output channel and one input channel after the other."""
    weight = layer.weight.detach().numpy().astype(np.float64)
    pad, stride = layer.padding[0], layer.stride[0]
    padded_CT = np.pad(x_CT, ((0, 0), (pad, pad)))
    out = [
        sum(correlate(x, w, "valid") for x, w in zip(padded_CT, ws, strict=True)) for ws in weight
    ]
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()[:, None]
    return np.stack(out)[:, ::stride] + bias


def normalised(x_WT: np.ndarray, layer: Any) -> np.ndarray:
    groups = x_WT.reshape(GROUPS, -1)
    mean, variance = groups.mean(axis=1, keepdims=True), groups.var(axis=1, keepdims=True)
    scaled = ((groups - mean) / np.sqrt(variance + layer.eps)).reshape(x_WT.shape)
    weight, bias = (parameter.detach().numpy()[:, None] for parameter in (layer.weight, layer.bias))
    return scaled * weight + bias


def plain(encoder: CnnEncoder, imu_CT: np.ndarray) -> np.ndarray:
    """The feature of one window."""
    x_CT = imu_CT.astype(np.float64)
    deviation = np.maximum(x_CT.std(axis=1, keepdims=True), SILENCE)
    x_CT = np.concatenate([(x_CT - x_CT.mean(axis=1, keepdims=True)) / deviation, np.arcsinh(x_CT)])
    for layer in encoder.network:
        if isinstance(layer, ResidualBlock):
            inner = np.maximum(normalised(convolved(x_CT, layer.first), layer.first_norm), 0)
            outer = normalised(convolved(inner, layer.second), layer.second_norm)
            x_CT = np.maximum(outer + convolved(x_CT, layer.shortcut), 0)
        else:
            x_CT = convolved(x_CT, layer)
    return np.concatenate([x_CT.mean(axis=1), x_CT.max(axis=1)])


def test_it_is_the_plain_formulation() -> None:
    student, imu_BCT = make(), 3 * windows(4, 6, 32)
    for parameter in student.parameters():  # norms start at 1 and 0
        parameter.data += 0.1 * torch.randn_like(parameter)
    expected = np.stack([plain(student.encoder, imu_CT.numpy()) for imu_CT in imu_BCT])
    np.testing.assert_allclose(student(imu_BCT).detach(), expected, rtol=1e-4, atol=1e-4)
    assert student.dim == expected.shape[1] == 2 * 4 * SIZE["width"]


def test_a_window_does_not_depend_on_its_batch_or_on_training() -> None:
    lengths = [70, 40, 12, 33]
    student, imu = make(), left_padded(lengths)
    together = student(imu, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = student(imu[[row], :, -length:])
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=1e-5)
    assert torch.equal(student.train()(imu, torch.tensor(lengths)), together)


def test_it_tells_gravity_strength_and_shape_apart() -> None:
    student, imu_BCT = make(), windows(1, 6, 32)
    turned, stronger, still = imu_BCT.clone(), 2 * imu_BCT, torch.zeros_like(imu_BCT)
    turned[:, 2] += 1
    features = torch.cat([student(x) for x in (imu_BCT, turned, stronger, still)])
    assert torch.cdist(features, features).fill_diagonal_(1).min() > 1e-3
    assert features.isfinite().all()


def test_it_is_stored_as_any_student(tmp_path: Path) -> None:
    student, imu_BCT = make(), windows(2, 6, 40)
    save_student(student, tmp_path)
    assert torch.equal(load_student(tmp_path).eval()(imu_BCT), student(imu_BCT))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"pooling": "mean"}, "takes all channels together"),
        ({"weights": "a/b"}, "starts from scratch"),
        ({"size": {"depth": 3}}, "size.depth"),
    ],
)
def test_settings_that_it_does_not_have(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        StudentConfig.model_validate({"name": "cnn", **settings})


@pytest.mark.parametrize("size", [{"width": 12}, {"kernel": 4}])
def test_sizes_that_do_not_fit(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="width must be a multiple of 8, kernel odd"):
        make(**size)
