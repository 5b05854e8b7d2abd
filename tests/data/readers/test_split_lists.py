"""Split lists: what is read, and what is wrong with a file, by its line."""

from pathlib import Path

import pytest

from comodo.data.readers.split_lists import id_and_activity, read_lists, refuse_wrong_folder
from comodo.data.recordings import DatasetError, Recording
from tests.conftest import write_lists
from tests.errors import raises


def test_ids_activities_and_splits(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, train=["a\tcleaning / laundry", ""], test=["b\teating "])
    assert read_lists(folder, id_and_activity) == [
        ("a", "cleaning / laundry", "train"),
        ("b", "eating", "test"),
    ]


@pytest.mark.parametrize(
    ("lists", "code", "names"),
    [
        ({}, "dataset.no-recordings", ["train.txt", "val.txt", "test.txt"]),
        ({"train": []}, "dataset.no-recordings", ["train.txt", "val.txt", "test.txt"]),
        (
            {"train": ["a\tx"], "val": ["b\tx", "a\tx"]},
            "dataset.duplicate-id",
            ["val.txt, line 2", "train.txt, line 1"],
        ),
        (
            {"test": ["a\tx", "", "a\ty"]},
            "dataset.duplicate-id",
            ["test.txt, line 3", "test.txt, line 1"],
        ),
        ({"val": ["a\tx", "b"]}, "dataset.bad-line", ["val.txt, line 2", "'b'"]),
        ({"val": ["a\t "]}, "dataset.bad-line", ["val.txt, line 1"]),
        ({"val": ["../a\tx"]}, "dataset.bad-line", ["val.txt, line 1", "'../a'"]),
    ],
)
def test_faults_are_named_by_file_and_line(
    tmp_path: Path, lists: dict[str, list[str]], code: str, names: list[str]
) -> None:
    with raises(DatasetError, code, *names):
        read_lists(write_lists(tmp_path, **lists), id_and_activity)


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with raises(DatasetError, "dataset.unreadable", "train.txt"):
        read_lists(tmp_path, id_and_activity)


def test_lists_as_programs_write_them(tmp_path: Path) -> None:
    content = "a\tcleaning  / laundry\r\nb \t eating\t\r\n"
    (tmp_path / "train.txt").write_bytes(content.encode("utf-8-sig"))
    (tmp_path / "test.txt").write_bytes("c\teating\r\n".encode("utf-16"))
    assert read_lists(tmp_path, id_and_activity) == [
        ("a", "cleaning / laundry", "train"),
        ("b", "eating", "train"),
        ("c", "eating", "test"),
    ]
    write_lists(tmp_path, val=["d\teating\t17"])
    with raises(DatasetError, "dataset.bad-line", "val.txt, line 1"):
        read_lists(tmp_path, id_and_activity)


def test_one_missing_file_is_not_a_wrong_folder(tmp_path: Path) -> None:
    names = ("a.csv", "b.csv")
    video = tmp_path / "v.mp4"
    video.touch()
    rows = [Recording(name, str(video), str(tmp_path / name), "train", name) for name in names]
    with raises(DatasetError, "dataset.no-files", "a.csv", "the 2 recordings"):
        refuse_wrong_folder(rows)
    (tmp_path / "b.csv").touch()
    refuse_wrong_folder(rows)
