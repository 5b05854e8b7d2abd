"""The base of all errors of the package, and the errors of the store."""


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


class StoreError(ComodoError, RuntimeError):
    """The store cannot be read or written."""


class ChangedError(ComodoError, RuntimeError):
    """A file was replaced while the sweep that it belongs to runs."""
