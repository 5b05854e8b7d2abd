"""The base of all errors of the package, the errors of the store, and which errors may pass."""

import difflib
import errno
from collections.abc import Iterable, Mapping

PASSING = {
    errno.EACCES,  # no permission
    errno.ENOMEM,
    *(errno.EMFILE, errno.ENFILE),  # too many open files
    *(errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EBUSY, errno.EINTR),  # a disk that is away
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED),
    *(errno.ECONNRESET, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
}
PASSING_FROM_SYSTEM = PASSING | {errno.EAGAIN, errno.EIO, errno.EPERM}
"""FFmpeg returns the last three for damaged files too."""


class ComodoError(Exception):
    """An error in the user's files or surroundings; the command line shows it without a traceback.

    Args:
        code: what is wrong, as a name that never changes, such as `video.empty-file`; for a sweep
            file the dotted key. Scripts and tests compare this, never the message.
        message: the file, what is wrong with it and how to fix it.
    """

    exit_status = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both are kept when Ray pickles it
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class MissingFileError(ComodoError, ValueError):
    """A file of the command line that does not exist."""

    exit_status = 2


class StoreError(ComodoError, RuntimeError):
    """The store cannot be read or written."""


class ChangedError(ComodoError, RuntimeError):
    """A file was replaced while the sweep that it belongs to runs."""


def nearest(name: str, valid: Iterable[str], other_names: Mapping[str, str] = {}) -> str:
    """The end of a message about an unknown name: the valid one that it is another name of, or the
    closest, or all of them. `other_names`: valid names by what others call them, in lower case."""
    known = list(valid)
    meant = other_names.get(name.lower().replace("_", "-"))
    close = [meant] if meant in known else difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"


def is_passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try although the files stay the same: a disk that is
    away, no permission, no memory. A file's own damage is not; nor is what follows from it.

    Looks through the causes of `error`. A missing file counts as one that is away.
    """
    cause: BaseException | None = error
    seen = set[int]()  # causes may lead in a circle
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MemoryError):
            return True
        if isinstance(cause, OSError):
            from_system = type(cause).__module__ == "builtins"
            if cause.errno in (PASSING_FROM_SYSTEM if from_system else PASSING):
                return True
        cause = cause.__cause__ or cause.__context__
    return False
