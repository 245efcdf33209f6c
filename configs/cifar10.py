"""CIFAR-10, the paper's recipe: wide ResNets and others, plain and soft-shared.

    python -m softshare_jax.main --config=configs/cifar10.py:swrn-28-10-2 --workdir=runs/swrn-28-10-2

A variant is the name of a network, ``wrn-L-w``, ``swrn-L-w-k`` or ``swrn-L-w``, with ``-dropout``
(rate 0.3; the rows of the poster that bear a star), ``-cutout`` (16x16) or both after it:
``wrn-28-10``, ``swrn-28-10-2-dropout``, ``swrn-28-6-2-cutout``. The poster's error with
swrn-28-10-2-dropout is 3.75%, with swrn-28-10-2-cutout 2.69% in 0.4 GPU days of its time. Made for a GPU:
200 epochs, 78,000 steps. The poster's other networks are variants, too: ``resnext-29-8x64d``,
``densenet-100-24`` and ``densenet-bc-190-40``, without dropout; searched cells are in cells.py.

The first run fetches the official archive (170 MB) into ``--config.data_dir``.
"""

import ml_collections

from softshare_jax.errors import UserError, unknown

EXTRAS = ("-dropout", "-cutout")


def get_config(variant: str = "swrn-28-10-2") -> ml_collections.ConfigDict:
    """Returns the complete config of a variant."""
    model = variant
    extras = set()
    while model.endswith(EXTRAS):
        model, _, extra = model.rpartition("-")
        extras.add(extra)
    _, dash, end = model.rpartition("-")
    # Names of networks end in numbers, or in a letter or two.
    if dash and end.isalpha() and len(end) > 2:
        raise UserError(f"variant {variant!r}: {unknown('ending', dash + end, EXTRAS)}")
    config = ml_collections.ConfigDict()

    # Every random number of a run is a function of this, a name and the step.
    config.seed = 0
    # What `python -m softshare_jax.describe` knows for 32x32 images, such as swrn-DEPTH-WIDTH-TEMPLATES.
    config.model = model
    # Between the convolutions of a wide ResNet's block; other networks take 0.
    config.dropout = 0.3 if "dropout" in extras else 0.0
    # Of the computation: float32 or, on accelerators, bfloat16. Parameters are always float32.
    config.dtype = "float32"
    # Compile the blocks of a stage as one loop: yes, no, or auto: yes but for CPUs, which run
    # convolutions in a loop more than ten times slower. Checkpoints are the same.
    config.scan_blocks = "auto"

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
    config.data.name = "cifar10"
    # Images trained on, and images held out of the others. Where some are held out they are measured
    # during training, and the test split at the end, by --mode=evaluate. The authors choose models
    # with 45000 and 5000.
    config.data.train_examples = 50000
    config.data.validation_examples = 0
    # Side in pixels of the hole that is cut into each training image; 0 for none.
    config.data.cutout = 16 if "cutout" in extras else 0
    # Share of the target that goes to all classes alike.
    config.data.label_smoothing = 0.0

    config.optimizer = ml_collections.ConfigDict()
    # sgd (Nesterov momentum 0.9), adam or adamw.
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    # constant; cosine, down to zero at the end of the run; or steps, by a factor at each milestone.
    config.optimizer.schedule = "steps"
    # Fractions of the run, for steps; empty otherwise. These are epochs 60, 120 and 160 of 200.
    config.optimizer.milestones = (0.3, 0.6, 0.8)
    config.optimizer.milestone_factor = 0.2
    # A duration over which the rate first rises from zero, such as '5 epochs'; empty for none.
    config.optimizer.warmup = ""
    # Of everything but the coefficients: an L2 term for sgd and adam, decoupled for adamw.
    config.optimizer.weight_decay = 5e-4
    # Moving average of all weights, by which the run is then judged: how much it keeps of itself at
    # each step, such as 0.999; 0 for none.
    config.optimizer.average = 0.0

    # In which gradients travel between devices: float32, or bfloat16 for half the traffic.
    config.gradient_dtype = "float32"
    # Split weights, the optimiser's state and the moving average over the devices, for less memory on
    # each and a gather at every step; otherwise every device holds all. Checkpoints are the same.
    config.shard_state = False

    # Over all devices.
    config.batch_size = 128
    # Durations are in steps or epochs. A longer one lets a finished run go on.
    config.duration = "200 epochs"
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
