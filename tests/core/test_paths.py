"""Names that others wrote, and files that others may not read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.core.paths import create_private, inside, plain_name

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


def test_a_private_file_is_the_owners_from_the_start(tmp_path: Path) -> None:
    new, old = tmp_path / "new/token", tmp_path / "old"
    old.write_text("kept")
    old.chmod(0o644)
    for path, text in ((new, "made"), (old, "kept")):
        create_private(path, "made")
        assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o600)
