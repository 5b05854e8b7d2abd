"""A stand-in of the Hugging Face hub on this machine: what huggingface_hub asks to make a
repository, upload a folder of small files, and download it. It has one user, `anna`, whose token is
TOKEN, and another one's public repository, `ben/open`.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

import pytest

TOKEN = "hf_" + "a" * 34


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class Hub:
    """What it has, and what it was asked."""

    repositories: dict[str, Repository]
    asked: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    """Cards whose metadata were sent to be checked."""


class _Answers(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    do_GET = do_POST = do_HEAD

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlparse(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        is_anna = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path == "/api/validate-yaml":
            self.hub.checked.append(json.loads(sent)["content"])
            return self._send(200, {"errors": [], "warnings": []})
        if path == "/api/whoami-v2":
            return self._send(200 if is_anna else 401, {"name": "anna", "type": "user", "orgs": []})
        if path == "/api/repos/create":
            return self._create(json.loads(sent))
        found = re.match(r"(?:/api/models)?/(\w+/\w+)(?:/(\w+))?(?:/([^/]+))?(?:/(.+))?$", path)
        if not found:
            return self._send(404, {})
        name, verb, _, file = found.groups()
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not is_anna):
            return self._send(404, {}, {"X-Error-Code": "RepoNotFound"})
        if verb in ("preupload", "commit") and not name.startswith("anna/"):
            return self._send(403, {"error": "no write access"})
        if verb == "preupload":
            files = [f | {"uploadMode": "regular"} for f in json.loads(sent)["files"]]
            return self._send(200, {"files": [{**f, "shouldIgnore": False} for f in files]})
        if verb == "commit":
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    repository.files[line["value"]["path"]] = content
            url = f"http://{self.headers['Host']}/{name}/commit/{repository.commit}"
            return self._send(200, {"commitUrl": url, "commitOid": repository.commit})
        if verb == "tree":
            listed = repository.files.items()
            return self._send(200, [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for p, c in listed
            ])  # fmt: skip
        if verb == "resolve":
            if file not in repository.files:
                return self._send(404, {}, {"X-Error-Code": "EntryNotFound"})
            etag = f'"{hashlib.sha1(repository.files[file]).hexdigest()}"'
            headers = {"ETag": etag, "X-Repo-Commit": repository.commit}
            return self._send(200, repository.files[file], headers)
        siblings = [{"rfilename": name} for name in repository.files]
        about: dict[str, Any] = {"id": name, "modelId": name, "tags": []}
        about |= {"private": repository.private, "sha": repository.commit}
        return self._send(200, about | {"siblings": siblings})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "anna":
            return self._send(403, {"error": "no rights"})
        status = 409 if name in self.hub.repositories else 200
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.hub.repositories.setdefault(name, Repository(private))
        return self._send(status, {"url": f"http://{self.headers['Host']}/{name}"})


@contextmanager
def serving() -> Iterator[tuple[Hub, str]]:
    """A hub, and its address."""
    hub = Hub({"ben/open": Repository(private=False)})
    handler = type("Answers", (_Answers,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def use(patch: pytest.MonkeyPatch, address: str, cache: str) -> None:
    """huggingface_hub in this process asks that address, as with HF_ENDPOINT, with the token of
    nobody."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", address)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
    patch.setattr(constants, "HF_HUB_CACHE", cache)
    patch.setattr(constants, "HF_TOKEN_PATH", f"{cache}/token")
    patch.setattr(constants, "HF_STORED_TOKENS_PATH", f"{cache}/stored_tokens")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
