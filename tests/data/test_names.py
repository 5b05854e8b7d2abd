"""Names as people type them: which are one, and which a user is told of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.names import common_form, name_notes, tidy
from comodo.data.recordings import Recording


def recording(label: str | None, group: str = "anna", split: str = "train") -> Recording:
    return Recording("r", "", "r.csv", split, group, label)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("running", "Running", True),
        ("stand to sit", "stand  to sit", True),
        ("stand to sit", "STAND_TO_SIT", True),
        ("user 01", "user01", True),
        ("e\u0301tude", "\u00e9tude", True),
        ("stra\u00dfe", "STRASSE", True),
        ("run\u200b", "run", True),
        ("1 11", "11 1", False),
        ("2020-01-02", "2020-01-12", False),
        ("user 1", "user 01", False),
        ("sit", "sat", False),
    ],
)
def test_names_that_are_probably_one(one: str, other: str, same: bool) -> None:
    assert (common_form(one) == common_form(other)) == same


@given(st.text())
def test_a_tidy_name_stays_and_is_the_same_name(name: str) -> None:
    assert tidy(tidy(name)) == tidy(name)
    assert common_form(tidy(name)) == common_form(name)
    assert tidy(f" {name}\t") == tidy(name)


def test_variants_placeholders_and_unknown_classes_are_named() -> None:
    assert name_notes([recording("walk"), recording("run"), recording("walk", "ben", "test")]) == []
    variants, people = name_notes([recording("walk", "anna"), recording("Walk", "Anna")])
    assert "'Walk' and 'walk'" in variants and "different classes" in variants
    assert "'Anna' and 'anna'" in people and "one group" in people
    (missing,) = name_notes([recording("nan"), recording("walk")])
    assert "labels" in missing and "nan" in missing
    (unknown,) = name_notes([recording("walk"), recording("swim", split="test")])
    assert "test" in unknown and "swim" in unknown and "not in train" in unknown


def test_no_class_is_unknown_where_nothing_is_fitted() -> None:
    assert name_notes([recording(None), recording("swim", split="test")]) == []


def test_many_names_are_counted() -> None:
    (note,) = name_notes([recording("a"), *(recording(f"x{i}", split="test") for i in range(20))])
    assert "and 15 more" in note and "x9" not in note
