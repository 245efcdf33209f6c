"""A network discovers that it is a loop, and the loop solves larger grids than it was trained on.

    softshare train --config=extrapolation --workdir=runs/discovered
    softshare fold --workdir=runs/discovered --output=runs/folded --tied
    softshare convert --folded=runs/folded --layers=32 --config=extrapolation:loop --output=runs/loop
    softshare train --workdir=runs/loop
    softshare evaluate --workdir=runs/loop --layers=80 --config.data.side=32 --config.data.windows='(63,)'

Gated layers on all pairs of points of 12x12 grids. The recurrence regularizer makes twenty of them one
loop (``discover``, the default), the folded run trains as a loop of 32 turns (``loop``), and then for a
short while of 64 (``settled``). To compare: ``scnn`` (one template per layer, no regularizer) and
``cnn`` (unshared).
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes
from softshare_jax.errors import UserError, unknown

SHARED, UNSHARED = "sgated4-20-24", "gated4-20-24"
MODELS = {"discover": SHARED, "loop": SHARED, "settled": SHARED, "scnn": SHARED, "cnn": UNSHARED}
STEPS = {"discover": 300, "loop": 3600, "settled": 400, "scnn": 3900, "cnn": 3900}


def get_config(variant: str = "discover") -> ConfigDict:
    """Returns the config of a variant."""
    if variant not in MODELS:
        raise UserError(unknown("variant", variant, MODELS))
    config = ConfigDict(recipes.shortest_paths(MODELS[variant]).to_dict())
    config.data.update(
        side=12, windows=(5, 9, 13, 23), phase="300 steps", train_examples=24000, test_examples=300
    )
    config.data.split_points = True
    config.optimizer.update(learning_rate=0.004, schedule="cosine", grad_clip_norm=1.0)
    if variant in ("discover", "loop", "settled"):
        config.sharing.update(recurrence=0.01, signed=True)
        config.loop.update(weight=0.5, noise=0.1)
    if variant == "settled":
        config.loop.update(noise=0.2, detach_rate=0.75)
        config.optimizer.learning_rate = 0.002
        config.data.windows = (23,)
    config.update(
        duration=f"{STEPS[variant]} steps",
        log_every="50 steps",
        evaluate_every="300 steps",
        checkpoint_every="150 steps",
    )
    return config
