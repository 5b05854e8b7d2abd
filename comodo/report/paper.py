"""The figures and tables of a report for a paper, in one folder: PDF and SVG in the widths of one
and of two columns, LaTeX and CSV, and a document that shows all of them. Does not know how they are
drawn, nor what they say.
"""

from pathlib import Path

from comodo.core.store import atomic
from comodo.evaluation.results import Results
from comodo.report import style
from comodo.report.figures import drawn_figures
from comodo.report.latex import Table, breakable, escaped, tables_of

WIDTHS = {"one_column": 3.5, "two_columns": 7.2}  # inches: 89 and 183 mm
MAX_HEIGHT = 9.0  # inches, of a page without its margins
WIDE = ("effects", "learning", "parallel", "transfer")
"""Figures that are easier to read in two columns."""
MAX_ROWS = 40  # of a table in the document, which has no tables over several pages
FLOATS = 6  # figures and tables until the document places all of them
DOCUMENT = r"""% Figures and tables of {name}, in their real sizes. Made by comodo report --paper.
\documentclass[twocolumn]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage{{textcomp,booktabs,graphicx,tabularx}}
\usepackage[letterpaper,textwidth=7.2in,columnsep=0.2in,textheight=9.4in]{{geometry}}
\begin{{document}}
{body}
\end{{document}}
"""


def write_paper(results: Results, page: str, folder: Path) -> None:
    """Writes the figures of the results and the tables of their report, a page of Markdown, into a
    folder, in which other files stay as they are. Nothing is written before all is drawn.

    A figure that is higher than a page in one column is there in two columns only. Raises
    StoreError if the disk is full or not writable.
    """
    files, captions = dict[str, bytes](), dict[str, str]()
    for place, width in WIDTHS.items():
        with style.on_paper(width):
            for name, (shows, figure) in drawn_figures(results).items():
                if place == "one_column" and figure.get_figheight() > MAX_HEIGHT:
                    continue
                captions[f"{place}/{name}"] = shows
                for kind in ("pdf", "svg"):
                    files[f"{place}/{name}.{kind}"] = style.as_bytes(figure, kind)
    tables = tables_of(page)
    for table in tables:
        files[f"tables/{table.name}.tex"] = table.latex().encode()
        files[f"tables/{table.name}.csv"] = table.csv().encode()
    files["paper.tex"] = _document(results.sweep.name, captions, tables).encode()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(content)


def _document(name: str, captions: dict[str, str], tables: list[Table]) -> str:
    """Each figure once, and the tables that fit a page."""
    floats = []
    for path, shows in captions.items():
        place, _, figure = path.partition("/")
        other = f"{'one_column' if place == 'two_columns' else 'two_columns'}/{figure}"
        if other in captions and (figure in WIDE) == (place == "one_column"):
            continue
        drawn = rf"\centering\includegraphics{{{path}}}"
        floats.append(_float("figure", place, drawn, shows))
    for table in tables:
        if len(table.rows) <= MAX_ROWS:
            shown = rf"\footnotesize\centering\input{{tables/{table.name}}}"
            floats.append(_float("table", "two_columns", shown, table.title))
    for at in range(FLOATS, len(floats), FLOATS + 1):
        floats.insert(at, r"\clearpage")
    return DOCUMENT.format(name=name, body="\n".join(floats))


def _float(kind: str, place: str, shown: str, caption: str) -> str:
    star = "*" if place == "two_columns" else ""
    said = escaped(breakable(caption))
    return rf"\begin{{{kind}{star}}}{shown}\caption{{{said}.}}\end{{{kind}{star}}}"
