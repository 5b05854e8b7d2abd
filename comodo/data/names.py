"""Names of classes and groups as people type them, and what of them a user should check."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from comodo.data.recordings import Recording

PLACEHOLDERS = {"nan", "none", "null", "na", "n/a", "?"}
MAX_NAMED = 5  # in a sentence


def tidy(name: str) -> str:
    """A name without surrounding blanks, with single blanks inside and one form of accents."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def common_form(name: str) -> str:
    """The same text for names that differ only by case, blanks, hyphens and underscores, and so are
    probably meant as one. Between digits these count: `1 11` is not `11 1`."""
    visible = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    words = re.sub(r"[\s_-]+", " ", "".join(visible).casefold()).strip()
    return re.sub(r"(?<!\d) | (?!\d)", "", words)


def name_notes(recordings: Iterable[Recording]) -> list[str]:
    """Sentences about labels and groups that are probably not what the user meant."""
    labels: defaultdict[str, set[str]] = defaultdict(set)  # by split
    groups = set[str]()
    for recording in recordings:
        groups.add(recording.group)
        labels[recording.split].update(recording.labels)
    classes, notes = set[str]().union(*labels.values()), []
    for kind, names, taken_for in (
        ("labels", classes, "are different classes"),
        ("groups", groups, "count as one group in leakage and split_by_group"),
    ):
        if variants := _variants(names):
            fault = f"{kind} that differ by case or spacing only {taken_for}: {_some(variants)}"
            notes.append(f"{fault}; write each in one way")
        if odd := sorted(name for name in names if name.casefold() in PLACEHOLDERS):
            fault = f"{kind} that look like missing values are taken as names: {_some(odd)}"
            notes.append(f"{fault}; leave the cell empty where there is none")
    for split in ("val", "test"):
        if labels["train"] and (unknown := sorted(labels[split] - labels["train"])):
            fault = f"classes of {split} that are not in train: {_some(unknown)}"
            notes.append(f"{fault}; none of their windows can be recognised")
    return notes


def _variants(names: Iterable[str]) -> list[str]:
    """Names with the same common form, those of each form together: `'Anna', 'anna'`."""
    by_form: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_form[common_form(name)].append(f"'{name}'")
    return [" and ".join(same) for same in by_form.values() if len(same) > 1]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
