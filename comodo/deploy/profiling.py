"""Profiles a teacher and its student, each in a process of its own, and shows the profile as a
table, a page of Markdown and a figure.

Does not know how a network is measured: see `footprint`.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from comodo.core.console import console
from comodo.core.errors import ComodoError
from comodo.core.machine import usable_cpus
from comodo.core.markdown import as_text
from comodo.core.provenance import processor
from comodo.core.store import Store, atomic, fetched, read_json, write_json
from comodo.core.units import format_bytes
from comodo.deploy.footprint import Footprint, Network
from comodo.deploy.selection import Selection
from comodo.report.plan.inventory import encoding_speed, window_samples
from comodo.report.style import GREY, grid_of, of_curve, save_figure
from comodo.report.tables import markdown
from comodo.search.trial import Trial
from comodo.tracking.runs import attach_to_trial, find_runs

EXPORTS = {"exported": "model.onnx", "exported (int8)": "model.int8.onnx"}
LIBRARIES = ("torch", "transformers", "onnxruntime")
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class ProfileError(ComodoError, RuntimeError):
    """A network could not be measured."""


@dataclass(frozen=True)
class Profile:
    """Footprints of teacher, student and exported programs, as far as they could be measured."""

    trial: str
    sweep: str
    configuration: str
    seed: int
    networks: dict[str, Footprint]
    """By name, the teacher first."""
    notes: list[str]
    """What could not be measured and why, and the input of each network."""
    machine: dict[str, str]

    @property
    def ratios(self) -> dict[str, float]:
        """Teacher divided by student, by field of `Footprint`."""
        if not {"teacher", "student"} <= self.networks.keys():
            return {}
        teacher, student = (asdict(self.networks[name]) for name in ("teacher", "student"))
        measured = [key for key in teacher if key not in ("takes", "runs")]
        return {key: teacher[key] / student[key] for key in measured
                if teacher[key] and student[key]}  # fmt: skip


def profile_trial(found: Selection, store: Store, allow_code: bool = False) -> Profile:
    """Measures the networks of a finished trial on one thread of this machine's CPU; ProfileError
    if none of them could be measured. `allow_code`: whether the code of a custom student may
    run."""
    row = found.row
    to_measure, notes = _networks(row.trial, store, allow_code)
    networks = {}
    for name, network in to_measure.items():
        console.print(f"measure {name}")
        try:
            networks[name] = measure_apart(network)
        except ProfileError as error:
            notes.append(f"{name}: not measured: {error}")
    if not networks:
        raise ProfileError("profile.nothing", f"trial {row.trial.key}: {'; '.join(notes)}")
    notes += [f"{name} takes {network.takes}." for name, network in networks.items()]
    teacher = row.trial.config.teacher
    if teacher and (speed := encoding_speed(store, teacher, "cpu")) is not None:
        notes.append(f"Encoding in sweeps, with decoding and in batches: {speed[1]}.")
    trial, sweep = row.trial, found.record.sweep.name
    return Profile(trial.key, sweep, row.label, trial.seed, networks, notes, describe_machine())


def _networks(
    trial: Trial, store: Store, allow_code: bool = False
) -> tuple[dict[str, Network], list[str]]:
    """The networks of a trial that can be measured, and notes on those that cannot."""
    networks: dict[str, Network] = {}
    notes = []
    teacher, key = trial.config.teacher, trial.key
    if teacher is None:
        notes.append("teacher: the sweep has none")
    elif teacher.name == "precomputed":
        notes.append("teacher: not measured: its features are precomputed")
    else:
        networks["teacher"] = Network("teacher", teacher.model_dump(mode="json"))
    if (samples := window_samples(store, trial.windows)) is None:
        notes.append("student: not measured: its training windows are no longer in the store")
    else:
        folder = fetched(store.folder("trials", key) / "student")
        code = trial.config.student.code if allow_code else None
        networks["student"] = Network("student", str(folder), samples, code)
    for name, file in EXPORTS.items():
        path = fetched(store.folder("exports", key), file) / file
        if path.exists():
            networks[name] = Network("onnx", str(path))
    if not networks.keys() & EXPORTS.keys():
        first = f"first run comodo export {key} (without --out)"
        notes.append(f"exported program: not measured: {first}")
    return networks, notes


def measure_apart(network: Network) -> Footprint:
    """A network's footprint, measured in a fresh process; ProfileError if the network cannot be
    loaded or the process died."""
    with tempfile.TemporaryDirectory() as temporary:
        answer = Path(temporary, "footprint.json")
        module = "comodo.deploy.footprint"
        command = [sys.executable, "-m", module, json.dumps(asdict(network)), str(answer)]
        alone = os.environ | ONE_THREAD
        ran = subprocess.run(command, env=alone, capture_output=True, text=True)
        if not answer.exists():
            last = ran.stderr.strip().splitlines()[-1:] or [f"it ended with {ran.returncode}"]
            raise ProfileError("profile.died", f"the measuring process died: {last[0]}")
        found = read_json(answer)
    if "error" in found:
        raise ProfileError("profile.unavailable", found["error"])
    return Footprint(**found)


def describe_machine() -> dict[str, str]:
    """What the numbers depend on besides the networks."""
    return {
        "processor": processor(),
        "cores": str(usable_cpus()),
        "threads": "1",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES if find_spec(name) is not None},
    }


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _count(value: float) -> str:
    """Three digits and a unit: 121 M."""
    for length, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= length:
            return f"{_digits(value / length)} {unit}"
    return _digits(value)


def _in_unit(unit: str, value: float) -> str:
    """In the unit, or in thousandths of it below 1."""
    return f"{_digits(value)} {unit}" if value >= 1 else f"{_digits(1000 * value)} m{unit}"


PROFILE_ROWS: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("parameters", _count),
    "flops": ("FLOPs", _count),
    "disk": ("size on disk", format_bytes),
    "latency": ("latency, median", partial(_in_unit, "s")),
    "latency_p95": ("latency, 95th percentile", partial(_in_unit, "s")),
    "memory": ("peak memory, network", format_bytes),
    "process": ("peak memory, whole process", format_bytes),
    "joules": ("energy", partial(_in_unit, "J")),
}
"""Title and format of each field of a footprint."""
DRAWN = ("parameters", "flops", "disk", "latency", "memory", "joules")


def all_notes(profile: Profile) -> list[str]:
    """What the numbers include, and what is not measured."""
    networks = profile.networks
    runs = ", ".join(f"{name} {network.runs}" for name, network in networks.items())
    lines = [
        *profile.notes,
        f"One window at a time on one CPU thread; runs after warm-up: {runs}.",
        "The teacher's latency does not include decoding the video.",
        "FLOPs: two for each multiply-add of matrix products, convolutions and attention "
        "(torch.utils.flop_counter); other operations are not counted.",
        "Peak memory of the network: beyond that of the process with its libraries loaded.",
    ]
    if any(name.startswith("exported") for name in networks):
        also = "Exported programs also resample and classify"
        lines.append(f"{also}; their parameters and FLOPs are not counted.")
    if all(network.joules is None for network in networks.values()):
        return [*lines, "Energy: this machine has no counters."]
    return [*lines, "Energy: of the whole processor, including other work: an estimate."]


def _cells(profile: Profile) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row for each measure that some network has."""
    networks, found = profile.networks, profile.ratios
    header = ["of one window", *networks, *(["teacher / student"] if found else [])]
    rows = []
    for key, (title, written) in PROFILE_ROWS.items():
        values = [getattr(network, key) for network in networks.values()]
        if any(value is not None for value in values):
            cells = ["–" if value is None else written(value) for value in values]
            if found:
                cells.append(_digits(found[key]) if key in found else "–")
            rows.append([title, *cells])
    return header, rows


