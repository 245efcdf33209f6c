"""Training steps on the accelerator against the same steps on the CPU."""

from typing import Any

import jax
import numpy as np
import optax

from benchmarks.rented.rows import Row, Settings
from benchmarks.runs import Run
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.experiment import Experiment, make_experiment
from softshare_jax.training.state import TrainState

NETWORK, STEPS = "swrn-16-1-2", 3
# Blocks and steps as loops, which differ most from what the CPU does.
LOOPS = Settings("float32", "yes", STEPS)
# Relative differences. An H200 makes 1e-7 and 1e-6; bfloat16 makes 5e-4 and 9e-2.
LOSS_BOUND, GRADIENT_BOUND = 2e-4, 2e-3


def check(settings: Settings = LOOPS) -> dict[str, Any]:
    """Takes some steps of a small shared network on all accelerators and on one CPU device.

    Both start with the same weights and see the same batches, in float32 with the highest precision of
    products.

    Args:
        settings: of the accelerators; another precision than float32 must fail.

    Returns:
        JSON values: ``network``, ``losses`` and ``cpu_losses`` of each step; ``loss_difference``, the largest
        relative one; ``gradient_difference`` of the first step, as a fraction of the norm; both bounds; and
        ``passed``.
    """
    row = Row(f"{NETWORK}-cutout", 1, smoke=True)
    with jax.default_matmul_precision("highest"):
        ours = _experiment(row, settings, None, "auto")
        cpu = _experiment(row, Settings("float32", "no", 1), jax.devices("cpu")[:1], "xla")
        start = jax.device_get(cpu.programs.init_state())
        losses, gradient = _train(ours, start)
        expected, expected_gradient = _train(cpu, start)
    loss = float(np.max(np.abs(losses - expected) / np.abs(expected)))
    difference = optax.tree.norm(jax.tree.map(np.subtract, gradient, expected_gradient))
    relative = float(difference / optax.tree.norm(expected_gradient))
    return {
        "network": NETWORK,
        "losses": losses.tolist(),
        "cpu_losses": expected.tolist(),
        "loss_difference": loss,
        "loss_bound": LOSS_BOUND,
        "gradient_difference": relative,
        "gradient_bound": GRADIENT_BOUND,
        # A comparison with NaN is false.
        "passed": loss <= LOSS_BOUND and relative <= GRADIENT_BOUND,
    }


def line(checked: dict[str, Any]) -> str:
    """Returns the result in a line."""
    return (
        f"check {'passed' if checked['passed'] else 'FAILED'}: {STEPS} float32 steps of {checked['network']} "
        f"differ from the CPU's by {checked['loss_difference']:.1e} in the loss (bound {LOSS_BOUND:.0e}) and "
        f"{checked['gradient_difference']:.1e} in the gradient (bound {GRADIENT_BOUND:.0e})"
    )


def _experiment(row: Row, settings: Settings, devices: Any, convolution: str) -> Experiment:
    # Without weight decay the momentum of the first step is the gradient.
    fields = {**row.computed(settings), "convolution": convolution, "optimizer.weight_decay": 0.0}
    return make_experiment(row.config(fields), devices=devices)


def _train(experiment: Experiment, start: TrainState) -> tuple[np.ndarray, Any]:
    """Returns the loss of each step, and the gradient of the first one."""
    run = Run(experiment)
    run.state = mesh_lib.place(experiment.mesh, start)
    losses, gradient = [], None
    for _ in range(STEPS):
        run.metrics = experiment.programs.no_metrics()
        run.block(1)
        losses.append(float(run.metrics.compute()["loss"]))
        if gradient is None:
            gradient = jax.device_get(optax.tree.get(run.state.opt_state, "trace"))
    return np.array(losses), gradient
