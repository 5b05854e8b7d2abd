"""The family `video` against a direct use of the models that it wraps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    PeVideoEncoder,
    PeVideoEncoderConfig,
    VideoPrismClipModel,
    VideoPrismConfig,
    VideoPrismVisionConfig,
    VideoPrismVisionModel,
    ViTConfig,
    VivitConfig,
    VivitForVideoClassification,
    VivitModel,
    VJEPA2Config,
    VJEPA2Model,
    XCLIPConfig,
    XCLIPModel,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from comodo.config.video_teachers import POOLINGS
from comodo.models.pooling import pooled
from comodo.models.teachers import build_teacher
from tests.tiny_teachers import (
    IMAGE,
    MEAN,
    STD,
    TINY,
    VJEPA2,
    XCLIP,
    frames,
    normalised,
    save,
    settings,
    timesformer,
    videomae,
)

VIVIT: dict[str, Any] = {key: TINY[key] for key in TINY if key != "patch_size"} | {
    "tubelet_size": [2, 8, 8]
}
PRISM: dict[str, Any] = {
    "image_size": 32,
    "num_frames": 4,
    "tubelet_size": [1, 8, 8],
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "num_auxiliary_layers": 1,
}
TEXT: dict[str, Any] = {
    "vocab_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def random(model: Any) -> Any:
    """The model with weights so large that what it gives depends on what it sees."""
    generator = torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=generator)
    return model.eval()


def prism_clip() -> Any:
    config = VideoPrismConfig(vision_config=PRISM, text_config={**TEXT, "intermediate_size": 64})
    return random(VideoPrismClipModel(config))


CASES: dict[str, tuple[Any, dict[str | None, Any]]] = {
    "vivit": (
        lambda: random(VivitModel(VivitConfig(**VIVIT))),
        {
            None: lambda m, x: m(x).last_hidden_state[:, 0],
            "cls": lambda m, x: m(x).last_hidden_state[:, 0],
            "mean": lambda m, x: m(x).last_hidden_state.mean(1),
            "pooled": lambda m, x: m(x).pooler_output,
        },
    ),
    "xclip": (
        lambda: random(XCLIPModel(XCLIPConfig(**XCLIP))),
        {
            None: lambda m, x: m.get_video_features(x).pooler_output,
            "joint": lambda m, x: m.get_video_features(x).pooler_output,
            "mean": lambda m, x: (
                m.vision_model(x.flatten(0, 1)).last_hidden_state.reshape(len(x), -1, 32).mean(1)
            ),
        },
    ),
    "videoprism_vision_model": (
        lambda: random(VideoPrismVisionModel(VideoPrismVisionConfig(**PRISM))),
        {None: lambda m, x: m(x).last_hidden_state.mean(1)},
    ),
    "videoprism": (
        prism_clip,
        {
            None: lambda m, x: m.get_video_features(x).pooler_output[:, 0],
            "mean": lambda m, x: m.video_model(x).last_hidden_state.mean(1),
        },
    ),
    "timesformer": (
        timesformer,
        {
            None: lambda m, x: m(x).last_hidden_state.mean(1),
            "cls": lambda m, x: m(x).last_hidden_state[:, 0],
        },
    ),
    "videomae": (
        lambda: videomae(use_mean_pooling=False),
        {None: lambda m, x: m(x).last_hidden_state.mean(1)},
    ),
    "vjepa2": (
        lambda: random(VJEPA2Model(VJEPA2Config(**VJEPA2))),
        {None: lambda m, x: m.get_vision_features(x).mean(1)},
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_feature_of_each_architecture_and_pooling(tmp_path: Path, kind: str) -> None:
    model, features = CASES[kind][0](), CASES[kind][1]
    mean, std = ([0.0] * 3, [1.0] * 3) if "prism" in kind else (MEAN, STD)
    save(model, tmp_path, size={"height": 32, "width": 32})
    for pooling, feature in features.items():
        teacher = build_teacher(settings("video", tmp_path, pooling=pooling))
        seen = frames(3, teacher)
        with torch.no_grad():
            expected = feature(model, normalised(seen, mean, std))
        assert (teacher.frames, teacher.image_size, teacher.dim) == (4, 32, expected.shape[1])
        assert expected.std(dim=0).max() > 1e-4, "the windows are told apart"
        torch.testing.assert_close(teacher(seen), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vivit", "xclip", "videoprism"])
def test_bf16_is_near_float32_and_comes_out_as_float32(tmp_path: Path, kind: str) -> None:
    save(CASES[kind][0](), tmp_path, size={"height": 32, "width": 32})
    full = build_teacher(settings("video", tmp_path))
    half = build_teacher(settings("video", tmp_path, precision="bf16"))
    seen = frames(2, full)
    exact, found = full(seen), half(seen)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert torch.cosine_similarity(found, exact).min() > 0.99


def test_pe_video_is_pooled_by_its_first_token() -> None:
    """Its vision side is one of another library; a ViT in its place shows which output is taken."""
    vit = ViTConfig(**IMAGE)
    config = PeVideoEncoderConfig(
        vision_config=vit, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, head_dim=16,
    )  # fmt: skip
    model = random(PeVideoEncoder(config))
    pixels = torch.randn(2, 4, 3, 32, 32, generator=torch.manual_seed(0))
    with torch.no_grad():
        out = model(pixels)
    assert pooled(out, "pooled").equal(out.pooler_output)
    torch.testing.assert_close(pooled(out, "mean"), out.last_hidden_state.mean(1))
    assert out.last_hidden_state.shape == (2, 4, 32), "a token for each frame"


def test_a_number_of_frames_that_weights_do_not_take_is_refused(tmp_path: Path) -> None:
    for name, model in (
        ("vivit", VivitModel(VivitConfig(**VIVIT))),
        ("xclip", XCLIPModel(XCLIPConfig(**XCLIP))),
        ("prism", VideoPrismVisionModel(VideoPrismVisionConfig(**PRISM))),
        ("videomae", videomae()),
    ):
        folder = save(model, tmp_path / name, size={"height": 32, "width": 32})
        with pytest.raises(ValueError, match=f"{name} takes 4 frames, not 6"):
            build_teacher(settings("video", folder, frames=6))


def test_a_size_that_weights_do_not_take_is_refused(tmp_path: Path) -> None:
    model = VivitModel(VivitConfig(**VIVIT))
    folder = save(model, tmp_path, size={"height": 40, "width": 40})
    with pytest.raises(ValueError, match="not a video encoder for 4 frames of 40 pixels"):
        build_teacher(settings("video", folder))


def test_vivit_s_processor_takes_one_from_the_scaled_pixels(tmp_path: Path) -> None:
    model = random(VivitModel(VivitConfig(**VIVIT)))
    model.save_pretrained(tmp_path)
    processor = {
        "image_processor_type": "VivitImageProcessor",
        "rescale_factor": 1 / 127.5,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "crop_size": {"height": 32, "width": 32},
        "size": {"shortest_edge": 36},
    }
    for offset in ({"offset": True}, {}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor | offset))
        teacher = build_teacher(settings("video", tmp_path))
        seen = frames(2, teacher)
        pixels = ((seen / 127.5 - 1) - 0.5) / 0.5
        with torch.no_grad():
            tokens = model(pixels.permute(0, 1, 4, 2, 3)).last_hidden_state
        torch.testing.assert_close(teacher(seen), tokens[:, 0], atol=1e-5, rtol=1e-4)


def test_a_processor_among_others_in_one_file_is_read(tmp_path: Path) -> None:
    model = random(VivitModel(VivitConfig(**VIVIT)))
    model.save_pretrained(tmp_path)
    video = {"image_mean": MEAN, "image_std": STD, "size": {"height": 32, "width": 32}}
    (tmp_path / "processor_config.json").write_text(json.dumps({"video_processor": video}))
    teacher = build_teacher(settings("video", tmp_path))
    seen = frames(2, teacher)
    with torch.no_grad():
        tokens = model(normalised(seen, MEAN, STD)).last_hidden_state
    torch.testing.assert_close(teacher(seen), tokens[:, 0], atol=1e-5, rtol=1e-4)


def test_weights_of_a_classifier_have_no_pooled_output(tmp_path: Path) -> None:
    folder = save(VivitForVideoClassification(VivitConfig(**VIVIT)), tmp_path, size=32)
    assert build_teacher(settings("video", folder)).dim == 32
    with pytest.raises(ValueError, match="no pooled output; choose another pooling"):
        build_teacher(settings("video", folder, pooling="pooled"))


def test_poolings_that_an_architecture_lacks_and_unknown_ones(tmp_path: Path) -> None:
    folder = save(videomae(), tmp_path / "videomae")
    with pytest.raises(ValueError, match="pooling: videomae has no cls; choose mean"):
        build_teacher(settings("video", folder, pooling="cls"))
    bert = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=8)
    folder = save(BertModel(bert), tmp_path / "bert")
    with pytest.raises(ValueError, match="'bert', whose pooling is not known: set .*pooling to"):
        build_teacher(settings("video", folder))
    with pytest.raises(ValueError, match="not a video encoder for 4 frames of 32 pixels"):
        build_teacher(settings("video", folder, pooling="mean", frames=4))
    with pytest.raises(ValueError, match="how many frames they take: set trial.teacher.frames"):
        build_teacher(settings("video", folder, pooling="mean"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new/config.json").write_text('{"model_type": "new"}')
    with pytest.raises(ValueError, match="'new', which AutoModel of the installed transformers"):
        build_teacher(settings("video", tmp_path / "new", pooling="mean"))


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
class TinyConfig(PretrainedConfig):
    model_type = "tiny-of-its-own"
class Tiny(PreTrainedModel):
    config_class = TinyConfig
    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.post_init()
    def forward(self, pixels):
        return pixels.mean(dim=(1, 3, 4)) * self.scale
"""


