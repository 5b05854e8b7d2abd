"""A folder of GoPro MP4 files, each with its telemetry inside; each file is its own group.

The samples of a packet of telemetry are spread evenly from its time in the MP4's track to the
next packet's, as GPMF has no times of its own (GoPro, "GPMF Introduction"; the clock of the entries
STMP and TICK is not the MP4's). No labels: for encoding and distillation, not for probing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import av
import numpy as np
from av.stream import Discard

from comodo.config.base import ExistingPathOrUrl
from comodo.config.channels import CHANNELS, QUANTITIES, expanded, quantity_of
from comodo.config.dataset_base import BaseDataset
from comodo.data.gpmf import imu_samples
from comodo.data.imu import ImuError, ImuStream, checked_stream, join_sensors, refuse_missing
from comodo.data.recordings import Recording, camera_recordings
from comodo.data.video import first_frame_seconds

MAX_DEVIATION = 0.2  # of the samples a second in a packet from those of most packets
SENSORS = {"ACCL": "acc", "GYRO": "gyro"}  # keys of telemetry and what they measure


class GoproDataset(BaseDataset):
    """A folder of MP4 files that carry their telemetry."""

    kind: Literal["gopro"]
    """Recordings of GoPro cameras."""
    path: ExistingPathOrUrl
    """Folder that is searched for .mp4 files at any depth, also in a bucket."""


class GoproReader:
    SETTINGS = GoproDataset

    def __init__(self, settings: GoproDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        return camera_recordings(self.settings.path, ".mp4", "av")

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Raises ImuError, and VideoError if there is no video whose first frame is time 0."""
        packets = read_packets(recording.imu)
        first_frame = first_frame_seconds(recording.video)
        channels = expanded(self.settings.channels)
        return (stream_of(packets, first_frame, recording.imu, channels),)


@dataclass(frozen=True)
class Packet:
    """A packet of a telemetry track."""

    start: float  # seconds of the file's clock
    seconds: float  # as its track says
    content: bytes


def stream_of(
    packets: list[Packet], first_frame: float, source: str, channels: Sequence[str] = CHANNELS
) -> ImuStream:
    """The stream of packets in ascending order, of the sensors that measure `channels` and that the
    packets have; its time 0 is at `first_frame`, in seconds.

    A slower sensor is interpolated at the times of the faster one, where both have samples, and a
    note says so, as it does of packets that are left out. Raises ImuError.
    """
    samples_K = [imu_samples(packet.content, source) for packet in packets]
    start_K = np.array([packet.start for packet in packets]) - first_frame
    seconds_K = np.append(np.diff(start_K), [packet.seconds for packet in packets[-1:]])
    if (seconds_K < 0).any():
        number = int(np.argmax(seconds_K < 0)) + 1
        message = f"{source}: the clock runs backwards at packet {number} of its telemetry"
        raise ImuError("imu.clock-backwards", f"{message}; correct it, or split there")
    wanted = {quantity_of(channel) for channel in channels}
    parts, notes = dict[str, tuple[np.ndarray, np.ndarray]](), []
    for key, quantity in SENSORS.items():
        kept = np.flatnonzero([key in samples for samples in samples_K])
        if not len(kept) or quantity not in wanted:
            continue
        name = QUANTITIES[quantity]
        values = [samples_K[k][key] for k in kept]
        spans = sample_spans(seconds_K[kept], np.array([len(value) for value in values]))
        placed = np.flatnonzero(np.isfinite(spans))
        if not len(placed):
            message = f"{source}: its packets with {name} samples have no duration"
            raise ImuError("imu.missing-clock", f"{message}; their times are unknown")
        if left_out := len(spans) - len(placed):
            fault = f"{left_out} of {len(spans)} packets left out, which have too few or too many"
            notes.append(f"{name}: {fault} samples for their time")
        starts = start_K[kept]
        times = [starts[k] + spans[k] * np.arange(len(values[k])) / len(values[k]) for k in placed]
        parts[quantity] = np.concatenate(times), np.concatenate([values[k] for k in placed])
    if not parts:
        looked_for = " or ".join(QUANTITIES[quantity] for quantity in sorted(wanted))
        raise ImuError("imu.missing-sensor", f"{source}: no {looked_for} in its telemetry")
    times_of, values_of = zip(*parts.values(), strict=True)
    if all(np.array_equal(times_of[0], time_N) for time_N in times_of):
        names = expanded(parts)
        imu_NC = np.concatenate(values_of, axis=1)
        stream = checked_stream(times_of[0], imu_NC, source, channels=names)
    else:
        stream = join_sensors(*parts["acc"], *parts["gyro"], source)
    return replace(stream, notes=(*stream.notes, *notes))


