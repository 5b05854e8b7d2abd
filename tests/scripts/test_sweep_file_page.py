"""The page with every key of a sweep file."""

import re

from comodo.config import Sweep
from scripts.sweep_file_page import SECTIONS, markdown
from tests.paths import ROOT

PAGE = ROOT / "docs" / "sweep_file.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == markdown() + "\n", (
        "the settings have changed: python -m scripts.sweep_file_page > docs/sweep_file.md"
    )


def test_every_part_of_the_schema_has_its_section_and_every_link_its_heading() -> None:
    parts = {"Sweep", *Sweep.model_json_schema()["$defs"]}
    assert SECTIONS.keys() - {"Measures", "Dataset"} == parts - {"Objectives", "Measures"}
    anchors = {title.lower().replace(" ", "-") for title in re.findall("## (.+)", markdown())}
    assert set(re.findall(r"\(#(.+?)\)", markdown())) == anchors


def test_a_row_says_limits_default_and_meaning() -> None:
    rows = {line.split("|")[1].strip(): line for line in markdown().splitlines() if "| `" in line}
    assert rows["`warmup`"].startswith("| `warmup` | number ≥ 0, < 1 | `0.1` | Share of the steps")
    assert "`steps`; with `protocol: published` `published`" in rows["`schedule`"]
    assert rows["`videomae-base-k400`"].endswith(
        "`{name: videomae, weights: MCG-NJU/videomae-base-finetuned-kinetics}` |"
    )
    assert "`moving_average`, `seq_len`" in markdown()
