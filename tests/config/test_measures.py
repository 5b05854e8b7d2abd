"""Measures in a sweep file: those of comodo, of a file and of an installed package."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.measures import MEASURES, Declaration
from comodo.config.metric import Metric
from comodo.core.members import Code
from tests.config.test_load import sweep_file
from tests.core.test_members import installed
from tests.errors import raises
from tests.test_docs import BLOCKS

PAGE = {block.file: block.text for block in BLOCKS if block.page == "docs/extending.md"}
NEAREST = PAGE["my_measure.py"]
OWN: dict[str, Any] = {"name": "nearest", "file": "my_measure.py", "class": "Nearest"}
LOSSES = """
class Losses:
    VERSION = 3
    METRICS = ("error", "rank")
    HIGHER_IS_BETTER = False
    NEEDS_LABELS = False
    PERCENT = False
    def __call__(self, train, scored):
        return {"error": 2.5, "rank": 7}
"""


def sweep(
    folder: Path, *measures: Any, text: str = NEAREST, allow: bool = True, **changes: Any
) -> Sweep:
    (folder / "my_measure.py").write_text(text)
    allowed = ["my_measure.py"] if allow else []
    content = {"measures": list(measures), "allow_code": allowed, **changes}
    return read_sweep_file(sweep_file(folder, **content))


def test_every_measure_of_comodo_is_declared_where_it_is() -> None:
    """Its function is found without running its module."""
    for name in MEASURES.built_in:
        code: Code = MEASURES.code(name)
        assert code.arguments == ("frozen",)


@pytest.mark.parametrize("name", MEASURES.built_in)
def test_what_a_measure_of_comodo_declares_is_literal(name: str) -> None:
    """What is computed would be unknown, and so be the default."""
    code = MEASURES.code(name)
    keys = {each.name.upper() for each in fields(Declaration)}
    lines = [line for line in ast.parse(code.text).body if isinstance(line, ast.Assign)]
    assigned = {ast.unparse(line.targets[0]) for line in lines}
    assert "METRICS" in assigned
    assert keys & assigned == keys & code.constants.keys()


def test_a_class_declares_only_what_is_described(tmp_path: Path) -> None:
    """Its other constants are its own, whatever their names."""
    others = "SPLITS = (7,)\n    KEEPS = 'classes'\n    DATASETS = 'others'\n    PERCENT"
    own = OWN | {"class": "Losses", "name": "losses"}
    plain, more = (
        sweep(tmp_path, "probe", own, text=text).measures.own["losses"].declared
        for text in (LOSSES, LOSSES.replace("PERCENT", others))
    )
    assert more == plain and not plain.percent


def test_a_measure_of_a_file_has_its_metrics(tmp_path: Path) -> None:
    others: dict[str, Any] = {"datasets__other": {"kind": "simulated"}, "evaluate_on": ["other"]}
    found = sweep(tmp_path, "probe", OWN, objective="val/nearest/precision", **others)
    assert found.measures.names == ("probe", "nearest")
    assert "nearest" in found.measures and "knn" not in found.measures
    names = {name for name, measure in found.metrics.items() if measure == "nearest"}
    on_other = {f"on/other/{split}/nearest/precision" for split in ("val", "test")}
    assert names == {"val/nearest/precision", "test/nearest/precision", *on_other}
    for name in names:
        assert Metric.parse(name).measure == "nearest"
        assert str(Metric.parse(name)) == name
    assert found.objective.mode == "max"


def test_what_it_declares_decides_what_it_needs(tmp_path: Path) -> None:
    own = OWN | {"class": "Losses", "name": "losses"}
    found = sweep(tmp_path, own, text=LOSSES, objective=["val/losses/error", "test/losses/rank"])
    assert not found.measures.need_labels  # so it may be alone
    assert [objective.mode for objective in found.objectives] == ["min", "min"]
    highest = {"metric": "val/losses/error", "mode": "max"}
    assert sweep(tmp_path, own, text=LOSSES, objective=highest).objective.mode == "max"
    text = LOSSES.replace("PERCENT", "NEEDS_TEACHER = True\n    PERCENT")
    reader = sweep(tmp_path, "probe", own, text=text)
    assert set(reader.encoded().values()) == {"the method comodo"}
    with raises(ConfigError, "trial.teacher", "the measure losses needs one"):
        sweep(tmp_path, "probe", own, text=text, trial__teacher=None, trial__method="supervised")


def test_its_content_and_settings_are_in_its_key(tmp_path: Path) -> None:
    def key(text: str = NEAREST, **settings: Any) -> str:
        found = sweep(tmp_path, "probe", OWN | {"settings": settings}, text=text)
        return str(found.measures.own["nearest"].for_key())

    assert key() == key()
    assert len({key(), key(k=3), key(NEAREST + "#")}) == 3
    assert "my_measure.py" not in key()


def test_measures_are_recorded_as_they_are_written(tmp_path: Path) -> None:
    found = sweep(tmp_path, "probe", "few-shot", OWN | {"settings": {"k": 3}})
    written = found.model_dump(mode="json", exclude_unset=True)["measures"]
    assert written[:2] == ["probe", "few-shot"]
    context = {"folder": tmp_path, "code": found.code, "read_back": True}
    settings = found.model_dump(mode="json", exclude_unset=True)
    again = Sweep.model_validate(settings, context=context)
    assert again.measures == found.measures
    own = again.measures.own["nearest"].own_code
    assert own is not None and not own.may_run


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (OWN | {"settings": {"kk": 2}}, r"settings\.kk: unknown; did you mean 'k'"),
        (OWN | {"class": "Nearer"}, "my_measure.py defines no Nearer; it has Nearest"),
        (OWN | {"name": "my-own"}, "my-own needs small letters"),
        (OWN | {"name": "few_shot"}, "few_shot is comodo's own"),
        (OWN | {"name": "knn"}, "knn is comodo's own"),
        ({"name": "nearest", "file": "my_measure.py"}, "class: is missing; write {name: mine, "),
        ({"name": "nearest"}, "unknown 'nearest'"),
        ({"name": "knn", "settings": {"k": 3}}, "settings: knn has none"),
        ({"class": "Nearest"}, "name: is missing"),
    ],
)
def test_wrong_settings_name_key_and_fix(tmp_path: Path, measure: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"measures\.1.*{reason}"):
        sweep(tmp_path, "probe", measure)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ("", "Nearest of my_measure.py has no list METRICS"),
        ('METRICS = ("precision")', "has no list METRICS"),
        ('METRICS = ("test/acc",)', "'test/acc' needs small letters"),
        (
            'METRICS = ("acc_std",)',
            "'acc_std' needs small letters, digits and underscores, and not",
        ),
    ],
)
def test_metrics_have_to_be_named(tmp_path: Path, metrics: str, reason: str) -> None:
    text = NEAREST.replace('METRICS = ("precision",)', metrics)
    assert text != NEAREST
    with pytest.raises(ConfigError, match=reason):
        sweep(tmp_path, "probe", OWN, text=text)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with raises(ConfigError, "measures", "nearest is the name of several"):
        sweep(tmp_path, "probe", OWN, OWN | {"settings": {"k": 3}})


def test_a_file_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    with raises(ConfigError, "measures.1", "is code", "allow_code: [my_measure.py]"):
        sweep(tmp_path, "probe", OWN, allow=False)


def test_it_does_not_replace_the_probe(tmp_path: Path) -> None:
    with raises(ConfigError, "measures", "must include probe"):
        sweep(tmp_path, OWN)


def test_an_installed_package_has_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "[comodo.measures]\ntheirs = others:Losses\n", LOSSES)
    monkeypatch.delitem(vars(MEASURES), "installed", raising=False)
    for measure in ("theirs", {"name": "theirs"}):
        found = sweep(tmp_path, "probe", measure, objective="val/theirs/rank")
        assert found.measures.own["theirs"].for_key()["code"] == "version 3"
        assert found.objective.mode == "min"
    monkeypatch.delitem(vars(MEASURES), "installed")