def sample_spans(seconds_K: np.ndarray, count_K: np.ndarray) -> np.ndarray:
    """Seconds from the first sample of each packet to where a next one would be, float64 [K].

    That is the time to the next packet, `seconds_K`, if it fits the packet's number of samples,
    `count_K`. Where the time is longer, the samples end early in a packet with the usual number,
    after which packets are lost, and in the last one of a sensor with no other fault. Others are
    NaN: where in their time the samples are is unknown.
    """
    usual_K = count_K * np.quantile(seconds_K / count_K, 0.5, method="lower")
    fits_K = np.abs(seconds_K - usual_K) < MAX_DEVIATION * usual_K
    usual_count_K = np.abs(count_K / np.median(count_K) - 1) <= MAX_DEVIATION
    ends_early_K = usual_count_K & (seconds_K > usual_K) & (usual_K > 0)
    if (fits_K | ends_early_K)[:-1].all():
        ends_early_K[-1] = seconds_K[-1] > usual_K[-1]
    return np.where(fits_K, seconds_K, np.where(ends_early_K, usual_K, np.nan))


def read_packets(path: str) -> list[Packet]:
    """The packets of the one track that has telemetry; none without. Raises ImuError."""
    refuse_missing(path)
    # FFmpeg's own handling of edit lists moves a packet to where an edit begins, up to a second
    # away. Without it all packets keep their distance, which is wrong if there are several edits.
    tracks, edited = _tracks(path, advanced_editlist="0"), _tracks(path, advanced_editlist="1")
    if len(tracks) > 1:
        message = f"{path}: {len(tracks)} tracks of telemetry; remove all but one"
        raise ImuError("imu.two-sensors", message)
    for track, packets in tracks.items():
        shift_K = np.array([
            packet.start - packets[position].start
            for position, packet in edited.get(track, {}).items()
        ])  # fmt: skip
        if len(shift_K) and np.ptp(shift_K) > 1e-6:
            message = f"{path}: its telemetry is cut by an edit list; export the file without one"
            raise ImuError("imu.edited", message)
        return list(packets.values())
    return []


def _tracks(path: str, **options: str) -> dict[int, dict[int, Packet]]:
    """Packets by their position in the file, for each track that has telemetry; `options` are
    FFmpeg's. Raises ImuError."""
    tracks: dict[int, dict[int, Packet]] = defaultdict(dict)
    try:
        with av.open(path, options=options) as container:
            for stream in container.streams:
                if stream.type != "data":
                    stream.discard = Discard.all  # gigabytes of video are not read
            data = container.streams.data
            for packet in container.demux(*data) if data else ():
                if packet.size and packet.pos is not None and packet.pts is not None:
                    start, seconds = (
                        float(ticks * packet.time_base)
                        for ticks in (packet.pts, packet.duration or 0)
                    )
                    content = Packet(start, seconds, bytes(packet))
                    tracks[packet.stream_index][packet.pos] = content
    except (av.FFmpegError, UnicodeDecodeError) as error:  # the latter for the file's metadata
        message = f"{path}: telemetry cannot be read: {error}"
        raise ImuError("imu.unreadable", message) from None
    return {
        index: packets
        for index, packets in tracks.items()
        if any(packet.content.startswith(b"DEVC") for packet in packets.values())
    }
