"""Finds the recording that crashes the processes which read it, so that it is left out.

Parsers in native code may crash on a damaged file, and the system kills a process that takes too
much memory. Ray starts the work of such a process again; a note on that machine's disk says what
it was reading. Knows neither Ray nor windows.
"""

import shutil
from pathlib import Path

from comodo.core.store import read_json, write_json
from comodo.data.imu import ImuError, ImuStream
from comodo.data.recordings import Reader, Recording

# One death may be chance, as on a machine that is short of memory. Ray retries a piece of work
# three times, which is enough for one such recording in each.
MAX_DEATHS = 2


class CrashGuard:
    """A reader that refuses recordings which have killed its process too often.

    notes: a file that only this piece of work of this run uses.
    """

    def __init__(self, reader: Reader, notes: Path) -> None:
        self._reader, self._notes = reader, notes
        self._deaths: dict[str, int] = {}
        if notes.exists():
            kept = read_json(notes)
            self._deaths = kept["deaths"]
            self._deaths[kept["reading"]] = self._deaths.get(kept["reading"], 0) + 1

    def recordings(self) -> list[Recording]:
        return self._reader.recordings()

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Like the reader's; work on the recording counts until the next one is read. Recordings
        that are parts of one file, which is read once for all of them, count together."""
        name = recording.imu if recording.is_part else recording.id
        write_json(self._notes, {"reading": name, "deaths": self._deaths})
        if self._deaths.get(name, 0) >= MAX_DEATHS:
            raise ImuError(
                "imu.crashes",
                f"{recording.imu}: {MAX_DEATHS} processes that read it or its video crashed or "
                "were killed; fix it or leave it out",
            )
        return self._reader.read_imu(recording)

    def done(self) -> None:
        """Removes the notes: the work is complete."""
        shutil.rmtree(self._notes.parent, ignore_errors=True)
