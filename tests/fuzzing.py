"""Readers on damaged files, in a process of their own that native code may crash.

    python -m tests.fuzzing gopro FILE FIRST COUNT

damages FILE in COUNT ways, of which each has a number, and writes a line for each to stdout: the
number before it is read, then what came of it. Address space is limited, so that a file which asks
for more memory than that is told by its error.
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from comodo.config import CHANNELS, read_sweep_file
from comodo.data.imu_tables import read_csv, read_npy
from comodo.data.readers.ego4d import Ego4dDataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.gopro import GoproDataset
from comodo.data.readers.hapt import HaptDataset
from comodo.data.readers.utd_mhad import UtdMhadDataset
from comodo.data.recordings import Recording
from comodo.data.tables.presets import Layout
from comodo.data.video import decode_frames, video_seconds

GIB = 1 << 30
MEMORY = 6 * GIB  # of address space, most of it libraries
WORST = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff" * 8, b"\0" * 64]


def damaged(content: bytes, number: int) -> bytes:
    """The content with one to eight places cut out, repeated, flipped or overwritten; the more
    often the nearer to its ends, where formats keep their indices."""
    chance = random.Random(number)
    found = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 8])):
        if not found:
            break
        reach = chance.choice([64, 1024, 65_536, len(found)])
        place = min(chance.randrange(reach), len(found) - 1)
        if chance.random() < 0.4:
            place = len(found) - 1 - place
        length = chance.choice([1, 1, 4, 16, 256, 4096])
        match chance.randrange(6):
            case 0:
                found[place] ^= 1 << chance.randrange(8)
            case 1:
                word = chance.choice(WORST)
                found[place : place + len(word)] = word
            case 2:
                found[place : place + length] = chance.randbytes(length)
            case 3:
                del found[place : place + length]
            case 4:
                found[place:place] = found[place : place + length]
            case 5:
                if chance.random() < 0.3:
                    del found[place:]
    return bytes(found)


def _one(path: Path, **others: str) -> Recording:
    fields = {"id": "r", "video": str(path), "imu": str(path), "split": "train", "group": "r"}
    return Recording(**{**fields, **others})  # type: ignore[arg-type]


def _video(path: Path) -> None:
    decode_frames(path, 0, min(video_seconds(path), 3600), 3, 64)


def _gopro(path: Path) -> None:
    from comodo.data.readers.gopro import GoproReader

    GoproReader(GoproDataset(kind="gopro", path=str(path.parent))).read_imu(_one(path))


def _vrs(path: Path) -> None:
    from comodo.data import aria_vrs

    aria_vrs.read_imu(str(path), "right")
    decode_frames(path, 0, min(video_seconds(path), 3600), 2, 64)


def _mat(path: Path) -> None:
    from comodo.data.readers.utd_mhad import UtdMhadReader

    film = path.parent / "film.mp4"
    settings = UtdMhadDataset(kind="utd-mhad", path=str(path.parent))
    UtdMhadReader(settings).read_imu(_one(path, video=str(film)))


def _ego4d(path: Path) -> None:
    from comodo.data.readers.ego4d import Ego4dReader

    folder = str(path.parent)
    settings = Ego4dDataset(kind="ego4d", video_folder=folder, imu_folder=folder, splits=folder)
    Ego4dReader(settings).read_imu(_one(path))


def _hapt(path: Path) -> None:
    from comodo.data.readers.hapt import HaptReader

    reader = HaptReader(HaptDataset(kind="hapt", path=str(path.parent)))
    imu = path.with_name("acc_exp01_user01.txt")
    for name in (imu, path.with_name("gyro_exp01_user01.txt")):
        name.write_bytes(path.read_bytes())
    reader.read_imu(_one(path, id="exp01_user01_00001-00050", imu=str(imu)))


def _manifest(path: Path) -> None:
    from comodo.data.readers.folder import FolderReader

    FolderReader(FolderDataset(kind="folder", path=str(path))).recordings()


def _lists(path: Path) -> None:
    from comodo.data.readers.split_lists import id_and_activity, read_lists

    path.with_name("train.txt").write_bytes(path.read_bytes())
    read_lists(path.parent, id_and_activity)


READERS: dict[str, Callable[[Path], object]] = {
    "video": _video,
    "gopro": _gopro,
    "vrs": _vrs,
    "mat": _mat,
    "ego4d": _ego4d,
    "hapt": _hapt,
    "csv": lambda path: read_csv(path, CHANNELS),
    "npy": lambda path: read_npy(path, CHANNELS, Layout(rate=50, acc_unit="g", gyro_unit="deg/s")),
    "manifest": _manifest,
    "lists": _lists,
    "sweep": read_sweep_file,
}


def _peak_megabytes() -> float:
    """Not by getrusage, whose peak begins with what the process that started this one held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(kind: str, source: str, first: str, count: str) -> None:
    content, read = Path(source).read_bytes(), READERS[kind]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        if kind == "mat":
            Path(folder, "film.mp4").symlink_to(Path(source).parent / "film.mp4")
        path = Path(folder, "damaged").with_suffix(Path(source).suffix)
        for number in range(int(first), int(first) + int(count)):
            path.write_bytes(damaged(content, number))
            print(json.dumps({"begins": number}), flush=True)
            began, told = time.perf_counter(), ""
            try:
                read(path)
            except Exception as error:
                own = type(error).__module__.startswith("comodo.") and folder in str(error)
                told = "told" if own else f"{type(error).__name__}: {error}"[:300]
            peak = _peak_megabytes()
            seconds = time.perf_counter() - began
            print(json.dumps({"told": told, "seconds": seconds, "megabytes": peak}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
