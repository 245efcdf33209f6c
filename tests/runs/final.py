"""The end of a run."""

from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.checksum import checksum
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages


def final_checksum(workdir: Workdir) -> str:
    """Returns the checksum of the variables of a run that ended at step 16."""
    experiment = make_experiment(workdir.read_config(), workdir.read_plan())
    checkpoints = Checkpoints(workdir.checkpoints, Stages(experiment))
    step, variables = checkpoints.read_variables()
    checkpoints.close()
    assert step == 16
    return checksum(variables)
