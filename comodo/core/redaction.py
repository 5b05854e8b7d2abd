"""Hides passwords in addresses and other secrets in text. Knows neither where the text comes from
nor where it goes. What is a secret is defined here alone: a sweep file that has one is refused.
"""

import os
import re
from functools import lru_cache
from itertools import chain
from urllib.parse import unquote

HIDDEN = "***"
MIN_SECRET_LENGTH = 8  # a shorter value could be an ordinary word
# The name of a user with a password, in which anything may occur but the end of the address; or one
# word, which may be a token.
_IN_ADDRESS = re.compile(r"(?<=://)(?:[^/\s:'\"]{0,200}:[^\s'\"]{0,1000}|[^/\s'\"]+)@")
# Of an address that is all of a text, also with blanks in it, or of one among others.
_PASSWORDS = (re.compile(r"://[^/:]*:(.*)@", re.DOTALL), re.compile(r"://[^/:@]*:([^@]*)@"))
_NAME = (
    r"(?:TOKEN|PASSWORD|PASSWD|_PWD|PASSPHRASE|SECRET|CREDENTIALS?|SIGNATURE|CONNECTION_STRING"
    r"|(?:(?:ACCESS|ACCOUNT|API|PRIVATE|SECRET|STORAGE)_?|_)KEY)"
)
_SECRET = re.compile(rf"{_NAME}(_|$)", re.IGNORECASE)
_LOCATION = re.compile(r"_(FILE|PATH|DIR|URL|URI)$", re.IGNORECASE)  # says where a secret is stored
_IN_TEXT = re.compile(
    # An assignment, in a connection string or address too; `$` and `<` begin what stands for one.
    rf"(?P<named>(?:{_NAME}|\bsig)(?:=['\"]?|['\"]: ?['\"]))[^\s'\"&;,$<][^\s'\"&;,]{{7,}}"
    r"|(?P<login>\bBearer |\bAuthorization: Basic )[\w.~+/=-]{8,}"
    r"|\bhf_[A-Za-z0-9]{20,}"
    r"|\b(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[\w+/=-]{20,}"  # a session of AWS
    r"|(?<![\w+/])[\w+/]{86}==",  # a key of an Azure account
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The text without names and passwords in addresses (`http://anna:word@host`), without what has
    the form of a key or token, and without the values of variables that are named like a secret
    (HF_TOKEN, PGPASSWORD), or that are parts of others (MLFLOW_TRACKING_URI)."""
    text = _IN_ADDRESS.sub(f"{HIDDEN}@", text)
    text = _IN_TEXT.sub(lambda found: f"{found['named'] or found['login'] or ''}{HIDDEN}", text)
    for value in _secrets(tuple(os.environ.items())):
        text = text.replace(value, HIDDEN)
    return text


def without_password(address: str) -> str:
    """An address without the user's name and password."""
    return redacted(_IN_ADDRESS.sub("", address))


@lru_cache(maxsize=1)
def _secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    """The longest first, as one may contain another."""
    found = set()
    for name, value in environment:
        if _SECRET.search(name) and not _LOCATION.search(name):
            found.add(value)
        for password in chain.from_iterable(one.findall(value) for one in _PASSWORDS):
            found |= {password, unquote(password)}
        for secret in _IN_TEXT.finditer(value):
            found.add(secret[0].removeprefix(secret["named"] or secret["login"] or ""))
    return sorted((f for f in found if len(f) >= MIN_SECRET_LENGTH), key=len, reverse=True)
