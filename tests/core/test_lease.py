"""Leases: one holder at a time, and what becomes of dead ones."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comodo.core import lease as leases
from comodo.core.lease import Lease, LeaseError, leased
from comodo.core.store import Store, create, key_of, read_json, write_json
from tests.errors import raises

HOLDER = """
import sys, time
from comodo.core.lease import Lease
from comodo.core.store import Store
assert Lease(Store(sys.argv[1]), "trials", "k").take()
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RETRY_SECONDS", 0.02)


def file_of(store: Store) -> Path:
    return store.folder("trials", "k") / "lease.json"


@pytest.fixture
def elsewhere(store: Store) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease of trial k."""
    command = [sys.executable, "-c", HOLDER, str(store.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_living_holder_is_named_and_a_killed_one_is_followed_at_once(
    store: Store, elsewhere: subprocess.Popen[str]
) -> None:
    lease = Lease(store, "trials", "k")
    assert not lease.take()
    assert lease.holder_lives
    assert lease.holder.startswith(f"process {elsewhere.pid} on ")
    elsewhere.kill()
    elsewhere.wait()
    assert lease.take()
    assert read_json(file_of(store))["pid"] == os.getpid()
    lease.release()
    assert not file_of(store).exists()


def test_another_process_with_the_same_number_is_not_the_holder(store: Store) -> None:
    first = Lease(store, "trials", "k")
    assert first.take()
    first.release()
    parent = {"pid": os.getppid(), "started": "1", "machine": leases._machine(), "host": "h"}
    create(file_of(store), json.dumps({"id": "x", "since": "then", **parent}))
    lease = Lease(store, "trials", "k")
    assert lease.take()
    lease.release()


def foreign(beat: int) -> dict[str, Any]:
    """The lease of a process on another machine, whose clock is years ahead."""
    return {
        "id": "theirs",
        "host": "other",
        "machine": "other machine",
        "pid": 1,
        "started": "1",
        "since": "2099-01-01T00:00:00+00:00",
        "beat": beat,
    }


@pytest.mark.chaos
@pytest.mark.usefixtures("quick")
def test_on_another_machine_silence_alone_is_death(store: Store) -> None:
    write_json(file_of(store), foreign(0))
    lease = Lease(store, "trials", "k")
    began = time.monotonic()
    assert not lease.take()
    assert not lease.holder_lives  # not known yet
    while not lease.take():
        assert not lease.holder_lives
        time.sleep(0.02)
    assert time.monotonic() - began > 0.5
    lease.release()


@pytest.mark.usefixtures("quick")
def test_on_another_machine_a_beat_is_life(store: Store) -> None:
    lease = Lease(store, "trials", "k")
    for beat in range(20):  # twice as long as silence would take
        write_json(file_of(store), foreign(beat))
        assert not lease.take()
        time.sleep(0.05)
    assert lease.holder_lives
    assert read_json(file_of(store)) == foreign(19)


@pytest.mark.usefixtures("quick")
def test_it_is_renewed_and_who_loses_it_may_not_write(store: Store) -> None:
    lease = Lease(store, "trials", "k")
    assert lease.take()
    deadline = time.monotonic() + 20
    while read_json(file_of(store))["beat"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease.check()
    write_json(file_of(store), foreign(0))
    with raises(LeaseError, "lease.lost", "trials/k", "process 1 on other"):
        while time.monotonic() < deadline:
            lease.check()
            time.sleep(0.02)
    lease.release()
    assert read_json(file_of(store)) == foreign(0)  # it is not ours to remove


def test_after_a_sleep_the_file_is_asked_before_anything_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(store, "trials", "k")
    assert lease.take()  # is renewed in five seconds: not within this test
    write_json(file_of(store), foreign(0))
    lease.check()
    now = time.time()
    monkeypatch.setattr("comodo.core.lease.time.time", lambda: now + 3600)
    with pytest.raises(LeaseError):
        lease.check()
    lease.release()


def test_a_lease_cut_short_is_one_of_somebody_unknown(store: Store) -> None:
    file_of(store).parent.mkdir(parents=True)
    file_of(store).write_text("")
    lease = Lease(store, "trials", "k")
    assert not lease.take()
    assert lease.holder == "another process"


def hold(root: Path, log: Path, number: int) -> None:
    for _ in range(10):
        with leased(Store(root), "trials", "k", "test"), log.open("a") as file:
            file.write(f"+{number}\n")
            file.flush()
            time.sleep(0.002)
            file.write(f"-{number}\n")


@pytest.mark.chaos
def test_of_many_processes_one_holds_it_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RETRY_SECONDS", 0.01)
    log, context = tmp_path / "log", multiprocessing.get_context("fork")
    processes = [context.Process(target=hold, args=(tmp_path, log, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 60
    for begun, ended in zip(lines[::2], lines[1::2], strict=True):
        assert (begun[0], ended[0], begun[1:]) == ("+", "-", ended[1:])


def test_of_many_who_create_a_file_one_succeeds(tmp_path: Path) -> None:
    results: list[bool] = []
    path = tmp_path / "folder/file"

    def attempt(number: int) -> None:
        results.append(create(path, f"{number}" * 1000))

    threads = [threading.Thread(target=attempt, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]
    assert len(set(path.read_text())) == 1
    assert list(path.parent.iterdir()) == [path]


def dead(store: Store, number: int = 0) -> None:
    """The lease of a process of this machine that is gone."""
    mine = {"machine": leases._machine(), "pid": 2**22 + 1, "started": "1"}
    write_json(file_of(store), {"id": f"dead {number}", "host": "h", "since": "then", **mine})


def test_only_one_takes_the_place_of_a_dead_holder(store: Store) -> None:
    dead(store)
    first, second = Lease(store, "trials", "k"), Lease(store, "trials", "k")
    is_dead = second._is_dead

    def slowly(found: leases.Holder) -> bool:
        """The other takes the lease after this one has seen the dead holder."""
        seen = is_dead(found)
        assert first.take()
        return seen

    second._is_dead = slowly  # type: ignore[method-assign]
    assert not second.take()
    first.check()
    assert read_json(file_of(store))["id"] == first._mine.id
    assert [path.name for path in file_of(store).parent.iterdir()] == ["lease.json"]
    first.release()


def test_a_taker_that_died_on_the_way_is_followed(store: Store) -> None:
    dead(store)
    name = f"lease-{key_of('dead 0')}.json"
    write_json(file_of(store).with_name(name), read_json(file_of(store)) | {"id": "also dead"})
    lease = Lease(store, "trials", "k")
    assert lease.take()
    assert [path.name for path in file_of(store).parent.iterdir()] == ["lease.json"]
    lease.release()


@pytest.mark.usefixtures("quick")
def test_a_late_holder_writes_nothing_while_another_takes_its_place(store: Store) -> None:
    lease = Lease(store, "trials", "k")
    assert lease.take()
    lease._renewed = 0.0  # as after a sleep of the machine
    right = file_of(store).with_name(f"lease-{key_of(lease._mine.id)}.json")
    assert create(right, json.dumps(foreign(0)))
    with lease._still_mine() as is_mine:
        assert not is_mine
    lease.release()
    assert file_of(store).exists()


class Slow(Lease):
    """Takes a while between seeing a dead holder and taking its place, as on a busy machine."""

    def _is_dead(self, found: leases.Holder) -> bool:
        is_dead = super()._is_dead(found)
        time.sleep(random.uniform(0, 0.01))
        return is_dead


def contend(root: Path, rounds: int, barrier: Any, holders: Any) -> None:
    for number in range(rounds):
        if barrier.wait() == 0:
            dead(Store(root), number)
        barrier.wait()
        lease = Slow(Store(root), "trials", "k")
        if lease.take():
            with holders:
                holders[number] += 1
        barrier.wait()
        lease.release()


@pytest.mark.chaos
def test_of_many_processes_that_see_a_dead_holder_one_follows(tmp_path: Path) -> None:
    rounds, context = 30, multiprocessing.get_context("fork")
    barrier, holders = context.Barrier(4), context.Array("i", rounds)
    processes = [
        context.Process(target=contend, args=(tmp_path, rounds, barrier, holders)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert holders[:] == [1] * rounds


@pytest.mark.usefixtures("quick")
def test_a_process_that_was_paused_while_it_takes_a_dead_holder_s_place_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its right to do so was not renewed either, so that another process might take it over."""

    def write_slowly(path: Path, content: Any) -> None:
        time.sleep(0.5)
        write_json(path, content)

    write_json(file_of(store), {"id": "dead", "machine": leases._machine(), "pid": 1})
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.02)
    monkeypatch.setattr(leases, "write_json", write_slowly)
    lease = Lease(store, "trials", "k")
    taking = threading.Thread(target=lease.take, daemon=True)
    taking.start()
    taking.join(10)
    assert not taking.is_alive()
    lease.release()
    assert not file_of(store).exists()