def test_code_that_comes_with_weights_runs_where_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "c"))
    (tmp_path / "tiny.py").write_text(CODE)
    where = {"AutoConfig": "tiny.TinyConfig", "AutoModel": "tiny.Tiny"}
    config: dict[str, Any] = {"model_type": "tiny-of-its-own", "auto_map": where}
    (tmp_path / "config.json").write_text(json.dumps(config))
    colours = {"image_mean": MEAN, "image_std": STD, "size": 8}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(colours))
    save_file({"scale": torch.tensor([1.0, 2.0, 3.0])}, tmp_path / "model.safetensors",
              {"format": "pt"})  # fmt: skip
    given: dict[str, Any] = {"pooling": "pooled", "frames": 2}
    with pytest.raises(ValueError, match="run their own code"):
        build_teacher(settings("video", tmp_path, **given))
    allowed = {**given, "allow_remote_code": str(tmp_path)}
    teacher = build_teacher(settings("video", tmp_path, **allowed))
    seen = frames(2, teacher)
    expected: Tensor = normalised(seen, MEAN, STD).mean(dim=(1, 3, 4)) * torch.tensor([1.0, 2, 3])
    torch.testing.assert_close(teacher(seen), expected, atol=1e-5, rtol=1e-4)
    config["auto_map"] = {"AutoModel": "others/code--tiny.Tiny"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="code of another repository, others/code; download both"):
        build_teacher(settings("video", tmp_path, **allowed))


def test_weights_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="`hf download nobody/nothing`"):
        build_teacher(settings("video", "nobody/nothing"))


def test_all_architectures_of_the_table_are_in_the_installed_transformers() -> None:
    assert not POOLINGS.keys() - MODEL_MAPPING_NAMES.keys()
