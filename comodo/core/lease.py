"""Who is working on something: a file `lease.json` in its folder, renewed during the work. It keeps
two processes, on any machines that see the store, from doing the same work at once.

A holder counts as dead when its process is gone, which only its own machine can see, or when the
file has not changed for STALE_SECONDS on the observer's clock: the clocks of two machines are never
compared.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from comodo.core.console import console
from comodo.core.errors import ComodoError, StoreError
from comodo.core.store import JsonRecord, Store, create, fetched, remove

RENEW_SECONDS, STALE_SECONDS, RETRY_SECONDS = 5.0, 30.0, 1.0


class LeaseError(ComodoError, RuntimeError):
    """Another process works on it."""


@dataclass(frozen=True)
class Holder(JsonRecord):
    """The process that has a lease, and since when; empty if the file was truncated."""

    FILE = "lease.json"
    id: str = ""
    host: str = ""
    machine: str | None = None  # see `_machine`
    pid: int = 0
    started: str | None = None  # see `_started`
    since: str = ""  # ISO 8601, UTC
    beat: int = 0  # how often the lease was renewed

    def __str__(self) -> str:
        known = f"process {self.pid} on {self.host}, since {self.since}"
        return known if self.id else "another process"


class Lease:
    """The right of one process to work on one artifact, sweep or trial; not taken yet."""

    def __init__(self, store: Store, kind: str, key: str) -> None:
        self._store, self._place = store, (kind, key)
        self._mine = Holder(
            id=uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            started=_started(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._taken_by: Holder | None = None
        self._renewed = 0.0
        self._seen: tuple[Holder, float] | None = None  # another's lease, first seen when
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.holder = ""
        """Who has the lease, if it could not be taken."""
        self.holder_lives = False
        """Whether the holder is known to be alive; otherwise that is not known yet."""

    def take(self) -> bool:
        """Takes the lease unless its holder is, or may be, alive; call again until that is known.
        Raises StoreError if the store cannot be written."""
        if (found := self._read()) is not None:
            if not self._is_dead(found):
                self.holder = str(found)
                return False
            remove(self._path)
        if not create(self._path, json.dumps(asdict(self._mine))):
            return False
        self._renewed = time.time()
        self._thread.start()
        return True

    def check(self) -> None:
        """Raises LeaseError if another process has taken it over: then nothing may be written."""
        if self._thread.ident is None:  # it was never taken
            return
        # After a long pause (a machine that slept) another process may have taken it.
        if self._taken_by is None and time.time() - self._renewed > STALE_SECONDS:
            with suppress(OSError):
                self._look()
        if self._taken_by is not None:
            reason = f"after no sign of life from this process for {STALE_SECONDS:g} s"
            message = f"{'/'.join(self._place)} was taken over by {self._taken_by}, {reason}"
            raise LeaseError("lease.lost", message)

    def release(self) -> None:
        """Gives the lease back, if this process still has it."""
        self._released.set()
        if self._thread.ident is None:  # it was never taken
            return
        self._thread.join()
        with suppress(OSError, StoreError):
            if self._look():
                remove(self._path)

    @property
    def _path(self) -> Path:
        return self._store.folder(*self._place) / Holder.FILE

    def _read(self) -> Holder | None:
        """The file's content; None without a file."""
        try:
            return Holder.read(fetched(self._path).parent)
        except FileNotFoundError:
            return None
        except ValueError:  # truncated when a machine went down
            return Holder()

    def _is_dead(self, found: Holder) -> bool:
        if self._mine.machine is not None and found.machine == self._mine.machine:
            alive = found.started == _started(found.pid)
            own = alive and found.pid == os.getpid()  # an earlier trial in this process
            self.holder_lives = alive and not own
            return not self.holder_lives
        now = time.monotonic()
        if self._seen is None or self._seen[0] != found:
            self.holder_lives = self._seen is not None
            self._seen = found, now
        return now - self._seen[1] > STALE_SECONDS

    def _look(self) -> bool:
        """Whether this process still has the lease."""
        found = self._read()
        if found is None or found.id != self._mine.id:
            self._taken_by = found or Holder()
        return self._taken_by is None

    def _renew(self) -> None:
        beat = 0
        while not self._released.wait(RENEW_SECONDS):
            with suppress(OSError, StoreError):  # an unreachable store is retried
                if not self._look():
                    return
                beat += 1
                replace(self._mine, beat=beat).write(self._path.parent)
                self._renewed = time.time()


@contextmanager
def leased(store: Store, kind: str, key: str, what: str) -> Iterator[None]:
    """Holds a lease while the block runs, after waiting for it; `what` names the work."""
    lease = Lease(store, kind, key)
    if not lease.take():
        console.print(f"{what}: done by {lease.holder}; waiting for it", markup=False)
        while not lease.take():
            time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        lease.release()


def _machine() -> str | None:
    """Identifies the machine, or container, whose process numbers this process shares, until it is
    switched off. None where that cannot be known."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return None


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if it is gone or not known."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return None
