"""Split lists: what is read, and what is wrong with a file, by its line."""

from pathlib import Path

import pytest

from comodo.data.readers.split_lists import Listed, id_and_activity, read_lists, refuse_wrong_folder
from comodo.data.recordings import DatasetError, Recording
from tests.conftest import write_lists


def test_ids_activities_and_splits(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, train=["a\tcleaning / laundry", ""], test=["b\teating "])
    assert read_lists(folder, id_and_activity) == [
        Listed("a", "cleaning / laundry", "train"),
        Listed("b", "eating", "test"),
    ]


@pytest.mark.parametrize(
    ("lists", "code", "place"),
    [
        ({}, "dataset.no-recordings", "train.txt, val.txt, test.txt"),
        ({"train": []}, "dataset.no-recordings", "train.txt, val.txt, test.txt"),
        (
            {"train": ["a\tx"], "val": ["b\tx", "a\tx"]},
            "dataset.duplicate-id",
            "val.txt, line 2: .*train.txt, line 1",
        ),
        (
            {"test": ["a\tx", "", "a\ty"]},
            "dataset.duplicate-id",
            "test.txt, line 3: .*test.txt, line 1",
        ),
        ({"val": ["a\tx", "b"]}, "dataset.bad-line", "val.txt, line 2: 'b'"),
        ({"val": ["a\t "]}, "dataset.bad-line", "val.txt, line 1: "),
        ({"val": ["../a\tx"]}, "dataset.bad-line", "val.txt, line 1: '../a'"),
    ],
)
def test_faults_are_named_by_file_and_line(
    tmp_path: Path, lists: dict[str, list[str]], code: str, place: str
) -> None:
    with pytest.raises(DatasetError, match=place) as error:
        read_lists(write_lists(tmp_path, **lists), id_and_activity)
    assert error.value.code == code


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="train.txt") as error:
        read_lists(tmp_path, id_and_activity)
    assert error.value.code == "dataset.unreadable"


def test_one_missing_file_is_not_a_wrong_folder(tmp_path: Path) -> None:
    names = ("a.csv", "b.csv")
    rows = [Recording(name, "", str(tmp_path / name), "train", name) for name in names]
    with pytest.raises(DatasetError, match=r"a\.csv: no such file, nor .* other of the 2"):
        refuse_wrong_folder(rows)
    (tmp_path / "b.csv").touch()
    refuse_wrong_folder(rows)
