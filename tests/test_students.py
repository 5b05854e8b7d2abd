"""The students against direct use of the libraries, at tiny sizes with random weights."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mantis.architecture import Mantis8M, MantisV1, MantisV2
from torch import Tensor, nn
from torch.nn import functional

from comodo import students
from comodo.config import CHANNELS
from comodo.students import Student, build_head, build_student, load_student, save_student

MANTIS: dict[str, int] = {
    "hidden_dim": 16,
    "num_patches": 4,
    "hidden_dim_scalar_enc": 4,
    "transf_depth": 2,
    "transf_num_heads": 2,
    "transf_mlp_dim": 32,
    "transf_dim_head": 8,
}
SIZES: dict[str, dict[str, int]] = {
    "mantis": {**MANTIS, "seq_len": 32},
    "mantis-v2": {**MANTIS, "seq_len": 32, "kernel_size": 5},
    "moment": {
        "d_model": 16,
        "num_layers": 2,
        "num_heads": 2,
        "d_kv": 8,
        "d_ff": 32,
        "seq_len": 64,
    },
}
MOMENT_CONFIG: dict[str, Any] = {
    "task_name": "reconstruction",
    "transformer_backbone": "google/flan-t5-small",
    "transformer_type": "encoder_only",
    "d_model": None,  # as on the hub: taken from t5_config
    "seq_len": 64,
    "patch_len": 8,
    "patch_stride_len": 8,
    "patch_dropout": 0.0,
    "t5_config": {
        "d_model": 16,
        "num_layers": 2,
        "num_heads": 2,
        "d_kv": 8,
        "d_ff": 32,
        "dropout_rate": 0.0,
        "vocab_size": 10,
        "feed_forward_proj": "gated-gelu",
    },
}
FAMILIES = sorted(SIZES)


def make(name: str, **changes: Any) -> Student:
    """A student in eval mode, from scratch at a tiny size unless weights are named."""
    defaults = {"weights": None, "revision": None, "pooling": "concat", "channels": CHANNELS}
    size = {} if "weights" in changes else SIZES[name]
    settings: Any = SimpleNamespace(**{"name": name, "size": size, **defaults, **changes})
    return build_student(settings).eval()


def windows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def left_padded(lengths: list[int]) -> Tensor:
    imu = windows(len(lengths), 6, max(lengths))
    for row, length in enumerate(lengths):
        imu[row, :, : max(lengths) - length] = 0
    return imu


def moment_pipeline(**changes: Any) -> Any:
    from momentfm import MOMENTPipeline

    return MOMENTPipeline({**MOMENT_CONFIG, **changes}, model_kwargs={"task_name": "embedding"})


@pytest.mark.parametrize("library", [MantisV1, Mantis8M, MantisV2])
def test_mantis_equals_its_library(library: Any, tmp_path: Path) -> None:
    extra = {"kernel_size": 5} if library is MantisV2 else {"seq_len": 32}
    network = library(**MANTIS, **extra, device="cpu").eval()
    network.save_pretrained(tmp_path)
    student = make("mantis-v2" if library is MantisV2 else "mantis", weights=str(tmp_path))
    imu = windows(3, 6, 50)
    resized = functional.interpolate(imu, size=512 if library is MantisV2 else 32, mode="linear")
    channels = [network(resized[:, [channel]]) for channel in range(6)]
    torch.testing.assert_close(student(imu), torch.cat(channels, dim=1), rtol=0, atol=1e-6)
    assert student.dim == 6 * 16


@pytest.mark.parametrize("samples", [43, 64, 75])
def test_moment_equals_its_library(samples: int, tmp_path: Path) -> None:
    moment_pipeline().save_pretrained(tmp_path)
    pipeline = type(moment_pipeline()).from_pretrained(
        str(tmp_path), model_kwargs={"task_name": "embedding"}
    )
    pipeline.init()
    pipeline.eval()
    imu = windows(3, 6, samples)
    missing = {43: 21, 64: 0, 75: 5}[samples]  # up to seq_len, or up to whole patches
    partial = -(-missing // 8)  # patches with a padded sample count as padding
    padded = functional.pad(imu, (missing, 0))
    mask = torch.ones(3, padded.shape[-1])
    mask[:, :missing] = 0
    patches = pipeline.embed(x_enc=padded, input_mask=mask, reduction="none").embeddings
    expected = patches[:, :, partial:].mean(dim=2).flatten(1)
    student = make("moment", weights=str(tmp_path))
    torch.testing.assert_close(student(imu), expected, rtol=0, atol=1e-5)
    assert student.dim == 6 * 16


def test_moment_without_checkpointing_has_the_gradients_of_its_library(tmp_path: Path) -> None:
    thawed = {"freeze_embedder": False, "freeze_encoder": False}
    pipeline = moment_pipeline(**thawed, enable_gradient_checkpointing=True)
    pipeline.save_pretrained(tmp_path)
    student = make("moment", weights=str(tmp_path)).train()
    pipeline.init()
    pipeline.train()
    imu = windows(3, 6, 64)
    student(imu).square().sum().backward()
    patches = pipeline.embed(x_enc=imu, reduction="none").embeddings
    patches.mean(dim=2).square().sum().backward()
    theirs = dict(pipeline.named_parameters())
    for name, parameter in student.encoder.network.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_is_trained(name: str) -> None:
    student = make(name).train()
    student(windows(2, 6, 40)).square().sum().backward()
    untrained = [key for key, value in student.named_parameters() if value.grad is None]
    assert untrained == []
    first = next(student.parameters())
    assert first.requires_grad and first.grad is not None


@pytest.mark.parametrize("name", FAMILIES)
def test_pooling_and_channels(name: str) -> None:
    torch.manual_seed(0)
    whole = make(name)
    imu = windows(3, 6, 50)
    features = whole(imu).unflatten(1, (6, 16))
    few, mean = make(name, channels=["gyro_z", "acc_x"]), make(name, pooling="mean")
    for other in (few, mean):
        other.load_state_dict(whole.state_dict())
    torch.testing.assert_close(few(imu), features[:, [5, 0]].flatten(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(mean(imu), features.mean(dim=1), rtol=0, atol=1e-6)
    assert (few.dim, mean.dim) == (32, 16)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_window_does_not_depend_on_its_batch(name: str) -> None:
    lengths = [70, 40, 12, 33, 70, 64]
    student, imu = make(name), left_padded(lengths)
    together = student(imu, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = student(imu[[row], :, -length:])
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=1e-5)
    shorter = student(imu[1:4, :, -40:], torch.tensor(lengths[1:4]))
    torch.testing.assert_close(together[1:4], shorter, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_chunks_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    student, imu = make(name), windows(4, 6, 40)
    whole = student(imu)
    monkeypatch.setattr(students, "_SEQUENCES_AT_ONCE_CPU", 5)
    assert torch.equal(student(imu), whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_students_load_bit_for_bit(name: str, tmp_path: Path) -> None:
    student, imu = make(name, channels=["acc_y", "gyro_x"], pooling="mean"), windows(2, 6, 40)
    save_student(make(name), tmp_path)  # is overwritten
    save_student(student, tmp_path)
    loaded = load_student(tmp_path).eval()
    assert torch.equal(loaded(imu), student(imu))
    assert loaded.dim == student.dim and loaded.description == student.description
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.safetensors", "student.json"]


def test_students_from_the_hub_load_again_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, saved = tmp_path / "hub", tmp_path / "saved"
    MantisV1(**SIZES["mantis"], device="cpu").save_pretrained(hub)
    asked = []

    def snapshot(repository: str, **options: Any) -> str:
        asked.append((repository, options["revision"]))
        return str(hub)

    monkeypatch.setattr(students, "snapshot_download", snapshot)
    student = make("mantis", weights="somebody/mantis", revision="abc")
    save_student(student, saved)
    imu = windows(2, 6, 40)
    assert torch.equal(load_student(saved).eval()(imu), student(imu))
    assert asked == [("somebody/mantis", "abc")]


def test_heads() -> None:
    mlp, linear = build_head("mlp", 12, 4, hidden_dim=20), build_head("linear", 12, 4)
    features = windows(5, 12)
    inner = functional.batch_norm(mlp[0](features), None, None, training=True)
    torch.testing.assert_close(mlp(features), mlp[3](functional.gelu(inner)))
    torch.testing.assert_close(linear(features), linear[0](features))
    assert [type(layer) for layer in mlp] == [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Linear]


def test_unreachable_weights_name_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(students, "snapshot_download", offline)
    with pytest.raises(ValueError, match="'a/b'.*Download once with `hf download a/b`"):
        make("mantis", weights="a/b")
    with pytest.raises(ValueError, match="has no model.safetensors"):
        make("mantis", weights=str(tmp_path))
    with pytest.raises(ValueError, match="holds no saved student"):
        load_student(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    MantisV2(**MANTIS, kernel_size=5, device="cpu").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not fit mantis|is no mantis"):
        make("mantis", weights=str(tmp_path))
    with pytest.raises(ValueError, match="is no MOMENT"):
        make("moment", weights=str(tmp_path))


def test_wrong_settings_and_windows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown \['depth'\]; valid are .*transf_depth"):
        make("mantis", size={"depth": 2})
    with pytest.raises(ValueError, match=r"unknown \['depth'\]; valid are .*num_layers"):
        make("moment", size={"depth": 2})
    with pytest.raises(ValueError, match="seq_len 30 is not a multiple of num_patches 4"):
        make("mantis", size={**SIZES["mantis"], "seq_len": 30})
    for channels in ([], ["acc_w"]):
        with pytest.raises(ValueError, match="choose some of acc_x"):
            make("mantis", channels=channels)
    student, imu = make("moment"), windows(2, 6, 40)
    with pytest.raises(ValueError, match=r"\[B, 6, T\]"):
        student(imu[:, :3])
    for lengths in ([40], [40, 41], [0, 40]):
        with pytest.raises(ValueError, match=r"need 2 lengths within 1\.\.40"):
            student(imu, torch.tensor(lengths))
    with pytest.raises(ValueError, match="at least 8 samples, a window has 5"):
        student(imu[:, :, -5:])
