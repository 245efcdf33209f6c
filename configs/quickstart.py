"""A network discovers that it is a loop, in minutes on two CPU cores.

    python -m softshare_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

SCNN-R on 16x16 grids. Every field is explained in configs/shortest_paths.py, which this
config shrinks.
"""

import pathlib
import runpy

import ml_collections

SHORTEST_PATHS = runpy.run_path(str(pathlib.Path(__file__).with_name("shortest_paths.py")))


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    config = SHORTEST_PATHS["get_config"]("scnn-r")
    config.model = "scnn-10-24"
    config.data.side = 16
    config.data.windows = (5, 7, 9, 11)
    config.data.phase = "200 steps"
    config.data.train_examples = 8000
    config.data.test_examples = 1000
    config.optimizer.learning_rate = 0.006
    config.optimizer.schedule = "cosine"
    config.duration = "1500 steps"
    config.log_every = "50 steps"
    config.evaluate_every = "50 steps"
    config.checkpoint_every = "100 steps"
    return config
