"""Tells Ray that AWS takes this spot machine away, so that its trials write a checkpoint first.

Runs beside Ray on each worker, where cluster.yaml starts it:  python deploy/spot_notice.py
AWS gives two minutes' notice, in the metadata that a machine can ask for; Ray does not look there.
It knows nothing of comodo, and needs the standard library and the command `ray` only.
"""

import argparse
import json
import subprocess
import time
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

ASK_EVERY = 5.0  # seconds
TIMEOUT = 2.0  # seconds for an answer
DIRECT = build_opener(ProxyHandler({}))  # a proxy has metadata of its own


def ask(url: str, method: str = "GET", **headers: str) -> str:
    named = {
        f"X-aws-ec2-metadata-{name.replace('_', '-')}": value for name, value in headers.items()
    }
    with DIRECT.open(Request(url, method=method, headers=named), timeout=TIMEOUT) as answer:
        return str(answer.read(), "utf-8")


def notice(metadata: str) -> dict[str, Any] | None:
    """What is done to this machine and when; None: nothing, so far."""
    token = ask(f"{metadata}/latest/api/token", "PUT", token_ttl_seconds="60")
    try:
        return dict(
            json.loads(ask(f"{metadata}/latest/meta-data/spot/instance-action", token=token))
        )
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def drain(given: dict[str, Any]) -> None:
    """Without --node-id Ray takes the node on this machine."""
    when = datetime.fromisoformat(given["time"].removesuffix("Z")).replace(tzinfo=UTC)
    left = max(0, round((when - datetime.now(UTC)).total_seconds()))
    command = ["ray", "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", f"spot: {given['action']} at {given['time']}"]
    subprocess.run([*command, "--deadline-remaining-seconds", str(left)], check=True)


def watch(metadata: str) -> None:
    """Returns when Ray knows."""
    while True:
        try:
            if (given := notice(metadata)) is not None:
                return drain(given)
        except Exception as error:  # of whatever kind: all that helps is to ask again
            print(datetime.now(UTC).isoformat(), repr(error), flush=True)
        time.sleep(ASK_EVERY)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--metadata", default="http://169.254.169.254", help="where it is asked")
    watch(options.parse_args().metadata)
