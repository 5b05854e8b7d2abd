"""`comodo slurm`: a sweep as a job of a batch system."""

from pathlib import Path
from typing import Annotated

from typer import Option

from comodo.cli.arguments import File, SetOption, SmokeOption, StoreOption, checked_file
from comodo.core.console import console
from comodo.core.errors import MissingFileError
from comodo.core.store import Store


def slurm(
    file: File,
    store: StoreOption = None,
    overrides: SetOption = None,
    smoke: SmokeOption = False,
    gpus: Annotated[str | None, Option(help="GPUs: 4, or a kind, a100:4.")] = None,
    cpus: Annotated[int | None, Option(min=1, help="CPUs.")] = None,
    time: Annotated[
        str | None, Option(help="Time limit, 8:00:00; at it the job is queued again.")
    ] = None,
    partition: Annotated[str | None, Option(help="The partition to queue in.")] = None,
    nodes: Annotated[
        int | None, Option(min=1, help="Nodes of one job, as a Ray cluster of its own.")
    ] = None,
    array: Annotated[
        int | None,
        Option(min=2, help="Jobs that share the sweep's trials, without a network between them."),
    ] = None,
    preamble: Annotated[
        Path | None, Option(help="A file of bash to run first: modules, conda, proxies.")
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        Option(metavar="OPTION", help="One more option of sbatch, such as --account=lab."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print the script.")] = False,
) -> None:
    """Run a sweep on a SLURM cluster: write a batch script, show it and submit it.

    The job is queued again at its time limit until the sweep is finished. What the partition's
    defaults should say (GPUs, CPUs, time) is left out.
    """
    if preamble is not None and not preamble.is_file():
        raise MissingFileError("file.not-found", f"{preamble}: no such file")
    checked = checked_file(
        file, store, smoke, trials=True, overrides=overrides or (), elsewhere=True
    )
    from comodo.runtime.slurm import SlurmJob, submit

    if array:
        from comodo.search.budget import refuse_shared

        refuse_shared(checked)

    command = ["comodo", "sweep", str(file.resolve()), "--store", str(Store(store))]
    command += ["--smoke"] if smoke else []
    command += [part for override in overrides or () for part in ("--set", override)]
    job = SlurmJob(
        checked.name,
        command,
        time,
        gpus,
        cpus,
        partition,
        nodes,
        array,
        preamble and preamble.resolve(),
        tuple(sbatch or ()),
    )
    script = job.script()
    print(script, end="")
    if dry_run:
        return
    path = Path(job.file)
    path.write_text(script)
    console.print(submit(path), markup=False)
    console.print(f"script:  {path}; log: {job.log}", markup=False)
    console.print(f"status:  comodo status {checked.name} --store {Store(store)}", markup=False)
