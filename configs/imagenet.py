"""ImageNet: the usual 100 epochs, for bottleneck networks, plain and soft-shared, and DenseNets.

    python -m softshare_jax.main --config=configs/imagenet.py:swrn-50-2 --workdir=runs/swrn-50-2 \\
        --config.data_dir=DIR --config.dtype=bfloat16

A variant is the name of a network: ``wrn-50-2``, ``swrn-50-2`` (one template per layer), ``swrn-50-2-2``,
``resnet-50``, ``resnet-200``, ``resnext-50-32x4d``, ``densenet-264``. The poster's top-1 error with
swrn-50-2 is 21.74%, with wrn-50-2 22.0%. Made for accelerators: 100 epochs, 500,400 steps of 256 images.
A larger batch takes a larger rate of itself, and wants a warm-up:

    --config.batch_size=8192 --config.optimizer.warmup='5 epochs' --config.zero_residual

DIR holds the images: docs/imagenet.md says how.
"""

import ml_collections


def get_config(variant: str = "swrn-50-2") -> ml_collections.ConfigDict:
    """Returns the complete config of a variant."""
    config = ml_collections.ConfigDict()

    # Every random number of a run is a function of this, a name and the step.
    config.seed = 0
    # What `python -m softshare_jax.describe` knows for images of 224 pixels.
    config.model = variant
    # Start residual blocks as the identity: the scale of their last batch-norm is then zero. For
    # large batches; networks that have no such batch-norm refuse it.
    config.zero_residual = False
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

    # Folder with imagenet2012/VERSION as TFDS writes it in array_record, or with train/CLASS/*.JPEG and
    # val/CLASS/*.JPEG; empty for that of TFDS, ~/tensorflow_datasets.
    config.data_dir = ""
    config.data = ml_collections.ConfigDict()
    config.data.name = "imagenet2012"
    # Both are compared with what is there.
    config.data.classes = 1000
    config.data.train_examples = 1281167
    # Pixels per side of what the network sees.
    config.data.image_size = 224
    # For evaluation the shorter side is resized to so many pixels and the middle is cut out.
    config.data.resize = 256
    # Least share of an image that is cut out for training.
    config.data.least_area = 0.08
    # Share of the target that goes to all classes alike.
    config.data.label_smoothing = 0.0
    # That read and decode images in each process; 0 for as many as there are cores.
    config.data.threads = 0

    # Over all devices.
    config.batch_size = 256

    config.optimizer = ml_collections.ConfigDict()
    # sgd (Nesterov momentum 0.9), adam or adamw.
    config.optimizer.name = "sgd"
    # 0.1 for 256 images (Goyal et al. 2017, arXiv 1706.02677): it follows --config.batch_size.
    config.optimizer.learning_rate = 0.1 / 256 * config.get_ref("batch_size").to_float()
    # constant; cosine, down to zero at the end of the run; or steps, by a factor at each milestone.
    config.optimizer.schedule = "steps"
    # Fractions of the run, for steps; empty otherwise. These are epochs 30, 60 and 90 of 100.
    config.optimizer.milestones = (0.3, 0.6, 0.9)
    config.optimizer.milestone_factor = 0.1
    # A duration over which the rate first rises from zero, such as '5 epochs'; empty for none.
    config.optimizer.warmup = ""
    # Of everything but the coefficients: an L2 term for sgd and adam, decoupled for adamw.
    config.optimizer.weight_decay = 1e-4
    # Moving average of all weights, by which the run is then judged: how much it keeps of itself at
    # each step, such as 0.9999; 0 for none.
    config.optimizer.average = 0.0

    # In which gradients travel between devices: float32, or bfloat16 for half the traffic.
    config.gradient_dtype = "float32"
    # Split weights, the optimiser's state and the moving average over the devices, for less memory on
    # each and a gather at every step; otherwise every device holds all. Checkpoints are the same.
    config.shard_state = False

    # Durations are in steps or epochs. A longer one lets a finished run go on.
    config.duration = "100 epochs"
    # A line of progress and a record in metrics.jsonl.
    config.log_every = "100 steps"
    # All images of the validation split, and the layer similarity matrices.
    config.evaluate_every = "1 epoch"
    # The last and the best are kept.
    config.checkpoint_every = "1 epoch"
    config.keep_checkpoints = 2
    # Training steps in one dispatch to the device: 1, which 0 chooses as batches come from the host.
    config.steps_per_dispatch = 0
    # Steps to trace into workdir/profile, a few steps after the start; 0 for none.
    config.profile_steps = 0
    return config
