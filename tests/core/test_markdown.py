"""Texts from elsewhere in Markdown: whatever they are, they are shown as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from comodo.core.markdown import as_code, as_text

READERS = [MarkdownIt("commonmark").enable("table"), MarkdownIt("gfm-like", {"linkify": False})]
texts = st.one_of(
    st.text(alphabet="a_*`[]()!<>&\\|~# 1", max_size=40), st.text(max_size=20)
).filter(str.strip)


def leaves(text: str, reader: MarkdownIt) -> list[tuple[str, str]]:
    """Kinds and contents of what a line of Markdown is read as, after a word."""
    (inline,) = [token for token in reader.parse(f"word {text}") if token.type == "inline"]
    tree = SyntaxTreeNode([inline]).children[0]
    return [(leaf.type, leaf.content) for leaf in tree.children]


@pytest.mark.parametrize("reader", READERS)
@given(text=texts)
def test_a_text_is_a_text(reader: MarkdownIt, text: str) -> None:
    shown = " ".join(text.replace("\0", "\ufffd").split())
    assert leaves(as_text(text), reader) == [("text", f"word {shown}")]
    assert leaves(as_code(text), reader) == [("text", "word "), ("code_inline", shown)]


def test_names_stay_readable_and_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a*b[c]d`e&f")
    assert as_text("test/acc1 of left_wrist (50 %)") == "test/acc1 of left_wrist (50 %)"
    assert as_text("401 with a*b[c]d`e&f") == r"401 with \*\*\*"
    assert as_code("--token a*b[c]d`e&f") == "`--token ***`"
