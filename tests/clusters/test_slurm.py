"""What only SLURM does: queues jobs again, has partitions and limits, and goes on when the command has ended."""

import signal

import pytest

from swag_repro.runs.records import all_runs
from tests.clusters.engines import wait_until
from tests.clusters.sweeps import SMOKE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def finished(folder):
    if not (folder / "out" / "runs").is_dir():
        return 0
    return sum(
        record.status.state == "finished" for record in all_runs(folder / "out", skipped=lambda *_: None)
    )


@pytest.mark.parametrize("fault", ["requeue", "preempt"])
def test_a_job_that_was_queued_again_computes_its_cells(
    fault, slurm_cluster, slurm_engine, undisturbed, tmp_path
):
    process = slurm_engine.start(tmp_path, *SMOKE, "tracking=disabled")
    wait_until(slurm_cluster.running, "a job begins")
    if fault == "requeue":
        slurm_cluster.requeue(slurm_cluster.running()[0])
    else:
        slurm_cluster.preempt(seconds=1)
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert finished(tmp_path) == 4
    assert sum(job.restarts for job in slurm_cluster.jobs())


def test_ctrl_c_leaves_no_job(slurm_cluster, slurm_engine, tmp_path):
    process = slurm_engine.start(tmp_path, *SMOKE, "weights.seed=0,1,2,3", "tracking=disabled")
    wait_until(lambda: finished(tmp_path) > 0, "a cell is finished", seconds=120)
    process.send_signal(signal.SIGINT)
    printed = process.communicate()[0]
    assert process.returncode == 130, printed
    assert "The same command goes on" in printed
    wait_until(slurm_cluster.idle, "no job is left", seconds=20)
    assert finished(tmp_path) < 16
