"""A store on a bucket: moto's S3 on this machine, the real s3fs, and caches of two machines."""

import errno
import importlib
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

import comodo.core.store
from comodo.core import lease as leases
from comodo.core.bucket import Bucket
from comodo.core.errors import StoreError
from comodo.core.lease import Lease
from comodo.core.parts import parts, remove_rejected, write_table
from comodo.core.store import (
    Store,
    atomic,
    create,
    fetched,
    fingerprint,
    publish,
    read_json,
    remove,
    write_json,
)
from tests.errors import raises
from tests.helpers import make_arrays, run_whole, trial_config, weights_equal
from tests.object_store import BUCKET, object_store


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as env:
        yield env


@pytest.fixture
def url(
    server: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> str:
    """A place of its own in the bucket."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("s3").clear_instance_cache()
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').rstrip(']')}"


@pytest.fixture
def here(url: str) -> Store:
    return Store(url)


@pytest.fixture
def elsewhere(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Store) -> Store:
    """The same bucket as another machine sees it."""
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "other cache"))
    store = Store(url)
    assert store.root != here.root
    return store


def test_a_bucket_is_mirrored_in_the_user_s_folder_of_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("COMODO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Store("memory://lab").root.parent == tmp_path / "home/.cache/comodo"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert Store("memory://lab").root.parent == tmp_path / "caches/comodo"
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "own"))
    assert Store("memory://lab").root.parent == tmp_path / "own"


def objects(url: str) -> set[str]:
    """Names in the bucket, below the URL."""
    base = url.removeprefix("s3://")
    return {name.removeprefix(f"{base}/") for name in fsspec.filesystem("s3").find(base)}


def test_what_one_machine_writes_another_reads(url: str, here: Store, elsewhere: Store) -> None:
    write_json(here.folder("windows", "k") / "meta.json", {"n": 1})
    assert elsewhere.meta("windows", "k") == {"n": 1}
    assert elsewhere.meta("windows", "other") is None
    assert objects(url) == {"windows/k/meta.json"}
    files = [store.folder("windows", "k") / "meta.json" for store in (here, elsewhere)]
    assert fingerprint(files[0]) == fingerprint(files[1])


def test_a_store_is_made_again_where_it_is_unpickled(here: Store, elsewhere: Store) -> None:
    # The environment now is that of the other machine.
    assert pickle.loads(pickle.dumps(here)).root == elsewhere.root
    assert str(here) == str(elsewhere)


def test_what_changes_is_fetched_again_and_nothing_else(here: Store, elsewhere: Store) -> None:
    ours, theirs = (store.folder("sweeps", "s") for store in (here, elsewhere))
    for name in ("asked", "ended"):
        write_json(ours / f"{name}.json", ["a"])
    fetched(theirs)
    before = {path.name: path.stat().st_ino for path in theirs.iterdir()}
    write_json(ours / "asked.json", ["b"])  # as long, and perhaps in the same second
    assert read_json(fetched(theirs) / "asked.json") == ["b"]
    after = {path.name: path.stat().st_ino for path in theirs.iterdir()}
    assert after["ended.json"] == before["ended.json"]
    assert after["asked.json"] != before["asked.json"]
    stayed = {path.name: path.stat().st_ino for path in ours.iterdir()}
    fetched(ours)  # what was written here is not downloaded
    assert stayed == {path.name: path.stat().st_ino for path in ours.iterdir()}


def test_only_what_matches_is_fetched(here: Store, elsewhere: Store) -> None:
    for key in ("a", "b", "c"):
        folder = here.folder("trials", key)
        for name in ("trained.json", "measures/w/probe.json", "measures/w/probe.parquet"):
            write_json(folder / name, {})
        with atomic(folder / "student" / "model.safetensors") as path:
            path.write_bytes(bytes(1000))
    root = elsewhere.root / "trials"
    elsewhere.fetch("trials", {"a", "b"}, "**/*.json")
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {f"{k}/{n}.json" for k in "ab" for n in ("trained", "measures/w/probe")}
    elsewhere.fetch("trials", ["c"], "*/*/*.parquet", "trained.json")
    assert (root / "c/measures/w/probe.parquet").exists()
    assert not (root / "c/measures/w/probe.json").exists()
    listed = elsewhere.files("trials", "*/student/*")
    assert listed == {root / key / "student/model.safetensors": 1000 for key in "abc"}
    assert elsewhere.files("trials", "c/trained.json").keys() == {root / "c/trained.json"}
    assert here.files("trials", "c/nothing.json") == {}


@pytest.mark.parametrize("below", ["../../../.bashrc", "a/../../b", "a//b", "./b"])
def test_names_of_objects_lead_nowhere_else(
    url: str, here: Store, tmp_path: Path, below: str
) -> None:
    write_json(here.folder("trials", "k") / "trained.json", {})
    bucket, prefix = url.removeprefix("s3://").split("/", 1)
    # As anybody who may write to the bucket can; s3fs would tidy the name.
    service = fsspec.filesystem("s3")
    fsspec.asyn.sync(
        service.loop,
        lambda: service._call_s3(
            "put_object", Bucket=bucket, Key=f"{prefix}/trials/k/{below}", Body=b"planted"
        ),
    )
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for read in (
        lambda: fetched(here.folder("trials", "k")),
        lambda: here.fetch("trials", ["k", "l"]),
        lambda: here.files("trials", "**/*"),
    ):
        with raises(StoreError, "store.bad-name", url, f"k/{below}"):
            read()
    assert {p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"} == before


def test_a_folder_s_own_object_is_no_file(url: str, here: Store) -> None:
    """As consoles of S3 make it when somebody creates a folder."""
    write_json(here.folder("trials", "k") / "trained.json", {})
    service = fsspec.filesystem("s3")
    for name in ("trials/k/", "trials/k/student/"):
        service.pipe_file(f"{url}/{name}", b"")
    assert [path.name for path in fetched(here.folder("trials", "k")).iterdir()] == ["trained.json"]


def test_what_is_removed_is_gone_everywhere(url: str, here: Store, elsewhere: Store) -> None:
    ours, theirs = (store.folder("trials", "k") for store in (here, elsewhere))
    for name in ("checkpoint.pt", "trained.json", "student/a"):
        write_json(ours / name, {})
    fetched(theirs)
    remove(ours / "checkpoint.pt")
    remove(ours / "checkpoint.pt")  # as often as one likes
    assert objects(url) == {"trials/k/trained.json", "trials/k/student/a"}
    assert (theirs / "checkpoint.pt").exists()
    fetched(theirs, "*.pt")
    assert not (theirs / "checkpoint.pt").exists()
    remove(theirs / "student")
    assert not (theirs / "student").exists() and objects(url) == {"trials/k/trained.json"}
    fetched(ours)
    assert [path.name for path in ours.iterdir()] == ["trained.json"]


def test_rejected_parts_are_forgotten_in_the_bucket_too(url: str, here: Store) -> None:
    folder = here.folder("features", "k")
    write_json(folder / "meta.json", {})
    write_table(folder / "part-0.parquet", pa.table({"rejected": [None, "broken"]}))
    write_table(folder / "part-1.parquet", pa.table({"rejected": pa.array([None], pa.string())}))
    remove_rejected(folder)
    assert objects(url) == {"features/k/part-1.parquet"}
    assert [path.name for path in parts(folder)] == ["part-1.parquet"]


def test_a_write_that_fails_leaves_neither_file_nor_object(
    url: str, here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here.folder("windows", "k")
    write_json(folder / "meta.json", {"n": 1})
    with pytest.raises(OSError, match="full"), atomic(folder / "meta.json") as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    seen = []

    def refused(self: Bucket, source: Path, path: Path) -> None:
        seen.append(read_json(path) if path.exists() else None)
        raise StoreError("store.unreachable", "no network")

    monkeypatch.setattr(Bucket, "put", refused)
    for name in ("meta.json", "new.json"):
        with raises(StoreError, "store.unreachable"):
            write_json(folder / name, {"n": 2})
    assert seen == [{"n": 1}, None]  # nothing is here before it is there
    assert [path.name for path in folder.iterdir()] == ["meta.json"]
    assert objects(url) == {"windows/k/meta.json"}


def test_of_several_who_create_one_succeeds(here: Store, elsewhere: Store) -> None:
    paths = [store.folder("trials", "k") / "lease.json" for store in (here, elsewhere)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: create(paths[i % 2], f"mine: {i}"), range(8)))
    assert sum(made) == 1
    for path in paths:
        assert fetched(path).read_text() == f"mine: {made.index(True)}"
        assert [file.name for file in path.parent.iterdir()] == ["lease.json"]
    remove(paths[0])
    assert create(paths[1], "again")


def test_of_two_machines_that_see_a_dead_holder_one_follows(
    url: str, here: Store, elsewhere: Store
) -> None:
    gone = {"machine": leases._machine(), "pid": 2**22 + 1, "started": "1"}
    write_json(here.folder("trials", "k") / "lease.json", {"id": "dead", **gone})
    first, second = (Lease(store, "trials", "k") for store in (here, elsewhere))
    is_dead = second._is_dead

    def slowly(found: leases.Holder) -> bool:
        seen = is_dead(found)
        assert first.take()
        return seen

    second._is_dead = slowly  # type: ignore[method-assign]
    assert not second.take()
    assert objects(url) == {"trials/k/lease.json"}
    first.release()
    assert "trials/k/lease.json" not in objects(url)


def test_a_folder_is_replaced_whole(url: str, here: Store, tmp_path: Path) -> None:
    folder, made = here.folder("exports", "t"), tmp_path / "made"
    for version in ("a", "b"):
        (made / "model").mkdir(parents=True, exist_ok=True)
        (made / "export.json").write_text(version)
        (made / "model" / version).write_text(version)
        if version == "b":
            (made / "model" / "a").unlink()
        publish(made, folder, "export.json")
    assert objects(url) == {"exports/t/export.json", "exports/t/model/b"}
    assert (fetched(folder) / "export.json").read_text() == "b"


def test_paths_travel_between_machines(here: Store, elsewhere: Store, tmp_path: Path) -> None:
    video = here.videos / "a.mp4"
    assert elsewhere.local(here.portable(str(video))) == str(elsewhere.videos / "a.mp4")
    for other in ("/data/b.mp4", "facebook/timesformer-base-finetuned-k400", ""):
        assert elsewhere.local(here.portable(other)) == other
    folder = Store(tmp_path)
    assert folder.portable(str(folder.videos / "a.mp4")) == "store:videos/a.mp4"


KILLED = """
import os, signal, sys
from pathlib import Path
import comodo.core.bucket
from comodo.core.store import Store, fetched, write_json
store = Store(sys.argv[1])
def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "upload":
    comodo.core.bucket.Bucket.put = killed
    write_json(store.folder("trials", "new") / "trained.json", {})
os.replace = killed
fetched(store.folder("trials", "k"))
"""


@pytest.mark.parametrize("what", ["upload", "download"])
def test_a_process_that_is_killed_leaves_nothing_that_is_read(
    url: str, here: Store, elsewhere: Store, what: str
) -> None:
    write_json(here.folder("trials", "k") / "trained.json", {"n": 1})
    killed = subprocess.run([sys.executable, "-c", KILLED, url, what], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert elsewhere.files("trials", "**/*").keys() == {
        elsewhere.folder("trials", "k") / "trained.json"
    }
    assert not list(elsewhere.root.glob("trials/*/trained.json"))
    fetched(elsewhere.folder("trials", "k"))  # its lock went with it
    assert len(list(elsewhere.root.glob("trials/*/trained.json"))) == 1


@pytest.mark.slow  # for PyTorch is
def test_a_trial_goes_on_from_the_checkpoint_in_the_bucket(
    here: Store, elsewhere: Store, tmp_path: Path
) -> None:
    import torch

    from comodo.models.students import load_student
    from comodo.runtime.worker import run_trial
    from comodo.search.trial import Trial

    torch.set_num_threads(1)
    folder = Store(tmp_path / "folder")
    trial = Trial(trial_config(), 0, *make_arrays(folder))
    make_arrays(here)
    for made in (here.root / "arrays").iterdir():
        publish(made, made, "meta.json")
    run_trial(trial, folder, lambda metrics: None)
    epochs: list[int] = []

    def interrupted(metrics: dict[str, int]) -> None:
        epochs.append(metrics["epoch"])
        if metrics["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, here, interrupted)
    result = run_whole(trial, elsewhere, interrupted)
    assert epochs == [1, 2, 3, 4]
    here.fetch("trials", [trial.key])
    place = [store.folder("trials", trial.key) for store in (folder, here, elsewhere)]
    students = [load_student(path / "student") for path in place]
    assert all(weights_equal(students[0], student) for student in students[1:])
    assert not (place[1] / "checkpoint.pt").exists()  # which its own machine still had
    assert len(result.trained.history) == 4


@pytest.mark.chaos
def test_errors_name_the_store_and_the_mend(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "comodo", "status", "--store", "s3://no-such-bucket/x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    printed = " ".join(done.stderr.split())
    assert printed.startswith("s3://no-such-bucket/x: ")

    def assert_refused(code: str, *names: str) -> None:
        fsspec.filesystem("s3").clear_instance_cache()
        with raises(StoreError, code, f"{url}: ", *names):
            Store(url).files("sweeps", "*/*.json")

    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "away"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert_refused("store.unreachable", "Could not connect to the endpoint", "AWS_ENDPOINT_URL")
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "nobody"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert_refused("store.access-denied", "NoCredentialsError", "AWS_PROFILE")


def test_a_package_that_is_absent_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, "s3", raising=False)
    with raises(StoreError, "store.unknown-protocol", "pip install s3fs"):
        Store("s3://absent")
    with raises(StoreError, "store.unknown-protocol", "foo://x"):
        Store("foo://x")


@pytest.mark.chaos
def test_passing_errors_are_tried_again(
    here: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("comodo.core.bucket.RETRY_WAITS", (0.0, 0.0))
    write_json(here.folder("sweeps", "s") / "a.json", {})  # it has answered before
    remote = comodo.core.store._remotes[here.root]
    put, tried = remote._fs.put_file, []

    def sometimes(source: str, name: str) -> None:
        tried.append(name)
        if len(tried) % 3:
            raise TimeoutError("the network is away")
        put(source, name)

    monkeypatch.setattr(remote._fs, "put_file", sometimes)
    write_json(here.folder("sweeps", "s") / "b.json", {})
    assert len(tried) == 3
    monkeypatch.setattr("comodo.core.bucket.RETRY_WAITS", (0.0,))
    with raises(StoreError, "store.unreachable", "TimeoutError: the network is away"):
        write_json(here.folder("sweeps", "s") / "c.json", {})


def test_a_cache_without_room_is_named(
    here: Store, elsewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(here.folder("sweeps", "s") / "a.json", {})

    def full(names: list[str], targets: list[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(comodo.core.store._remotes[elsewhere.root]._fs, "get", full)
    with raises(StoreError, "store.cache-not-writable", "No space left on device", "COMODO_CACHE"):
        fetched(elsewhere.folder("sweeps", "s"))
