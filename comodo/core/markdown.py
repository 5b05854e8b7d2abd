"""Texts from elsewhere in pages of Markdown: shown as they are, never as markup. Knows no page."""

import re

from comodo.core.redaction import redacted

# What begins a link, a picture, HTML, code or emphasis. Not `_` inside a word, which begins nothing
# and is in many names; `|` only divides the cells of tables.
_MARKUP = re.compile(r"[\\`*\[\]<>&~]|(?<![^\W_])_|_(?![^\W_])")


def as_text(text: str) -> str:
    """A text in a line of Markdown that shows it, on one line and without secrets, which could not
    be recognised afterwards."""
    text = " ".join(text.split())
    return _MARKUP.sub(r"\\\g<0>", redacted(text)) if _MARKUP.search(text) else text


def as_code(text: str) -> str:
    """As `as_text`, in the letters of a program."""
    text = redacted(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * ("`" in text)
    return f"{fence}{space}{text}{space}{fence}"
