"""The encoders against direct use of their libraries, at tiny sizes with random weights."""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mantis.architecture import Mantis8M, MantisV1, MantisV2
from torch import Tensor
from torch.nn import functional

from comodo.models import mantis_fast
from comodo.models.mantis import MantisEncoder, MantisV2Encoder
from comodo.models.students import load_student, save_student
from tests.tiny_students import DIM, FAMILIES, MANTIS, SIZES, T5, left_padded, make, windows

pytestmark = [
    # MOMENT's own pipeline checkpoints by default, by a name that transformers has renamed, ...
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning"),
    # ... and warns of a head that embedding does not have.
    pytest.mark.filterwarnings("ignore:Only reconstruction head is pre-trained"),
]

MOMENT_CONFIG: dict[str, Any] = {
    "task_name": "reconstruction",
    "transformer_backbone": "google/flan-t5-small",
    "transformer_type": "encoder_only",
    "d_model": None,  # as on the hub: taken from t5_config
    "seq_len": 64,
    "patch_len": 8,
    "patch_stride_len": 8,
    "patch_dropout": 0.0,
    "t5_config": {**T5, "dropout_rate": 0.0, "vocab_size": 10, "feed_forward_proj": "gated-gelu"},
}
CHRONOS_CONFIG: dict[str, Any] = {
    "context_length": 48,
    "prediction_length": 4,
    "input_patch_size": 8,
    "input_patch_stride": 8,
    "quantiles": [0.1, 0.5, 0.9],
    "use_reg_token": True,
}


def moment_pipeline(**changes: Any) -> Any:
    from momentfm import MOMENTPipeline

    return MOMENTPipeline({**MOMENT_CONFIG, **changes}, model_kwargs={"task_name": "embedding"})


def saved_moment(folder: Path, **changes: Any) -> Any:
    """The library's pipeline, from random weights that it saved."""
    moment_pipeline(**changes).save_pretrained(folder)
    pipeline = type(moment_pipeline()).from_pretrained(
        str(folder), model_kwargs={"task_name": "embedding"}
    )
    pipeline.init()
    return pipeline.eval()


def saved_chronos(folder: Path, **changes: Any) -> Any:
    """The library's pipeline, from random weights that it saved."""
    from chronos import ChronosBoltPipeline
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    ids = {"pad_token_id": 0, "decoder_start_token_id": 0}
    config = T5Config.from_dict({**T5, **ids, "chronos_config": {**CHRONOS_CONFIG, **changes}})
    ChronosBoltModelForForecasting(config).save_pretrained(folder)
    return ChronosBoltPipeline.from_pretrained(folder)


def test_sizes_of_the_sweep_file_are_those_of_the_libraries() -> None:
    no_size = {"device", "pre_training", "return_transf_layer", "output_token"}
    for encoder in (MantisEncoder, MantisV2Encoder):
        arguments = {"seq_len", *inspect.signature(encoder.library).parameters}
        assert set(encoder.SIZE) == arguments - no_size


@pytest.mark.parametrize("library", [MantisV1, Mantis8M, MantisV2])
def test_mantis_equals_its_library(library: Any, tmp_path: Path) -> None:
    extra = {"kernel_size": 5} if library is MantisV2 else {"seq_len": 32}
    torch.manual_seed(0)  # others differ by a little more than the limits below
    network = library(**MANTIS, **extra, device="cpu").eval()
    network.save_pretrained(tmp_path)
    student = make("mantis-v2" if library is MantisV2 else "mantis", weights=str(tmp_path))
    imu = windows(3, 6, 50)
    resized = functional.interpolate(imu, size=512 if library is MantisV2 else 32, mode="linear")
    channels = [network(resized[:, [channel]]) for channel in range(6)]
    torch.testing.assert_close(student(imu), torch.cat(channels, dim=1), rtol=0, atol=1e-6)
    assert student.dim == 6 * DIM


