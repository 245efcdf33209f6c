"""How the shipped configs train what stands in the poster's tables."""

from typing import Any

from softshare_jax.analysis import topology
from softshare_jax.models.cells import names as cells
from softshare_jax.reporting import comparison
from softshare_jax.reporting.published import Published

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet2012": 1000}
# In what configs/cells.py differs from configs/cifar10.py.
_CELLS = {
    "auxiliary": 0.4,
    "drop_path": 0.2,
    "optimizer.learning_rate": 0.025,
    "optimizer.schedule": "cosine",
    "optimizer.milestones": (),
    "optimizer.milestone_factor": 0.1,
    "optimizer.weight_decay": 3e-4,
    "optimizer.clip": 5.0,
    "batch_size": 96,
    "duration": "600 epochs",
}


def recipe(row: Published, data: str) -> dict[str, Any]:
    """Returns the settings of a run of a row, by their full names, as ``comparison.settings`` has them.

    Args:
        row: of the poster.
        data: the name of one of its data sets.
    """
    batch_size = 256 if data == "imagenet2012" else 128
    config = topology.recipe(row.network, CLASSES[data], batch_size, "float32", "float32", False)
    settings = comparison.settings(config) | {"dropout": row.dropout}
    if "data.cutout" in settings:
        settings["data.cutout"] = row.cutout
    return settings if cells.named(row.network) is None else settings | _CELLS
