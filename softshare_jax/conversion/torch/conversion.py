"""Makes a workdir of a PyTorch checkpoint."""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp

from softshare_jax.config import Config
from softshare_jax.conversion.output import check_shapes, check_unused, new_workdir, write_run
from softshare_jax.conversion.torch import checkpoint as torch_checkpoint
from softshare_jax.conversion.torch import state as torch_state
from softshare_jax.errors import UserError
from softshare_jax.models.wide_resnet import WideResNet
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment


def convert_torch(
    file: pathlib.Path, make_config: Callable[[int], Config], output: Workdir
) -> tuple[Config, int, tuple[str, ...]]:
    """Makes a workdir of a PyTorch checkpoint of the paper's authors.

    Args:
        file: the checkpoint.
        make_config: number of classes of the checkpoint -> config of the run that the workdir is then at the
            end of, or at the epoch that the checkpoint names.
        output: workdir to make; it must not exist, or be an empty folder.

    Returns:
        The config; the step at which the run stands; and the classes of the authors' own that were passed
        over.

    Raises:
        UserError: the file is not such a checkpoint, or of another network, or the output is in use.
    """
    check_unused(output.root)
    arrays, epoch, passed_over = torch_state.read(file)
    theirs = torch_checkpoint.shape_of(arrays)
    config = make_config(theirs.classes)
    experiment = make_experiment(config)
    network = experiment.network
    if not isinstance(network, WideResNet):
        raise UserError(f"--model={config.model} is not a wide ResNet, which --torch holds")
    groups = experiment.plan.groups
    templates = groups[0].templates if groups else None
    ours = torch_checkpoint.Shape(network.depth, network.width, templates, network.num_classes)
    if theirs != ours:
        raise UserError(f"--torch holds {theirs}, and --model={config.model} is {ours} ({config.data.name})")
    variables = jax.tree.map(jnp.asarray, torch_checkpoint.to_variables(arrays))
    check_shapes(variables, experiment.programs.state_shapes().variables, "--torch")
    step = experiment.schedule.total if epoch is None else epoch * experiment.schedule.epoch
    step = min(step, experiment.schedule.total)
    with new_workdir(output) as workdir:
        write_run(workdir, experiment, step, variables)
    return config, step, passed_over
