"""A network discovers that it is a loop, and the loop solves larger grids than it was trained on.

    softshare train --config=extrapolation --workdir=runs/discovered
    softshare fold --workdir=runs/discovered --output=runs/loop --tied
    softshare train --workdir=runs/loop --config.duration='3000 steps'
    softshare evaluate --workdir=runs/loop --layers=60 --config.data.side=32 --config.data.windows='(63,)'

Twenty gated layers on all pairs of points of 12x12 grids. The recurrence regularizer makes them one loop
within 300 steps, and the folded run trains as a loop (the section ``loop``). Variants: ``loop`` (the
default), ``scnn`` (one template per layer, no regularizer) and ``cnn`` (unshared).
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes
from softshare_jax.errors import UserError, unknown

MODELS = {"loop": "sgated-20-24", "scnn": "sgated-20-24", "cnn": "gated-20-24"}
DISCOVERY, TOTAL = "300 steps", "3000 steps"


def get_config(variant: str = "loop") -> ConfigDict:
    """Returns the config of a variant."""
    if variant not in MODELS:
        raise UserError(unknown("variant", variant, MODELS))
    config = ConfigDict(recipes.shortest_paths(MODELS[variant]).to_dict())
    config.data.update(
        side=12, windows=(5, 9, 13, 23), phase="450 steps", train_examples=6000, test_examples=500
    )
    config.optimizer.update(learning_rate=0.004, schedule="cosine", grad_clip_norm=1.0)
    if variant == "loop":
        config.sharing.update(recurrence=0.01, signed=True)
        config.loop.weight = 0.5
    config.update(
        duration=DISCOVERY if variant == "loop" else TOTAL,
        log_every="50 steps",
        evaluate_every="150 steps",
        checkpoint_every="150 steps",
    )
    return config
