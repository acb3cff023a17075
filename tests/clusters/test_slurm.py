"""The part that is special to SLURM: requeued jobs, partitions, limits, and jobs that outlive the command."""

import getpass
import signal
from dataclasses import replace

import pytest

from experiments.sweeps import launchers
from swag_repro.errors import SettingError
from swag_repro.runs.records import all_runs
from tests.clusters.engines import PATIENCE, wait_until
from tests.clusters.sweeps import MERGED, SMOKE, launcher, table, table_alone

pytestmark = [MERGED, pytest.mark.slow, pytest.mark.timeout(900)]

SLURM = "hydra/launcher=submitit_slurm"

LONG = [*SMOKE, "weights.seed=range(0,6)"]
"""Twenty-four cells: some are left when a fault comes."""


@pytest.fixture
def in_cluster(slurm_cluster, monkeypatch):
    """This process is on a machine of the cluster."""
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm_cluster.environment[name])


@pytest.fixture
def submitted(slurm_cluster, tmp_path):
    """Submits a job as the launcher does, whose step is a command; a function that tells what became of it."""

    def submit(command):
        script = tmp_path / "job.sh"
        script.write_text("\n".join(["#!/bin/bash", *launcher(SLURM).setup, f"srun {command}"]))
        printed = slurm_cluster.run("sbatch", "--partition=main", f"--output={tmp_path / 'log'}", str(script))
        number = printed.split()[-1]

        def job():
            return next(job for job in slurm_cluster.jobs() if job.number == number)

        wait_until(lambda: job().ended or slurm_cluster.workers(job()), "the job begins")
        return job

    return submit


@pytest.fixture(scope="module")
def long_undisturbed(tmp_path_factory):
    """The table of these cells, computed one after the other in one process."""
    return table_alone(tmp_path_factory.mktemp("basic"), *LONG)


def finished(folder):
    runs = all_runs(folder / "out", skipped=lambda *_: None) if (folder / "out" / "runs").is_dir() else ()
    return sum(record.status.state == "finished" for record in runs)


@pytest.mark.parametrize("fault", ["told to end", "preempted", "requeued"])
def test_a_job_that_has_to_make_room_waits_again(fault, slurm_cluster, submitted):
    job = submitted("sleep 300")
    if fault == "told to end":
        slurm_cluster.run("scancel", "--signal=TERM", job().number)  # as before the end of its time
    elif fault == "preempted":
        slurm_cluster.preempt(seconds=1)
    else:
        slurm_cluster.requeue(job())
    wait_until(lambda: job().restarts == 1, "it waits again", 2 * PATIENCE)
    slurm_cluster.run("scancel", job().number)
    wait_until(lambda: job().state == "CANCELLED", "it is cancelled")


def test_a_job_that_fails_is_killed_or_cancelled_does_not(slurm_cluster, submitted):
    failed, killed, cancelled = submitted("false"), submitted("sleep 300"), submitted("sleep 300")
    slurm_cluster.kill_worker(killed())
    slurm_cluster.run("scancel", cancelled().number)
    wait_until(slurm_cluster.idle, "all have ended")
    assert [(job().state, job().restarts) for job in (failed, killed, cancelled)] == [
        ("FAILED", 0),
        ("FAILED", 0),
        ("CANCELLED", 0),
    ]


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_step_of_a_job_has_the_cpus_that_were_asked_for(cpus, slurm_cluster, tmp_path):
    setup = launcher(SLURM).setup
    script = tmp_path / "job.sh"
    script.write_text(
        "\n".join(["#!/bin/bash", *setup, "srun printenv SLURM_CPUS_PER_TASK SLURM_CPUS_ON_NODE"])
    )
    slurm_cluster.run(
        "sbatch", "--wait", f"--cpus-per-task={cpus}", f"--output={tmp_path / 'log'}", str(script)
    )
    assert (tmp_path / "log").read_text().split()[0] == str(cpus)


