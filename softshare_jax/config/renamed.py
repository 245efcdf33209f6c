"""Fields that have a new name, so that older files are read."""

from collections.abc import Mapping

# The fields that schema 1, 2, ... of config.json renamed. Files without a version have schema 0.
RENAMED: tuple[Mapping[str, str], ...] = (
    {},
    {
        "dropout": "dropout_rate",
        "drop_path": "drop_path_rate",
        "auxiliary": "aux_loss_weight",
        "zero_residual": "zero_init_residual",
        "optimizer.average": "optimizer.ema_decay",
        "optimizer.clip": "optimizer.grad_clip_norm",
        "data.least_area": "data.min_crop_area",
    },
)


def new_name(name: str) -> str | None:
    """Returns the present name of a field that was renamed, or ``None``."""
    found = None
    for names in RENAMED:
        if new := names.get(found or name):
            found = new
    return found
