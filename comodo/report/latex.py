"""Tables of a page of Markdown for a paper: as LaTeX (booktabs) and as CSV.

Does not know what they say.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from comodo.report.names import key_name, metric_name

MEASURED = re.compile(r"([-+]?[\d.,]+) \(([-+]?[\d.,]+)(?:–| to )([-+]?[\d.,]+)\)")
"""A value with its interval."""
NUMBER = re.compile(rf"{MEASURED.pattern}|[-+]?[\d.,]+|–|")
MAX_LETTERS = 18  # of a column whose texts are not wrapped
MAX_WORD_LETTERS = 24
WRAPPED = r">{\raggedright\arraybackslash}X"
BREAK = "\u200b"  # a space without width
ESCAPED = {
    BREAK: r"\allowbreak{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
DASHES = "-–"
PLACES = re.compile(r"(?<=[+,/_=])|(?<=[a-z]\.)")
SIGN = re.compile(r"(?<![\w.-])-(?=\d)")

Cell = list[tuple[str, bool]]
"""Texts, and whether each is in bold."""


@dataclass(frozen=True)
class Table:
    """A table of a page: a name for files from the headings above it, and the cells."""

    name: str
    title: str
    header: list[str]
    rows: list[list[Cell]]

    def latex(self) -> str:
        """For `booktabs` and `tabularx`: as wide as a line if it has long texts, which are
        wrapped."""
        kinds = "".join(map(self._kind, range(len(self.header))))
        begin, end = rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", r"\end{tabular}"
        if WRAPPED in kinds:
            begin = rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}{kinds}@{{}}}}"
            end = r"\end{tabularx}"
        header = [escaped(metric_name(x) if _is_metric(x) else x) for x in self.header]
        rows = [[self._latex(x, cell) for x, cell in enumerate(row)] for row in self.rows]
        lines = [
            f"% {_comment(self.title)}",
            begin,
            r"\toprule",
            _line(header),
            r"\midrule",
            *map(_line, rows),
            r"\bottomrule",
            end,
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """A value with an interval is in three columns."""
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        cells = [[_plain(cell) for cell in row] for row in self.rows]
        split = [any(MEASURED.fullmatch(row[x]) for row in cells) for x in range(len(self.header))]
        names = zip(self.header, split, strict=True)
        sides = ("", " low", " high")
        writer.writerow([x + side for x, of in names for side in (sides if of else sides[:1])])
        for row in cells:
            pairs = zip(row, split, strict=True)
            writer.writerow([part for x, of in pairs for part in _values(x, of)])
        return content.getvalue()

    def _kind(self, column: int) -> str:
        texts = [_plain(row[column]) for row in self.rows]
        if all(map(NUMBER.fullmatch, texts)):
            return "r"
        return "l" if max(map(len, texts)) <= MAX_LETTERS else WRAPPED

    def _latex(self, column: int, cell: Cell) -> str:
        if self.header[column] == "key":
            return escaped(key_name(_plain(cell)))
        shown = [(escaped(breakable(text)), bold) for text, bold in cell]
        return "".join(rf"\textbf{{{text}}}" if bold else text for text, bold in shown)


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is, without letters that T1 fonts join to others."""
    text = SIGN.sub("−", re.sub(r"\s+", " ", text))
    shown = ""
    for before, letter in zip(f" {text}", text, strict=False):
        joined = (before in DASHES and letter in DASHES) or before == letter == ","
        shown += "{}" * joined + ESCAPED.get(letter, letter)
    return shown


def breakable(text: str) -> str:
    """With places in long words, such as names of channels, where a line may end."""
    return re.sub(rf"\S{{{MAX_WORD_LETTERS},}}", lambda word: PLACES.sub(BREAK, word[0]), text)


def tables_of(page: str) -> list[Table]:
    """The tables of a page of Markdown, each with a name of its own."""
    found, headings, rows = list[Table](), ["", ""], list[list[Cell]]()
    counts = Counter[str]()
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(page)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            level = int(before.tag[1:]) - 2
            if level >= 0:
                headings[level:] = [_plain(_cell(token)), ""][: 2 - level]
        elif token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif before is not None and before.type in ("th_open", "td_open"):
            rows[-1].append(_cell(token))
        elif token.type == "table_close":
            title = ": ".join(filter(None, headings))
            name = _file_name(title)
            counts[name] += 1
            unique = name if counts[name] == 1 else f"{name}_{counts[name]}"
            found.append(Table(unique, title, list(map(_plain, rows[0])), rows[1:]))
    return found


def _file_name(title: str) -> str:
    """`differences_all_comparisons` of "Differences: All 45 comparisons"."""
    words = re.findall(r"[a-z0-9]+", title.partition(",")[0].lower())
    return "_".join(word for word in words if not word.isdecimal()) or "table"


def _cell(line: Token) -> Cell:
    cell, bold = Cell(), False
    for part in line.children or ():
        if part.type in ("strong_open", "strong_close"):
            bold = part.type == "strong_open"
        elif part.content:
            cell.append((part.content, bold))
    return cell


def _plain(cell: Cell) -> str:
    return "".join(text for text, _ in cell)


def _values(text: str, has_interval: bool) -> Iterable[str]:
    text = "" if text == "–" else text
    if not has_interval:
        return [text]
    measured = MEASURED.fullmatch(text)
    values = measured.groups() if measured else (text, "", "")
    return [value.replace(",", "") for value in values]


def _is_metric(name: str) -> bool:
    return re.fullmatch(r"[\w-]+(/[\w-]+)+", name) is not None


def _comment(text: str) -> str:
    return " ".join(text.split())


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