def test_a_sweep_whose_jobs_waited_again_is_whole(slurm_cluster, slurm_engine, long_undisturbed, tmp_path):
    wait_until(slurm_cluster.idle, "no job of another test is left, which would wait again instead")
    before = len(slurm_cluster.jobs())
    process = slurm_engine.start(tmp_path, *LONG, "tracking=disabled")
    # Until then submitit bypasses SIGTERM: a job that is told to end goes on, and may end before the kill.
    wait_until(lambda: any(tmp_path.glob("out/sweeps/*/cells/*.json")), "a worker begins")
    slurm_cluster.preempt(seconds=1)
    wait_until(lambda: any(job.restarts for job in slurm_cluster.jobs()[before:]), "a job waits again")
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert table(tmp_path) == long_undisturbed


@pytest.fixture(params=["accounted for", "not accounted for"])
def any_engine(request, slurm_cluster, slurm_engine):
    """Return a cluster with `sacct`, by which submitit learns that a job was killed, and one without."""
    if request.param == "accounted for":
        return slurm_engine
    path = slurm_cluster.environment["PATH"].removeprefix(f"{slurm_cluster.folder / 'bin'}:")
    return replace(slurm_engine, environment={**slurm_cluster.environment, "PATH": path})


def test_a_worker_that_is_killed_costs_nothing(any_engine, slurm_cluster, long_undisturbed, tmp_path):
    wait_until(slurm_cluster.idle, "no job of another test is left")
    process = any_engine.start(tmp_path, *LONG, "tracking=disabled")
    wait_until(lambda: finished(tmp_path) > 0, "a cell is finished", seconds=300)
    slurm_cluster.kill_worker(slurm_cluster.running()[0])
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert table(tmp_path) == long_undisturbed


@pytest.mark.parametrize("any_engine", ["not accounted for"], indirect=True)  # the harder one
def test_a_sweep_whose_jobs_are_cancelled_ends_and_tells_what_is_left(any_engine, slurm_cluster, tmp_path):
    wait_until(slurm_cluster.idle, "no job of another test is left")
    process = any_engine.start(tmp_path, *LONG, "tracking=disabled")
    wait_until(lambda: finished(tmp_path) > 0, "a cell is finished", seconds=300)
    slurm_cluster.run("scancel", f"--user={getpass.getuser()}")
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 1, printed
    assert "others are started" not in printed
    assert "The same command computes what is missing" in printed


def test_ctrl_c_leaves_no_job(slurm_cluster, slurm_engine, tmp_path):
    process = slurm_engine.start(tmp_path, *SMOKE, "weights.seed=range(0,20)", "tracking=disabled")
    wait_until(lambda: finished(tmp_path) > 0, "a cell is finished", seconds=120)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == 130, printed
    assert "The same command goes on" in printed
    wait_until(slurm_cluster.idle, "no job is left")
    assert finished(tmp_path) < 80


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("partition=nowhere", "invalid partition specified: nowhere"),
        ("gpus_per_node=1", "Invalid generic resource"),
        ("mem_gb=1000", "Requested node configuration is not available"),
        ("additional_parameters.nonsense=1", "unrecognized option"),
    ],
)
def test_what_slurm_refuses_ends_the_sweep_with_its_reason(
    setting, message, slurm_engine, slurm_cluster, tmp_path
):
    status, printed = slurm_engine.run(tmp_path, *SMOKE, "tracking=disabled", f"++hydra.launcher.{setting}")
    assert status == 1
    assert "error: `hydra.launcher` should ask for what SLURM gives; found an objection of sbatch" in printed
    assert message in printed
    assert "4 not begun" in printed
    assert slurm_cluster.idle()  # of a job that no node fits SLURM keeps a record, as of one that failed


@pytest.mark.usefixtures("in_cluster")
def test_a_controller_that_is_not_there_is_told_within_seconds(slurm_cluster, tmp_path, monkeypatch):
    configuration = (slurm_cluster.folder / "slurm.conf").read_text()
    (tmp_path / "slurm.conf").write_text(configuration.replace("SlurmctldPort=", "SlurmctldPort=1\n#"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setattr(launchers, "CLUSTER_PATIENCE", 2.0)
    with pytest.raises(SettingError, match="needs SLURM's controller; found no answer to sinfo in 2 s"):
        launchers.check_launcher(launcher(SLURM))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingError, match="no sbatch on the PATH"):
        launchers.check_launcher(launcher(SLURM))