@pytest.mark.parametrize("name", ["mantis", "mantis-v2"])
@pytest.mark.parametrize("rewritten", [True, False])
def test_any_output_of_mantis_equals_its_library(
    name: str, rewritten: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mantis_fast, "is_supported", lambda: rewritten)
    library: Any = {"mantis": MantisV1, "mantis-v2": MantisV2}[name]
    extra = {"kernel_size": 5} if library is MantisV2 else {"seq_len": 32}
    torch.manual_seed(0)  # others differ by a little more than the limits below
    network = library(**MANTIS, **extra, device="cpu").eval()
    network.save_pretrained(tmp_path)
    imu = windows(2, 6, 50)
    resized = functional.interpolate(imu, size=512 if library is MantisV2 else 32, mode="linear")
    for layer in (0, 1, None):
        for token, width in (("cls_token", DIM), ("mean_token", DIM), ("combined", 2 * DIM)):
            network.return_transf_layer = -1 if layer is None else layer
            network.output_token = token  # as the library's from_pretrained sets them
            expected = torch.cat([network(resized[:, [channel]]) for channel in range(6)], dim=1)
            output = {"return_transf_layer": layer, "output_token": token}
            student = make(name, weights=str(tmp_path), **output)
            torch.testing.assert_close(student(imu), expected, rtol=0, atol=1e-6)
            assert student.dim == 6 * width


def test_layers_of_mantis_after_the_last_used_are_left_out(tmp_path: Path) -> None:
    whole, short = make("mantis-v2"), make("mantis-v2", return_transf_layer=0)
    layer = sum(
        p.numel() for p in whole.encoder.network.transf_unit.transformer.layers[1].parameters()
    )
    counts = [sum(p.numel() for p in student.parameters()) for student in (whole, short)]
    assert counts[0] - counts[1] == layer
    short.train()(windows(2, 6, 40)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in short.parameters())
    save_student(short, tmp_path)
    loaded, imu = load_student(tmp_path).eval(), windows(2, 6, 40)
    assert torch.equal(loaded(imu), short.eval()(imu))
    with pytest.raises(ValueError, match=r"return_transf_layer 2 is not one of 0\.\.1"):
        make("mantis-v2", return_transf_layer=2)


@pytest.mark.parametrize("samples", [43, 64, 75])
def test_moment_equals_its_library(samples: int, tmp_path: Path) -> None:
    pipeline = saved_moment(tmp_path)
    imu = windows(3, 6, samples)
    missing = {43: 21, 64: 0, 75: 5}[samples]  # up to seq_len, or up to whole patches
    partial = -(-missing // 8)  # patches with a padded sample count as padding
    padded = functional.pad(imu, (missing, 0))
    real = torch.ones(3, padded.shape[-1])
    real[:, :missing] = 0
    patches = pipeline.embed(x_enc=padded, input_mask=real, reduction="none").embeddings
    masked = patches[:, :, partial:].mean(dim=2).flatten(1)
    patches = pipeline.embed(x_enc=padded, reduction="none").embeddings
    unmasked = patches.mean(dim=2).flatten(1)
    student = make("moment", weights=str(tmp_path))
    torch.testing.assert_close(student(imu), masked, rtol=0, atol=1e-5)
    torch.testing.assert_close(student(imu, mask=False), unmasked, rtol=0, atol=1e-5)
    assert torch.allclose(masked, unmasked, atol=1e-3) == (missing == 0)
    assert student.dim == 6 * DIM


def test_moment_takes_windows_of_its_length_as_they_are(tmp_path: Path) -> None:
    pipeline = saved_moment(tmp_path, seq_len=512)
    student, imu = make("moment", weights=str(tmp_path)), windows(2, 6, 1000)
    seen = []
    student.encoder.network.encoder.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["attention_mask"]), with_kwargs=True
    )
    patches = pipeline.embed(x_enc=imu, reduction="none").embeddings
    long = patches.mean(dim=2).flatten(1)
    torch.testing.assert_close(student(imu), long, rtol=0, atol=1e-5)
    student(imu[..., -500:])
    assert [mask.shape for mask in seen] == [(12, 125), (12, 64)]
    assert [int(mask.sum(dim=1).unique()) for mask in seen] == [125, 62]
    assert seen[1][:, :2].sum() == 0  # padding is on the left


def test_without_the_mask_only_short_windows_of_moment_change() -> None:
    lengths = torch.tensor([70, 40, 64, 12])
    imu = left_padded(lengths.tolist())
    for name in FAMILIES:
        student = make(name)
        masked, unmasked = student(imu, lengths), student(imu, lengths, mask=False)
        same = [torch.equal(a, b) for a, b in zip(masked, unmasked, strict=True)]
        assert same == ([False, False, True, False] if name == "moment" else [True] * 4), name


