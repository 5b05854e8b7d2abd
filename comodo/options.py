"""What the verbs of the command line share: arguments, options, and how errors are shown."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from comodo.config import ConfigError
from comodo.console import console

File = Annotated[Path, typer.Argument(help="A sweep file (YAML).")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Where all artifacts lie: a folder, or a bucket as s3://BUCKET/PREFIX, which "
        "$COMODO_CACHE (by default ~/.cache/comodo) mirrors; by default $COMODO_STORE, else "
        "./.comodo.",
    ),
]

Run = Annotated[
    str,
    typer.Argument(
        help="A trial's key or its beginning, an MLflow run, or a sweep's name for its best."
    ),
]

SmokeOption = Annotated[
    bool,
    typer.Option(
        "--smoke",
        help="Try the file in minutes: simulated recordings under the data sets' names, tiny "
        "models with random weights, few epochs. The results mean nothing.",
    ),
]

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="The Ray cluster to run on: `auto` on one of its machines, else HEAD:6379; by default "
        "$RAY_ADDRESS, else Ray is started on this machine.",
    ),
]


_OWN = re.compile(r"^comodo(?:\.\w+)+: (.+)$", re.MULTILINE)


@contextmanager
def clear_errors() -> Iterator[None]:
    """The user's mistakes are printed as they are, without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted; the same command again goes on from here", style="yellow")
        raise typer.Exit(130) from None
    except Exception as raised:
        # What is told is the user's to mend; anything else goes on as it came, with its traceback.
        told = _told(raised)
        if told is None:
            raise
        console.print(told, style="red", markup=False)
        raise typer.Exit(2 if isinstance(raised, ConfigError) else 1) from None


def _told(error: BaseException) -> str | None:
    """The text of the package's own error, or of a file system's; None: of neither."""
    if type(error).__module__.split(".")[0] == "comodo" or isinstance(error, OSError):
        return str(error)
    # One of a Ray worker comes wrapped, and of what Ray Data wraps only the text comes.
    found = _OWN.search(str(error))
    return None if found is None else found[1]
