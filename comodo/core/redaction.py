"""Hides passwords in addresses and secrets of the environment in text. Knows neither where the text
comes from nor where it goes."""

import os
import re

HIDDEN = "***"
MIN_SECRET_LENGTH = 8  # a shorter value could be an ordinary word
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s'\"]+@")
_SECRET = re.compile(
    r"(^|_)(TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS?|ACCESS_KEY|API_?KEY|PRIVATE_KEY)"
    r"(_|$)",
    re.IGNORECASE,
)
_LOCATION = re.compile(r"_(FILE|PATH|DIR|URL|URI)$", re.IGNORECASE)  # says where a secret is stored


def redacted(text: str) -> str:
    """The text without names and passwords in addresses (`http://anna:word@host`), and without the
    values of variables that are named like a secret (HF_TOKEN, AWS_SECRET_ACCESS_KEY)."""
    text = _IN_ADDRESS.sub(f"{HIDDEN}@", text)
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    return text


def _secrets() -> list[str]:
    """The longest first, as one may contain another."""
    found = set()
    for name, value in os.environ.items():
        if _SECRET.search(name) and not _LOCATION.search(name):
            found.add(value)
        for userinfo in _IN_ADDRESS.findall(value):  # as in MLFLOW_TRACKING_URI
            found.add(userinfo[:-1].partition(":")[2])
    return sorted((f for f in found if len(f) >= MIN_SECRET_LENGTH), key=len, reverse=True)
