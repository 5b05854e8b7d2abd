"""`comodo export` and `comodo profile`: what becomes of a trained student."""

from pathlib import Path
from typing import Annotated, Literal

from typer import BadParameter, Option

from comodo.cli.arguments import Run, StoreOption
from comodo.core.console import console
from comodo.core.store import existing_store

AllowCode = Annotated[
    bool, Option("--allow-code", help="Run the code of a custom student, which is in the store.")
]


def export(
    run: Run,
    store: StoreOption = None,
    out: Annotated[
        Path | None, Option(help="Folder to write; by default exports/TRIAL in the store.")
    ] = None,
    rate: Annotated[
        float | None,
        Option(min=1, help="The device's samples per second; by default as in training."),
    ] = None,
    acc_unit: Annotated[
        Literal["g", "m/s^2"], Option(help="The device's unit of acceleration.")
    ] = "g",
    gyro_unit: Annotated[
        Literal["deg/s", "rad/s"], Option(help="The device's unit of rotation.")
    ] = "deg/s",
    allow_code: AllowCode = False,
    licence: Annotated[
        str | None,
        Option("--license", help="For the model card: the hub's name of a licence, such as mit."),
    ] = None,
    push: Annotated[
        str | None,
        Option(
            metavar="USER/NAME",
            help="Also upload it to this repository of the Hugging Face hub, which is made if it "
            "is not there, private unless --public.",
        ),
    ] = None,
    public: Annotated[bool, Option("--public", help="With --push: for everybody to see.")] = False,
) -> None:
    """Write a trained student, with its preprocessing and its probe, as one program: raw samples
    in, probabilities out. torch.export, ONNX, ONNX in int8, the student for `comodo.load_student`,
    a model for `mlflow models serve`, and a model card; each checked and measured.
    """
    from comodo.deploy import check_installed

    check_installed()
    if public and push is None:
        raise BadParameter("--public needs --push USER/NAME")
    place = existing_store(store)
    console.print(f"reading {run} in {place}, then: export, check, measure", markup=False)
    from comodo.deploy.selection import resolve_run

    found = resolve_run(run, place)
    from comodo.deploy import hub
    from comodo.deploy.export import export_run

    if push is not None:
        hub.check_push(push, public)
    exported = export_run(found, place, rate, acc_unit, gyro_unit, out, allow_code, licence)
    console.print(exported.table())
    for word, fact in exported.facts().items():
        console.print(f"{word + ':':<12}{fact}", markup=False, soft_wrap=True)
    if push is not None:
        address = hub.push(exported.folder, push, public)
        console.print(f"pushed:     {address}", markup=False, soft_wrap=True)


def profile(run: Run, store: StoreOption = None, allow_code: AllowCode = False) -> None:
    """Compare the cost of a student with its teacher's: parameters, FLOPs, disk, latency, memory,
    and energy where it can be read, also of the exported programs.

    Each is measured on one thread of this machine's CPU, for one window, in its own process.
    """
    place = existing_store(store)
    console.print(f"reading {run} in {place}, then: measure each network", markup=False)
    from comodo.deploy.selection import resolve_run

    found = resolve_run(run, place)
    from comodo.deploy.profiling import profile_trial, show_profile, write_profile

    measured = profile_trial(found, place, allow_code)
    folder = write_profile(measured, place)
    console.print(show_profile(measured))
    console.print(f"profile: {folder}/profile.md", markup=False)
