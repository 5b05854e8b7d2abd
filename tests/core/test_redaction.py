"""What is never written down: in records, on the terminal, in a sweep file."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import ConfigError, read_sweep_file
from comodo.core.console import console
from comodo.core.redaction import redacted, without_password
from comodo.core.store import Store
from comodo.search.trial import Trial
from comodo.tracking.tracker import Tracker
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import trial_config

CANARY = "canary-4f1c9ab2"


def test_what_is_redacted_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12345678")
    monkeypatch.setenv("HF_TOKEN", "abcdefgh12345678-and-more")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/anna/.ray/auth_token")
    monkeypatch.setenv("SOME_PASSWORD", "short")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:{CANARY}@host:5000")
    monkeypatch.setenv("MIRRORS", "http://a:abcdefgh-1@one,http://b:abcdefgh%202@two")
    for text, wanted in {
        "https://anna:pa@ss@host:5000/x?y": "https://***@host:5000/x?y",
        "postgresql+psycopg2://u:p@db/mlflow": "postgresql+psycopg2://***@db/mlflow",
        "sqlite:////a/b@c/mlflow.db": "sqlite:////a/b@c/mlflow.db",
        "mail anna@host and http://host/ of anna@host": "mail anna@host and http://host/ of "
        "anna@host",
        "key abcdefgh12345678!": "key ***!",
        "token abcdefgh12345678-and-more": "token ***",
        "/home/anna/.ray/auth_token": "/home/anna/.ray/auth_token",
        "a short word": "a short word",
        f"Authorization: {CANARY}": "Authorization: ***",
        "abcdefgh-1, abcdefgh%202 and abcdefgh 2": "***, *** and ***",
    }.items():
        assert redacted(text) == wanted


AZURE = "/+" * 43 + "=="
AWS = "IQoJb3JpZ2luX2VjE" + "a+/1" * 20
UNKNOWN = {  # what is in no variable, and what is left of it
    "postgresql+psycopg2://u:pa/ss:w@rd@db/mlflow": "postgresql+psycopg2://***@db/mlflow",
    "PGPASSWORD=hunter2hunter2 psql": "PGPASSWORD=*** psql",
    f"AccountName=me;AccountKey={AZURE};EndpointSuffix=x": (
        "AccountName=me;AccountKey=***;EndpointSuffix=x"
    ),
    f"account me, key {AZURE}": "account me, key ***",
    "SharedAccessSignature=sv=2020&sig=abc%2Fdefgh%3D": "SharedAccessSignature=sv=2020&sig=***",
    "https://me.blob.core/x?sv=2020&sig=abc%2Fdefgh%3D": "https://me.blob.core/x?sv=2020&sig=***",
    "https://b.s3/x?X-Amz-Signature=0123456789": "https://b.s3/x?X-Amz-Signature=***",
    f"AWS_SESSION_TOKEN={AWS}": "AWS_SESSION_TOKEN=***",
    f"session {AWS} has expired": "session *** has expired",
    "Authorization: Bearer abc.def-123": "Authorization: Bearer ***",
    "Authorization: Basic YW5uYTp3b3Jk": "Authorization: Basic ***",
    "token hf_" + "aB3" * 11 + " is not valid": "token *** is not valid",
    "host=db password=hunter2hunter2": "host=db password=***",
    '{"password": "hunter2hunter2"}': '{"password": "***"}',
}
ORDINARY = (
    "pooling=token and cls_token=mean", "export HF_TOKEN=$(cat file)", "bearer of news",
    "https://hub/model@v1 and sqlite:////a/b@c/mlflow.db", "the token is not accepted", "a" * 86,
)  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), UNKNOWN.items())
def test_secrets_are_known_by_their_form(tmp_path: Path, text: str, wanted: str) -> None:
    assert redacted(text) == redacted(wanted) == wanted
    with raises(ConfigError, "trial.teacher.weights"):
        read_sweep_file(sweep_file(tmp_path, trial__teacher={"name": "videomae", "weights": text}))


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text) == text


@given(
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""))
)
def test_no_password_in_an_address_is_left(password: str) -> None:
    address = f"postgresql://anna:{password}@db.example/mlflow"
    assert redacted(f"no access to {address}") == "no access to postgresql://***@db.example/mlflow"
    assert without_password(address) == "postgresql://db.example/mlflow"


@given(password=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8))
def test_a_variable_s_password_is_left_nowhere(password: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://anna:{password}@db/mlflow")
        assert password not in redacted(f"refused: [{password}]").removeprefix("refused: ")
        known = redacted(f"refused: [{unquote(password)}]")
        assert len(unquote(password)) < 8 or unquote(password) not in known[9:]


def test_addresses_are_shown_without_passwords() -> None:
    assert without_password("http://anna:secret@host:5000/x") == "http://host:5000/x"
    assert without_password("postgresql://mlflow:secret@db/mlflow") == "postgresql://db/mlflow"
    assert without_password("sqlite:////a/b@c/mlflow.db") == "sqlite:////a/b@c/mlflow.db"


def test_canaries_are_nowhere_in_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In records, on the terminal; of a whole sweep see tests/e2e/test_tracking_server.py."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number, name in enumerate(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")):
        monkeypatch.setenv(name, f"{CANARY}-{number}")
    store, trial = Store(tmp_path), Trial(trial_config(), 0, "w", "f")
    tracker = Tracker(store, "s", {"name": "s"})
    tracker.begin("asked", "described", str, {})
    tracker.start(trial, "t")
    reason = f"HTTPError: 401 for https://anna:{CANARY}@hub/model with token {CANARY}-0"
    tracker.end(trial, "FAILED", reason)
    tracker.close()
    console.print(reason)
    assert CANARY not in capsys.readouterr().out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"HTTPError: 401 for https://***@hub/model" in p.read_bytes() for p in files)
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize("written", ["https://anna:word@host/model", f"x/{CANARY}", "$HF_TOKEN/x"])
def test_secrets_do_not_belong_into_sweep_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    teacher = {"name": "videomae", "weights": written}
    file = sweep_file(tmp_path, trial__teacher=teacher)
    with raises(ConfigError, "trial.teacher.weights", "sweep.yaml:") as caught:
        read_sweep_file(file)
    assert CANARY not in str(caught.value) and "anna" not in str(caught.value)
