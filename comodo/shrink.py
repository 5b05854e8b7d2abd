"""Small copies of videos, made once, so that encoding has little to decode.

A copy shows what teachers see of the source: its short side at 224 pixels, the middle cut out,
upright. It has 10 frames a second and a key frame every second, so that little is decoded that is
not shown. Time 0 of both is the source's first frame. Knows nothing of windows.
"""

from fractions import Fraction
from pathlib import Path

import av

from comodo.store import atomic, fingerprint, key_of, there
from comodo.video import decode_frames, duration

SIDE = 224  # pixels
RATE = 10  # frames a second; teachers take 8 or 16 frames of 5 s
AT_ONCE = 30 * RATE  # frames in memory, 45 MB
OPTIONS = {"preset": "veryfast", "crf": "20", "g": str(RATE), "bf": "0"}  # of x264
MADE_BY = {"version": 1, "side": SIDE, "rate": RATE, **OPTIONS}
"""What a copy depends on besides its source."""


def shrink(video: str, folder: Path) -> str:
    """Path of the copy of a video in `folder`, which is made if it is not there.

    Raises:
        VideoError: the source cannot be decoded to its end.
    """
    copy = folder / f"{key_of([MADE_BY, video, fingerprint(video)])}.mp4"
    if not there(copy):
        with atomic(copy) as temporary:
            _write(video, temporary)
    return str(copy)


def _write(video: str, path: Path) -> None:
    seconds = duration(video)
    count = max(1, round(seconds * RATE))
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", rate=RATE, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.thread_count = 1  # each core writes another file
        for first in range(0, count, AT_ONCE):
            end = min(first + AT_ONCE, count)
            # Each frame is what the source shows in the middle of its time, so that none is off by
            # more than half of it.
            images = decode_frames(video, first / RATE, end / RATE, end - first, SIDE)
            for number, image in enumerate(images, start=first):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                output.mux(stream.encode(frame))
        output.mux(stream.encode())
