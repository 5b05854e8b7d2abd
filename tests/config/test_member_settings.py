"""Settings that are next to the code of the members of an open set."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from comodo.config.datasets import DatasetConfig
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.hapt import HaptDataset

DATASETS: TypeAdapter[Any] = TypeAdapter(dict[str, DatasetConfig])


def test_the_settings_are_of_the_class_that_the_key_names(tmp_path: Path) -> None:
    written: dict[str, Any] = {"kind": "hapt", "path": str(tmp_path), "window_seconds": 2.0}
    read = DATASETS.validate_python({"phone": written})
    assert read == {"phone": HaptDataset(**written)}
    assert DATASETS.validate_python(read)["phone"] is read["phone"]
    assert DATASETS.dump_python(read, mode="json", exclude_unset=True) == {"phone": written}
    assert DATASETS.validate_json(DATASETS.dump_json(read)) == read


def test_they_are_written_as_their_class_says(tmp_path: Path) -> None:
    folder = FolderDataset(kind="folder", path=str(tmp_path))
    assert folder.root is None  # which `exclude_if` leaves out
    dumped = DATASETS.dump_python({"mine": folder}, mode="json")["mine"]
    assert dumped == folder.model_dump(mode="json") and "root" not in dumped


def test_the_context_is_theirs_too(tmp_path: Path) -> None:
    written = {"phone": {"kind": "hapt", "path": "absent"}}
    with pytest.raises(ValidationError, match=f"{tmp_path}/absent does not exist"):
        DATASETS.validate_python(written, context={"folder": tmp_path})
    context = {"folder": tmp_path, "read_back": True}
    read = DATASETS.validate_python(written, context=context)
    assert read["phone"].path == str(tmp_path / "absent")


@pytest.mark.parametrize(
    ("written", "type", "place"),
    [
        ({"kind": "hapt"}, "missing", ("hapt", "path")),
        ({"kind": "hapt", "path": "/", "paht": 1}, "extra_forbidden", ("hapt", "paht")),
        (
            {"kind": "hapt", "path": "/", "split_by_group": {"folds": 2, "seed": -1}},
            "greater_than_equal",
            ("hapt", "split_by_group", "FoldSplit", "seed"),
        ),
        ({"kind": "hpat", "path": "/"}, "union_tag_invalid", ()),
        ({"path": "/"}, "union_tag_not_found", ()),
        ("hapt", "model_attributes_type", ()),
    ],
)
def test_what_is_wrong_is_said_of_its_own_key(
    written: Any, type: str, place: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        DATASETS.validate_python({"phone": written})
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == (type, ("phone", *place))
