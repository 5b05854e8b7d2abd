"""What is never written down: in records, on the terminal, in a sweep file."""

from pathlib import Path

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.core.console import console
from comodo.core.redaction import redacted
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
    }.items():
        assert redacted(text) == wanted


def test_canaries_are_nowhere_in_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In records, on the terminal; of a whole sweep see tests/e2e/test_tracking_server.py."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number, name in enumerate(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")):
        monkeypatch.setenv(name, f"{CANARY}-{number}")
    store, trial = Store(tmp_path), Trial(trial_config(), 0, "w", "f")
    tracker = Tracker(store, "s", {"name": "s"})
    tracker.begin("asked", "described", "{}", {})
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
