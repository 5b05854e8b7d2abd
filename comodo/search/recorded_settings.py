"""A sweep's settings as `sweep.json` in the store has them, and the refusal of a sweep that would
replace them. Imports nothing heavy: it runs before a command does.
"""

import os
from typing import Any

from comodo.config import ConfigError, Sweep
from comodo.config.overrides import shown_overrides
from comodo.core.store import Store, fetched, find_json


def settings_of(sweep: Sweep) -> Any:
    """The settings, with the paths, variables and home of this machine filled in, and with the
    references, whose default may change."""

    def filled(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {key: filled(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [filled(part, key) for part in value]
        if not isinstance(value, str):
            return value
        value = os.path.expandvars(os.path.expanduser(value))
        path = sweep.folder / value
        return str(path.resolve()) if key.endswith("weights") and path.exists() else value

    settings = sweep.model_dump(mode="json", exclude_unset=True)
    return filled({**settings, "references": sweep.references})


def refuse_other_overrides(sweep: Sweep, store: Store) -> None:
    """Raises ConfigError if the store has a sweep of this name that was started with other values
    of `--set`, which would replace its settings and report. Limits and resources may differ: they
    change no trial."""
    folder = fetched(store.folder("sweeps", sweep.name), "sweep.json")
    kept = find_json(folder / "sweep.json") or {}
    before, now = (_changing(found) for found in (kept.get("overrides", {}), sweep.overrides))
    if not kept or before == now or kept.get("sweep") == settings_of(sweep):
        return
    with_before, with_now = (shown_overrides(found) or "nothing" for found in (before, now))
    name = sweep.name.removesuffix("-smoke")
    raise ConfigError.at(
        "name",
        f"the store's sweep '{sweep.name}' was started with --set of {with_before}, this one has "
        f"{with_now}, and would replace its report; give this one a name of its own, such as "
        f"--set name={name}-2, or repeat the same --set",
    )


def _changing(overrides: dict[str, Any]) -> dict[str, Any]:
    unchanging = ("name", "budget", "resources")
    return {key: v for key, v in overrides.items() if key.split(".")[0] not in unchanging}
