"""Arguments that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

File = Annotated[Path, Argument(help="A sweep file (YAML).")]
StoreOption = Annotated[
    str | None,
    Option(
        help="Folder of all artifacts, or a bucket as s3://BUCKET/PREFIX, mirrored in "
        "$COMODO_CACHE (by default ~/.cache/comodo); by default $COMODO_STORE, else ./.comodo."
    ),
]
Run = Annotated[
    str,
    Argument(
        help="A trial's key or its first letters, an MLflow run, or a sweep's name for its best."
    ),
]
SmokeOption = Annotated[
    bool,
    Option(
        "--smoke",
        help="Try the file in minutes: simulated recordings under the data sets' names, tiny "
        "models with random weights, few epochs. The results mean nothing.",
    ),
]
AddressOption = Annotated[
    str | None,
    Option(
        help="The Ray cluster to run on: `auto` on one of its machines, else HEAD:6379; by default "
        "$RAY_ADDRESS, else Ray is started on this machine."
    ),
]
