"""Who is working on something: a file `lease.json` in its folder, renewed during the work. It keeps
two processes, on any machines that see the store, from doing the same work at once.

A holder counts as dead when its process is gone, which only its own machine can see, or when the
file has not changed for STALE_SECONDS on the observer's clock: the clocks of two machines are never
compared. Of several processes that see a dead holder one takes its place: the one that has, as a
lease of its own, the right to change the dead holder's file.
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
from comodo.core.json_record import JsonRecord
from comodo.core.store import (
    Store,
    create,
    fetched,
    key_of,
    read_json,
    remove,
    write_json,
)

RENEW_SECONDS, STALE_SECONDS, RETRY_SECONDS = 5.0, 30.0, 1.0
# In one process, whose threads a lease does not tell apart: for each right a lock of its own. The
# holder of a right ends the thread that renews it, which may need the right to change that right.
_rights_locks: dict[Path, threading.RLock] = {}


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
    shares: bool = False  # whether others may take part in the work

    def __str__(self) -> str:
        known = f"process {self.pid} on {self.host}, since {self.since}"
        return known if self.id else "another process"


class Lease:
    """The right of one process to work on one artifact, sweep or trial; not taken yet."""

    def __init__(
        self, store: Store, kind: str, key: str, file: str = Holder.FILE, shares: bool = False
    ) -> None:
        self._store, self._place = store, (kind, key)
        self._path = store.folder(kind, key) / file
        self._mine = Holder(
            id=uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            started=_started(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            shares=shares,
        )
        self._taken_by: Holder | None = None
        self._renewed = 0.0
        self._seen: tuple[Holder, float] | None = None  # another's lease, first seen when
        self._rights: dict[str, Lease] = {}  # to change a holder's file, by file
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.holder = ""
        """Who has the lease, if it could not be taken."""
        self.holder_shares = False
        """Whether the holder lets others take part, if the lease could not be taken."""
        self.holder_lives = False
        """Whether the holder is known to be alive; otherwise that is not known yet."""

    def take(self) -> bool:
        """Takes the lease unless its holder is, or may be, alive; call again until that is known.
        Raises StoreError if the store cannot be written."""
        self._renewed, found, is_taken = time.time(), self._read(), False
        if found is None:
            is_taken = create(self._path, json.dumps(asdict(self._mine)))
        elif self._is_dead(found):
            with self._alone_with(found) as is_taken:
                if is_taken:
                    self._write(self._mine)
        if is_taken:
            self._thread.start()
        else:
            found = found or Holder()
            self.holder, self.holder_shares = str(found), found.shares
        return is_taken

    def is_held(self) -> bool:
        """Whether a process works on it, or may: a holder on another machine is not waited for."""
        found = self._read()
        return found is not None and not self._is_dead(found)

    def check(self) -> None:
        """Raises LeaseError if another process has taken it over: then nothing may be written."""
        if self._thread.ident is None:  # it was never taken
            return
        if self._taken_by is None and self._may_seem_dead:
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
        with suppress(OSError, StoreError), self._still_mine() as is_mine:
            if is_mine:
                remove(self._path)

    def _read(self) -> Holder | None:
        """The file's content; None without a file."""
        try:
            return Holder.from_json(read_json(fetched(self._path)))
        except FileNotFoundError:
            return None
        except ValueError:  # truncated when a machine went down
            return Holder()

    def _write(self, holder: Holder) -> None:
        write_json(self._path, asdict(holder))

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

    @property
    def _may_seem_dead(self) -> bool:
        """Whether another process may take it over: after a long pause, as of a machine that slept,
        or of the store. Early enough for what is then written to be written in time."""
        return time.time() - self._renewed > STALE_SECONDS / 2

    @contextmanager
    def _still_mine(self) -> Iterator[bool]:
        """Whether this process still has the lease, and may change its file in the block."""
        if not self._look():
            yield False
        elif self._may_seem_dead:
            with self._alone_with(self._mine) as is_alone:
                yield is_alone
        else:
            yield True

    @contextmanager
    def _alone_with(self, holder: Holder) -> Iterator[bool]:
        """Whether the lease is the holder's, while no other process changes its file. Without this
        right, a lease named by the holder, one process could remove what another has just written
        in a dead holder's place."""
        name = f"{self._path.stem}-{key_of(holder.id)}.json"
        with _rights_locks.setdefault(self._path.with_name(name), threading.RLock()):
            right = self._rights.setdefault(name, Lease(self._store, *self._place, name))
            if not right.take():
                yield False
                return
            del self._rights[name]
            try:
                found = self._read()
                yield found is not None and found.id == holder.id
            finally:
                right.release()

    def _renew(self) -> None:
        beat = 0
        while not self._released.wait(RENEW_SECONDS):
            with suppress(OSError, StoreError):  # an unreachable store is retried
                now = time.time()
                with self._still_mine() as is_mine:
                    if is_mine:
                        beat += 1
                        self._write(replace(self._mine, beat=beat))
                        self._renewed = now
                if self._taken_by is not None:
                    return


@contextmanager
def leased(store: Store, kind: str, key: str, what: str) -> Iterator[Lease]:
    """Holds a lease while the block runs, after waiting for it; `what` names the work."""
    lease = Lease(store, kind, key)
    if not lease.take():
        console.print(f"{what}: done by {lease.holder}; waiting for it", markup=False)
        while not lease.take():
            time.sleep(RETRY_SECONDS)
    try:
        yield lease
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
