"""Embeddings of texts against a direct use of each model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    VideoPrismClipModel,
    VideoPrismConfig,
    XCLIPConfig,
    XCLIPModel,
)

from comodo.models.text import text_embeddings
from comodo.runtime.tiny_teachers import TEXT_LENGTH, save_tokenizer
from tests.tiny_teachers import IMAGE, TEXT, XCLIP, save, settings

TEXTS = ["a video of a person doing yoga", "running"]
LARGE: dict[str, Any] = {**TEXT, "vocab_size": 300, "max_position_embeddings": TEXT_LENGTH}
PRISM = {
    "image_size": 32, "num_frames": 2, "tubelet_size": [1, 16, 16], "hidden_size": 32,
    "num_attention_heads": 2, "intermediate_size": 32, "num_spatial_layers": 1,
    "num_temporal_layers": 1, "num_auxiliary_layers": 1,
}  # fmt: skip


def models() -> dict[str, Any]:
    naflex = {key: IMAGE[key] for key in IMAGE if key != "image_size"} | {"num_patches": 16}
    clip: dict[str, Any] = {"text_config": LARGE, "vision_config": IMAGE, "projection_dim": 24}
    xclip = XCLIP | {"text_config": LARGE}
    prism: dict[str, Any] = {"text_config": LARGE, "vision_config": PRISM}
    siglip2: dict[str, Any] = {"text_config": LARGE, "vision_config": naflex}
    return {
        "clip": CLIPModel(CLIPConfig(**clip)),
        "xclip": XCLIPModel(XCLIPConfig(**xclip)),
        "siglip": SiglipModel(SiglipConfig(text_config=LARGE, vision_config=IMAGE)),
        "siglip2": Siglip2Model(Siglip2Config(**siglip2)),
        "videoprism": VideoPrismClipModel(VideoPrismConfig(**prism)),
    }


@pytest.mark.parametrize("name", ["clip", "xclip", "siglip", "siglip2", "videoprism"])
def test_texts_are_in_the_space_of_the_model_s_own_similarities(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = models()[name].eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2)
    tokenizer = save_tokenizer(save(model, tmp_path))
    found = text_embeddings(settings("video", tmp_path), TEXTS)
    is_padded = name in ("siglip", "siglip2", "videoprism")
    if name == "siglip2":
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    lists = [tokenizer(text)["input_ids"] for text in TEXTS]
    length = TEXT_LENGTH if is_padded else max(map(len, lists))
    padded = [ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids in lists]
    masks = [[1] * len(ids) + [0] * (length - len(ids)) for ids in lists]
    tokens = {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(masks)}
    inputs = {"input_ids": tokens["input_ids"]}
    if not name.startswith("siglip"):
        inputs["attention_mask"] = tokens["attention_mask"]
    # What the model itself compares with its images or videos.
    pixels = torch.rand(1, 4, 3, 32, 32)
    with torch.no_grad():
        if name == "xclip":  # which adapts texts to the video before it compares them
            expected = model.get_text_features(**inputs).pooler_output
        elif name == "videoprism":
            expected = model(pixels[:, :2], **inputs).text_embeds
        elif name == "siglip2":
            patches = {
                "pixel_values": torch.rand(1, 16, 192),
                "spatial_shapes": torch.tensor([[4, 4]]),
            }
            mask = torch.ones(1, 16, dtype=torch.long)
            expected = model(**inputs, **patches, pixel_attention_mask=mask).text_embeds
        else:
            expected = model(pixel_values=pixels[:, 0], **inputs).text_embeds
    expected = torch.nn.functional.normalize(expected)
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_weights_without_text_and_texts_that_are_too_long_are_refused(tmp_path: Path) -> None:
    folder = save(Dinov2Model(Dinov2Config(**IMAGE)), tmp_path / "dino")
    with pytest.raises(ValueError, match="dinov2 gives no embeddings of texts"):
        text_embeddings(settings("image", folder), TEXTS)
    folder = save(models()["clip"], tmp_path / "clip")
    with pytest.raises(
        ValueError, match="have no tokenizer that fits: it has 2 tokens, the model 300"
    ):
        text_embeddings(settings("image", folder), TEXTS)
    save_tokenizer(folder)
    with pytest.raises(ValueError, match=f"has .* tokens; clip takes {TEXT_LENGTH}"):
        text_embeddings(settings("image", folder), ["walk " * 50])
