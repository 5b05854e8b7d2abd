"""What tests share: small real recordings, a Ray that is started once, the shared data folder."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

from comodo.config import CHANNELS, DatasetConfig
from comodo.data.readers import open_dataset
from comodo.data.slicing import slice_chunk
from tests.paths import SHARED

# For the GPUs of `ray_cluster` and of other clusters in tests, which do not exist.
os.environ["COMODO_PRETENDED_GPUS"] = "1"
EXAMPLES = 25 * int(os.environ.get("COMODO_FUZZ", "1"))  # of a property; other targets try more
settings.register_profile("any machine", deadline=None, max_examples=EXAMPLES)  # not a benchmark
settings.load_profile("any machine")

SHARED_DATA = SHARED / "data"


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Files of this process need not outlast a loss of power: to wait for the disk 8 ms at each
    would take longer than many tests. Processes that tests start do wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comodo.core.store.sync", lambda path: None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings beside the checkout; tests that need them skip without."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real recordings at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of two CPUs and one logical GPU, so that placement can be seen."""
    import logging

    import ray
    import ray.data

    from comodo.runtime.cluster import IDLE_WORKERS

    os.environ[IDLE_WORKERS] = "60000"  # for later tests; to start one takes seconds
    ray.init(
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def new_records(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Writes MLflow's database without records: a copy, for MLflow takes seconds to make one."""
    from comodo.tracking import tracker

    made, make, lock = (
        tmp_path_factory.mktemp("records") / "mlflow.db", tracker._make_database, threading.Lock()
    )  # fmt: skip

    def copy(path: Path) -> None:
        with lock:
            if not made.exists():
                make(made)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, path)

    return copy


@pytest.fixture(autouse=True)
def records_of_this_process(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trackers of this process begin with a copy; sweeps in processes of their own do not."""
    if tracker := sys.modules.get("comodo.tracking.tracker"):
        copy = request.getfixturevalue("new_records")
        monkeypatch.setattr(tracker, "_make_database", copy)


def write_video(path: Path, seconds: float, fps: int = 10, size: int = 64, shade: int = 0) -> None:
    """A small h264 file whose picture moves with time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * fps)):
            picture = np.full((size, size, 3), shade, np.uint8)
            picture[:, : (number * 4) % size] = 255 - shade
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_imu(path: Path, seconds: float, rate: float = 50, pitch: float = 1.0) -> None:
    """A CSV in g and deg/s: gravity, and a swing of `pitch` Hz on every channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_N = np.arange(round(seconds * rate)) / rate
    swing_N = np.sin(2 * np.pi * pitch * time_N)
    units = ["g"] * 3 + ["deg/s"] * 3
    header = ",".join(
        ["time_s", *(f"{c} [{unit}]" for c, unit in zip(CHANNELS, units, strict=True))]
    )
    columns = [time_N, *(swing_N * (i + 1) / 6 + (i == 2) for i in range(6))]
    np.savetxt(path, np.stack(columns, 1), delimiter=",", header=header, comments="", fmt="%.5f")


def sliced(settings: DatasetConfig) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What prepare makes of a data set, without Ray: windows by id, each float32 `[C, T]`, and
    the reasons of the rejected recordings by theirs."""
    reader = open_dataset(settings, Path("."))
    chunk = slice_chunk(reader, reader.recordings(), settings, Path("."))
    rows = [row for rows, _ in chunk for row in rows]
    channels = len(settings.imu_channels)
    windows = {
        row["window"]: np.array(row["imu"], np.float32).reshape(channels, -1)
        for row in rows
        if "window" in row
    }
    return windows, {row["recording"]: row["rejected"] for row in rows if "rejected" in row}


def write_lists(folder: Path, **lines: list[str]) -> Path:
    """Split lists, as `train=[...]`; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, entries in lines.items():
        (folder / f"{split}.txt").write_text("".join(f"{entry}\n" for entry in entries))
    return folder


@pytest.fixture(scope="session")
def paper_splits(shared_data: Path) -> Path:
    """The lists that the COMODO paper published."""
    folder = shared_data / "paper_splits"
    if not folder.is_dir():
        pytest.skip(f"no published split lists at {folder}")
    return folder


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """Writes a folder dataset of two activities; returns its manifest."""

    def make(folder: Path, recordings: int = 12, seconds: float = 4.0) -> Path:
        lines = ["recording,video,imu,label,split,group"]
        for i in range(recordings):
            label = ("walking", "running")[i % 2]
            write_video(folder / f"videos/r{i:03d}.mp4", seconds, shade=40 + 160 * (i % 2))
            write_imu(folder / f"imu/r{i:03d}.csv", seconds, pitch=1.5 + 2 * (i % 2) + 0.03 * i)
            split = ("train", "train", "train", "val", "test")[(i // 2) % 5]
            lines.append(f"r{i:03d},videos/r{i:03d}.mp4,imu/r{i:03d}.csv,{label},{split},s{i // 2}")
        manifest = folder / "manifest.csv"
        manifest.write_text("\n".join(lines) + "\n")
        return manifest

    return make
