"""The libraries of students that a plain installation lacks, and how each is installed. Imports
none of them."""

from importlib.util import find_spec

STUDENT_LIBRARIES = {
    # It pins old releases, which pip would refuse, and runs unchanged on current ones.
    "moment": ("momentfm", "pip install --no-deps momentfm"),
    "chronos-bolt": ("chronos", "pip install chronos-forecasting"),
}
"""Of each student the module that it imports, and the command that installs it."""


def missing_library(student: str) -> str | None:
    """The error of a student whose library is not installed; None: nothing is missing."""
    if student not in STUDENT_LIBRARIES:
        return None
    module, command = STUDENT_LIBRARIES[student]
    return None if find_spec(module) else f"{student} needs the library {module}: {command}"
