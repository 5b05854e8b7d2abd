"""The teachers against a direct use of the models that they wrap."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from torch import Tensor
from transformers import TimesformerConfig, TimesformerModel, VideoMAEConfig, VideoMAEModel

from comodo.teachers import Teacher, build_teacher

TINY: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def settings(name: str, weights: object = None, **others: Any) -> Any:
    fields = {"revision": None, "frames": None, "precision": "float32"} | others
    return SimpleNamespace(name=name, weights=None if weights is None else str(weights), **fields)


def frames(batch: int, teacher: Teacher, seed: int = 0) -> Tensor:
    shape = (batch, teacher.frames, teacher.image_size, teacher.image_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(seed))


def normalised(frames_BFHW3: Tensor, mean: list[float], std: list[float]) -> Tensor:
    pixels = (frames_BFHW3 / 255 - torch.tensor(mean)) / torch.tensor(std)
    return pixels.permute(0, 1, 4, 2, 3)


def save(model: Any, folder: Path, processor: bool = True) -> Path:
    model.save_pretrained(folder)
    if processor:
        content = {"image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": 32}}
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder


def timesformer() -> TimesformerModel:
    torch.manual_seed(0)
    return TimesformerModel(TimesformerConfig(**TINY)).eval()


def videomae(**config: Any) -> VideoMAEModel:
    torch.manual_seed(0)
    return VideoMAEModel(VideoMAEConfig(**TINY, **config)).eval()


def test_timesformer_is_the_mean_of_all_tokens(tmp_path: Path) -> None:
    model = timesformer()
    teacher = build_teacher(settings("timesformer", save(model, tmp_path)))
    assert (teacher.frames, teacher.image_size, teacher.dim) == (4, 32, 32)
    seen = frames(3, teacher)
    with torch.no_grad():
        tokens = model(normalised(seen, MEAN, STD)).last_hidden_state
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mean_pooling", [True, False])
def test_videomae_pools_as_its_config_says(tmp_path: Path, mean_pooling: bool) -> None:
    model = videomae(use_mean_pooling=mean_pooling)
    teacher = build_teacher(settings("videomae", save(model, tmp_path)))
    seen = frames(3, teacher)
    with torch.no_grad():
        tokens = model(normalised(seen, MEAN, STD)).last_hidden_state
    expected = tokens.mean(1) if mean_pooling else tokens[:, 0]
    torch.testing.assert_close(teacher(seen), expected, atol=1e-5, rtol=0)


def test_without_a_processor_the_family_s_mean_and_std_are_used(tmp_path: Path) -> None:
    model = timesformer()
    teacher = build_teacher(settings("timesformer", save(model, tmp_path, processor=False)))
    seen = frames(1, teacher)
    with torch.no_grad():
        tokens = model(normalised(seen, [0.45] * 3, [0.225] * 3)).last_hidden_state
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


def test_timesformer_takes_another_number_of_frames_and_videomae_does_not(tmp_path: Path) -> None:
    folder = save(timesformer(), tmp_path / "t")
    teacher = build_teacher(settings("timesformer", folder, frames=6))
    assert teacher(frames(1, teacher)).shape == (1, 32)
    with pytest.raises(ValueError, match="takes 4 frames, not 6"):
        build_teacher(settings("videomae", save(videomae(), tmp_path / "v"), frames=6))


def test_bf16_is_near_float32_and_comes_out_as_float32(tmp_path: Path) -> None:
    folder = save(videomae(), tmp_path)
    full = build_teacher(settings("videomae", folder))
    half = build_teacher(settings("videomae", folder, precision="bf16"))
    seen = frames(2, full)
    assert half(seen).dtype == torch.float32
    assert not torch.equal(half(seen), full(seen))
    torch.testing.assert_close(half(seen), full(seen), atol=0.05, rtol=0)


def test_a_teacher_is_frozen_and_repeats_itself(tmp_path: Path) -> None:
    folder = save(videomae(hidden_dropout_prob=0.5), tmp_path)
    teacher = build_teacher(settings("videomae", folder)).train()
    seen = frames(2, teacher)
    features = teacher(seen)
    assert not features.requires_grad
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert torch.equal(features, teacher(seen))
    assert torch.equal(features, build_teacher(settings("videomae", folder))(seen))


def test_other_frames_than_uint8_of_the_right_shape_are_refused(tmp_path: Path) -> None:
    teacher = build_teacher(settings("videomae", save(videomae(), tmp_path)))
    with pytest.raises(ValueError, match=r"uint8 frames of shape \[B, 4, 32, 32, 3\].*float32"):
        teacher(frames(1, teacher).float())
    with pytest.raises(ValueError, match=r"not torch.uint8 \[1, 2, 32, 32, 3\]"):
        teacher(frames(1, teacher)[:, :2])


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ValueError, match="missing.*`hf download .*local folder"):
        build_teacher(settings("timesformer", missing))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="`hf download nobody/nothing`"):
        build_teacher(settings("videomae", "nobody/nothing"))
    with pytest.raises(ValueError, match="needs `weights`"):
        build_teacher(settings("videomae"))


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    folder = save(videomae(), tmp_path)
    with pytest.raises(ValueError, match="do not fit timesformer"):
        build_teacher(settings("timesformer", folder))


def test_weights_with_parts_missing(tmp_path: Path) -> None:
    folder = save(videomae(use_mean_pooling=True), tmp_path)  # has no last layer norm
    config = json.loads((folder / "config.json").read_text()) | {"use_mean_pooling": False}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="do not fit videomae: parts are missing"):
        build_teacher(settings("videomae", folder))


def test_precomputed_is_not_an_encoder() -> None:
    with pytest.raises(ValueError, match="'precomputed' is not an encoder"):
        build_teacher(settings("precomputed"))


def test_efficientnet_lite0_tells_textures_apart(capsys: pytest.CaptureFixture[str]) -> None:
    teacher = build_teacher(settings("efficientnet-lite0"))
    assert (teacher.frames, teacher.image_size, teacher.dim) == (4, 224, 1280)
    stripes = torch.zeros(4, 224, 224, 3, dtype=torch.uint8)
    stripes[:, ::16] = 255
    both = torch.stack([stripes, frames(1, teacher)[0]])
    features = teacher(both)
    assert features.shape == (2, 1280) and features.dtype == torch.float32
    assert features.isfinite().all()
    assert torch.cosine_similarity(features[0], features[1], dim=0) < 0.9
    torch.testing.assert_close(features[:1], teacher(both[:1]), atol=1e-4, rtol=0)
    assert capsys.readouterr() == ("", "")


def test_efficientnet_lite0_averages_its_frames_features() -> None:
    one = build_teacher(settings("efficientnet-lite0", frames=1))
    two = build_teacher(settings("efficientnet-lite0", frames=2))
    seen = frames(1, two)
    pixels = (seen[0].float() - 127).permute(0, 3, 1, 2) / 128
    encoder: Any = two.encoder
    maps = encoder.extract_features(pixels)
    torch.testing.assert_close(two(seen)[0], maps.mean(dim=(0, 2, 3)), atol=1e-4, rtol=0)
    apart = torch.stack([one(seen[:, :1]), one(seen[:, 1:])]).mean(0)
    torch.testing.assert_close(two(seen), apart, atol=1e-4, rtol=0)
