"""`comodo ui`: the comparison in MLflow."""

import os
from typing import Annotated

from typer import Option

from comodo.cli.arguments import StoreOption
from comodo.core.console import console
from comodo.core.redaction import without_password
from comodo.core.store import Store


def ui(
    store: StoreOption = None,
    port: Annotated[int, Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    host: Annotated[
        str, Option(help="Address to listen on; any but this machine's own needs a password.")
    ] = "127.0.0.1",
) -> None:
    """Open the MLflow comparison of all sweeps, by default on this machine only. Sweeps that were
    run with `--no-mlflow` are recorded first, as far as they are.
    """
    place = Store(store)
    from comodo.tracking.serve import refuse_used, serve, server

    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):  # else no server starts
        refuse_used(host, port)
    from comodo.search.status import sweep_names
    from comodo.tracking.runs import experiment_pages, tracking_uri

    uri = tracking_uri(place)
    command, environment = ([], {}) if uri.startswith("http") else server(place, host, port)
    from comodo.report.recording import record_from_store

    record_from_store(place)
    pages = experiment_pages(sweep_names(place), place)

    def print_pages(address: str) -> None:
        for name, page in pages.items():
            console.print(f"  {name}: {address}/{page}", markup=False, soft_wrap=True)

    if not command:
        console.print(f"a server has the records: open {without_password(uri)}")
        print_pages(without_password(uri).rstrip("/"))
        return

    def announce() -> None:
        console.print(f"MLflow on http://{host}:{port}  ({uri}); Ctrl-C ends it", markup=False)
        print_pages(f"http://{host}:{port}")

    serve(command, environment, port, announce)
