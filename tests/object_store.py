"""A small S3 on this machine: moto's server, spoken to by the real s3fs."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
from moto.server import ThreadedMotoServer

BUCKET = "lab"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """The environment of those who are to find it; it has one bucket, `lab`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # What it holds is this process's, and outlives an earlier server.
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"").close()
    try:
        fs = fsspec.filesystem("s3", key="k", secret="s", endpoint_url=endpoint)
        fs.mkdir(BUCKET)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()
