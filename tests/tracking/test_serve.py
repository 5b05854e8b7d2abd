"""`comodo ui`: for this machine alone, or with passwords."""

import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil
import pytest
from typer.testing import CliRunner

from comodo.cli import app
from comodo.core.store import Store
from comodo.tracking.serve import ServeError, serve, server
from tests.errors import raises
from tests.ports import listening
from tests.tracking_server import LIMIT, free_port

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
    ui = ["ui", "--host", "0.0.0.0", "--port", str(free_port()), "--store", str(tmp_path)]
    done = CliRunner().invoke(app, ui)
    assert done.exit_code == 1
    assert "export MLFLOW_AUTH_ADMIN_PASSWORD='12 letters or more'" in done.output
    assert "export MLFLOW_FLASK_SERVER_SECRET_KEY=$(python3 -c" in done.output
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "p" * 12)
    found: list[object] = [None]
    monkeypatch.setattr("comodo.tracking.serve.find_spec", lambda name: found[0])
    with raises(ServeError, "ui.no-passwords", "pip install 'mlflow[auth]'"):
        server(store, "192.168.1.7", 5000)
    found[0] = object()
    command, environment = server(store, "192.168.1.7", 5000)
    assert command[-2:] == ["--app-name", "basic-auth"]
    settings = Path(environment["MLFLOW_AUTH_CONFIG_PATH"]).read_text()
    database = tmp_path / "mlflow/basic_auth.db"
    assert f"sqlite:///{database}" in settings and database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mine", ["127.0.0.1", "0.0.0.0"])
def test_a_used_port_is_refused_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # which takes seconds to import
    with socket.socket() as other:
        other.bind((mine, 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = CliRunner().invoke(app, ["ui", "--port", port, "--store", str(tmp_path)])
    assert done.exit_code == 1
    assert f"port {port} of 127.0.0.1" in done.output and "--port" in done.output
    assert "http://" not in done.output


def test_a_server_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    ready: list[bool] = []
    command = [sys.executable, "-c", "pass"]
    with raises(ServeError, "ui.ended", "status 0"):
        serve(command, dict(os.environ), free_port(), lambda: ready.append(True))
    assert not ready


@contextmanager
def served(folder: Path, *options: str, **environment: str) -> Iterator[tuple[str, psutil.Process]]:
    """`comodo ui` once it answers: its address on this machine, and its process."""
    port, log = free_port(), folder / "log"
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | environment
    command = [sys.executable, "-m", "comodo", "ui", "--port", str(port), *options]
    with log.open("w") as out:
        ui = subprocess.Popen(
            [*command, "--store", str(folder / "store")], env=env, stdout=out, stderr=out
        )
    try:
        began, address = time.monotonic(), f"http://127.0.0.1:{port}"
        while status(f"{address}/health") != 200:
            assert ui.poll() is None and time.monotonic() - began < LIMIT, log.read_text()
            time.sleep(0.2)
        yield address, psutil.Process(ui.pid)
    finally:
        ui.terminate()
        ui.wait(60)


def status(url: str, password: str = "") -> int:
    """What is answered to the administrator with this password, or to nobody; 0 without answer."""
    request = Request(url)
    if password:
        login = b64encode(f"admin:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    with suppress(URLError, OSError):
        try:
            return int(urlopen(request, timeout=30).status)
        except HTTPError as error:
            return error.code
    return 0


@pytest.mark.slow
def test_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    with served(tmp_path) as (address, process):
        assert f"MLflow on {address}" in (tmp_path / "log").read_text()
        found = listening(process)
        assert status(f"{address}/api/2.0/mlflow/experiments/search?max_results=1") == 200
    assert {where for where, _ in found} == {"127.0.0.1"}, found


@pytest.mark.slow
def test_on_other_addresses_it_lets_nobody_in_without_the_password(tmp_path: Path) -> None:
    """With requests to 127.0.0.1, which is one of all addresses."""
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth needs pip install mlflow[auth]")
    password = "twelve-letters-or-more"
    secrets = {"MLFLOW_AUTH_ADMIN_PASSWORD": password, "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32}
    with served(tmp_path, "--host", "0.0.0.0", **secrets) as (address, process):
        assert "0.0.0.0" in {where for where, _ in listening(process)}
        for page in ("/", "/api/2.0/mlflow/experiments/search?max_results=1"):
            statuses = [status(address + page, word) for word in ("", "another-password", password)]
            assert statuses == [401, 401, 200], page
    database = tmp_path / "store/mlflow/basic_auth.db"
    assert database.stat().st_size and database.stat().st_mode & 0o777 == 0o600
