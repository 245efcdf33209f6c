"""CIFAR-10 with cutout, searched cells: NASNet-A, AmoebaNet-B, DARTS, SNAS and ENAS, plain and soft-shared.

    python -m softshare_jax.main --config=configs/cells.py:sdarts-2 --workdir=runs/sdarts-2

A variant is the name of a network: ``darts``, ``nasnet-a``, ``amoebanet-b``, ``snas`` or ``enas``, in the
published size, or as ``darts-20x36`` with so many cells and channels; with an ``s`` before it and a number of
templates after it shared. All are trained as DARTS trains its cells (Liu et al. 2019, arXiv 1806.09055): 600
epochs, 312,000 steps of 96 images. Their papers' errors are 2.5 to 2.9%. Made for a GPU.

The first run fetches the official archive (170 MB) into ``--config.data_dir``.
"""

import ml_collections


def get_config(variant: str = "sdarts-2") -> ml_collections.ConfigDict:
    """Returns the complete config of a variant."""
    config = ml_collections.ConfigDict()

    # Every random number of a run is a function of this, a name and the step.
    config.seed = 0
    # What `python -m softshare_jax.describe` knows for searched cells.
    config.model = variant
    # Probability with which a path of a cell drops out at the end of the run; it rises from 0 in a
    # straight line.
    config.drop_path = 0.2
    # Weight in the loss of a second classifier, in the middle of the network; 0 for none.
    config.auxiliary = 0.4
    # Of the computation: float32 or, on accelerators, bfloat16. Parameters are always float32.
    config.dtype = "float32"

    config.sharing = ml_collections.ConfigDict()
    # How coefficients start: orthogonal, identity (one template per layer) or sparse.
    config.sharing.coefficients = "orthogonal"
    # lambda_R: the loss is lessened by this times the sum of the layer similarity matrices.
    config.sharing.recurrence = 0.0
    # Start with one template per layer, as the plain network, and fade to k within this time, such as
    # "60 epochs"; empty to start with k.
    config.sharing.anneal = ""

    # Folder of TFDS data sets; empty for that of TFDS, ~/tensorflow_datasets.
    config.data_dir = ""
    config.data = ml_collections.ConfigDict()
    # cifar10 or cifar100.
    config.data.name = "cifar10"
    # Images trained on, and images held out of the others, as in configs/cifar10.py.
    config.data.train_examples = 50000
    config.data.validation_examples = 0
    # Side in pixels of the hole that is cut into each training image; 0 for none.
    config.data.cutout = 16
    # Share of the target that goes to all classes alike.
    config.data.label_smoothing = 0.0

    config.optimizer = ml_collections.ConfigDict()
    # sgd (Nesterov momentum 0.9; DARTS has plain momentum), adam or adamw.
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.025
    # constant; cosine, down to zero at the end of the run; or steps, by a factor at each milestone.
    config.optimizer.schedule = "cosine"
    # Fractions of the run, for steps; empty otherwise.
    config.optimizer.milestones = ()
    config.optimizer.milestone_factor = 0.1
    # A duration over which the rate first rises from zero, such as '5 epochs'; empty for none.
    config.optimizer.warmup = ""
    # Of everything but the coefficients: an L2 term for sgd and adam, decoupled for adamw.
    config.optimizer.weight_decay = 3e-4
    # Norm that the gradient of a step is clipped to; 0 for no clipping.
    config.optimizer.clip = 5.0
    # Moving average of all weights, by which the run is then judged: how much it keeps of itself at
    # each step, such as 0.999; 0 for none.
    config.optimizer.average = 0.0

    # In which gradients travel between devices: float32, or bfloat16 for half the traffic.
    config.gradient_dtype = "float32"
    # Split weights, the optimiser's state and the moving average over the devices, for less memory on
    # each and a gather at every step; otherwise every device holds all. Checkpoints are the same.
    config.shard_state = False

    # Over all devices.
    config.batch_size = 96
    # Durations are in steps or epochs. A longer one lets a finished run go on.
    config.duration = "600 epochs"
    # A line of progress and a record in metrics.jsonl.
    config.log_every = "100 steps"
    # All images held out, or the test split, and the layer similarity matrices.
    config.evaluate_every = "1 epoch"
    # The last and the best are kept.
    config.checkpoint_every = "1 epoch"
    config.keep_checkpoints = 2
    # Training steps in one dispatch to the device; 0 chooses: 1 on a CPU, 32 elsewhere.
    config.steps_per_dispatch = 0
    # Steps to trace into workdir/profile, a few steps after the start; 0 for none.
    config.profile_steps = 0
    return config
