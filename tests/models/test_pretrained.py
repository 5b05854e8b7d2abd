"""Weights of teachers: where they come from, what is refused, how frames are prepared."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    VJEPA2Config,
    VJEPA2Model,
)

from comodo.models.teachers import build_teacher
from tests.tiny_teachers import (
    IMAGE,
    STD,
    VJEPA2,
    frames,
    normalised,
    save,
    settings,
    timesformer,
    videomae,
)


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"size": {"shortest_edge": 48}, "crop_size": 40}, 40),
        ({"size": 48, "crop_size": 40, "do_center_crop": False}, 48),
        ({"size": {"height": 48, "width": 48}}, 48),
        ({"resample": 3}, 32),  # the config's own
    ],
)
def test_an_image_encoder_s_frames_are_as_large_as_its_processor_makes_them(
    tmp_path: Path, processor: dict[str, Any], size: int
) -> None:
    folder = save(Dinov2Model(Dinov2Config(**IMAGE)), tmp_path, **processor)
    teacher = build_teacher(settings("image", folder, frames=3))
    assert (teacher.frames, teacher.image_size) == (3, size)
    assert teacher(frames(1, teacher)).shape == (1, 32)


def write_config(folder: Path, **changes: Any) -> Path:
    """Changes the content of a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))
    return folder


def test_weights_that_ask_for_code_of_their_own_are_refused(tmp_path: Path) -> None:
    code = {"AutoModel": "code.Model", "AutoConfig": "code.Config"}
    for name, model in (
        ("videomae", videomae()),
        ("vjepa2", VJEPA2Model(VJEPA2Config(**VJEPA2))),
        ("image", Dinov2Model(Dinov2Config(**IMAGE))),
    ):
        folder = write_config(save(model, tmp_path / name), auto_map=code)
        (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        with pytest.raises(ValueError, match="auto_map in config.json"):
            build_teacher(settings(name, folder))
    assert not (tmp_path / "ran").exists()


CODE = """
from pathlib import Path
from transformers import ConvNextConfig, ConvNextModel
Path({ran!r}).touch()
class Config(ConvNextConfig):
    pass
class Model(ConvNextModel):
    config_class = Config
"""


def test_code_that_comes_with_weights_runs_where_it_is_allowed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "c"))
    code, ran = {"AutoModel": "mine.Model", "AutoConfig": "mine.Config"}, tmp_path / "ran"
    model = ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16, 16, 32], depths=[1] * 4))
    folder = write_config(save(model, tmp_path / "own"), auto_map=code)
    (folder / "mine.py").write_text(CODE.format(ran=str(ran)))
    for allowed in (None, str(tmp_path / "another")):
        with pytest.raises(ValueError, match=f"allow_remote_code: {folder}"):
            build_teacher(settings("image", folder, allow_remote_code=allowed))
    assert not ran.exists()
    teacher = build_teacher(settings("image", folder, allow_remote_code=str(folder)))
    assert ran.exists()
    assert teacher(frames(1, teacher)).shape == (1, 32)


def test_weights_that_need_another_library_are_refused(tmp_path: Path) -> None:
    folder = write_config(tmp_path, model_type="timm_wrapper", architecture="resnet18")
    (folder / "model.safetensors").touch()
    with pytest.raises(ValueError, match="need a library that is not installed: .*timm library"):
        build_teacher(settings("image", folder))


def test_without_a_processor_the_family_s_mean_and_std_are_used(tmp_path: Path) -> None:
    model = timesformer()
    teacher = build_teacher(settings("timesformer", save(model, tmp_path, processor="")))
    seen = frames(1, teacher)
    with torch.no_grad():
        tokens = model(normalised(seen, [0.45] * 3, [0.225] * 3)).last_hidden_state
    torch.testing.assert_close(teacher(seen), tokens.mean(1), atol=1e-5, rtol=0)


def test_pixels_are_what_the_processor_makes_of_them(tmp_path: Path) -> None:
    model = Dinov2Model(Dinov2Config(**IMAGE)).eval()
    folder = save(model, tmp_path, size={"height": 32, "width": 32})
    file = folder / "preprocessor_config.json"
    kept = json.loads(file.read_text())
    for changes, mean, std in (
        ({"do_normalize": False}, [0.0] * 3, [1.0] * 3),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, [0.7, 0.75, 0.8], None),
    ):
        file.write_text(json.dumps(kept | changes))
        teacher = build_teacher(settings("image", folder, frames=1))
        seen = frames(2, teacher)
        pixels = normalised(seen, mean, std or [value / 2 for value in STD])
        with torch.no_grad():
            expected = model(pixels[:, 0]).pooler_output
        torch.testing.assert_close(teacher(seen), expected, atol=1e-5, rtol=1e-4)


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ValueError, match="missing.*`hf download .*local folder"):
        build_teacher(settings("timesformer", missing))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="`hf download nobody/nothing`"):
        build_teacher(settings("videomae", "nobody/nothing"))
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("videomae", "vjepa2", "image"):
        with pytest.raises(ValueError, match="empty.*`hf download"):
            build_teacher(settings(name, empty))
        with pytest.raises(ValueError, match="needs `weights`"):
            build_teacher(settings(name))


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    folder = save(videomae(), tmp_path)
    with pytest.raises(ValueError, match="do not fit timesformer"):
        build_teacher(settings("timesformer", folder))
    with pytest.raises(ValueError, match="do not fit vjepa2"):
        build_teacher(settings("vjepa2", folder))


def test_weights_with_parts_missing(tmp_path: Path) -> None:
    folder = save(videomae(use_mean_pooling=True), tmp_path)  # has no last layer norm
    write_config(folder, use_mean_pooling=False)
    with pytest.raises(ValueError, match="do not fit videomae: parts are missing"):
        build_teacher(settings("videomae", folder))
