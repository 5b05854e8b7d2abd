"""Checkpoints of the published code: the encoder that is read out of them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mantis.architecture import Mantis8M
from safetensors.torch import save_file
from torch import nn

from comodo.config import StudentConfig
from comodo.models.checkpoints import read_encoder
from comodo.models.students import Student, build_student
from tests.models.test_encoders import MOMENT_CONFIG
from tests.tiny_students import DIM, MANTIS, SIZES, make, windows

pytestmark = [
    # As in tests/models/test_encoders.py.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Only reconstruction head is pre-trained"),
]

MANTIS_SIZE = {**MANTIS, "seq_len": 32}


def in_training(encoder: nn.Module, width: int) -> nn.Module:
    """A student as the published code trains it: an encoder and the projector `comodo` uses."""
    student = nn.Module()
    student.imu_student = encoder
    hidden = [nn.Linear(width, 20), nn.BatchNorm1d(20), nn.GELU(), nn.Linear(20, 4)]
    student.mlp = nn.Sequential(*hidden)
    return student


def mantis() -> Any:
    return Mantis8M(**MANTIS_SIZE, device="cpu").eval()


def moment() -> Any:
    from momentfm import MOMENTPipeline

    config = {**MOMENT_CONFIG, "d_model": DIM}
    task = {"task_name": "classification", "n_channels": 6, "num_class": 3, "reduction": "concat"}
    pipeline = MOMENTPipeline(config, model_kwargs=task)
    pipeline.init()
    return pipeline.eval()


def built(name: str, file: Path, **changes: Any) -> Student:
    size = MANTIS_SIZE if name == "mantis" else SIZES["moment"]
    settings: Any = {"name": name, "weights": str(file), "size": size, **changes}
    return build_student(StudentConfig.model_validate(settings)).eval()


def saved(module: nn.Module, folder: Path, name: str = "model.pth") -> Path:
    torch.save(module.state_dict(), folder / name)
    return folder / name


def test_the_encoder_of_a_mantis_checkpoint_is_used(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = mantis()
    file = saved(in_training(encoder, 6 * DIM), tmp_path)
    imu = windows(3, 6, 32)
    expected = torch.cat([encoder(imu[:, [channel]]) for channel in range(6)], dim=1)
    torch.testing.assert_close(built("mantis", file)(imu), expected, rtol=0, atol=1e-6)
    state = {name: tensor.contiguous() for name, tensor in torch.load(file).items()}
    save_file(state, tmp_path / "model.safetensors")
    same = built("mantis", tmp_path / "model.safetensors")(imu)
    torch.testing.assert_close(same, expected, rtol=0, atol=1e-6)
    few = built("mantis", file, channels=["acc_z", "gyro_x"], return_transf_layer=0)
    assert few.dim == 2 * DIM  # later layers are in the file, and not needed


def test_the_encoder_of_a_moment_checkpoint_is_used(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = moment()
    file = saved(in_training(encoder, 6 * DIM), tmp_path)
    imu = windows(3, 6, 64)
    with torch.inference_mode():
        patches = encoder(x_enc=imu, reduction="concat").embeddings.mean(dim=1)
        expected = patches.unflatten(1, (DIM, 6)).mT.flatten(1)  # channels are its last axis
        torch.testing.assert_close(built("moment", file)(imu), expected, rtol=0, atol=1e-5)


def test_other_losses_and_mantis_trained_with_labels(tmp_path: Path) -> None:
    encoder, other = mantis(), nn.Module()
    other.imu_student, other.dense = encoder, nn.Linear(6 * DIM, 12)
    labelled = nn.Module()
    labelled.encoder = encoder
    labelled.head = nn.Sequential(nn.LayerNorm(6 * DIM), nn.Linear(6 * DIM, 3))
    imu = windows(2, 6, 32)
    expected = built("mantis", saved(in_training(encoder, 6 * DIM), tmp_path))(imu)
    for number, module in enumerate((other, labelled)):
        assert torch.equal(built("mantis", saved(module, tmp_path, f"{number}.pt"))(imu), expected)
    assert read_encoder(tmp_path / "0.pt")[1] == read_encoder(tmp_path / "1.pt")[1] == 6 * DIM


def test_the_pooling_must_be_that_of_the_checkpoint(tmp_path: Path) -> None:
    mean = saved(in_training(moment(), DIM), tmp_path)
    assert built("moment", mean, pooling="mean").dim == DIM
    with pytest.raises(ValueError, match=r"takes 16 features.*set student\.pooling: mean"):
        built("moment", mean)
    concat = saved(in_training(moment(), 6 * DIM), tmp_path, "concat.pth")
    with pytest.raises(ValueError, match=r"takes 96 features.*set student\.pooling: concat"):
        built("moment", concat, pooling="mean")


def test_another_size_is_refused(tmp_path: Path) -> None:
    file = saved(in_training(mantis(), 6 * DIM), tmp_path)
    for size in ({}, {**MANTIS_SIZE, "hidden_dim": 8}, {**MANTIS_SIZE, "transf_depth": 3}):
        with pytest.raises(ValueError, match=r"does not fit mantis|it lacks"):
            built("mantis", file, size=size)
    with pytest.raises(ValueError, match=r"transf_unit\.transformer\.layers\.1.*set student\.size"):
        built("mantis", file, size={**MANTIS_SIZE, "transf_depth": 1})
    with pytest.raises(ValueError, match=r"model\.pth.* is not moment"):
        built("moment", file)


RAN: list[str] = []


def leave_a_trace() -> None:
    RAN.append("ran")


class WithCode:
    """Runs a function when it is read by pickle."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return leave_a_trace, ()


def test_files_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    encoder = mantis()
    projector = nn.Module()
    projector.mlp = in_training(encoder, 6 * DIM).mlp
    others: dict[str, tuple[Any, str]] = {
        "projector": (projector.state_dict(), "projector without an encoder.*pretrained"),
        "encoder": (encoder.state_dict(), "begin with imu_student.*has prj.*a folder with config"),
        "moment": (moment().state_dict(), "begin with imu_student.*has encoder"),
        "empty": ({}, "has nothing"),
        "nested": ({"state_dict": encoder.state_dict(), "epoch": 3}, "no state dict; save them"),
        "tensor": (torch.ones(2), "no state dict; save them"),
        "code": ({"imu_student.x": WithCode()}, "holds Python objects, whose code is not run"),
    }
    for name, (content, message) in others.items():
        file = tmp_path / f"{name}.pth"
        torch.save(content, file)
        with pytest.raises(ValueError, match=message) as caught:
            read_encoder(file)
        assert f"{name}.pth" in str(caught.value)
    assert RAN == []
    torch.load(tmp_path / "code.pth", weights_only=False)
    assert RAN == ["ran"]  # as it would have been
    for suffix in (".pth", ".safetensors"):
        (tmp_path / f"cut{suffix}").write_bytes(b"no tensors")
        with pytest.raises(ValueError, match="the file is damaged"):
            read_encoder(tmp_path / f"cut{suffix}")


def test_a_student_from_a_checkpoint_differs_from_one_from_scratch(tmp_path: Path) -> None:
    file = saved(in_training(mantis(), 6 * DIM), tmp_path)
    imu = windows(2, 6, 32)
    assert not torch.allclose(built("mantis", file)(imu), make("mantis")(imu), atol=1e-3)
