"""Names that others wrote stay in their folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.core.paths import inside, plain_name

names = st.lists(st.sampled_from(["..", ".", "", "a", "b.c", "\0", " ", "..."])).map("/".join)


@given(name=names)
def test_a_name_stays_in_its_folder_or_is_refused(name: str) -> None:
    folder = Path("/store/trials")
    try:
        found = inside(folder, name)
    except ValueError:
        assert set(name.split("/")) & {"..", ".", ""} or "\0" in name
    else:
        assert found.relative_to(folder).as_posix() == name
        assert ".." not in found.parts


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
def test_a_plain_name_is_one_part(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a path"):
        plain_name(name)
    assert plain_name("..a b") == "..a b"
