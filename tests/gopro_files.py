"""MP4 files with tracks of GPMF telemetry, written box by box: any payloads, times and edits."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import write_video

PACKET = 1001  # ms, as GoPro's
UNITY = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def entry(key: str, type: str, size: int, content: bytes) -> bytes:
    """A GPMF entry, of values of `size` bytes; type "" is a container."""
    header = struct.pack(">4scBH", key.encode(), type.encode() or b"\0", size, len(content) // size)
    return header + content + bytes(-len(content) % 4)


def container(key: str, *entries: bytes) -> bytes:
    return entry(key, "", 1, b"".join(entries))


def sensor(key: str, samples_N3: np.ndarray, *properties: bytes, type: str = "s") -> bytes:
    """A sensor's stream: samples in m/s^2 or rad/s, stored as scaled integers or as floats."""
    unit, fine = {"ACCL": (b"m/s\xb2", 1000), "GYRO": (b"rad/s", 30_000)}[key]
    scale = fine if type in "sl" else 1
    dtype = {"s": ">i2", "l": ">i4", "f": ">f4", "d": ">f8"}[type]
    values = samples_N3 * scale if scale == 1 else np.rint(samples_N3 * scale)
    stored = values.astype(dtype)
    before = [entry("SIUN", "c", len(unit), unit), entry("SCAL", "s", 2, struct.pack(">h", scale))]
    size = 3 * stored.dtype.itemsize
    return container("STRM", *before, *properties, entry(key, type, size, stored.tobytes()))


def packet(*streams: bytes, model: bytes = b"GoPro Max") -> bytes:
    return container("DEVC", entry("DVNM", "c", 1, model), *streams)


@dataclass(frozen=True)
class Track:
    """Payloads, their durations in ms, and the track's edits: how many ms of the movie, from which
    ms of the track (-1: nothing is shown)."""

    payloads: Sequence[bytes]
    durations: Sequence[int]
    edits: Sequence[tuple[int, int]] = ()


def write_gopro(path: Path, *tracks: Track, seconds: float = 6.0) -> Path:
    """A video of `seconds` with these tracks of telemetry."""
    write_video(path, seconds)
    return add_tracks(path, *tracks)


def add_tracks(path: Path, *tracks: Track) -> Path:
    """Adds tracks of telemetry to an MP4 file."""
    content = path.read_bytes()
    moov = content.rindex(b"moov") - 4
    assert moov + struct.unpack_from(">I", content, moov)[0] == len(content)  # the last box
    traks, data = [], b""
    for number, track in enumerate(tracks, start=10):
        traks.append(_trak(track, number, moov + 8 + len(data)))
        data += b"".join(track.payloads)
    path.write_bytes(
        content[:moov] + _box("mdat", data) + _box("moov", content[moov + 8 :], *traks)
    )
    return path


def _box(type: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, type.encode()) + body


def _table(type: str, rows: Sequence[bytes], before: bytes = b"") -> bytes:
    return _box(type, bytes(4), before, struct.pack(">I", len(rows)), *rows)


def _trak(track: Track, number: int, offset: int) -> bytes:
    total = sum(track.durations)
    sizes = [len(payload) for payload in track.payloads]
    offsets = offset + np.cumsum([0, *sizes[:-1]])
    stbl = _box(
        "stbl",
        _table("stsd", [_box("gpmd", bytes(6), struct.pack(">H", 1), bytes(4))]),
        _table("stts", [struct.pack(">II", 1, ticks) for ticks in track.durations]),
        _table("stsc", [struct.pack(">III", 1, 1, 1)]),
        _table("stsz", [struct.pack(">I", size) for size in sizes], bytes(4)),
        _table("stco", [struct.pack(">I", place) for place in offsets]),
    )
    dinf = _box("dinf", _table("dref", [_box("url ", b"\0\0\0\1")]))
    mdia = _box(
        "mdia",
        _box("mdhd", bytes(12), struct.pack(">IIHH", 1000, total, 0x55C4, 0)),
        _box("hdlr", bytes(8), b"meta", bytes(12), b"GoPro MET\0"),
        _box("minf", _box("nmhd", bytes(4)), dinf, stbl),
    )
    head = struct.pack(">I8xI4xI16x", 15, number, total)
    edits = [struct.pack(">Iii", length, start, 1 << 16) for length, start in track.edits]
    edts = [_box("edts", _table("elst", edits))] if edits else []
    return _box("trak", _box("tkhd", head, UNITY, bytes(8)), *edts, mdia)
