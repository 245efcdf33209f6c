"""Tasks: data, loss and metrics by the name of the data set."""

from softshare_jax import config as config_lib
from softshare_jax import paths
from softshare_jax.training.tasks.cifar import CifarTask
from softshare_jax.training.tasks.imagenet import ImageNetTask
from softshare_jax.training.tasks.shortest_paths import ShortestPathsTask
from softshare_jax.training.tasks.task import ResidentTask, Split, StreamedTask, Task

__all__ = [
    "CifarTask",
    "ImageNetTask",
    "ResidentTask",
    "ShortestPathsTask",
    "Split",
    "StreamedTask",
    "Task",
    "make_task",
]


def make_task(config: config_lib.Config) -> Task:
    """Returns the task of a config; no data are read yet.

    Raises:
        UserError: ``data_dir`` is no folder of this machine.
    """
    if config.data_dir:
        paths.local(config.data_dir)
    if isinstance(config.data, config_lib.Cifar):
        return CifarTask(config.data, config.data_dir)
    if isinstance(config.data, config_lib.ImageNet):
        return ImageNetTask(config.data, config.data_dir, config.seed)
    return ShortestPathsTask(config.data, config.seed)
