"""Arguments that several commands have, and the check of the sweep file among them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from comodo import __version__
from comodo.core.console import be_quiet, be_verbose
from comodo.core.errors import MissingFileError
from comodo.core.store import Store

if TYPE_CHECKING:
    from comodo.config import Sweep


def _print_version(requested: bool) -> None:
    if requested:
        print(__version__)
        raise Exit


VersionOption = Annotated[
    bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
]
File = Annotated[Path, Argument(help="A sweep file (YAML).")]
StoreOption = Annotated[
    str | None,
    Option(
        help="Folder of all artifacts, or a bucket as s3://BUCKET/PREFIX, mirrored in "
        "$COMODO_CACHE (by default $XDG_CACHE_HOME/comodo or ~/.cache/comodo); by default "
        "$COMODO_STORE, else ./.comodo."
    ),
]
Run = Annotated[
    str,
    Argument(
        help="A trial's key or its first letters, an MLflow run, or a sweep's name for its best."
    ),
]
DatasetName = Annotated[
    str | None, Argument(help="Its name under `datasets:` of a sweep file; not with --file.")
]
ImuFileOption = Annotated[
    Path | None,
    Option(
        "--file",
        help="An IMU file, before anything is prepared: prints what it has, and a data set for the "
        "sweep file with which it is read.",
    ),
]
OffsetsOption = Annotated[
    int, Option(min=0, help="Recordings to estimate the clock offset of: seconds each.")
]
SmokeOption = Annotated[
    bool,
    Option(
        "--smoke",
        help="Try the file in minutes: simulated recordings under the data sets' names, tiny "
        "models with random weights, few epochs. The results mean nothing.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the file, such as trial.protocol=published, to a YAML value; may be "
        "given several times, and is recorded with the sweep.",
    ),
]
AddressOption = Annotated[
    str | None,
    Option(
        help="The Ray cluster to run on: `auto` on one of its machines, else HEAD:6379; by default "
        "$RAY_ADDRESS, else Ray is started on this machine."
    ),
]


def _quiet(requested: bool) -> bool:
    be_quiet(requested)
    return requested


def _verbose(requested: bool) -> bool:
    be_verbose(requested)
    return requested


QuietOption = Annotated[
    bool,
    Option("--quiet", "-q", help="Print only the result, and errors.", callback=_quiet),
]
VerboseOption = Annotated[
    bool,
    Option(
        "--verbose",
        "-v",
        help="Print also what Ray and its workers log, and the traceback of an error.",
        callback=_verbose,
    ),
]
JsonOption = Annotated[
    bool,
    Option("--json", help="Print JSON, and nothing else: docs/terminal.md.", callback=_quiet),
]
PaperOption = Annotated[
    Path | None,
    Option(
        "--paper",
        file_okay=False,
        help="Also write figures (PDF, SVG) and tables (LaTeX, CSV) for a paper into this folder.",
    ),
]
NoMlflowOption = Annotated[
    bool,
    Option(
        "--no-mlflow",
        help="Make no records in MLflow while the sweep runs; comodo ui makes them from the store.",
    ),
]
SharedOption = Annotated[
    bool,
    Option(
        "--shared",
        help="Share the trials with other commands that run this sweep with --shared, on any "
        "machines that see the store.",
    ),
]


def checked_file(
    file: Path,
    store: str | None,
    smoke: bool = False,
    address: str | None = None,
    trials: bool = False,
    overrides: Sequence[str] = (),
    elsewhere: bool = False,
) -> "Sweep":
    """Reads the sweep file and checks all that can be checked before anything heavy starts.
    `elsewhere`: it will run on other machines than this one."""
    if not file.exists():
        raise MissingFileError("file.not-found", f"{file}: no such file")
    if file.is_dir():
        found = min(file.glob("*.yaml"), default=file / "sweep.yaml")
        fix = f"name a sweep file, such as {found}"
        raise MissingFileError("file.is-folder", f"{file}: is a folder; {fix}")
    if address:
        os.environ["RAY_ADDRESS"] = address
    from comodo.deploy.sources import sources_in

    sources = sources_in(Store(store))
    if smoke:
        from comodo.runtime.smoke import load_smoke

        checked = load_smoke(file, Store(store), overrides, sources)
    else:
        from comodo.config import read_sweep_file

        checked = read_sweep_file(file, overrides=overrides, sources=sources)
    from comodo.search.precheck import precheck

    precheck(file, checked, Store(store), trials, elsewhere)
    if trials:
        from comodo.search.recorded_settings import refuse_other_overrides

        refuse_other_overrides(checked, Store(store))
    return checked
