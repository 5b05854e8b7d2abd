"""A SLURM on this machine's loopback: Debian's `slurm-wlm` and `munge`, with all files in a
temporary folder. It has a node with two cores and four pretended GPUs, and two small nodes in a
partition of their own."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
START_SECONDS = 60
KILL_WAIT = 30
SETTINGS = """
ClusterName=test{ctld_port}
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
FirstJobId={first}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1,requeue_delay=0
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
MpiDefault=none
ReturnToService=2
KillWait={kill_wait}
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 Gres=gpu:4
NodeName=small1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_of_small1} CPUs=1
NodeName=small2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_of_small2} CPUs=1
PartitionName=short Nodes=node1 Default=YES MaxTime=1:00:00 State=UP
PartitionName=pair Nodes=small[1-2] MaxTime=1:00:00 State=UP
"""
# Any devices will do: SLURM only counts and names them.
GPUS = """
NodeName=node1 Name=gpu File=/dev/tty[1-4]
"""


def missing() -> str | None:
    """Why there can be no SLURM here; None: it can be started."""
    absent = [name for name in (*DAEMONS, "sbatch") if _program(name) is None]
    if absent:
        return f"no {', '.join(absent)} here; on Debian: apt-get install slurm-wlm munge"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Slurm:
    """The cluster; `env` is the environment of those who use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def state(self, job: str) -> str:
        """Such as PENDING, RUNNING or COMPLETED; of an array those of its tasks."""
        shown = self.run("scontrol", "show", "job", job)
        return " ".join(
            word.removeprefix("JobState=") for word in shown.split() if word.startswith("JobState=")
        )

    def until(self, job: str, states: set[str], seconds: float) -> None:
        """Waits until the job, or each task of an array, is in one of these states."""
        began = time.monotonic()
        while not set(self.state(job).split()) <= states:
            waited = time.monotonic() - began
            assert waited < seconds, self.run("scontrol", "show", "job", job)
            time.sleep(0.5)

    def log(self) -> str:
        return (self.folder / "slurmctld.log").read_text()


@contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    """Starts the daemons, and ends them, and all jobs, by their process ids."""
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # munged refuses a folder that others could write to
        slurm = Slurm(folder)
        host = socket.gethostname().split(".")[0]
        settings = SETTINGS.format(
            folder=folder,
            host=host,
            user=getpass.getuser(),
            ctld_port=_free_port(),
            first=1000 + os.getpid(),  # jobs of two such clusters have different folders
            port=_free_port(),
            port_of_small1=_free_port(),
            port_of_small2=_free_port(),
            kill_wait=KILL_WAIT,
        )
        (folder / "slurm.conf").write_text(settings)
        (folder / "gres.conf").write_text(GPUS)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        munge = [f"--{name}={folder}/munge.{name}" for name in ("socket", "log-file", "pid-file")]
        munge += [f"--key-file={key}", f"--seed-file={folder}/munge.seed"]
        try:
            for command in (
                ["munged", "--foreground", *munge],
                ["slurmctld", "-D", "-i"],
                *(["slurmd", "-D", "-N", node] for node in ("node1", "small1", "small2")),
            ):
                program = _program(command[0])
                assert program is not None
                with (folder / f"{command[0]}-{command[-1]}.out".replace("/", "_")).open(
                    "wb"
                ) as out:
                    started.append(
                        subprocess.Popen(
                            [program, *command[1:]], env=slurm.env, stdout=out, stderr=out
                        )
                    )
                if command[0] == "munged":
                    time.sleep(1)
            _await_node(slurm)
            yield slurm
        finally:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                slurm.run("scancel", "--user", getpass.getuser())
                time.sleep(2)
            for process in reversed(started):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _await_node(slurm: Slurm) -> None:
    began = time.monotonic()
    while True:
        with suppress(AssertionError):
            shown = slurm.run("sinfo", "--Node", "--noheader", "--format=%T")
            if set(shown.split()) == {"idle"}:
                return
        out = "".join(path.read_text()[-2000:] for path in slurm.folder.glob("*.out"))
        assert time.monotonic() - began < START_SECONDS, out
        time.sleep(0.5)
