"""What the environment says of a job of several processes, and whether this process is part of one.

jax reads the same variables. A shell inside of a job has them as well, and programs that are started there
would wait for processes that nobody starts.
"""

import dataclasses
from collections.abc import MutableMapping

from softshare_jax.errors import UserError

ALONE = "--num_processes=1 runs this process alone"
# jax takes a process for a task of Slurm that has all of these.
SLURM = {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"}
OPEN_MPI = "OMPI_MCA_orte_hnp_uri"
KUBERNETES = "KUBERNETES_SERVICE_HOST"


@dataclasses.dataclass(frozen=True)
class Job:
    """A job whose processes start all at once.

    Attributes:
        source: where its size is from, such as ``'Slurm (SLURM_NTASKS)'``.
        processes: how many there are.
    """

    source: str
    processes: int


def detect(environ: MutableMapping[str, str]) -> Job | None:
    """Returns the job that Slurm's or Open MPI's variables tell of, or ``None``.

    Args:
        environ: variables of the process. Those that would mislead jax are taken out.

    Raises:
        UserError: the variables contradict each other.
    """
    if set(environ) >= SLURM:
        # srun tells each task the size of its step. In a shell that is 1, whatever the size of the whole job.
        size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
        return _job("Slurm", environ, size, "SLURM_PROCID")
    if OPEN_MPI in environ:
        return _job("Open MPI", environ, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
    if KUBERNETES in environ and "JOB_COMPLETION_INDEX" not in environ:
        del environ[KUBERNETES]  # a pod by itself: jax can only number the pods of an indexed job
    return None


def _job(manager: str, environ: MutableMapping[str, str], size: str, rank: str) -> Job:
    values = []
    for variable in (size, rank):
        text = environ.get(variable, "")
        if not text.isdecimal():
            found = f"{variable}={text} is no number" if text else f"{variable} is missing"
            raise UserError(f"the variables of {manager} are not those of a job, {found}: {ALONE}")
        values.append(int(text))
    processes, number = values
    if number >= processes > 1:
        raise UserError(
            f"{manager} says that this is process {number} ({rank}) of {processes} ({size}): {ALONE}"
        )
    return Job(f"{manager} ({size})", processes)
