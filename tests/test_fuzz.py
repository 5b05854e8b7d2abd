"""Damaged and made-up input: every reader gives a result or an error of its own that names the
file, and neither dies, nor takes long, nor takes all memory.

The quick half runs with the other tests; `make fuzz` runs the long one, on the real recordings
where they are.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comodo.config import ConfigError, read_sweep_file
from comodo.data.imu import ImuError
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.readers.gopro import Packet, stream_of
from comodo.data.readers.hapt import HaptDataset, HaptReader
from comodo.data.readers.manifest import MANIFEST_COLUMNS
from comodo.data.readers.split_lists import id_and_activity, read_lists
from comodo.data.readers.uestc_mmea import clip_and_activity
from comodo.data.recordings import DatasetError
from tests import gopro_files
from tests.config.test_load import sweep_file
from tests.conftest import write_imu, write_video
from tests.fuzzing import damaged

SLOWEST = 20.0  # seconds for one file on a busy machine
MOST_MEGABYTES = 2_000
quick = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def damage(kind: str, source: Path, first: int, count: int) -> None:
    """Reads the file in `count` damaged forms; see `tests.fuzzing`."""
    command = [sys.executable, "-m", "tests.fuzzing", kind, source, first, count]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=3600)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = next((line["begins"] for line in reversed(lines) if "begins" in line), None)
    assert done.returncode == 0, f"form {last} of {source} ended the process: {done.stderr[-800:]}"
    begun = None
    ends = 0
    for line in lines:
        begun = line.get("begins", begun)
        if "told" in line:
            ends += 1
            where = f"form {begun} of {source}"
            assert line["told"] in ("", "told"), f"{where}: {line['told']}"
            assert line["seconds"] < SLOWEST, f"{where}: {line['seconds']:.0f} s"
            assert line["megabytes"] < MOST_MEGABYTES, f"{where}: {line['megabytes']:.0f} MB"
    assert ends == count


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole files of the kinds that tests can make."""
    folder = tmp_path_factory.mktemp("sources")
    write_video(folder / "video.mp4", 2)
    write_imu(folder / "csv.csv", 4)
    rng = np.random.default_rng(0)
    np.save(folder / "npy.npy", rng.normal(size=(200, 6)))
    np.savetxt(folder / "hapt.txt", rng.normal(size=(60, 3)))
    names = "canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
    imu_N6 = rng.normal(0, 0.1, (200, 6)) + np.array([0, 0, 0, 0, 0, 9.8])
    rows = np.column_stack([np.arange(200) * 5.0, imu_N6])
    np.savetxt(folder / "ego4d.csv", rows, delimiter=",", header=names, comments="")
    manifest = pd.DataFrame({"recording": [f"r{number}" for number in range(40)]})
    manifest["video"] = manifest.recording + ".mp4"
    manifest["imu"] = manifest.recording + ".csv"
    manifest[["label", "split", "group", "imu_rate"]] = ("walking", "train", "anna", 50.0)
    manifest.to_csv(folder / "manifest.csv", index=False)
    manifest.to_parquet(folder / "manifest.parquet", index=False)
    sweep_file(folder)
    (folder / "lists.txt").write_text("".join(f"uid-{n}\twalking\n" for n in range(40)))
    return folder


MADE = ("video.mp4", "csv.csv", "npy.npy", "hapt.txt", "ego4d.csv",
        "manifest.csv", "manifest.parquet", "sweep.yaml", "lists.txt")  # fmt: skip


def test_damaged_files_are_read_or_refused(sources: Path) -> None:
    for name in MADE:
        damage(name.partition(".")[0], sources / name, 0, 20)


@pytest.mark.parametrize(("kind", "pattern"), [("gopro", "gopro/*.mp4"), ("vrs", "aria/*.vrs")])
def test_damaged_recordings_of_cameras(shared_data: Path, kind: str, pattern: str) -> None:
    if kind == "vrs":
        pytest.importorskip("projectaria_tools", reason="needs pip install projectaria-tools")
    damage(kind, sorted(shared_data.glob(pattern))[0], 0, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MADE)
def test_damaged_files_at_length(sources: Path, name: str) -> None:
    damage(name.partition(".")[0], sources / name, 1000, 2000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "pattern", "count"),
    [
        ("gopro", "gopro/*.mp4", 1000),
        ("video", "gopro/*.mp4", 200),
        ("vrs", "aria/*.vrs", 500),
        ("mat", "utd_mhad/Inertial/*.mat", 1000),
        ("video", "utd_mhad/depth_h264/*.mp4", 1000),
    ],
)
def test_damaged_recordings_at_length(
    shared_data: Path, tmp_path: Path, kind: str, pattern: str, count: int
) -> None:
    if kind == "vrs":
        pytest.importorskip("projectaria_tools", reason="needs pip install projectaria-tools")
    source = sorted(shared_data.glob(pattern))[0]
    if kind == "mat":
        clip = f"utd_mhad/depth_h264/{source.stem.removesuffix('_inertial')}.mp4"
        (tmp_path / "film.mp4").symlink_to(shared_data / clip)
        (tmp_path / source.name).symlink_to(source)
        source = tmp_path / source.name
    damage(kind, source, 1000, count)


