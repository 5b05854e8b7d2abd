"""Which recording ends the processes that read it, so that it is left out and the others go on.

Parsers in native code may crash on a damaged file, and the system ends what takes too much memory.
Ray begins the work of such a process again; a note on that machine's disk tells what it was about.
Knows neither Ray nor windows.
"""

import shutil
from pathlib import Path

from comodo.core.store import read_json, write_json
from comodo.data.imu import ImuError, ImuStream
from comodo.data.recordings import Reader, Recording

# One may be chance, as on a machine that is short of memory. Ray begins a piece of work three times
# again, which is enough for one such recording in each.
MAX_DEATHS = 2


class CrashGuard:
    """A reader that refuses the recordings at which its process has ended too often.

    notes: a file of this run's and of this piece of work's alone.
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

    def read_imu(self, recording: Recording) -> ImuStream:
        """As the reader does; what is done with the recording until the next is read counts too."""
        write_json(self._notes, {"reading": recording.id, "deaths": self._deaths})
        if self._deaths.get(recording.id, 0) >= MAX_DEATHS:
            raise ImuError(
                "imu.crashes",
                f"{recording.imu}: {MAX_DEATHS} processes that read it or its video crashed or "
                "were killed; fix it or leave it out",
            )
        return self._reader.read_imu(recording)

    def done(self) -> None:
        """The work has come to its end."""
        shutil.rmtree(self._notes.parent, ignore_errors=True)
