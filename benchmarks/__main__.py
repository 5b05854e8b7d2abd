"""Runs the benchmarks in the table of docs/performance.md one by one, and prints the table.

    python -m benchmarks                  all that this machine can run: 2.5 hours on two cores
    python -m benchmarks loss epoch       some of them

The raw output of each is kept in benchmarks/results/MACHINE/, and the table is made from all files
there: the latest run of each benchmark on this machine. Where Ray is not installed, only the
benchmarks that do not need it run. Run nothing else at the same time.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.common import ROW, processor

RESULTS = Path(__file__).parent / "results"
WITHOUT_RAY = {
    "loss": "loss",
    "epoch": "epoch",
    "terms": "terms",
    "teacher": "teacher",
    "teacher-bf16": "teacher --precision bf16",
}
ON_GPU = {
    "encode-alone": "encode_alone --device cuda --precision bf16",
    "loss-attention": "loss_attention --device cuda",
    "shares": "shares --precision bf16",
    "lockstep": "lockstep --student cnn mantis --precision bf16",
}
WITH_RAY = {
    "engine": "engine",
    "encode": "encode",
    "sharing": "sharing",
    "sweep-small": "sweep_cost small",
    "sweep-large": "sweep_cost large",
    "scaling": "scaling",
}
HEAD = ("what", "baseline", "comodo", "ratio", "goal")


def run(command: str, file: Path) -> bool:
    """Runs one and shows what it prints; its output is kept only if it succeeds."""
    module, *arguments = command.split()
    lines = [f"$ python -m benchmarks.{command}\n"]
    print(lines[0], end="", flush=True)
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=RESULTS.parents[1],
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        print(f"ended with {process.returncode}; {file.name} is left as it was", flush=True)
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text("".join(lines))
    part.rename(file)
    return True


def table(folder: Path, names: list[str]) -> str:
    """The table of docs/performance.md, from the rows in the files of a folder."""
    files = [folder / f"{name}.txt" for name in names]
    texts = [file.read_text() for file in files if file.exists()]
    rows = [
        line.removeprefix(ROW)
        for text in texts
        for line in text.splitlines()
        if line.startswith(ROW)
    ]
    return "\n".join([f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *rows])


def main() -> None:
    known = WITHOUT_RAY | (ON_GPU if torch.cuda.is_available() else {})
    if importlib.util.find_spec("ray") is not None:
        known |= WITH_RAY
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    names = parser.parse_args().names or list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    machine = re.sub(r"\W+", "-", f"{device} {os.cpu_count()} cores").lower()
    folder = RESULTS / machine
    failed = [name for name in names if not run(known[name], folder / f"{name}.txt")]
    print(f"\n{table(folder, list(known))}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
