"""A process waits for other processes of its job that never start."""

import time

from tests import tiny

SHELL = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


def fails(*flags, env=None):
    result = tiny.run("main", "--config=configs/quickstart.py", *tiny.flags(), *flags, env=env)
    (line,) = result.stderr.splitlines()
    assert result.stdout == ""
    return result.returncode, line


def test_a_shell_of_another_job_waits_for_a_bounded_time(tmp_path):
    begin = time.monotonic()
    code, line = fails("--join_timeout_seconds=3", f"--workdir={tmp_path / 'run'}", env=SHELL)
    assert time.monotonic() - begin < 60
    assert code == 2
    assert "not all 4 processes of Slurm (SLURM_NTASKS) started within 3 s" in line
    assert "--num_processes=1 runs this process alone" in line
    assert not (tmp_path / "run").exists()


def test_named_processes_that_never_join_are_a_fault(tmp_path):
    job = ("--coordinator_address=localhost:1", "--num_processes=2", "--process_id=1")
    code, line = fails(*job, "--join_timeout_seconds=3", f"--workdir={tmp_path / 'run'}")
    assert (code, "not all processes of the job started within 3 s" in line) == (1, True)


def test_an_address_without_a_port(tmp_path):
    job = ("--coordinator_address=localhost", "--num_processes=2", "--process_id=1")
    code, line = fails(*job, f"--workdir={tmp_path / 'run'}")
    assert (code, "--coordinator_address is 'localhost'; it must be HOST:PORT" in line) == (2, True)
