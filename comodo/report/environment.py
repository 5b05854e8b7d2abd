"""By what the trials of a sweep were made: for the report, and as a file next to it."""

import json
from typing import Any

from comodo.core.provenance import LIBRARIES, MadeBy, made_by
from comodo.evaluation.results import Results, TrialRow
from comodo.report.tables import section

UNRECORDED = "not recorded"

Environments = list[tuple[MadeBy | None, list[TrialRow]]]
"""Trained trials by what made them; None: an earlier version did not record it."""


def environments(results: Results) -> Environments:
    found: dict[str, tuple[MadeBy | None, list[TrialRow]]] = {}
    for row in results.rows:
        if row.trained is not None:
            made = row.trained.made_by
            found.setdefault(json.dumps(made), (made, []))[1].append(row)
    return list(found.values())


def environment_file(results: Results) -> dict[str, Any]:
    """The content of environment.json: of this report, and of its trials by their keys."""
    trials = [
        {"made_by": made, "trials": [row.trial.key for row in rows]}
        for made, rows in environments(results)
    ]
    return {"report": made_by(), "trials": trials}


def mixed_libraries(results: Results) -> list[str]:
    """A warning if the trials were made with several versions of a library, or may have been."""
    found = [made for made, _ in environments(results)]
    recorded = [made for made in found if made is not None]
    mixed = [
        f"{name} {', '.join(versions)}"
        for name in LIBRARIES
        if len(versions := sorted({made.get(name) or "none" for made in recorded})) > 1
    ]
    if recorded and len(recorded) < len(found):
        mixed.append("some not recorded")
    if not mixed:
        return []
    return [f"**Trials were made with different libraries ({'; '.join(mixed)})**, to which "
            "differences between them may be due: see Made by."]  # fmt: skip


def environment_section(results: Results) -> list[str]:
    """One line of what all trials have in common, and a table of what differs."""
    found = environments(results)
    recorded = [made for made, _ in found if made is not None]
    if not recorded:
        return []
    first = recorded[0]
    same = [key for key in first if all(made.get(key) == first[key] for made in recorded)]
    common = ", ".join(f"{key} {first[key]}" for key in same if first[key] is not None)
    if len(found) == 1:
        return ["## Made by", "", f"{common}.", ""]
    differ = [key for key in first if key not in same] or ["comodo"]
    rows = [
        [
            ", ".join(dict.fromkeys(row.label for row in rows)),
            str(len(rows)),
            *(UNRECORDED if made is None else made.get(key) or "none" for key in differ),
        ]
        for made, rows in found
    ]
    return section("Made by", f"In common: {common}.", ["configurations", "trials", *differ], rows)
