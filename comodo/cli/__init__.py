"""The commands: parses their arguments, calls the packages and prints the results.

A sweep file is read and checked, and a name looked up, before anything heavy is imported, so that a
wrong one is refused at once.
"""

import json
import shlex
from typing import Annotated, Any, Literal

from typer import Argument, BadParameter, Exit, Option, Typer
from typer.core import TyperGroup

from comodo.cli.arguments import (
    AddressOption,
    DatasetName,
    File,
    ImuFileOption,
    JsonOption,
    NoMlflowOption,
    OffsetsOption,
    PaperOption,
    QuietOption,
    SetOption,
    SharedOption,
    SmokeOption,
    StoreOption,
    VerboseOption,
    VersionOption,
    checked_file,
)
from comodo.cli.init import init
from comodo.cli.slurm import slurm
from comodo.cli.store import clean, du
from comodo.cli.student import export, profile
from comodo.cli.ui import ui
from comodo.core.console import (
    be_quiet,
    be_verbose,
    console,
    error_console,
    results,
    show_errors,
)
from comodo.core.redaction import redacted
from comodo.core.store import Store, existing_store

RESUMED = ("sweep", "prepare", "encode")
"""Commands that continue from what an interrupted one has left."""
LOADING = "loading Ray and PyTorch"  # seconds, on a busy machine half a minute


class _Commands(TyperGroup):
    """Every command shows its errors in the same way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with show_errors(lambda: ctx.invoked_subcommand in RESUMED):
                return super().invoke(ctx)
        finally:  # another command of this process is neither
            be_quiet(False)
            be_verbose(False)


app = Typer(
    cls=_Commands,
    help="Sweeps and ablations of video-to-IMU distillation. Start with: comodo init",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def main(version: VersionOption = False) -> None: ...


app.command(epilog="Example: comodo init")(init)


@app.command(epilog="Example: comodo sweep sweeps/demo.yaml, or first: comodo sweep FILE --smoke")
def sweep(
    file: File,
    store: StoreOption = None,
    overrides: SetOption = None,
    smoke: SmokeOption = False,
    address: AddressOption = None,
    no_mlflow: NoMlflowOption = False,
    shared: SharedOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a sweep: prepare, encode, train, probe, compare.

    Work that is done, in this sweep or another, is not repeated: after an interruption run the same
    command again.
    """
    console.print(f"checking {file}, then: prepare, encode, pack, train, report", markup=False)
    checked = checked_file(file, store, smoke, address, trials=True, overrides=overrides or ())
    place = Store(store)
    console.print(LOADING)
    from comodo.report.report import accuracy_on_terminal
    from comodo.runtime.run import run_sweep

    again = ["comodo", "sweep", str(file.resolve()), *(["--smoke"] if smoke else [])]
    again += ["--store", str(place)] if store else []
    again += [part for override in overrides or () for part in ("--set", override)]
    again += ["--address", address] if address else []
    again += ["--no-mlflow"] if no_mlflow else []
    again += ["--shared"] if shared else []
    command = redacted(shlex.join(again))
    found, folder = run_sweep(checked, place, command, not no_mlflow, shared)
    results.print(accuracy_on_terminal(found))
    results.print(f"report:  {folder}/report.html", markup=False)
    console.print(f"compare: comodo ui{f' --store {store}' if store else ''}")
    if failed := sum(row.state == "failed" for row in found.rows):
        reasons = f"the reasons are in {folder}/report.html"
        error_console.print(f"{failed} trials failed; {reasons}", style="red", markup=False)
        raise Exit(1)


