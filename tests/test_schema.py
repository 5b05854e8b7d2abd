"""The schema by which editors complete sweep files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from comodo.config import Sweep
from tests.config.test_load import sweep_file
from tests.paths import ROOT

SCHEMA = json.loads((ROOT / "docs" / "sweep.schema.json").read_text())


def faults(content: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(content)]


def test_the_committed_schema_is_current() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    command = [sys.executable, "-m", "comodo", "schema"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "docs" / "sweep.schema.json").read_text(), (
        "the settings have changed: comodo schema > docs/sweep.schema.json"
    )


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda f: f.name)
def test_every_sweep_file_fits_and_names_the_schema(file: Path) -> None:
    assert not faults(yaml.safe_load(file.read_text()))
    assert "# yaml-language-server: $schema=../docs/sweep.schema.json\n" in file.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"trial__teacher": "timesformer-base-k400", "trial__student": "moment-small"},
        {"trial__method": "infonce"},
        {"search__space": {"learning_rate": [1e-3, 1e-2], "method": ["l2", {"name": "comodo"}]}},
        {"search": {"sampler": "tpe", "space": {"epochs": {"min": 1, "max": 9, "integer": True}}}},
    ],
)
def test_short_forms_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not faults(yaml.safe_load(sweep_file(tmp_path, **changes).read_text()))


@pytest.mark.parametrize(
    "changes",
    [{"trial__epoks": 3}, {"trial__teacher": "timesformer"}, {"trial__batch_size": 1}],
)
def test_mistakes_do_not_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert faults(yaml.safe_load(sweep_file(tmp_path, **changes).read_text()))


def test_every_key_is_described() -> None:
    settings = {"Sweep": SCHEMA, **SCHEMA["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, one in settings.items()
        for key, value in one.get("properties", {}).items()
        if not value.get("description")
    ]
    assert not bare, "write what it means under the field"
    assert not [name for name, one in settings.items() if not one.get("description")]
    described = settings["TrialConfig"]["properties"]["warmup"]["description"]
    assert described.startswith("Share of the steps in which the learning rate rises")


def test_the_schema_has_every_form_of_an_entry_and_of_an_objective() -> None:
    schema = Sweep.model_json_schema()
    entry = schema["$defs"]["Search"]["properties"]["space"]["additionalProperties"]
    assert {"type": "array", "items": {}} in entry["oneOf"][0]["anyOf"]
    assert "when" in schema["$defs"]["Choices"]["properties"]
    assert "when" in schema["$defs"]["Range"]["properties"]
    objective = schema["$defs"]["Objectives"]["anyOf"]
    assert [form.get("type", "object") for form in objective] == ["string", "object", "array"]
