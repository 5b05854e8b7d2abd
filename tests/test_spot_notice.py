"""deploy/spot_notice.py: AWS's metadata is a server here; Ray is a command that notes what it is
told, then the real one."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.chaos.machines import machines
from tests.paths import ROOT

SCRIPT = ROOT / "deploy" / "spot_notice.py"


class Metadata(BaseHTTPRequestHandler):
    """As EC2 answers: a token by PUT, without it nothing; 404 until there is a notice."""

    asked = 0

    def log_message(self, *_: object) -> None:
        """Nothing is written."""

    def do_PUT(self) -> None:
        known = self.path == "/latest/api/token"
        known = known and bool(self.headers["X-aws-ec2-metadata-token-ttl-seconds"])
        self._answer(200 if known else 400, "a-token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "a-token":
            return self._answer(401, "")
        if self.path != "/latest/meta-data/spot/instance-action":
            return self._answer(500, "")
        Metadata.asked += 1
        at = datetime.now(UTC) + timedelta(seconds=119)
        notice = {"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return (
            self._answer(404, "") if Metadata.asked == 1 else self._answer(200, json.dumps(notice))
        )

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def metadata() -> Iterator[str]:
    """The address of one that gives notice when it is asked for the second time."""
    Metadata.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def command(folder: Path, name: str, script: str) -> None:
    """A command of that name, to be found in the folder."""
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def test_ray_is_told_of_a_notice_until_it_listens(
    metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("spot_notice", SCRIPT)
    assert spec is not None and spec.loader is not None
    spot_notice = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spot_notice)
    monkeypatch.setattr(spot_notice, "ASK_EVERY", 0.05)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which does not answer
    told = tmp_path / "told"
    # The first time the head is away.
    command(tmp_path, "ray", f'echo "$*" >> {told}; [ $(wc -l < {told}) = 2 ]')
    spot_notice.watch(metadata)
    first, second = told.read_text().splitlines()
    for line in (first, second):
        words = line.split()
        assert words[:3] == ["drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        assert words[-2] == "--deadline-remaining-seconds"
        assert 110 <= int(words[-1]) <= 119
        assert "--reason-message spot: terminate at 20" in line
    assert Metadata.asked == 3


@pytest.mark.slow
@pytest.mark.chaos
def test_the_node_of_the_machine_is_drained(metadata: str) -> None:
    with machines(0) as cluster:  # the head: of several nodes on one machine Ray takes it
        environment = {**os.environ, "RAY_ADDRESS": cluster.address}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(
            [sys.executable, str(SCRIPT), "--metadata", metadata],
            env=environment,
            timeout=120,
            check=True,
        )
        # As no trial is to be waited for, it ends at once.
        for _ in range(60):
            (node,) = cluster.cluster.global_state.node_table()
            if not node["Alive"]:
                break
            time.sleep(1)
        assert "spot: terminate at 20" in node["DeathReasonMessage"]


def test_each_worker_of_aws_starts_one_watcher(tmp_path: Path) -> None:
    """The command as it stands in cluster.yaml, with a `python` that notes what it is to run."""
    *_, start = yaml.safe_load((ROOT / "cluster.yaml").read_text())["worker_start_ray_commands"]
    (tmp_path / "comodo").symlink_to(ROOT)
    told, process = tmp_path / "told", tmp_path / "process"
    command(tmp_path, "python", f'echo $$ > {process}; echo "$*" >> {told}; exec sleep 60')
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for _ in range(2):  # `ray up` on a running cluster starts Ray again
        subprocess.run(["bash", "-c", start], env=environment, timeout=60, check=True)
        for _ in range(600):
            if told.exists():
                break
            time.sleep(0.1)
    time.sleep(0.5)
    os.kill(int(process.read_text()), signal.SIGKILL)
    (script,) = told.read_text().splitlines()
    assert Path(script).samefile(SCRIPT)
