"""Losses that are classes of another package or of the user's file."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.terms import TERMS, Terms
from comodo.core.labels import NO_LABEL
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.losses.loss import Step
from comodo.models.students import build_student
from comodo.training.distill import Distillation
from comodo.training.epoch import TrainingError
from comodo.training.terms import build_terms, refuse_unusable
from tests.config.test_load import sweep_file
from tests.core.test_members import installed
from tests.errors import raises
from tests.helpers import make_arrays, trial_config
from tests.test_docs import BLOCKS

PAGE = {block.file: block.text for block in BLOCKS if block.page == "docs/extending.md"}
LOSS = PAGE["my_loss.py"]
OWN: dict[str, Any] = {"name": "cosine", "file": "my_loss.py", "class": "Cosine"}
ALONE = """
import torch
class Alone(torch.nn.Module):
    NEEDS_TEACHER = False
    VERSION = 7
    def __init__(self, student_dim):
        super().__init__()
        self.layer = torch.nn.Linear(student_dim, 1)
    def forward(self, step):
        return self.layer(step.feature_BW).square().mean()
"""


def sweep(folder: Path, *terms: Any, text: str = LOSS, allow: bool = True, **changes: Any) -> Sweep:
    (folder / "my_loss.py").write_text(text)
    method = {"terms": list(terms)}
    allowed = ["my_loss.py"] if allow else []
    return read_sweep_file(sweep_file(folder, trial__method=method, allow_code=allowed, **changes))


def test_the_loss_of_the_page_is_its_formula(tmp_path: Path) -> None:
    method = sweep(tmp_path, OWN | {"settings": {"power": 3}}, "l2").trial.method
    assert method.title == "l2+cosine"
    term = build_terms(method, 5, 3)["cosine"]
    student_BD = torch.randn(6, 4)
    teacher_BD = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    none = torch.zeros(0)
    found = term(Step(none, none, student_BD, teacher_BD, none))
    cosine_B = torch.cosine_similarity(student_BD, teacher_BD)
    torch.testing.assert_close(found, ((1 - cosine_B) ** 3).mean())


def test_a_student_is_trained_by_it_alone(tmp_path: Path) -> None:
    """Its own layer is trained too, and starts from the seed."""
    store = Store(tmp_path / "store")
    make_arrays(store)
    term = OWN | {"class": "Alone", "name": "alone"}
    found = sweep(tmp_path, term, text=ALONE, trial__teacher=None)
    assert not found.trial.method.needs_teacher
    config = trial_config(epochs=1).model_copy(update={"method": found.trial.method})
    windows = WindowArrays.load(store.folder("arrays", "w"))
    features = FeatureArrays.load(store.folder("arrays", "f"))
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        student = build_student(config.student)
        run = Distillation(config, 0, windows, features, student, "cpu")
        before = run.terms.state_dict()["alone.loss.layer.weight"].clone()
        run.train_epoch()
        after = run.terms.state_dict()["alone.loss.layer.weight"]
        assert not torch.equal(before, after)
        weights.append(after)
    assert torch.equal(*weights)


def test_with_labels_only_labelled_windows_are_trained_on(tmp_path: Path) -> None:
    """It has no classifier, as the term supervised has."""
    store = Store(tmp_path / "store")
    make_arrays(store)
    term, text = OWN | {"class": "Alone"}, ALONE.replace("VERSION", "NEEDS_LABELS = True; VERSION")
    method = sweep(tmp_path, term, text=text, trial__teacher=None).trial.method
    assert method.needs_labels and not method.has_classifier
    assert method.labels_reader == "the term cosine"
    config = trial_config(epochs=1).model_copy(update={"method": method})
    windows = WindowArrays.load(store.folder("arrays", "w"))
    windows.splits["train"].label_N[7:] = NO_LABEL
    run = Distillation(config, 0, windows, None, build_student(config.student), "cpu")
    assert run.row_N.tolist() == list(range(7))
    run.train_epoch()
    run.save_heads(tmp_path / "heads.pt")
    windows.splits["train"].label_N.fill_(NO_LABEL)
    both = sweep(tmp_path, term, "l2", text=text).trial.method
    config = config.model_copy(update={"method": both})
    features = FeatureArrays.load(store.folder("arrays", "f"))
    with raises(TrainingError, "training.no-labels", "leave the term cosine out"):
        Distillation(config, 0, windows, features, build_student(config.student), "cpu")


def test_its_content_and_settings_are_in_the_key(tmp_path: Path) -> None:
    def key(text: str = LOSS, **settings: Any) -> Any:
        return sweep(tmp_path, OWN | {"settings": settings}, text=text).trial.for_key()["method"]

    assert key() == key()
    assert len({str(k) for k in (key(), key(power=3), key(LOSS + "#"))}) == 3
    assert "my_loss.py" not in str(key())
    assert Terms().for_key() == {}


def test_whole_numbers_reach_it_as_such_and_are_in_the_key_as_before(tmp_path: Path) -> None:
    text = ALONE.replace("student_dim, 1)", "student_dim, width)").replace(
        "student_dim)", "student_dim, width)"
    )
    assert text.count("width") == 2
    term = OWN | {"class": "Alone", "settings": {"width": 3}}
    method = sweep(tmp_path, term, text=text, trial__teacher=None).trial.method
    layer = build_terms(method, 5, 2).get_parameter("cosine.loss.layer.weight")
    assert layer.shape == (3, 5)
    assert repr(method.for_key()["terms"]["cosine"]["settings"]) == "{'width': 3.0}"


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        (OWN | {"settings": {"powr": 2}}, r"settings\.powr: unknown; did you mean 'power'"),
        (OWN | {"class": "Cosin"}, "my_loss.py defines no Cosin; it has Cosine"),
        (OWN | {"name": "my loss"}, "my loss: needs small letters"),
        (OWN | {"weight": -1}, "needs a number at least 0"),
        ({"name": "cosine"}, "unknown term 'cosine'; known: comodo"),
        (OWN | {"name": "l2"}, "l2.file: this mapping has no such key"),
    ],
)
def test_wrong_settings_name_key_and_fix(tmp_path: Path, term: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        sweep(tmp_path, term)


def test_a_file_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    with raises(ConfigError, "trial.method.terms.cosine", "is code", "allow_code: [my_loss.py]"):
        sweep(tmp_path, OWN, allow=False)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("(nn.Module)", "", "Cosine of my_loss.py cannot be used|has to inherit from"),
        ("super().__init__()", "1 / 0", "Cosine of my_loss.py cannot be used: ZeroDivision"),
        ("import torch", "import a_library_that_is_not_there", "my_loss.py cannot be run"),
    ],
)
def test_a_class_that_cannot_be_built_is_refused_before_training(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    assert old in LOSS
    method = sweep(tmp_path, OWN, text=LOSS.replace(old, new)).trial.method
    with pytest.raises(ValueError, match=reason):
        refuse_unusable(method)


def test_what_it_gives_has_to_be_a_scalar(tmp_path: Path) -> None:
    method = sweep(tmp_path, OWN, text=LOSS.replace(".mean()", "")).trial.method
    term, none = build_terms(method, 5, 3)["cosine"], torch.zeros(0)
    with pytest.raises(ValueError, match=r"has to give a scalar tensor, but gives \(6,\)"):
        term(Step(none, none, torch.ones(6, 4), torch.ones(6, 4), none))


def test_its_weight_and_settings_are_swept(tmp_path: Path) -> None:
    space = {"method.terms.cosine.weight": [1, 2], "method.terms.cosine.settings.power": [1.0, 2.0]}
    found = sweep(tmp_path, OWN, search={"space": space})
    trials = [found.with_values(point) for point in found.points()]
    assert len({str(trial.for_key()) for trial in trials}) == 4
    for trial in trials:
        refuse_unusable(trial.method)


def test_an_installed_package_has_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "[comodo.terms]\ntheirs = others:Alone\n", ALONE)
    monkeypatch.delitem(vars(TERMS), "installed", raising=False)
    for term in ("theirs", {"name": "theirs", "weight": 2}):
        method = sweep(tmp_path, term).trial.method
        assert method.for_key()["terms"]["theirs"]["code"] == "version 7"
        assert len(list(build_terms(method, 5, 3).parameters())) == 2
    monkeypatch.delitem(vars(TERMS), "installed")
