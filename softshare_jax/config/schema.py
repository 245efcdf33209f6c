"""The config: every field with its type, default, documentation and bounds. Data sets are in data_sets.py."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from softshare_jax.config.data_sets import DATA, Cifar, Data, ImageNet
from softshare_jax.config.field import field, specs

# A random key uses 32 bits of its seed.
MAX_SEED = 2**32 - 1
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sharing:
    """How layers share."""

    coefficients: str = field(
        "orthogonal",
        "Initialization of the coefficients: orthogonal, identity (one template per layer) or sparse.",
        choices=("orthogonal", "identity", "sparse"),
    )
    recurrence: float = field(
        0.0,
        "Weight lambda_R of the recurrence regularizer: loss -= lambda_R * sum(layer similarity matrices).",
        least=0,
    )
    signed: bool = field(
        False,
        "The regularizer sums cosines instead of their absolute values, so that layers become equal and not "
        "opposite, as `softshare fold --tied` needs. The paper uses absolute values.",
    )
    per_channel: bool = field(
        False, "Each output channel of a shared layer has coefficients of its own (docs/forms-of-sharing.md)."
    )
    rank: int = field(
        0,
        "Rank of the residual that each shared layer adds to its combination of templates; 0: none.",
        least=0,
    )
    anneal: str = field(
        "",
        "Start with one template per layer, like the unshared network, and reach k templates within this "
        "duration, such as '60 epochs'. Empty: start with k templates.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """How a folded run trains as a loop that can run longer. Before the fold these fields do nothing."""

    weight: float = field(
        0.0,
        "Weight of the mean of the losses after each layer of the second half; the loss after the last layer "
        "has the rest. 0: train a folded run as any other.",
        least=0,
        most=1,
    )
    detach_rate: float = field(
        0.5,
        "Fraction of the steps in which a prefix of random length has no gradient, so that the loop learns "
        "to continue from the states of any turn (Bansal et al. 2022).",
        least=0,
        most=1,
    )
    window: int = field(
        0,
        "Most layers with a gradient: the step ends after that many layers behind the prefix. 0: all layers.",
        least=0,
    )
    noise: float = field(
        0.0,
        "Standard deviation of the noise on the state before each layer. It rises linearly from 0 to this "
        "over the first third of the run. Batch-norm would take it into its statistics.",
        least=0,
    )
    swap_rate: float = field(
        0.0,
        "Fraction of the examples whose prefix without a gradient sees the input of another example, so that "
        "the loop learns to leave a wrong state (Anil et al. 2022).",
        least=0,
        most=1,
    )
    update_rate: float = field(
        1.0,
        "Probability that a layer updates a place of the state, in training; the other places keep what they "
        "have. Less than 1 teaches a loop not to count turns.",
        above=0,
        most=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How weights are updated."""

    name: str = field("sgd", "sgd (momentum 0.9), adam or adamw.", choices=("sgd", "adam", "adamw"))
    nesterov: bool = field(True, "Nesterov momentum for sgd; otherwise classical momentum.")
    learning_rate: float = field(0.1, "Peak learning rate.", above=0)
    schedule: str = field(
        "constant",
        "Learning-rate schedule: constant, cosine (to zero at the end of the run), or steps (multiplied by "
        "milestone_factor at each milestone).",
        choices=("constant", "cosine", "steps"),
    )
    milestones: tuple[float, ...] = field(
        (), "Milestones of the schedule 'steps', as increasing fractions of the run.", above=0, below=1
    )
    milestone_factor: float = field(0.2, "Factor of the learning rate at each milestone.", above=0)
    warmup: str = field(
        "", "Duration over which the learning rate rises linearly from zero, such as '5 epochs'; empty: none."
    )
    weight_decay: float = field(
        0.0,
        "Weight decay of everything but the coefficients: an L2 term for sgd and adam, decoupled for adamw.",
        least=0,
    )
    grad_clip_norm: float = field(0.0, "Clip gradients to this global norm; 0: no clipping.", least=0)
    ema_decay: float = field(
        0.0,
        "Decay of the exponential moving average (EMA) of the weights, such as 0.999; 0: no average. "
        "Evaluation uses the average.",
        least=0,
        below=1,
    )

    def mistakes(self) -> Iterator[str]:
        """Yields mistakes that bounds cannot express."""
        if bool(self.milestones) != (self.schedule == "steps"):
            yield (
                f"optimizer.milestones is {self.milestones} and optimizer.schedule is {self.schedule!r}; set "
                "milestones for the schedule 'steps' and no other"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            yield f"optimizer.milestones is {self.milestones}; it must be increasing"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A complete config. Its defaults are for CIFAR-10."""

    seed: int = field(
        0,
        "Seed of the run. All random numbers are functions of the seed, a stream's name and the step.",
        least=0,
        most=MAX_SEED,
    )
    model: str = field("swrn-28-10-2", "Name of the network; `softshare describe NAME` describes it.")
    dropout_rate: float = field(
        0.0,
        "Dropout rate between the convolutions of a wide ResNet's block; 0 for other networks.",
        least=0,
        below=1,
    )
    drop_path_rate: float = field(
        0.0,
        "Probability of dropping a path of a searched cell at the end of the run; it rises linearly from 0.",
        least=0,
        below=1,
    )
    aux_loss_weight: float = field(
        0.0,
        "Loss weight of the auxiliary classifier of searched-cell networks; 0: no auxiliary classifier.",
        least=0,
    )
    zero_init_residual: bool = field(
        False,
        "Initialize the scale of the last batch-norm of each residual block to zero. Blocks then start as "
        "the identity, which helps with large batches.",
    )
    dtype: str = field(
        "float32",
        "Precision of the computation: float32 or, on accelerators, bfloat16. Parameters are float32.",
        choices=DTYPES,
    )
    convolution: str = field(
        "auto",
        "Implementation of convolutions on CPUs: xla, matmul (weight gradients as matrix products), patches "
        "(all as matrix products), onednn (needs the extra cpu), or auto (onednn where it is installed and "
        "there is one device, otherwise matmul, or patches with config.loop). Results are equal to rounding.",
        choices=("auto", "xla", "matmul", "patches", "onednn"),
        may_change=True,
    )
    scan_blocks: str = field(
        "auto",
        "Compile the blocks of a stage as one loop: yes, no, or auto (yes on TPUs, whose compiler takes "
        "minutes for deep networks; on GPUs and CPUs a loop is slower). Checkpoints are the same.",
        choices=("auto", "yes", "no"),
        may_change=True,
    )
    sharing: Sharing = Sharing()
    loop: Loop = Loop()
    data_dir: str = field(
        "", "Folder of the data sets; empty: TFDS's default, ~/tensorflow_datasets.", may_change=True
    )
    data: Data = Cifar()  # noqa: RUF009 (it is frozen)
    optimizer: Optimizer = Optimizer()
    gradient_dtype: str = field(
        "float32",
        "All-reduce precision of the gradients; bfloat16 halves the traffic.",
        choices=DTYPES,
    )
    shard_state: bool = field(
        False,
        "Split weights, optimizer state and EMA over the devices: less memory per device, one gather per "
        "step. Checkpoints are the same.",
        may_change=True,
    )
    batch_size: int = field(128, "Examples per batch, over all devices.", least=1)
    duration: str = field(
        "200 epochs",
        "Duration of the run, in steps or epochs. A longer one resumes a finished run. The schedules cosine "
        "and steps follow the fraction of the run that is done, so their rates change from there on.",
        may_change=True,
    )
    log_every: str = field(
        "100 steps", "Interval of progress lines and records in metrics.jsonl.", may_change=True
    )
    evaluate_every: str = field(
        "1 epoch",
        "Interval of evaluations (validation split, or the test split without one) and of layer similarity "
        "matrices.",
        may_change=True,
    )
    checkpoint_every: str = field("1 epoch", "Interval of checkpoints.", may_change=True)
    keep_checkpoints: int = field(
        2, "Number of latest checkpoints to keep, in addition to the best.", least=1, may_change=True
    )
    steps_per_dispatch: int = field(
        0,
        "Training steps per dispatch to the device; 0: automatic (1 on a CPU or with batches from the host, "
        "otherwise 32).",
        least=0,
        may_change=True,
    )
    profile_steps: int = field(
        0,
        "Number of steps to profile, soon after the start, into WORKDIR/profile; 0: none.",
        least=0,
        may_change=True,
    )

    def to_dict(self) -> dict[str, Any]:
        """Returns nested plain values, as ``config.json`` holds them; ``from_dict`` is the inverse."""
        return dataclasses.asdict(self)

    def flatten(self) -> dict[str, Any]:
        """Returns all values by their full names, such as ``'data.cutout'``."""
        return {name: _at(self, name) for name, _, _ in specs(self)}

    def mistakes(self) -> Iterator[str]:
        """Yields one message for each invalid value."""
        for name, _, spec in specs(self):
            if not spec.allows(value := _at(self, name)):
                yield f"{name} is {value!r}; it must be {spec.requirement()}"
        if not isinstance(self.data, Cifar):
            yield from self.data.mistakes()
        yield from self.optimizer.mistakes()
        if self.data.train_examples < self.batch_size:
            yield (
                f"data.train_examples is {self.data.train_examples}; it must be at least batch_size = "
                f"{self.batch_size}"
            )
        if self.steps_per_dispatch > 1 and isinstance(self.data, ImageNet):
            yield f"steps_per_dispatch is {self.steps_per_dispatch}; it must be 0 or 1 for {self.data.name}"


def _at(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


# Full names of the fields that a resumed run may change.
MAY_CHANGE = frozenset(
    name for cls in DATA.values() for name, _, spec in specs(Config(data=cls())) if spec.may_change
)
