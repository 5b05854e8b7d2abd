"""Profiles a teacher and its student, each in a process of its own.

Knows neither how a network is measured (`footprint`) nor how numbers are shown (`profile_view`).
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from comodo.core.console import console
from comodo.core.errors import ComodoError
from comodo.core.store import Store, fetched, read_json
from comodo.deploy.footprint import Footprint, Network
from comodo.deploy.selection import Selection
from comodo.report.plan.inventory import encoding_speed, window_samples
from comodo.search.trial import Trial

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


def profile_trial(found: Selection, store: Store) -> Profile:
    """Measures the networks of a finished trial on one thread of this machine's CPU; ProfileError
    if none of them could be measured."""
    row = found.row
    to_measure, notes = _networks(row.trial, store)
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
    if (speed := encoding_speed(store, row.trial.config.teacher, "cpu")) is not None:
        notes.append(f"Encoding in sweeps, with decoding and in batches: {speed[1]}.")
    trial, sweep = row.trial, found.record.sweep.name
    return Profile(trial.key, sweep, row.label, trial.seed, networks, notes, describe_machine())


def _networks(trial: Trial, store: Store) -> tuple[dict[str, Network], list[str]]:
    """The networks of a trial that can be measured, and notes on those that cannot."""
    networks: dict[str, Network] = {}
    notes = []
    teacher, key = trial.config.teacher, trial.key
    if teacher.name == "precomputed":
        notes.append("teacher: not measured: its features are precomputed")
    else:
        networks["teacher"] = Network("teacher", teacher.model_dump(mode="json"))
    if (samples := window_samples(store, trial.windows)) is None:
        notes.append("student: not measured: its training windows are no longer in the store")
    else:
        folder = fetched(store.folder("trials", key) / "student")
        networks["student"] = Network("student", str(folder), samples)
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
        command = [sys.executable, "-m", "comodo.deploy.footprint"]
        command += [json.dumps(asdict(network)), str(answer)]
        environment = {**os.environ, **ONE_THREAD}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not answer.exists():
            last = ran.stderr.strip().splitlines()[-1:] or [f"it ended with {ran.returncode}"]
            raise ProfileError("profile.died", f"the measuring process died: {last[0]}")
        found = read_json(answer)
    if "error" in found:
        raise ProfileError("profile.unavailable", found["error"])
    return Footprint(**found)


def describe_machine() -> dict[str, str]:
    """What the numbers depend on besides the networks."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": "1",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES if find_spec(name) is not None},
    }