# Texts: half of them damaged forms of a good one, half made of the pieces that matter.

PIECES = ["", "a", "..", "../x", "/etc", "train", "test", "0", "-1", "nan", "inf", "1e999", '"',
          "estimate", "\x00", "\n", ",", "é", "\ufeff", "9" * 30]  # fmt: skip


@quick
@given(st.data())
def test_any_manifest_is_listed_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    columns = data.draw(st.lists(st.sampled_from([*sorted(MANIFEST_COLUMNS), "x", ""]), max_size=8))
    cells = st.lists(st.sampled_from(PIECES), max_size=8).map(",".join)
    lines = [",".join(columns), *data.draw(st.lists(cells, max_size=4))]
    content = "\n".join(lines).encode()
    if data.draw(st.booleans()):
        content = b"video,imu,split,group\nv/a.mp4,a.csv,train,b\nv/b.mp4,b.csv,test,c\n"
        content = damaged(content, data.draw(st.integers(0, 10**6)))
    (tmp_path / "v").mkdir(exist_ok=True)
    for suffix in (".csv", ".parquet"):
        manifest = tmp_path / f"manifest{suffix}"
        manifest.write_bytes(content)
        try:
            found = FolderReader(FolderDataset(kind="folder", path=str(manifest))).recordings()
        except DatasetError as error:
            assert str(manifest) in str(error)
        else:
            assert all(Path(r.imu).resolve().is_relative_to(tmp_path) for r in found)


@quick
@given(number=st.integers(0, 10**9), words=st.lists(st.sampled_from([*PIECES, "&a", "*a", "<<:"])))
def test_any_sweep_file_is_read_or_refused(tmp_path: Path, number: int, words: list[str]) -> None:
    file = sweep_file(tmp_path)
    content = damaged(file.read_bytes(), number)
    place = random.Random(number).randrange(len(content) + 1)
    file.write_bytes(content[:place] + " ".join(words).encode() + content[place:])
    try:
        read_sweep_file(file)
    except ConfigError as error:
        assert str(error).startswith(str(file))


@quick
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                          lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
       key=st.sampled_from(["name", "datasets", "trial", "search", "seeds", "budget", "recipes",
                            "label_map", "objectives", "resources", "early_stopping"]))  # fmt: skip
def test_any_value_of_a_sweep_file_is_read_or_refused(tmp_path: Path, value: Any, key: str) -> None:
    content = yaml.safe_load(sweep_file(tmp_path).read_text()) | {key: value}
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(content))
    try:
        read_sweep_file(file)
    except ConfigError as error:
        assert str(error).startswith(str(file))


@quick
@given(st.binary(max_size=200) | st.integers(0, 10**9))
def test_any_list_is_read_or_refused(tmp_path: Path, content: bytes | int) -> None:
    good = b"a/b/1_walk/1_walk_2020_01_02_03_04_05 10 20 0\nuid-1\twalking\n1 1 1 1 9\n"
    text = damaged(good, content) if isinstance(content, int) else content
    (tmp_path / "train.txt").write_bytes(text)
    for folder in ("RawData", "Train", "Test"):
        (tmp_path / folder).mkdir(exist_ok=True)
    names = ("RawData/labels.txt", "activity_labels.txt", "Train/subject_id_train.txt")
    for name in (*names, "Test/subject_id_test.txt"):
        (tmp_path / name).write_bytes(text)
    for parse in (id_and_activity, clip_and_activity):
        with_error(partial(read_lists, tmp_path, parse), tmp_path)
    with_error(HaptReader(HaptDataset(kind="hapt", path=str(tmp_path))).recordings, tmp_path)


def with_error(use: Callable[[], object], folder: Path) -> None:
    """Raises what is no error of the data set's, or does not name the file."""
    try:
        use()
    except DatasetError as error:
        assert str(folder) in str(error)


SAMPLES = st.lists(st.tuples(*[st.floats(width=32)] * 3), max_size=12).map(
    lambda rows: np.array(rows, np.float32).reshape(-1, 3)
)
SENSORS = st.tuples(st.sampled_from(["ACCL", "GYRO"]), SAMPLES).map(
    lambda found: gopro_files.sensor(*found, type="f")
)
PACKETS = st.builds(
    Packet,
    start=st.floats(-1e6, 1e6),
    seconds=st.floats(-1, 1e6),
    content=st.lists(SENSORS | st.binary(max_size=40), max_size=3).map(
        lambda streams: gopro_files.packet(*streams)
    ),
)


@quick
@given(st.lists(PACKETS, max_size=6), st.booleans())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_telemetry_is_a_stream_or_refused(packets: list[Packet], in_order: bool) -> None:
    if in_order:
        packets = sorted(packets, key=lambda packet: packet.start)
    try:
        stream = stream_of(packets, 0.0, "a.mp4")
    except ImuError as error:
        assert str(error).startswith("a.mp4")
    else:
        assert np.isfinite(stream.imu_NC).all() and (np.diff(stream.time_N) > 0).all()
