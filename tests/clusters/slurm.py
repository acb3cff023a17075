"""SLURM on this machine: one node, from Debian's packages, as plain processes in a folder of its own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clusters.engines import daemon, environment, free_ports, processes, rig, unavailable, wait_until

PACKAGES = "slurmctld slurmd slurm-client munge"
DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}:/usr/sbin"

CONFIGURATION = """\
ClusterName=rig
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MinJobAge=86400
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{settings}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=2
"""
"""Jobs of `urgent` take the place of those of `main`, which are queued again, and wait for `cred_expire`."""

QUICK = {"KillWait": "30", "SchedulerParameters": "sched_interval=2,batch_sched_delay=0"}
"""A job that is told to end has 30 s; one that was queued again begins soon after."""

ACCOUNTS = """\
#!/bin/sh
# sacct -o JobID,State,NodeList --parsable2 -j 7 ...: SLURM's own wants a database.
echo 'JobID|State|NodeList'
scontrol -o show job | awk '{
    id = state = nodes = array = task = ""
    for (i = 1; i <= NF; i++) {
        split($i, pair, "=")
        if (pair[1] == "JobId") id = pair[2]
        if (pair[1] == "JobState") state = pair[2]
        if (pair[1] == "NodeList") nodes = pair[2]
        if (pair[1] == "ArrayJobId") array = pair[2]
        if (pair[1] == "ArrayTaskId") task = pair[2]
    }
    if (task ~ /[-,%]/) task = "[" task "]"
    if (id != "") print (array == "" ? id : array "_" task) "|" state "|" nodes
}'
"""
"""What submitit asks for which jobs have ended; it reads `7_[2-3%2]` as those that wait."""


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: `7`, or `7_1` in an array.
        number: by which SLURM knows it alone.
        state: `PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, `CANCELLED`, …
        restarts: how often it was queued again.
    """

    name: str
    number: str
    state: str
    restarts: int

    @property
    def ended(self) -> bool:
        """Return whether it neither runs nor will."""
        return self.state not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING", "SUSPENDED")


@dataclass(frozen=True)
class Slurm:
    """A running cluster.

    Attributes:
        folder: where all of it lies.
        environment: of a process that uses it.
    """

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """What one of SLURM's commands prints.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> list[Job]:
        """All that there were, in the order of their submission."""
        lines = self.run("scontrol", "-o", "show", "job").splitlines()
        found = [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in lines]
        return [_job(job) for job in found if "JobId" in job]

    def running(self) -> list[Job]:
        """Return the jobs under way."""
        return [job for job in self.jobs() if job.state == "RUNNING"]

    def requeue(self, job: Job) -> None:
        """Ends a running job and queues it again, as an administrator does."""
        self.run("scontrol", "requeue", job.number)

    def preempt(self, seconds: int, cpus: int = 2) -> None:
        """Submits a job that takes the place of those of the partition `main` for so long."""
        log = f"--output={self.folder}/urgent.log"
        wrapped = ["--partition=urgent", f"--cpus-per-task={cpus}", log, f"--wrap=sleep {seconds}"]
        self.run("sbatch", *wrapped)

    def workers(self, job: Job) -> list[int]:
        """The ids of a running job's processes that compute."""
        command = ["scontrol", "listpids", job.number]  # fails where nothing has begun, or all has ended
        listed = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        lines = (line.split() for line in listed.stdout.splitlines()[1:] if line[0].isdigit())
        return [int(pid) for pid, _job, step, *_ in lines if step == "0"]

    def kill_worker(self, job: Job) -> None:
        """SIGKILL, to what computes in a running job."""
        for pid in self.workers(job):
            os.kill(pid, signal.SIGKILL)

    def idle(self) -> bool:
        """Return whether all jobs have ended."""
        return all(job.ended for job in self.jobs())


def _job(fields: Mapping[str, str]) -> Job:
    array, task = fields.get("ArrayJobId"), fields.get("ArrayTaskId")
    name = fields["JobId"] if array is None else f"{array}_{task}"
    return Job(name, fields["JobId"], fields["JobState"], int(fields["Restarts"]))


@contextmanager
def slurm(*, cpus: int = 2, grace: int = 0, **settings: str) -> Iterator[Slurm]:
    """A cluster of one node with so many CPUs, and none of its processes afterwards.

    Args:
        cpus: that the node says it has.
        grace: seconds that a job has to end when one of the partition `urgent` takes its place.
        settings: of slurm.conf, beside or instead of `QUICK`.
    """
    if missing := [name for name in DAEMONS if shutil.which(name, path=PATH) is None]:
        unavailable(f"SLURM is not installed ({', '.join(missing)}): apt-get install {PACKAGES}")
    with rig("slurm") as folder:
        _write(folder, cpus=cpus, grace=grace, settings={**QUICK, **settings})
        cluster = Slurm(
            folder,
            environment(folder, SLURM_CONF=f"{folder / 'slurm.conf'}", PATH=f"{folder / 'bin'}:{PATH}"),
        )
        with _daemons(cluster):
            yield cluster


def _write(folder: Path, *, cpus: int, grace: int, settings: Mapping[str, str]) -> None:
    for name in ("bin", "state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o600)
    (folder / "bin" / "sacct").write_text(ACCOUNTS)
    (folder / "bin" / "sacct").chmod(0o755)
    controller, node = free_ports(2)
    configuration = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        user=getpass.getuser(),
        folder=folder,
        controller_port=controller,
        node_port=node,
        cpus=cpus,
        grace=grace,
        settings="\n".join(f"{name}={value}" for name, value in settings.items()),
    )
    (folder / "slurm.conf").write_text(configuration)


@contextmanager
def _daemons(cluster: Slurm) -> Iterator[None]:
    folder = cluster.folder
    files = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munged += [f"--key-file={folder}/munge.key", *files]
    variables = cluster.environment
    with daemon(munged, folder / "munged.out", variables):
        wait_until((folder / "munge.socket").exists, "munged listens")
        with (
            daemon(["slurmctld", "-D"], folder / "slurmctld.out", variables),
            daemon(["slurmd", "-D"], folder / "slurmd.out", variables),
        ):
            wait_until(lambda: _ready(cluster), "the node is idle")
            try:
                yield
            finally:
                cluster.run("scancel", f"--user={getpass.getuser()}")
                wait_until(cluster.idle, "the jobs are cancelled")
                wait_until(lambda: not _steps(folder), "the jobs' processes have ended")


def _ready(cluster: Slurm) -> bool:
    command = ["sinfo", "--noheader", "--format=%t"]
    found = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
    return set(found.stdout.split()) == {"idle"}  # idle* has not answered yet


def _steps(folder: Path) -> list[int]:
    """The processes of jobs: all but those of the cluster."""
    own = (*DAEMONS, "slurmscriptd")
    return [pid for pid, command in processes(folder).items() if not any(name in command for name in own)]
