"""Errors by their codes. What their messages say is in docs/errors.md, which test_docs.py compares
with the code.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from comodo.core.errors import ComodoError


@contextmanager
def raises(
    error: type[ComodoError], code: str, *names: str
) -> Iterator[pytest.ExceptionInfo[ComodoError]]:
    """The block raises this error with this code, and its message has the names: of files, keys
    or values."""
    with pytest.raises(error) as caught:
        yield caught
    assert caught.value.code == code, f"{caught.value.code}: {caught.value}"
    for name in names:
        assert name in str(caught.value)
