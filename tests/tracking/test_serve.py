"""`comodo ui`: for this machine alone, or with passwords."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from comodo.cli import app
from comodo.store import Store
from comodo.tracking.serve import ServeError, server

CANARY = "canary-4f1c9ab2"


def test_other_machines_are_asked_for_passwords_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"postgresql+psycopg2://mlflow:{CANARY}@db/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for name in ("MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    store = Store(tmp_path)
    for host in ("127.0.0.1", "localhost", "::1"):
        command, environment = server(store, host, 5000)
        assert "--app-name" not in command
        assert CANARY not in " ".join(command)  # which all users of the machine see
        assert environment["MLFLOW_BACKEND_STORE_URI"] == address
    done = CliRunner().invoke(app, ["ui", "--host", "0.0.0.0", "--store", str(tmp_path)])
    assert done.exit_code == 1
    assert "export MLFLOW_AUTH_ADMIN_PASSWORD='12 letters or more'" in done.output
    assert "export MLFLOW_FLASK_SERVER_SECRET_KEY=$(python3 -c" in done.output
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "p" * 12)
    found: list[object] = [None]
    monkeypatch.setattr("comodo.tracking.serve.find_spec", lambda name: found[0])
    with pytest.raises(ServeError, match=r"pip install 'mlflow\[auth\]'$"):
        server(store, "192.168.1.7", 5000)
    found[0] = object()
    command, environment = server(store, "192.168.1.7", 5000)
    assert command[-2:] == ["--app-name", "basic-auth"]
    settings = Path(environment["MLFLOW_AUTH_CONFIG_PATH"]).read_text()
    assert f"sqlite:///{tmp_path}/mlflow/basic_auth.db" in settings
