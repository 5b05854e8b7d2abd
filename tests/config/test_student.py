"""The settings of students: presets, and what does not fit together."""

import pytest

from comodo.config.student import STUDENT_PRESETS, STUDENT_SIZES, StudentConfig


@pytest.mark.parametrize("preset", STUDENT_PRESETS)
def test_presets_are_valid_settings_that_say_nothing_needlessly(preset: str) -> None:
    student = StudentConfig.model_validate(STUDENT_PRESETS[preset])
    assert student.model_dump(exclude_defaults=True) == STUDENT_PRESETS[preset]


def test_every_family_has_a_preset() -> None:
    assert {preset["name"] for preset in STUDENT_PRESETS.values()} == STUDENT_SIZES.keys()
