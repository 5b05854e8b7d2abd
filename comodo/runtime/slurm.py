"""The script with which SLURM runs a sweep, and its submission.

A time limit is no failure: NOTICE_SECONDS before it, SLURM signals the script, the sweep ends as at
SIGTERM, and the job is queued again until the sweep is finished. Imports no Ray, so that a script
is written at once.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from comodo.core.errors import ComodoError

NOTICE_SECONDS = 120  # before the time limit; a sweep ends within 30, SLURM may signal 60 earlier
MIN_SECONDS = 300  # of a time limit, so that each run of the job gets somewhere
FORMATS = ("M", "M:S", "H:M:S", "D-H", "D-H:M", "D-H:M:S")  # of SLURM's times

SCRIPT = """\
#!/bin/bash
# Runs the sweep {name} on SLURM; made by comodo slurm. To continue it: sbatch {file}
{options}

limit='' stopping='' driver=''
stop() {{ stopping=1; [ -z "$driver" ] || kill -TERM "$driver" 2> /dev/null; }}
trap 'limit=1; stop' USR1  # from SLURM, {notice} s before the time limit
trap stop TERM  # from scancel, or because the node is needed

export PATH={path}:"$PATH"
run=()  # what has to precede each command, as a container does: run=(apptainer exec ...)
{ray_options}{preamble}
# Ray's files of this job, on the disk of each node.
export RAY_TMPDIR="${{RAY_TMPDIR:-/tmp}}/comodo-$SLURM_JOB_ID"
rm -rf "$RAY_TMPDIR"
mkdir -m 700 "$RAY_TMPDIR" || exit 1
# Without a server, MLflow's records are made from the store, by comodo ui.
[ -n "$MLFLOW_TRACKING_URI" ] || records=--no-mlflow
{cluster}"${{run[@]}}" {sweep} $records &
driver=$!
[ -z "$stopping" ] || stop
while true; do  # a signal ends `wait` before the sweep has ended
  wait "$driver"
  status=$?
  [ $status -gt 128 ] && kill -0 "$driver" 2> /dev/null || break
done
{end}rm -rf "$RAY_TMPDIR"

if [ -n "$limit" ] && [ $status -gt 128 ]; then
  job=$SLURM_JOB_ID
  [ -z "$SLURM_ARRAY_JOB_ID" ] || job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
  echo "the time limit is near; job $job is queued again and continues from the store"
  scontrol requeue "$job" || echo "it was refused; to continue: sbatch {file}"
