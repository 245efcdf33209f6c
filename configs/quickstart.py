"""A network discovers that it is a loop, in minutes on two CPU cores.

    softshare train --config=quickstart --workdir=runs/quickstart

SCNN-R on 16x16 grids: shortest_paths.py in small.
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes


def get_config() -> ConfigDict:
    """Returns the config."""
    config = ConfigDict(recipes.shortest_paths("scnn-10-24").to_dict())
    config.sharing.recurrence = 0.01
    config.data.update(
        side=16, windows=(5, 7, 9, 11), phase="200 steps", train_examples=8000, test_examples=1000
    )
    config.optimizer.update(learning_rate=0.006, schedule="cosine")
    config.update(
        duration="1500 steps", log_every="50 steps", evaluate_every="50 steps", checkpoint_every="100 steps"
    )
    return config
