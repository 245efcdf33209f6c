"""Shortest paths, the setting of the paper's synthetic task: CNN, SCNN and SCNN-R.

    python -m softshare_jax.main --config=configs/shortest_paths.py:scnn-r --workdir=runs/scnn-r

Variants: ``cnn`` (unshared), ``scnn`` (one template per layer) and ``scnn-r`` (the default: the same
with the recurrence regulariser). 39,000 steps on 32x32 grids: hours on a CPU, made for a GPU;
configs/quickstart.py is the same task in minutes.
"""

import ml_collections

from softshare_jax.errors import UserError, unknown

VARIANTS = {
    "cnn": {"model": "cnn-20-32", "recurrence": 0.0},
    "scnn": {"model": "scnn-20-32", "recurrence": 0.0},
    "scnn-r": {"model": "scnn-20-32", "recurrence": 0.01},
}


def get_config(variant: str = "scnn-r") -> ml_collections.ConfigDict:
    """Returns the complete config of a variant."""
    if variant not in VARIANTS:
        raise UserError(unknown("variant", variant, VARIANTS))
    config = ml_collections.ConfigDict()

    # Every random number of a run is a function of this, a name and the step.
    config.seed = 0
    # cnn-DEPTH-CHANNELS, scnn-DEPTH-CHANNELS or scnn-DEPTH-CHANNELS-TEMPLATES.
    config.model = VARIANTS[variant]["model"]
    # Of the computation: float32 or, on accelerators, bfloat16. Parameters are always float32.
    config.dtype = "float32"

    config.sharing = ml_collections.ConfigDict()
    # How coefficients start: orthogonal, identity (one template per layer) or sparse.
    config.sharing.coefficients = "orthogonal"
    # lambda_R: the loss is lessened by this times the sum of the layer similarity matrices.
    config.sharing.recurrence = VARIANTS[variant]["recurrence"]
    # Start with one template per layer, as the plain network, and fade to k within this time, such as
    # "60 epochs"; empty to start with k.
    config.sharing.anneal = ""

    config.data = ml_collections.ConfigDict()
    config.data.name = "shortest_paths"
    # Pixels per side of the grid.
    config.data.side = 32
    # Probability that a pixel is an obstacle.
    config.data.density = 0.1
    # The curriculum: pixels per side of the window that holds the second point, by phase.
    config.data.windows = (5, 9, 13, 17, 21)
    # Length of a phase; the last one goes on to the end.
    config.data.phase = "50 epochs"
    # Examples of each phase, for training and held out.
    config.data.train_examples = 5000
    config.data.test_examples = 1000

    config.optimizer = ml_collections.ConfigDict()
    # sgd (Nesterov momentum 0.9), adam or adamw.
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.01
    # constant; cosine, down to zero at the end of the run; or steps, by a factor at each milestone.
    config.optimizer.schedule = "constant"
    # Fractions of the run, for steps; empty otherwise.
    config.optimizer.milestones = ()
    config.optimizer.milestone_factor = 0.2
    # Of everything but the coefficients: an L2 term for sgd and adam, decoupled for adamw.
    config.optimizer.weight_decay = 0.0
    # Moving average of all weights, by which the run is then judged: how much it keeps of itself at
    # each step, such as 0.999; 0 for none.
    config.optimizer.average = 0.0

    # In which gradients travel between devices: float32, or bfloat16 for half the traffic.
    config.gradient_dtype = "float32"
    # Split weights, the optimiser's state and the moving average over the devices, for less memory on
    # each and a gather at every step; otherwise every device holds all. Checkpoints are the same.
    config.shard_state = False

    # Over all devices.
    config.batch_size = 32
    # Durations are in steps or epochs. A longer one lets a finished run go on.
    config.duration = "250 epochs"
    # A line of progress and a record in metrics.jsonl.
    config.log_every = "100 steps"
    # Every test example, and the layer similarity matrices.
    config.evaluate_every = "2 epochs"
    # The last and the best are kept.
    config.checkpoint_every = "10 epochs"
    config.keep_checkpoints = 2
    # Training steps in one dispatch to the device; 0 chooses: 1 on a CPU, 32 elsewhere.
    config.steps_per_dispatch = 0
    # Steps to trace into workdir/profile, a few steps after the start; 0 for none.
    config.profile_steps = 0
    return config