fi
exit $status
"""

# All ports are free ones, so that jobs that share a node do not collide. Nothing here is ended by
# `ray stop`, which would end the Ray of the user's other jobs on the node too.
CLUSTER = """\
# Ray on the job's nodes, for those who know its token only; its head and the sweep on the first.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
ray_on() {{  # the number of nodes and the first of them, then options of `ray start`
  srun --nodes="$1" --ntasks="$1" --relative="$2" --cpus-per-task="$SLURM_CPUS_ON_NODE" \\
    "${{run[@]}}" bash -c 'mkdir -pm 700 "$RAY_TMPDIR"; exec ray start --block "$@" \\
      --num-cpus="$(nproc)" --disable-usage-stats --dashboard-agent-listen-port=0' \\
    ray "${{@:3}}" "${{ray_options[@]}}" > /dev/null &
  nodes="$nodes $!"
}}
port=$("${{run[@]}}" python -c "
import socket
print(socket.create_server(('', 0)).getsockname()[1])")
ray_on 1 0 --head --port=0 --dashboard-port=0 --ray-client-server-port="$port"
until RAY_ADDRESS=$(cat "$RAY_TMPDIR/ray/ray_current_cluster" 2> /dev/null); do
  kill -0 $nodes 2> /dev/null || {{ echo 'the head of Ray has not started'; exit 1; }}
  sleep 1
done
export RAY_ADDRESS
ray_on $((SLURM_NNODES - 1)) 1 --address="$RAY_ADDRESS"
"${{run[@]}}" python -c "
import ray, time
ray.init(logging_level='ERROR')
began = time.monotonic()
while (alive := sum(node['Alive'] for node in ray.nodes())) < $SLURM_NNODES:
    if time.monotonic() - began > {wait}:
        raise SystemExit(f'only {{alive}} of $SLURM_NNODES nodes have started Ray')
    time.sleep(1)
" || {{ kill $nodes; exit 1; }}
"""
END_CLUSTER = """\
kill $nodes
wait $nodes
srun rm -rf "$RAY_TMPDIR"
"""
RAY_OPTIONS = """\
ray_options=()  # more of `ray start` on all nodes
"""
WAIT_SECONDS = 300  # for the nodes' Rays, whose files may come from a slow shared disk


class SlurmError(ComodoError, ValueError):
    """A job that SLURM would not run as wanted."""


@dataclass(frozen=True)
class SlurmJob:
    """A sweep as a job; fields that are None are left to the partition's defaults."""

    name: str
    """Of the sweep."""
    sweep: list[str]
    """The command that runs it."""
    time: str | None = None
    """Time limit, in one of `FORMATS`."""
    gpus: str | None = None
    """A number, or `a100:2`."""
    cpus: int | None = None
    partition: str | None = None
    nodes: int | None = None
    """Of the job; with several, they are a Ray cluster."""
    array: int | None = None
    """Jobs that share the trials, each on a node."""
    preamble: Path | None = None
    """A file of bash, which sets up the environment."""
    options: tuple[str, ...] = ()
    """More of sbatch's options, such as `--account=lab`."""

    @property
    def file(self) -> str:
        """The script's name."""
        return f"{self.name}.sbatch"

    @property
    def log(self) -> str:
        """The log's name, in SLURM's pattern: of a job, or of each job of an array."""
        return f"{self.name}-{'%A_%a' if self.array else '%j'}.log"

    def script(self) -> str:
        """The script. Raises SlurmError for a time limit that is too short or cannot be read, and
        for an array of jobs of several nodes."""
        if self.array and self._is_cluster:
            raise SlurmError(
                "slurm.array-of-clusters",
                "--array and --nodes: give one of them; each job of an array runs on one node",
            )
        if self.time is not None and (seconds := seconds_of(self.time)) < MIN_SECONDS:
            raise SlurmError(
                "slurm.short-time",
                f"--time {self.time} is {seconds} s; {NOTICE_SECONDS} s before the limit the sweep "
                f"is stopped to be queued again: give at least {MIN_SECONDS // 60} minutes",
            )
        preamble = f". {shlex.quote(str(self.preamble))} || exit 1\n" if self.preamble else ""
        return SCRIPT.format(
            name=self.name,
            file=self.file,
            options="\n".join(f"#SBATCH {option}" for option in self._sbatch()),
            notice=NOTICE_SECONDS,
            path=shlex.quote(str(Path(sys.executable).parent)),
            preamble=preamble,
            ray_options=RAY_OPTIONS if self._is_cluster else "",
            cluster=CLUSTER.format(wait=WAIT_SECONDS) if self._is_cluster else "",
            end=END_CLUSTER if self._is_cluster else "",
            sweep=shlex.join([*self.sweep, *(["--shared"] if self.array else [])]),
        )

    @property
    def _is_cluster(self) -> bool:
        return (self.nodes or 1) > 1

    def _sbatch(self) -> list[str]:
        asked = {
            "time": self.time,
            "gres": self.gpus and f"gpu:{self.gpus}",
            "cpus-per-task": self.cpus,
            "partition": self.partition,
            "array": self.array and f"1-{self.array}",
        }
        return [
            f"--job-name={self.name}",
            f"--nodes={self.nodes or 1}",
            "--ntasks-per-node=1",
            *(f"--{name}={value}" for name, value in asked.items() if value is not None),
            f"--output={self.log}",
            "--open-mode=append",  # the log of a job that is queued again goes on
            "--requeue",  # also after a lost node
            f"--signal=B:USR1@{NOTICE_SECONDS}",
            *self.options,
        ]


def seconds_of(time: str) -> int:
    """Seconds of a time limit as SLURM writes it. Raises SlurmError for another format."""
    if re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", time) is None:
        formats = ", ".join(FORMATS)
        raise SlurmError("slurm.bad-time", f"--time {time}: needs one of {formats}")
    days, _, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days or len(parts) == 3:  # the first is hours
        hours, minutes, seconds = [*parts, 0, 0][:3]
    else:  # the first is minutes
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def submit(file: Path) -> str:
    """Submits a script; returns what sbatch says. Raises SlurmError if there is no SLURM here, or
    if it refuses the job."""
    if shutil.which("sbatch") is None:
        raise SlurmError(
            "slurm.missing",
            f"no sbatch on this machine; {file} is written: submit it on a login node of the "
            f"cluster, sbatch {shlex.quote(str(file))}",
        )
    done = subprocess.run(["sbatch", str(file)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())
        raise SlurmError("slurm.refused", f"SLURM refuses {file}: {reason}")
    return done.stdout.strip()
