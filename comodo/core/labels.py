"""How a window without a class is marked."""

NO_LABEL = -1
"""In place of the index of a class."""