@app.command(epilog="Example: comodo plan sweeps/demo.yaml")
def plan(
    file: File,
    store: StoreOption = None,
    overrides: SetOption = None,
    measure: Annotated[
        bool, Option("--measure", help="Train a few batches (20 s) to know this machine's speed.")
    ] = False,
    smoke: SmokeOption = False,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a sweep will do, and start nothing: trials, what is stored already, time, memory
    and disk, and what else changes with each swept key.
    """
    console.print(f"checking {file}, and what is stored of it", markup=False)
    checked = checked_file(file, store, smoke, address, trials=True, overrides=overrides or ())
    place = Store(store)
    from comodo.report.plan.plan import make_plan

    found = make_plan(checked, place, measure)
    if as_json:
        from comodo.report.as_json import as_text, plan_json

        print(as_text(plan_json(found)))
        return
    from comodo.report.plan.view import show_plan

    console.print(show_plan(found))


@app.command(epilog="Example: comodo status demo")
def status(
    name: Annotated[
        str | None, Argument(help="A sweep's name; without it, all sweeps are listed.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far a sweep is, from any shell or machine that sees its store."""
    from comodo.search.status import read_all, read_status, sweep_folder

    place = existing_store(store)
    if name is not None:
        sweep_folder(name, place)
    if as_json:
        from comodo.report.as_json import as_text, status_json

        every = read_all(place) if name is None else [read_status(name, place)]
        found = [status_json(status) for status in every]
        print(as_text(found if name is None else found[0]))
        return
    from comodo.report.status_view import show_status, show_statuses

    if name is None:
        console.print(show_statuses(read_all(place)))
    else:
        console.print(show_status(read_status(name, place)))


@app.command(epilog="Example: comodo report demo")
def report(
    name: Annotated[str, Argument(help="A sweep's name.")],
    store: StoreOption = None,
    paper: PaperOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a sweep so far: tables, also of the published accuracies, figures,
    results.parquet, and one page, report.html.

    Needs only the store, so it works from any machine that sees it, while the sweep runs or after.
    """
    from comodo.search.status import sweep_folder

    place = existing_store(store)
    sweep_folder(name, place)
    console.print(f"reading the results of {name}", markup=False)
    from comodo.evaluation.sweep_record import read_sweep_record

    saved = read_sweep_record(name, place)
    from comodo.report.report import accuracy_on_terminal, write_report

    found = saved.results(place)
    folder = write_report(found, saved, place)
    if paper is not None:
        from comodo.report.paper import write_paper

        write_paper(found, (folder / "report.md").read_text(), paper)
    if as_json:
        from comodo.report.as_json import as_text, report_json

        print(as_text(report_json(found, folder)))
        return
    console.print(accuracy_on_terminal(found))
    console.print(f"report:  {folder}/report.html", markup=False)
    if paper is not None:
        console.print(f"paper:   {paper}/paper.tex shows its figures and tables", markup=False)


@app.command(epilog="Example: comodo prepare sweeps/gopro.yaml --videos shrink")
def prepare(
    file: File,
    store: StoreOption = None,
    overrides: SetOption = None,
    videos: Annotated[
        Literal["original", "shrink"] | None,
        Option(help="`shrink` makes small copies, like `videos: shrink` in every data set."),
    ] = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Only slice the recordings of a sweep file's data sets into paired windows."""
    console.print(f"checking {file}, then: prepare", markup=False)
    checked = checked_file(file, store, address=address, overrides=overrides or ())
    place = Store(store)
    console.print(LOADING)
    from comodo.runtime.cluster import connect
    from comodo.runtime.prepare import prepare_windows
    from comodo.runtime.progress import stages_recorded

    with stages_recorded(checked.name, place, alone=True):
        connect()
        for name, settings in checked.datasets.items():
            chosen = settings if videos is None else settings.model_copy(update={"videos": videos})
            prepare_windows(name, chosen, place)
            if chosen.videos != settings.videos:
                key = f"datasets.{name}.videos: {videos}"
                console.print(f"  to use these in encode and sweep, write {key} in {file}")


@app.command(epilog="Example: comodo encode sweeps/gopro.yaml")
def encode(
    file: File,
    store: StoreOption = None,
    overrides: SetOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Only prepare, and run the frozen teacher over the windows."""
    console.print(f"checking {file}, then: prepare, encode", markup=False)
    checked = checked_file(file, store, address=address, overrides=overrides or ())
    place = Store(store)
    console.print(LOADING)
    from comodo.runtime.cluster import connect
    from comodo.runtime.progress import stages_recorded
    from comodo.runtime.stages import encode_all, prepare_all

    with stages_recorded(checked.name, place, alone=True):
        connect()
        encode_all(checked, prepare_all(checked, place), place)
        if not checked.encoded():
            console.print("no trial of this sweep needs a teacher: nothing to encode")


@app.command(epilog="Example: comodo inspect utd --offsets 0")
def inspect(
    dataset: DatasetName = None,
    store: StoreOption = None,
    file: ImuFileOption = None,
    offsets: OffsetsOption = 5,
) -> None:
    """Show the quality of a prepared data set: what was rejected and why, classes and splits,
    leakage, gaps, drift, gravity, saturation. Writes a table, a page and figures."""
    if file is not None and dataset is None:
        from comodo.report.quality.file_view import view_file

        print(view_file(file).text())
        return
    if dataset is None or file is not None:
        raise BadParameter("name a prepared data set, or an IMU file: --file FILE.csv")
    from comodo.data.records import newest_windows

    place = existing_store(store)
    newest_windows(dataset, place)
    console.print(f"reading the windows of {dataset}", markup=False)
    from comodo.report.quality import inspection

    found = inspection.inspect_dataset(dataset, place, offsets)
    console.print(inspection.show_inspection(found))
    folder = inspection.write_inspection(found, place)
    console.print(f"report: {folder}/quality.md", markup=False)


@app.command(epilog="Example: comodo schema > docs/sweep.schema.json")
def schema() -> None:
    """Print the JSON schema of sweep files, with which editors complete and check keys."""
    from comodo.config import Sweep

    print(json.dumps(Sweep.model_json_schema(), indent=1))


app.command(epilog="Example: comodo export demo --rate 104 --acc-unit m/s^2 --gyro-unit rad/s")(
    export
)
app.command(epilog="Example: comodo profile demo")(profile)
app.command(epilog="Example: comodo du")(du)
app.command(epilog="Example: comodo clean, then: comodo clean --yes")(clean)


app.command(epilog="Example: comodo slurm sweeps/demo.yaml --gpus 1 --time 8:00:00")(slurm)
app.command(epilog="Example: comodo ui --port 5001")(ui)
