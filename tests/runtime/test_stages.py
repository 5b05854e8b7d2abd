"""Texts of classes, embedded next to a teacher's features; whole stages are in tests/e2e."""

from pathlib import Path

import pytest
import torch

from comodo.config import TeacherConfig
from comodo.config.measures import PROMPT
from comodo.core.store import Store
from comodo.data.precomputed import EncodeError
from comodo.data.prompts import load_prompts, prompts_file
from comodo.runtime.stages import encode_prompts
from comodo.runtime.tiny_teachers import tiny_teacher
from tests.errors import raises


def teacher_of(name: str, store: Store) -> TeacherConfig:
    weights = str(tiny_teacher(name, store))
    return TeacherConfig.model_validate({"name": "image", "weights": weights, "pooling": "joint"})


def test_texts_of_the_classes_are_embedded_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = tmp_path / "features", Store(tmp_path / "store")
    folder.mkdir()
    classes, teacher = ["sit_down", "yoga"], teacher_of("clip", store)
    encode_prompts(teacher, classes, PROMPT, folder)
    prompts, text_KD = load_prompts(prompts_file(folder, PROMPT))
    assert prompts == ["a video of a person doing sit down", "a video of a person doing yoga"]
    torch.testing.assert_close(text_KD.norm(dim=1), torch.ones(2))
    assert "2 texts, such as 'a video of a person doing sit down'" in capsys.readouterr().out
    encode_prompts(teacher, classes, PROMPT, folder)
    assert "texts" not in capsys.readouterr().out
    encode_prompts(teacher, classes, "{class}", folder)
    assert len(list(folder.iterdir())) == 2


def test_a_teacher_without_text_is_refused(tmp_path: Path) -> None:
    teacher = teacher_of("dinov2", Store(tmp_path))
    with raises(EncodeError, "features.no-text", "trial.teacher", "gives no embeddings of texts"):
        encode_prompts(teacher, ["yoga"], PROMPT, tmp_path)
