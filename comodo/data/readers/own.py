"""Readers that are classes of another package or of the user's file.

Such a class is built with `path` and its settings; `recordings()` lists `Recording`s, and
`read_imu(recording)` gives the times [N] in seconds of the video's clock and the samples [N, C], in
g and deg/s, with a column for each of the data set's channels.
"""

from typing import Any

import numpy as np

from comodo.config.channels import expanded
from comodo.config.datasets import READERS, OwnDataset
from comodo.core.errors import ComodoError, is_passing
from comodo.data.imu import ImuError, ImuStream, checked_stream
from comodo.data.recordings import DatasetError, Recording


class OwnReader:
    """Its exceptions become errors that name the class and, where one is read, the recording."""

    def __init__(self, settings: OwnDataset) -> None:
        code, own = settings.read_code, settings.own_code
        if code is None:
            reason = "only its settings were recorded, not the code of its file"
            raise DatasetError("dataset.own-reader", f"{settings.path}: {reason}")
        self._called = f"{code.name} of {code.file}"
        self._channels = expanded(settings.channels)
        try:
            reader: Any = READERS.get(settings.reader) if own is None else own.run()
            self._reader = reader(settings.path, **settings.settings)
        except Exception as error:
            raise self._failed(error) from error

    def recordings(self) -> list[Recording]:
        try:
            found = list(self._reader.recordings())
        except Exception as error:
            raise self._failed(error) from error
        if wrong := next((each for each in found if not isinstance(each, Recording)), None):
            needed = "a list of comodo.data.recordings.Recording"
            message = f"{self._called}: recordings() has to give {needed}, not {wrong!r}"
            raise DatasetError("dataset.own-reader", message)
        if not found:
            message = f"{self._called} lists no recordings; check path and settings"
            raise DatasetError("dataset.own-reader", message)
        return found

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        source = recording.imu or recording.id
        try:
            time_N, imu_NC = map(np.asarray, self._reader.read_imu(recording))
        except Exception as error:
            if isinstance(error, ComodoError) or is_passing(error):
                raise
            reason = f"{self._called}: {type(error).__name__}: {error}"
            raise ImuError("imu.own-reader", f"{source}: {reason}") from error
        if time_N.ndim != 1 or imu_NC.shape != (len(time_N), len(self._channels)):
            needed = f"times [N] and samples [N, {len(self._channels)}]"
            shapes = f"{list(time_N.shape)} and {list(imu_NC.shape)}"
            message = f"{source}: {self._called}: read_imu has to give {needed}, not {shapes}"
            raise ImuError("imu.own-reader", message)
        return (checked_stream(time_N, imu_NC, source, channels=self._channels),)

    def _failed(self, error: Exception) -> DatasetError:
        reason = f"{self._called}: {type(error).__name__}: {error}"
        return DatasetError("dataset.own-reader", reason)
