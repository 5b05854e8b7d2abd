"""The MLflow server that `comodo ui` starts: on this machine alone, or with passwords.

Knows nothing of sweeps.
"""

import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from comodo.core.errors import ComodoError
from comodo.core.paths import create_private
from comodo.core.store import Store, atomic

REQUIRED = ("MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD")
# MLflow's own defaults, except for the database, which by default is in the current folder.
AUTHENTICATION = """[mlflow]
default_permission = READ
database_uri = sqlite:///{database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


class ServeError(ComodoError, RuntimeError):
    """A server that would be open to everybody, or that cannot run."""


def server(store: Store, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a server for the store's records.

    The database's address is in the environment, as it may contain a password and other users can
    see command lines.

    Raises:
        ServeError: other machines could reach it without a password.
    """
    from comodo.tracking.runs import artifact_root, tracking_uri  # slow to import

    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    # With several workers, MLflow ends slow ones while a sweep keeps the cores busy.
    command += ["--workers", "1", "--artifacts-destination", str(artifact_root(store))]
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": tracking_uri(store)}
    if not _is_this_machine(host):
        refuse_without_passwords(host)
        command += ["--app-name", "basic-auth"]
        environment.setdefault("MLFLOW_AUTH_CONFIG_PATH", str(_settings_of_users(store)))
    return command, environment


def serve(
    command: list[str], environment: dict[str, str], port: int, on_ready: Callable[[], None]
) -> None:
    """Runs a server until this process is interrupted; calls `on_ready` once the server answers.
    Raises ServeError if the server ends by itself."""
    process = subprocess.Popen(command, env=environment)
    try:
        while process.poll() is None and not _listens(process.pid, port):
            time.sleep(0.2)
        if process.returncode is None:
            on_ready()
        process.wait()
    finally:
        process.terminate()
        process.wait()
    ended = f"the MLflow server ended with exit status {process.returncode}"
    raise ServeError("ui.ended", f"{ended}; the reason is above")


def refuse_used(host: str, port: int) -> None:
    """Raises ServeError for an address that no server can listen on."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As servers do, so that connections of an ended one do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ServeError(
            "ui.no-port",
            f"port {port} of {host} cannot be used ({error.strerror}); choose another: "
            "comodo ui --port",
        ) from None


def _listens(pid: int, port: int) -> bool:
    """Whether this process, or one that it started, listens on the port: another server might."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for one in (process, *process.children(recursive=True))
            for connection in one.net_connections("inet")
        )
    return False


def refuse_without_passwords(host: str) -> None:
    """Raises ServeError where MLflow's own authentication is not set up."""
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    installed = find_spec("flask_wtf") is not None
    if not missing and installed:
        return
    values = ("$(python3 -c 'import secrets; print(secrets.token_hex())')", "'12 letters or more'")
    pairs = zip(REQUIRED, values, strict=True)
    fix = [] if installed else ["pip install 'mlflow[auth]'"]
    fix += [f"export {name}={value}" for name, value in pairs if name in missing]
    raise ServeError(
        "ui.no-passwords",
        f"--host {host}: everybody who reaches this machine could read and delete all records; "
        "let MLflow ask for name and password (user admin, with the second variable's value), "
        f"then run the same command again:\n  " + "\n  ".join(fix),
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _settings_of_users(store: Store) -> Path:
    """MLflow's settings of its authentication, with the users' database in the store."""
    from comodo.tracking.runs import records_folder  # slow to import

    path = records_folder(store) / "basic_auth.ini"
    database = path.with_suffix(".db")
    create_private(database)  # as MLflow makes it, all users of the machine may read the hashes
    with atomic(path) as temporary:
        temporary.write_text(AUTHENTICATION.format(database=database))
    return path