@pytest.mark.parametrize("use_reg_token", [True, False])
def test_chronos_equals_its_library(use_reg_token: bool, tmp_path: Path) -> None:
    pipeline = saved_chronos(tmp_path, use_reg_token=use_reg_token)
    student = make("chronos-bolt", weights=str(tmp_path))
    for samples in (48, 43, 5, 60):  # whole patches, not so, less than one, more than is read
        imu = windows(3, 6, samples)
        tokens, _ = pipeline.embed(imu.flatten(0, 1))
        assert tokens.shape[1] == min(6, -(-samples // 8)) + use_reg_token
        expected = tokens.mean(dim=1).reshape(3, 6 * DIM)
        torch.testing.assert_close(student(imu), expected, rtol=0, atol=1e-5)
    assert student.dim == 6 * DIM


def test_chronos_padding_does_not_enter_the_mean(tmp_path: Path) -> None:
    pipeline = saved_chronos(tmp_path)
    student = make("chronos-bolt", weights=str(tmp_path), channels=["gyro_y"], pooling="mean")
    lengths = [40, 17, 8, 3]
    imu = left_padded(lengths)
    series = [row[4, -length:] for row, length in zip(imu, lengths, strict=True)]
    tokens, _ = pipeline.embed(series)  # pads them with NaN to the longest
    # Of its five patches and [REG] those count that hold a real sample, and [REG].
    real = [5, 3, 1, 1]
    rows = zip(tokens, real, strict=True)
    expected = torch.stack([row[-(patches + 1) :].mean(dim=0) for row, patches in rows])
    features = student(imu[:, [4]], torch.tensor(lengths))
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(features[1:], tokens[1:].mean(dim=1), atol=1e-3)


def gradients_equal(student: Any, theirs: dict[str, Tensor]) -> None:
    for name, parameter in student.encoder.network.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-5)


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
    gradients_equal(student, dict(pipeline.named_parameters()))


def test_chronos_has_the_gradients_of_its_library(tmp_path: Path) -> None:
    model = saved_chronos(tmp_path).model
    student, imu = make("chronos-bolt", weights=str(tmp_path)), windows(3, 6, 43)
    student(imu).square().sum().backward()
    model.encode(imu.flatten(0, 1))[0].mean(dim=1).square().sum().backward()
    gradients_equal(student, dict(model.named_parameters()))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_is_trained(name: str) -> None:
    student = make(name).train()
    student(windows(2, 6, 40)).square().sum().backward()
    untrained = [key for key, value in student.named_parameters() if value.grad is None]
    assert untrained == []
    first = next(student.parameters())
    assert first.requires_grad and first.grad is not None


def test_chronos_strides_as_its_patches_unless_told() -> None:
    def chronos_config(**size: int) -> Any:
        student = make("chronos-bolt", size={**T5, **size})
        return student.encoder.network.chronos_config

    assert chronos_config().input_patch_stride == 16
    assert chronos_config(input_patch_size=8).input_patch_stride == 8
    assert chronos_config(input_patch_size=8, input_patch_stride=4).input_patch_stride == 4
    with pytest.raises(ValueError, match="input_patch_size 8 is not a multiple of input_patch_st"):
        chronos_config(input_patch_size=8, input_patch_stride=3)


@pytest.mark.parametrize(
    ("name", "library", "command"),
    [
        ("moment", "momentfm", "pip install --no-deps momentfm"),
        ("chronos-bolt", "chronos", "pip install chronos-forecasting"),
    ],
)
def test_without_its_library_a_student_names_the_command(
    name: str, library: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=f"{name} needs the library {library}: {command}"):
        make(name)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    MantisV2(**MANTIS, kernel_size=5, device="cpu").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not fit mantis|is not mantis"):
        make("mantis", weights=str(tmp_path))
    with pytest.raises(ValueError, match="is not MOMENT"):
        make("moment", weights=str(tmp_path))
    for other in ({}, {"chronos_config": {"input_patch_size": 16, "output_patch_size": 16}}):
        (tmp_path / "config.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match="is not Chronos-Bolt"):
            make("chronos-bolt", weights=str(tmp_path))
    config = {**T5, "chronos_config": CHRONOS_CONFIG}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is not chronos-bolt: it lacks encoder.block.0"):
        make("chronos-bolt", weights=str(tmp_path))


def test_wrong_sizes_and_too_short_windows_are_refused() -> None:
    for name, key in {
        "mantis": "transf_depth",
        "mantis-v2": "kernel_size",
        "moment": "num_layers",
        "chronos-bolt": "input_patch_stride",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}: unknown \['depth'\]; valid are .*{key}"):
            make(name, size={"depth": 2})
    with pytest.raises(ValueError, match="seq_len 30 is not a multiple of num_patches 4"):
        make("mantis", size={**SIZES["mantis"], "seq_len": 30})
    with pytest.raises(ValueError, match="at least 8 samples, a window has 5"):
        make("moment")(windows(2, 6, 5))
