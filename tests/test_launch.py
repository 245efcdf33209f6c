"""Launchers, as far as they can be checked without the services."""

import os
import re
import signal
import stat
import subprocess
import sys
import time

import kubernetes_validate
import pytest
import yaml

from tests import tiny
from tests.commands.lines import check
from tests.launching import ENVIRONMENT, run

LAUNCH = tiny.REPO / "launch"
# Long enough to kill a process during training, with a checkpoint every fourth step.
FLAGS = ["--config=configs/quickstart.py", *tiny.flags(duration="40 steps", keep_checkpoints=20)]


@pytest.fixture
def fakes(tmp_path):
    """Returns a function that adds a script to the front of PATH under a name."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name, script):
        file = folder / name
        file.write_text(f"#!/usr/bin/env bash\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return {**ENVIRONMENT, "PATH": f"{folder}:{os.environ['PATH']}"}

    return make


@pytest.mark.parametrize("file", ["tpu_slice.sh", "slurm.sbatch"])
def test_shellcheck(file):
    checker = os.path.join(os.path.dirname(sys.executable), "shellcheck")
    result = run(checker, "--severity=style", LAUNCH / file)
    assert result.returncode == 0, result.stdout


def test_the_jobset_is_a_jobset_of_valid_jobs():
    jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert set(jobset["spec"]) <= {"failurePolicy", "network", "replicatedJobs", "successPolicy", "suspend"}
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    # A stopped or evicted run restarts without limit, because it is not complete.
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    (job,) = jobset["spec"]["replicatedJobs"]
    assert set(job) == {"name", "replicas", "template"}
    kubernetes_validate.validate(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}, **job["template"]},
        "1.30",
        strict=True,
    )
    spec = job["template"]["spec"]
    # jax numbers the processes by the completion index, and all restart together.
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", spec["parallelism"])
    assert spec["backoffLimit"] == 0
    (container,) = spec["template"]["spec"]["containers"]
    evicted, stopped = spec["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert stopped["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [143]}
    assert {rule["action"] for rule in (evicted, stopped)} == {"FailJob"}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    chips = int(container["resources"]["limits"]["google.com/tpu"])
    across, down = spec["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    assert chips * spec["parallelism"] == int(across) * int(down)


def test_a_tpu_job_that_is_cut_off_starts_again(tmp_path, fakes):
    log = tmp_path / "log"
    env = fakes(
        "gcloud",
        f'echo "$@" >> {log}\n[[ $* != *exec* || $(grep -c exec {log}) -gt 1 ]] || exit 134',
    )
    script = (LAUNCH / "tpu_slice.sh", "--name=slice", "--zone=here", "--repo=https://example.com/it.git")
    arguments = ("--", "--config=a.py", "--config.duration=9 steps")
    result = run(*script, *arguments, env={**env, "RESTART_SECONDS": "0"})
    assert result.returncode == 0, result.stderr
    assert "the job ended with code 134; it resumes from its last checkpoint" in result.stderr
    calls = log.read_text()
    assert calls.count("compute tpus tpu-vm ssh slice --zone=here --worker=all") == 4
    assert calls.count("git clone https://example.com/it.git") == 1
    assert calls.count(r"-m softshare_jax.main --config=a.py --config.duration=9\ steps") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name=a"], "--name, --zone and, after --"),
        (["--nodes=3"], "--nodes=3 is not an option"),
        (["--name=a", "--zone=b", "--", "--workdir=gs://runs/a"], "gs://runs/a is a URL; runs and data need"),
        (["--name=a", "--zone=b", "--", "--config.data_dir=gs://data"], "error: gs://data is a URL"),
    ],
)
def test_mistakes_of_a_tpu_job(arguments, message):
    check(run(LAUNCH / "tpu_slice.sh", *arguments), message)


def test_a_slurm_job_finds_itself(tmp_path, fakes):
    # srun runs the command once per task, with Slurm's variables.
    env = fakes(
        "srun",
        "while [[ $1 == --* ]]; do shift; done\n"
        'for i in 0 1; do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids+=($!); done\n'
        'for pid in "${pids[@]}"; do wait "$pid" || exit; done',
    )
    # The port is derived from the job id.
    slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    env |= {**slurm, "PYTHON": sys.executable, "SLURM_SUBMIT_DIR": str(tiny.REPO)}
    workdir = tmp_path / "run"
    result = run(
        LAUNCH / "slurm.sbatch", *FLAGS, "--config.duration=8 steps", f"--workdir={workdir}", env=env
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 cpu device(s) in 2 process(es)" in result.stdout
    assert "trained 8 steps" in result.stdout
    result = run(LAUNCH / "slurm.sbatch", env=env)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("code", "state", "requeued"),
    [(143, "RUNNING", True), (143, "COMPLETING", False), (1, "RUNNING", False), (0, "RUNNING", False)],
)
def test_a_slurm_job_that_was_stopped_goes_back_into_the_queue(tmp_path, fakes, code, state, requeued):
    log = tmp_path / "log"
    fakes("srun", f"exit {code}")
    fakes("squeue", f'[[ "$*" == *--jobs=7* ]] && echo {state}')
    env = fakes("scontrol", f'echo "$@" >> {log}')
    env |= {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(tiny.REPO)}
    result = run(LAUNCH / "slurm.sbatch", "--workdir=run", env=env)
    assert result.returncode == code
    assert (log.read_text() if log.exists() else "") == ("requeue 7\n" if requeued else "")


@pytest.mark.parametrize(("code", "starts"), [(143, 2), (130, 1), (2, 1), (0, 1)])
def test_exit_codes_of_a_tpu_job(tmp_path, fakes, code, starts):
    log = tmp_path / "log"
    env = fakes("gcloud", f"[[ $* != *exec* ]] || {{ echo start >> {log}; exit {code}; }}")
    arguments = ("--name=slice", "--zone=here", "--restarts=1", "--", "--config=a.py")
    result = run(LAUNCH / "tpu_slice.sh", *arguments, env={**env, "RESTART_SECONDS": "0"})
    assert (result.returncode, log.read_text().count("start")) == (code, starts)


def test_a_job_that_loses_a_process_restarts_and_resumes(tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, LAUNCH / "local.py", "--devices=2", "--restarts=2", "--grace=3", "--"]
    # The first start is long enough to be killed.
    job = subprocess.Popen(
        [*map(str, command), *FLAGS, f"--workdir={workdir}", "--config.duration=100000 steps"],
        cwd=tiny.REPO,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = wait_for(job, "step 20/")
    assert "4 cpu device(s) in 2 process(es)" in said
    committed = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    victim = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True)
    os.kill(int(victim.stdout.split()[1]), signal.SIGKILL)
    begin = time.monotonic()
    said = wait_for(job, "resuming from step")
    assert time.monotonic() - begin < 60
    assert (
        "launch: process 1 was killed by SIGKILL; ending the others within 3 s" in said or "process 0" in said
    )
    assert int(re.findall(r"resuming from step (\d+)", said)[0]) >= committed
    job.send_signal(signal.SIGTERM)
    rest, _ = job.communicate(timeout=120)
    # The remaining restart is only for jobs that fail.
    assert job.returncode == 143, rest
    assert "run the same command again to resume" in rest
    assert "starting it again" not in rest


STOPPED_WHILE_IT_STARTS = """
import os, runpy, signal, subprocess, sys
launcher = runpy.run_path({path!r})
start, number = subprocess.Popen, 0
def popen(command, **options):
    global number
    number += 1
    if number == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return start([sys.executable, "-c", "import time; time.sleep(60)"], **options)
subprocess.Popen = popen
sys.argv = ["local.py", "--processes=3", "--restarts=2", "--", "--config=x"]
sys.exit(launcher["main"]())
"""


def test_a_signal_while_a_job_starts_is_not_lost():
    begin = time.monotonic()
    script = STOPPED_WHILE_IT_STARTS.format(path=str(LAUNCH / "local.py"))
    result = run(sys.executable, "-c", script)
    assert (result.returncode, time.monotonic() - begin < 30) == (143, True)
    assert "starting it again" not in result.stdout


def wait_for(job, text):
    """Reads and returns a job's output up to a line with some text."""
    out = ""
    while text not in out:
        line = job.stdout.readline()
        assert line, out
        out += line
    return out
