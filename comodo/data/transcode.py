"""Small copies of videos, made once, so that encoding has little to decode.

A copy has the pixels that teachers see of its source: short side at 224, centre cropped, upright.
It has 10 frames a second and a key frame every second, so that few frames are decoded for nothing.
Time 0 of both is the source's first frame. Knows nothing of windows.
"""

from fractions import Fraction
from pathlib import Path

import av

from comodo.core.store import Fingerprint, atomic, fingerprint, is_present, key_of
from comodo.core.versions import TRANSCODER_VERSION
from comodo.data.video import decode_frames, video_seconds

SHORT_SIDE_PX = 224
FRAMES_PER_SECOND = 10  # teachers take 8 or 16 frames of 5 s
FRAMES_IN_MEMORY = 30 * FRAMES_PER_SECOND  # 45 MB
OPTIONS = {"preset": "veryfast", "crf": "20", "g": str(FRAMES_PER_SECOND), "bf": "0"}  # of x264
TRANSCODER = {
    "version": TRANSCODER_VERSION,
    "side": SHORT_SIDE_PX,
    "rate": FRAMES_PER_SECOND,
    **OPTIONS,
}
"""What a copy depends on besides its source."""


def copy_of(video: str, version: Fingerprint, folder: Path) -> Path:
    """Where `transcode` writes the copy of a version of a video."""
    return folder / f"{key_of([TRANSCODER, video, version])}.mp4"


def transcode(video: str, folder: Path, name: str = "") -> str:
    """Path of the copy of a video in `folder`; makes it if there is none. `name`: of the video on
    all machines, if it is not its path. Raises VideoError if the source cannot be decoded to its
    end."""
    copy = copy_of(name or video, fingerprint(video), folder)
    if not is_present(copy):
        with atomic(copy) as temporary:
            _write(video, temporary)
    return str(copy)


def _write(video: str, path: Path) -> None:
    rate = FRAMES_PER_SECOND
    count = max(1, round(video_seconds(video) * rate))
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", rate=rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = SHORT_SIDE_PX, SHORT_SIDE_PX, "yuv420p"
        stream.codec_context.thread_count = 1  # other cores write other files
        for first in range(0, count, FRAMES_IN_MEMORY):
            end = min(first + FRAMES_IN_MEMORY, count)
            # What the source shows in the middle of each frame: off by half its duration at most.
            images = decode_frames(video, first / rate, end / rate, end - first, SHORT_SIDE_PX)
            for number, image in enumerate(images, start=first):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, rate)
                output.mux(stream.encode(frame))
        output.mux(stream.encode())