def write_profile(profile: Profile, store: Store) -> Path:
    """Writes profile.json, profile.md and the figure (PNG and SVG), attaches them to the trial's
    MLflow run, and returns their folder."""
    folder = store.folder("profiles", profile.trial)
    ratios = {"teacher_over_student": profile.ratios}
    write_json(folder / "profile.json", asdict(profile) | ratios)
    save_figure(draw_profile(profile), folder / "profile.png")
    with atomic(folder / "profile.md") as path:
        path.write_text("\n".join(profile_page(profile)))
    if (runs := find_runs(profile.sweep, store)) is not None:
        attach_to_trial(folder, runs, profile.trial, "profile")
    return folder


def show_profile(profile: Profile) -> RenderableType:
    """For the terminal."""
    header, rows = _cells(profile)
    numbers = [Column(name, justify="right", overflow="fold") for name in header[1:]]
    table = Table(Column(header[0], overflow="fold"), *numbers, title=_title(profile))
    for row in rows:
        table.add_row(*row)
    machine = f"on {profile.machine['processor']}"
    return Group(table, *(Text(note) for note in [*all_notes(profile), machine]))


def profile_page(profile: Profile) -> list[str]:
    """As lines of Markdown; profile.png is in the same folder."""
    return [
        f"# {as_text(_title(profile))}",
        "",
        f"Trial `{profile.trial}` of the sweep {profile.sweep}.",
        "",
        *markdown(*_cells(profile)),
        "![resources of teacher and student](profile.png)",
        "",
        *(f"- {as_text(note)}" for note in all_notes(profile)),
        "",
        "## Machine",
        "",
        *markdown(["", ""], [list(item) for item in profile.machine.items()]),
    ]


def _title(profile: Profile) -> str:
    return f"{profile.configuration} seed {profile.seed}"


def draw_profile(profile: Profile) -> Figure:
    """A plot for each measure, a dot for each network, on logarithmic axes."""
    networks, found = list(profile.networks.values()), profile.ratios
    # 0 has no logarithm.
    drawn = [key for key in DRAWN if any(getattr(network, key) for network in networks)]
    height = 0.7 + (0.7 + 0.25 * len(networks)) * -(-len(drawn) // 2)
    figure, plots = grid_of(len(drawn), 2, (9, height), sharey=True)
    for axes, key in zip(plots, drawn, strict=True):
        title, written = PROFILE_ROWS[key]
        axes.set_yticks(range(len(networks)), list(profile.networks))
        _draw(axes, [getattr(network, key) for network in networks], written)
        if key in found:
            title += f" (teacher / student: {_digits(found[key])})"
        axes.set_title(title, fontsize="medium", loc="left")
    return figure


def _draw(axes: Axes, values: list[float | None], written: Callable[[float], str]) -> None:
    """One measure of all networks, as dots."""
    known = {row: value for row, value in enumerate(values) if value}
    low, high = min(known.values()), max(known.values())
    axes.set_xscale("log")
    axes.set_xlim(low / 3, high * (high / low) ** 0.35 * 3)  # space for the number next to a dot
    for row in range(len(values)):
        if row not in known:
            axes.annotate("–", (low / 3, row), (6, 0), textcoords="offset points", va="center")
    for row, value in known.items():
        axes.hlines(row, low / 3, value, color=GREY, linewidth=1)
        axes.plot([value], [row], **of_curve(row))
        axes.annotate(written(value), (value, row), (6, 0), textcoords="offset points",
                      va="center", fontsize="small")  # fmt: skip
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axes.tick_params(axis="x", labelsize="small")
