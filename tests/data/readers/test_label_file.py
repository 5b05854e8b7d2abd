"""Label files: units, clocks, separators, and what is refused."""

from pathlib import Path

import pytest

from comodo.data.readers.label_file import read_labels


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "start,end,label\n0,1.5,walking\n3,4,drinking tea\n",
        "start_s;end_s;label;who\n3;4;drinking  tea;me\n0;1.5;walking;me\n\n",
        "Label\tStart_ms\tEnd_ms\nwalking\t0\t1500\n\t1500\t3000\ndrinking tea\t3000\t4000\n",
        "imu_start_us,imu_end_us,label\n-2000000,-500000,walking\n1000000,2000000,drinking tea\n",
        "end_ns,start_ns,label\n1500000000,0,walking\n4000000000,3000000000,drinking tea\n",
    ],
)
def test_the_same_intervals_in_any_form(tmp_path: Path, text: str) -> None:
    """Times of the IMU's clock are moved by the recording's offset, here 2 s; others are not."""
    found = read_labels(written(tmp_path, text), 2.0)
    assert found == ((0.0, 1.5, "walking"), (3.0, 4.0, "drinking tea"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "columns none; expected label, start and end"),
        ("begin,end,label\n0,1,a\n", "columns begin, end, label; expected"),
        ("start,end,start_ms,label\n0,1,0,a\n", "expected label, start and end"),
        ("start_s,end_ms,label\n0,1,a\n", "start_s and end_ms are not alike"),
        ("start,imu_end,label\n0,1,a\n", "start and imu_end are not alike"),
        ("start,end,label\n0,1,a\n5,5,b\n", "line 3: start is 5, end is 5"),
        ("start,end,label\n0,1,a\n6,5,b\n", "line 3: start is 6, end is 5"),
        ("start,end,label\n0,later,a\n", "line 2: could not convert end 'later'"),
        ("start,end,label\n0,1\n", "line 2: 2 cells, the header has 3"),
        ("start,end,label\n0,2,a\n1,3,b\n", "'b' from 1 to 3 s is in 'a' from 0 to 2 s"),
        ('start,end,label\n0,2,"a\n', "cannot be read as labels"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, fault: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match="labels.csv") as caught:
        read_labels(path, 0.0)
    assert fault in str(caught.value)


def test_the_clock_of_an_imu_whose_offset_is_not_known_yet(tmp_path: Path) -> None:
    path = written(tmp_path, "imu_start,imu_end,label\n0,1,a\n")
    with pytest.raises(ValueError, match="imu_offset is estimate"):
        read_labels(path, None)
    path = written(tmp_path, "start,end,label\n0,1,a\n")
    assert read_labels(path, None) == ((0.0, 1.0, "a"),)
