"""Separators, decimal marks, preambles, headers and rows of units, on files of each form."""

import gzip
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from comodo.data.imu import ImuError
from comodo.data.imu_tables import read_csv
from comodo.data.tables.dialect import detect
from comodo.data.tables.presets import Layout
from tests.errors import raises

NAMES = ["time_s", "acc_x", "acc_y", "acc_z"]
ROWS = np.column_stack([np.arange(40) / 50, np.random.default_rng(0).normal(size=(40, 3)).round(4)])


def text_of(separator: str, decimal: str, above: str, unit_row: bool, end: str) -> str:
    header = NAMES if unit_row else ["time_s", *(f"{name} [g]" for name in NAMES[1:])]
    lines = [separator.join(header)]
    lines += [separator.join(["s", "g", "g", "g"])] if unit_row else []
    lines += [separator.join(f"{x:.4f}".replace(".", decimal) for x in row) for row in ROWS]
    return above + end.join(lines) + end


@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_is_read_as_the_plain_one(
    tmp_path: Path, separator: str, decimal: str, encoding: str
) -> None:
    path = tmp_path / "a.csv"
    above = ["", "# logger 1.2\n\n", "Logger\nStart:;5\n", f"Device{separator}dot 1\n\n",
             f'"sep={separator}"\n']  # fmt: skip
    for preamble, unit_row, end in product(above, [False, True], ["\n", "\r\n"]):
        text = text_of(separator, decimal, preamble, unit_row, end)
        path.write_bytes(text.encode(encoding))
        (stream,) = read_csv(path, NAMES[1:])
        np.testing.assert_allclose(stream.imu_NC, ROWS[:, 1:], rtol=1e-6)
        np.testing.assert_allclose(stream.time_N, ROWS[:, 0])
        assert stream.notes == ()


def test_a_compressed_file_and_one_of_another_code_page(tmp_path: Path) -> None:
    text = text_of(",", ".", "", False, "\n")
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write(text)
    assert read_csv(tmp_path / "a.csv.gz", NAMES[1:])[0].notes == ()
    (tmp_path / "b.csv").write_bytes(text.replace("[g]", "[m/s²]").encode("cp1252"))
    (stream,) = read_csv(tmp_path / "b.csv", NAMES[1:])
    assert stream.notes == ("it is not UTF-8, and read as Windows-1252",)
    np.testing.assert_allclose(stream.imu_NC * 9.80665, ROWS[:, 1:], rtol=1e-6)


def test_a_file_without_a_header(tmp_path: Path) -> None:
    lines = text_of(";", ",", "", False, "\n").splitlines()[1:]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert detect(tmp_path / "a.csv").header is None
    (tmp_path / "a.csv").write_text("\n".join([f"# {';'.join(NAMES)}", *lines]))
    assert detect(tmp_path / "a.csv").header == 0


@pytest.mark.parametrize("decimal", [".", ","])
def test_values_between_blanks(tmp_path: Path, decimal: str) -> None:
    """Their first row was taken for the header."""
    path = tmp_path / "a.csv"
    rows = "\n".join("  " + "   ".join(f"{x:.4f}" for x in row) for row in ROWS)
    for header in ("", "# logger 3\n", "time_s acc_x[g] acc_y[g] acc_z[g]\n"):
        path.write_text(header + rows.replace(".", decimal))
        layout = None if "acc_x" in header else Layout(
            {"time": "1", "acc_x": "2", "acc_y": "3", "acc_z": "4"}, time_unit="s", acc_unit="g"
        )  # fmt: skip
        (stream,) = read_csv(path, NAMES[1:], layout)
        np.testing.assert_allclose(stream.imu_NC, ROWS[:, 1:], rtol=1e-6)
        np.testing.assert_allclose(stream.time_N, ROWS[:, 0])
    path.write_text("time (s) acc_x acc_y acc_z\n" + rows.replace(".", decimal))
    with raises(ImuError, "imu.unreadable", "a.csv", "5 words", "4 values"):
        read_csv(path, NAMES[1:])


def test_a_comma_that_may_be_of_thousands_is_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}0;1,00{i};-2,500;1,013" for i in range(9))
    (tmp_path / "a.csv").write_text(f"time_ms;acc_x [mg];acc_y [mg];acc_z [mg]\n{rows}\n")
    with raises(ImuError, "imu.ambiguous-number", "a.csv", "1,000"):
        read_csv(tmp_path / "a.csv", NAMES[1:])


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8b\x08nonsense")
    with raises(ImuError, "imu.unreadable", "a.csv.gz"):
        detect(tmp_path / "a.csv.gz")
