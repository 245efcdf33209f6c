"""A network discovers that it is a loop, and the loop solves larger grids than it was trained on.

    softshare train --config=extrapolation --workdir=runs/discovered
    softshare fold --workdir=runs/discovered --output=runs/folded --tied
    softshare convert --folded=runs/folded --layers=68 --config=extrapolation:loop --output=runs/loop
    softshare train --workdir=runs/loop
    softshare evaluate --workdir=runs/loop --layers=120 --config.data.side=32 --config.data.windows='(63,)'

Gated layers on all pairs of points of 12x12 grids. The recurrence regularizer makes twenty of them one
loop (``discover``, the default), and the folded run trains as a loop of 68 turns (``loop``). To compare:
``scnn`` (one template per layer, no regularizer) and ``cnn`` (unshared).
"""

from ml_collections import ConfigDict

from softshare_jax.config import recipes
from softshare_jax.errors import UserError, unknown

SHARED, UNSHARED = "sgated4-20-24", "gated4-20-24"
MODELS = {"discover": SHARED, "loop": SHARED, "scnn": SHARED, "cnn": UNSHARED}
STEPS = {"discover": 300, "loop": 9000, "scnn": 9000, "cnn": 9000}


def get_config(variant: str = "discover") -> ConfigDict:
    """Returns the config of a variant."""
    if variant not in MODELS:
        raise UserError(unknown("variant", variant, MODELS))
    config = ConfigDict(recipes.shortest_paths(MODELS[variant]).to_dict())
    config.data.update(
        side=12, windows=(5, 9, 13, 23), phase="250 steps", train_examples=40000, test_examples=300
    )
    config.data.split_points = True
    if variant == "discover":
        config.data.update(phase=f"{STEPS[variant]} steps", train_examples=24000)
    config.optimizer.update(learning_rate=0.004, schedule="cosine", grad_clip_norm=1.0)
    config.optimizer.ema_decay = 0.0 if variant == "discover" else 0.995
    if variant in ("discover", "loop"):
        config.sharing.update(recurrence=0.01, signed=True)
        config.loop.update(weight=0.5, noise=0.2, update_rate=0.7, window=28)
    config.update(
        duration=f"{STEPS[variant]} steps",
        log_every="50 steps",
        evaluate_every="900 steps",
        checkpoint_every="300 steps",
    )
    return config
