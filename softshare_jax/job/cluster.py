"""Detects from the environment whether this process belongs to a job of several processes.

jax reads the same variables. A shell inside a job has them too, and a program started there would wait for
processes that nobody starts.
"""

import dataclasses
from collections.abc import MutableMapping

from softshare_jax.errors import UserError

ALONE = "--num_processes=1 runs this process alone"
# jax treats a process with all of these variables as a Slurm task.
SLURM = {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"}
OPEN_MPI = "OMPI_MCA_orte_hnp_uri"
KUBERNETES = "KUBERNETES_SERVICE_HOST"


@dataclasses.dataclass(frozen=True)
class Job:
    """A job whose processes all start at once.

    Attributes:
        source: the source of its size, such as ``'Slurm (SLURM_NTASKS)'``.
        processes: number of processes.
    """

    source: str
    processes: int


def detect(environ: MutableMapping[str, str]) -> Job | None:
    """Returns the job that Slurm's or Open MPI's variables describe, or ``None``.

    Args:
        environ: variables of the process. Variables that would mislead jax are removed.

    Raises:
        UserError: the variables contradict each other.
    """
    if set(environ) >= SLURM:
        # srun gives each task the size of its step, which is 1 in a shell of any job.
        size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
        return _job("Slurm", environ, size, "SLURM_PROCID")
    if OPEN_MPI in environ:
        return _job("Open MPI", environ, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
    if KUBERNETES in environ and "JOB_COMPLETION_INDEX" not in environ:
        del environ[KUBERNETES]  # a single pod: jax numbers only the pods of an indexed job
    return None


def _job(manager: str, environ: MutableMapping[str, str], size: str, rank: str) -> Job:
    values = []
    for variable in (size, rank):
        text = environ.get(variable, "")
        if not text.isdecimal():
            found = f"{variable}={text} is not a number" if text else f"{variable} is missing"
            raise UserError(f"the variables of {manager} do not describe a job: {found}; {ALONE}")
        values.append(int(text))
    processes, number = values
    if number >= processes > 1:
        raise UserError(
            f"{manager} says that this is process {number} ({rank}) of {processes} ({size}); {ALONE}"
        )
    return Job(f"{manager} ({size})", processes)
