"""Converts a page of Markdown to one self-contained HTML file with sortable tables.

Does not know what the page says; its layout is in `page.html`.
"""

import base64
import re
from hashlib import sha256
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

KINDS = ("html", "js")
MAX_ROWS = 24  # of a table that is not folded
LONG = 200
"""Rows of a table above which they are not parsed as a part of the page, which takes a thousand
times longer for cells that are plain text."""
TABLE = re.compile(r"(\|(?: --- \|)+)\n((?:\| .* \|\n)+)")  # below its header
PLAIN = re.compile(r"(?:[^\\`*_\[\]<>&\n]|\\[!-/:-@\[-`{-~]|(?<=\w)_+(?=\w))*")
SEPARATOR = re.compile(r"(?<!\\)\|")  # of cells
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
MEASURED_VALUE = re.compile(r"[-+\d.,]+( \([^)]*\))?")  # a number, perhaps with its interval


def html_page(text: str, folder: Path) -> str:
    """HTML of Markdown whose pictures are PNG files in `folder`, where each is also an SVG.

    The first heading is the title; what is above the first heading of the second level is the first
    screen, and links to those headings follow it. From a heading of the third level to the end of
    the next table everything is folded, and so is a long table. HTML in the Markdown is shown as
    text, and so are other pictures. The page's policy lets it load nothing and run nothing but its
    own script.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    text, long_tables = _without_long_tables(text)
    parsed = markdown.parse(text)
    _replace_foreign(parsed, folder)
    rows = _rows_of_tables(parsed)
    table = -1
    tokens, sections, title, name, folded = list[Token](), list[str](), "", "", False
    contents_at = 0
    for token, following in pairwise([*parsed, *parsed[-1:]]):  # the last with itself
        if token.type == "heading_open":
            name = _plain(following)
            if token.tag == "h3":
                tokens.append(_html("<details>\n"))
                folded = True
            elif token.tag == "h1":
                title = name
            else:
                sections.append(name)
                token.attrSet("id", f"section-{len(sections)}")
                contents_at = contents_at or len(tokens)
        elif token.type == "table_open":
            table += 1
            count = len(long_tables.get(table, ())) or rows[table]
            if count > MAX_ROWS and not folded:
                tokens.append(_html(f"<details><summary>{count} rows</summary>\n"))
                folded = True
            frame = f'<div class="wide" role="region" tabindex="0" aria-label="{escape(name)}">\n'
            tokens.append(_html(frame))
        elif token.type == "td_open" and MEASURED_VALUE.fullmatch(following.content):
            token.attrSet("class", "measured")
        elif picture := _picture(following):
            token.tag = "figure"  # instead of the paragraph around the picture
            _embed(picture, following, folder)
        elif token.type == "paragraph_close" and tokens[-2].tag == "figure":
            token.tag = "figure"
        if token.type in ("heading_open", "heading_close") and token.tag == "h3":
            token.tag = "summary"
        if token.type == "table_close" and table in long_tables:
            tokens.append(_html(_body(long_tables[table], markdown)))
        tokens.append(token)
        if token.type == "table_close":
            tokens.append(_html("</div>\n</details>\n" if folded else "</div>\n"))
            folded = False
    links = "".join(
        f'<li><a href="#section-{number}">{escape(name)}</a></li>'
        for number, name in enumerate(sections, 1)
    )
    contents = _html(f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n')
    tokens.insert(contents_at or len(tokens), contents)
    body = markdown.renderer.render(tokens, markdown.options, {})
    template, script = (Path(__file__).with_name(f"page.{kind}").read_text() for kind in KINDS)
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    parts = {"title": escape(title), "body": body}
    return Template(template).substitute(parts, script=script, digest=digest)


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)


def _without_long_tables(text: str) -> tuple[str, dict[int, list[str]]]:
    """Markdown whose long tables have only a header, and their rows, by the table's place."""
    found, number = dict[int, list[str]](), -1

    def cut(table: re.Match[str]) -> str:
        nonlocal number
        number += 1
        if (rows := table[2].count("\n")) <= LONG:
            return table[0]
        found[number] = table[2].split("\n")[:rows]
        return f"{table[1]}\n"

    return TABLE.sub(cut, text), found


def _body(rows: list[str], markdown: MarkdownIt) -> str:
    """The rows of a long table as `markdown` would render them."""
    shown = "".join(
        f"<tr>\n{''.join(_cell(cell, markdown) for cell in SEPARATOR.split(row[2:-2]))}</tr>\n"
        for row in rows
    )
    return f"<tbody>\n{shown}</tbody>\n"


def _cell(text: str, markdown: MarkdownIt) -> str:
    text = text.strip().replace("\\|", "|")
    kind = ' class="measured"' if MEASURED_VALUE.fullmatch(text) else ""
    if PLAIN.fullmatch(text):
        shown = escapeHtml(ESCAPED.sub(r"\1", text))
    else:
        (line,) = markdown.parseInline(text)
        _replace_pictures(line)
        shown = markdown.renderer.render([line], markdown.options, {})
    return f"<td{kind}>{shown}</td>\n"


def _rows_of_tables(tokens: list[Token]) -> list[int]:
    """The number of rows in the body of each table."""
    counts: list[int] = []
    for token in tokens:
        if token.type == "table_open":
            counts.append(-1)  # its header
        elif token.type == "tr_open":
            counts[-1] += 1
    return counts


def _plain(line: Token) -> str:
    """The text of a line, without markup."""
    return "".join(part.content for part in line.children or ())


def _picture(token: Token) -> Token | None:
    """The picture that is all of a line."""
    parts = token.children or []
    return parts[0] if len(parts) == 1 and parts[0].type == "image" else None


def _replace_foreign(tokens: list[Token], folder: Path) -> None:
    """Replaces pictures that are not the report's by text: opening the page must not fetch
    anything. The report's are lines of their own, and named without a folder."""
    drawn = {path.with_suffix(".png").name for path in folder.glob("*.svg")}
    for before, token in pairwise(tokens):
        own = _picture(token) if before.type == "paragraph_open" else None
        if own is None or own.attrs["src"] not in drawn:
            _replace_pictures(token)


def _replace_pictures(line: Token) -> None:
    for child in line.children or ():
        if child.type == "image":
            child.type, child.content = "text", f"![{child.content}]({child.attrs['src']})"
            child.children = None


def _drawn(picture: Token, folder: Path) -> Path:
    return folder / Path(str(picture.attrs["src"])).with_suffix(".svg").name


def _embed(picture: Token, line: Token, folder: Path) -> None:
    """Puts the picture's SVG into the page, with a caption below."""
    content = base64.b64encode(_drawn(picture, folder).read_bytes()).decode()
    picture.attrSet("src", f"data:image/svg+xml;base64,{content}")
    caption = f"<figcaption>{escape(_plain(picture))}</figcaption>"
    assert line.children is not None
    line.children.append(Token("html_inline", "", 0, content=caption))
