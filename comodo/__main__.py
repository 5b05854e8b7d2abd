"""`python -m comodo`, the same as the command."""

from comodo.cli import app

app()
