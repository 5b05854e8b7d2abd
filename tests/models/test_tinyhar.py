"""The recurrent student: a plain formulation, its weights, and what its feature does not depend
on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from comodo.config import CHANNELS, StudentConfig
from comodo.models.cnn import SILENCE
from comodo.models.students import build_student, load_student, save_student
from comodo.models.tinyhar import TinyHar
from tests.models.test_cnn import convolved, normalised
from tests.tiny_students import left_padded, windows

SIZE = {"seq_len": 32, "filters": 8, "kernel": 3}


def make(channels: tuple[str, ...] = CHANNELS, **size: int) -> Any:
    """With weights at random, also those that start at 0 or 1."""
    torch.manual_seed(0)
    settings = {"name": "tinyhar", "size": {**SIZE, **size}, "channels": [*channels]}
    student = build_student(StudentConfig.model_validate(settings)).eval()
    for parameter in student.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return student


def numbers(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().numpy().astype(np.float64)


def recurrent(x_LW: np.ndarray, layer: Any) -> np.ndarray:
    """An LSTM, one step after the other."""
    into, back = numbers(layer.weight_ih_l0), numbers(layer.weight_hh_l0)
    bias = numbers(layer.bias_ih_l0) + numbers(layer.bias_hh_l0)
    state = memory = np.zeros(x_LW.shape[1])
    states = []
    for step in x_LW:
        add, keep, new, give = np.split(into @ step + back @ state + bias, 4)
        memory = expit(keep) * memory + expit(add) * np.tanh(new)
        state = expit(give) * np.tanh(memory)
        states.append(state)
    return np.stack(states)


def plain(network: TinyHar, imu_CT: np.ndarray) -> np.ndarray:
    """The feature of one window, one channel and one step after the other."""
    of_channels = []
    for channel_T in imu_CT.astype(np.float64):
        deviation = max(channel_T.std(), SILENCE)
        x_FT = np.stack([(channel_T - channel_T.mean()) / deviation, np.arcsinh(channel_T)])
        layers = iter(network.convolutions)
        for convolution, _, norm in zip(layers, layers, layers, strict=True):
            x_FT = normalised(np.maximum(convolved(x_FT, convolution), 0), norm)
        of_channels.append(x_FT)
    attention, fusion = network.interaction, network.fusion
    query, key, value = (
        numbers(part.weight) for part in (attention.query, attention.key, attention.value)
    )
    steps = []
    for x_CF in np.moveaxis(np.stack(of_channels), 2, 0):
        heard = np.zeros_like(x_CF)
        for row, x_F in enumerate(x_CF):
            weights = softmax([(query @ x_F) @ (key @ other_F) for other_F in x_CF])
            heard[row] = sum(
                weight * (value @ other_F) for weight, other_F in zip(weights, x_CF, strict=True)
            )
        together_CF = x_CF + numbers(attention.gain) * heard
        fused = numbers(fusion.weight) @ together_CF.ravel() + numbers(fusion.bias)
        steps.append(np.maximum(fused, 0))
    state_LW, last = recurrent(np.stack(steps), network.recurrent), network.aggregation
    inner_LW = np.tanh(state_LW @ numbers(last.inner.weight).T + numbers(last.inner.bias))
    weights = softmax(inner_LW @ numbers(last.score.weight)[0])
    return state_LW[-1] + numbers(last.gain) * (weights @ state_LW)


def test_it_is_the_plain_formulation() -> None:
    student, imu_BCT = make(), 3 * windows(4, 6, 32)
    network = student.encoder.network
    for gain in (network.interaction.gain, network.aggregation.gain):
        assert abs(gain) > 0.01  # else what follows says nothing of what they multiply
    expected = np.stack([plain(network, imu_CT.numpy()) for imu_CT in imu_BCT])
    np.testing.assert_allclose(student(imu_BCT).detach(), expected, rtol=1e-4, atol=1e-4)
    assert student.dim == expected.shape[1] == 2 * SIZE["filters"]


@pytest.mark.parametrize("channels", [3, 6, 18])
def test_its_weights_have_a_tenth_of_a_megabyte_to_one(channels: int) -> None:
    places = [f"{place}.{name}" for place in ("hand", "hip", "head") for name in CHANNELS]
    settings = {"name": "tinyhar", "channels": places[:channels]}
    student = build_student(StudentConfig.model_validate(settings))
    assert 0.1e6 < sum(4 * parameter.numel() for parameter in student.parameters()) < 1e6


def test_a_new_one_learns_with_all_its_weights() -> None:
    """What starts at 0 has a gradient, and what it multiplies after a step."""
    settings = {"name": "tinyhar", "size": SIZE}
    student = build_student(StudentConfig.model_validate(settings))
    optimizer = torch.optim.SGD(student.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        student(windows(4, 6, 32)).square().sum().backward()
        optimizer.step()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name


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
    student, imu_BCT = make(channels=CHANNELS[:3]), windows(2, 3, 40)
    save_student(student, tmp_path)
    assert torch.equal(load_student(tmp_path).eval()(imu_BCT), student(imu_BCT))


@pytest.mark.parametrize("size", [{"filters": 12}, {"kernel": 4}])
def test_sizes_that_do_not_fit(size: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="filters must be a multiple of 8, kernel odd"):
        make(**size)
