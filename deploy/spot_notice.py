"""Makes Ray drain this spot machine before AWS reclaims it, so that its trials write a checkpoint.

Runs next to Ray on each worker, started by cluster.yaml:  python deploy/spot_notice.py
AWS gives two minutes' notice in the machine's metadata; Ray does not look there. Knows nothing
about comodo, and needs only the standard library and the command `ray`.
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
TIMEOUT = 2.0  # seconds for a response
DIRECT = build_opener(ProxyHandler({}))  # a proxy would return its own metadata


def ask(url: str, method: str = "GET", **headers: str) -> str:
    named = {
        f"X-aws-ec2-metadata-{name.replace('_', '-')}": value for name, value in headers.items()
    }
    with DIRECT.open(Request(url, method=method, headers=named), timeout=TIMEOUT) as answer:
        return str(answer.read(), "utf-8")


def notice(metadata: str) -> dict[str, Any] | None:
    """What AWS will do to this machine and when; None: nothing so far."""
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
    """Drains the node of this machine, which is Ray's default without --node-id."""
    when = datetime.fromisoformat(given["time"].removesuffix("Z")).replace(tzinfo=UTC)
    left = max(0, round((when - datetime.now(UTC)).total_seconds()))
    command = ["ray", "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", f"spot: {given['action']} at {given['time']}"]
    subprocess.run([*command, "--deadline-remaining-seconds", str(left)], check=True)


def watch(metadata: str) -> None:
    """Polls AWS; returns when Ray has been notified."""
    while True:
        try:
            if (given := notice(metadata)) is not None:
                return drain(given)
        except Exception as error:  # of any kind: the only remedy is to try again
            print(datetime.now(UTC).isoformat(), repr(error), flush=True)
        time.sleep(ASK_EVERY)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--metadata", default="http://169.254.169.254", help="the metadata service"
    )
    watch(options.parse_args().metadata)
