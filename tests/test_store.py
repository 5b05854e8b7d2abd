"""Keys and atomic writes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.store import Store, atomic, fingerprint, key_of, read_json, write_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_key_ignores_the_order_of_mappings(content: dict[str, object]) -> None:
    assert key_of(content) == key_of(dict(reversed(content.items())))


@given(json_values, json_values)
def test_equal_keys_mean_equal_content(a: object, b: object) -> None:
    if key_of(a) == key_of(b):
        assert a == b


def test_key_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError):
        key_of({"path": object()})
    with pytest.raises(ValueError, match="Out of range"):
        key_of(float("nan"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    write_json(path, {"a": 1})
    with pytest.raises(OSError, match="full"), atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_fingerprint_follows_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12")
    before = fingerprint(path)
    os.utime(path, ns=(1, 1))
    assert fingerprint(path) != before
    assert fingerprint(tmp_path)["size"] == 2
    assert fingerprint(tmp_path / "absent") == {"size": 0, "modified_ns": 0}


def test_an_artifact_without_meta_is_not_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("windows", "k")
    folder.mkdir(parents=True)
    assert store.meta("windows", "k") is None
    write_json(folder / "meta.json", {"n": 1})
    assert store.meta("windows", "k") == {"n": 1}
