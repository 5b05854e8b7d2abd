"""Tables of a page as LaTeX and CSV."""

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from comodo.core.markdown import as_text
from comodo.report.latex import escaped, tables_of
from comodo.report.tables import Markup, markdown, section

SHOWN = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textquotedbl{}": '"',
    r"\textquotesingle{}": "'",
    r"\textasciigrave{}": "`",
    "$-$": "−",
    r"$\rightarrow$": "→",
    r"$\leftarrow$": "←",
    r"$\geq$": "≥",
    r"$\leq$": "≤",
    r"$\times$": "×",
    "--": "–",
    r"\allowbreak{}": "\u200b",
    **{f"\\{character}": character for character in "&%$#_{}"},
}
"""What LaTeX shows for a command, or for two letters that it joins."""


def shown(latex: str) -> str:
    """What LaTeX shows, read from left to right; fails on what would be a command or a group."""
    found, rest = "", latex
    while rest:
        for command, letter in SHOWN.items():
            if rest.startswith(command):
                found, rest = found + letter, rest[len(command) :]
                break
        else:
            if rest.startswith("{}"):
                rest = rest[2:]
                continue
            assert rest[0] not in "\\&%$#_{}~^", rest
            assert not rest.startswith(",,")
            found, rest = found + rest[0], rest[1:]
    return found


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\\&%$#_{}~^<>|\"'`-–−,")))
def test_latex_shows_a_text_as_it_is(text: str) -> None:
    minus = re.sub(r"(?<![\w.-])-(?=\d)", "−", re.sub(r"\s+", " ", text))
    assert shown(escaped(text)) == minus


def page(cells: list[str]) -> str:
    lines = section("Accuracy", "", ["configuration", "test/acc1"], [[cells[0], cells[1]]])
    return "\n".join(["# sweep", "", *lines])


CELLS = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" |*_[]<&`\\–"))


@given(CELLS, CELLS)
def test_cells_come_back_from_the_page(first: str, second: str) -> None:
    (table,) = tables_of(page([first, second]))
    (row,) = csv.reader(io.StringIO(table.csv().partition("\n")[2]))
    expected = [" ".join(text.split()) for text in (first, second)]
    plain = [text if text != "–" else "" for text in expected]
    if "(" not in second:
        assert row == plain


def test_a_table_has_rules_and_escaped_cells() -> None:
    marked = Markup(f"**{as_text('comodo queue_size=64')}** (selected)")
    lines = section(
        "Accuracy",
        "Percent.",
        ["configuration", "seeds", "on/my_set/test/acc1", "points (95 %)"],
        [
            [marked, "3", "79.2 (70.3–86.4)", "-1.5"],
            ["a|b & c", "1 of 3", "–", "+0.5 (-1.0 to 2.0)"],
        ],
    )
    (table,) = tables_of("\n".join(["# sweep", "", *lines]))
    assert table.name == "accuracy"
    assert table.latex().splitlines() == [
        "% Accuracy",
        r"\begin{tabularx}{\linewidth}{@{}>{\raggedright\arraybackslash}Xlrr@{}}",
        r"\toprule",
        r"configuration & seeds & test Acc@1 on my\_set & points (95 \%) \\",
        r"\midrule",
        r"\textbf{comodo queue\_size=64} (selected) & 3 & 79.2 (70.3--86.4) & $-$1.5 \\",
        r"a\textbar{}b \& c & 1 of 3 & -- & +0.5 ($-$1.0 to 2.0) \\",
        r"\bottomrule",
        r"\end{tabularx}",
    ]
    rows = list(csv.reader(io.StringIO(table.csv())))
    points = "points (95 %)"
    assert rows == [
        ["configuration", "seeds", *(f"on/my_set/test/acc1{x}" for x in ("", " low", " high")),
         points, f"{points} low", f"{points} high"],
        ["comodo queue_size=64 (selected)", "3", "79.2", "70.3", "86.4", "-1.5", "", ""],
        ["a|b & c", "1 of 3", "", "", "", "+0.5", "-1.0", "2.0"],
    ]  # fmt: skip


def test_short_texts_are_not_wrapped_and_keys_are_named() -> None:
    rows = [["method.queue_size", "98.5 (90.0–99.9)"]]
    (table,) = tables_of("\n".join(section("Importance", "", ["key", "importance"], rows)))
    assert r"\begin{tabular}{@{}lr@{}}" in table.latex()
    assert "\nqueue size & 98.5 (90.0--99.9)" in table.latex()
    assert table.csv().splitlines()[1].startswith("method.queue_size,98.5,90.0,99.9")


def test_a_line_may_end_within_a_long_word_but_not_within_a_number() -> None:
    name = "comodo left_wrist.acc_xyz+head.acc_x rate=0.05"
    (table,) = tables_of("\n".join(["## A", "", *markdown(["configuration"], [[name]])]))
    shown = table.latex().splitlines()[5].removesuffix(r" \\")
    broken = (
        r"comodo left\_\allowbreak{}wrist.\allowbreak{}acc\_\allowbreak{}xyz+\allowbreak{}"
        r"head.\allowbreak{}acc\_\allowbreak{}x rate=0.05"
    )
    assert shown == broken


def test_each_table_has_a_name_of_its_own() -> None:
    table = markdown(["a"], [["1"]])
    lines = [
        "# sweep",
        "",
        *table,
        "## Differences",
        "",
        *table,
        "### All 45 comparisons",
        "",
        *table,
    ]
    lines += ["## Transfer", "", *table, "Text.", "", *table]
    assert [found.name for found in tables_of("\n".join(lines))] == [
        "table",
        "differences",
        "differences_all_comparisons",
        "transfer",
        "transfer_2",
    ]
