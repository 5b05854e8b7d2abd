"""`comodo du` and `comodo clean`: the space that a store takes."""

from typing import Annotated

from typer import Option

from comodo.cli.arguments import StoreOption
from comodo.core.console import console
from comodo.core.store import existing_store


def du(store: StoreOption = None) -> None:
    """Show what takes the space of a store: by kind, by sweep, and what no sweep needs."""
    from comodo.report.usage import measure_usage, show_usage

    console.print(show_usage(measure_usage(existing_store(store))))


def clean(
    store: StoreOption = None,
    yes: Annotated[bool, Option("--yes", help="Remove it; else it is only listed.")] = False,
) -> None:
    """Remove what no sweep needs, and checkpoints of pruned and failed trials."""
    from comodo.report.usage import clean_store

    console.print(clean_store(existing_store(store), yes))
