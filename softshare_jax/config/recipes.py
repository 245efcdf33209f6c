"""How the shipped configs train each named network, for what has a name and no config."""

from softshare_jax.config import schema as config_lib
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.models.cells.genotypes import GENOTYPES
from softshare_jax.models.network import LARGE_IMAGES

IMAGENET_EXAMPLES, CIFAR_EXAMPLES = 1281167, 50000


def recipe(name: str, num_classes: int, batch_size: int | None = None) -> config_lib.Config:
    """Returns the config of configs/ that a network is trained with; fields are explained there.

    Args:
        name: of the network.
        num_classes: of a classifier.
        batch_size: in place of the config's own; the rate of ImageNet follows it.

    Raises:
        UserError: there is no such network, no data set of that many classes, or no such batch.
    """
    network = zoo.named(name)
    data: config_lib.Data
    batch, epochs, often = 128, 200, ("1 epoch", "1 epoch")
    auxiliary = drop_path = 0.0
    optimizer = config_lib.Optimizer("sgd", 0.1, "steps", (0.3, 0.6, 0.8), 0.2, 5e-4, 0.0)
    if not network.classifies:
        batch, epochs, often = 32, 250, ("2 epochs", "10 epochs")
        optimizer = config_lib.Optimizer("adam", 0.01, "constant", (), 0.2, 0.0, 0.0)
        data = config_lib.ShortestPaths(
            "shortest_paths", 32, 0.1, (5, 9, 13, 17, 21), "50 epochs", 5000, 1000
        )
    elif network.input_shape == LARGE_IMAGES:
        batch, epochs = 256, 100
        rate = 0.1 / 256 * (batch if batch_size is None else batch_size)
        optimizer = config_lib.Optimizer("sgd", rate, "steps", (0.3, 0.6, 0.9), 0.1, 1e-4, 0.0)
        data = config_lib.ImageNet("imagenet2012", num_classes, IMAGENET_EXAMPLES, 224, 256, 0.08, 0.0, 0)
    elif num_classes not in (10, 100):
        raise UserError(f"{name} is trained on 10 or 100 classes, not {num_classes}")
    else:
        data = config_lib.Cifar(f"cifar{num_classes}", CIFAR_EXAMPLES, 0, 0, 0.0)
        if network.unshared.startswith(tuple(GENOTYPES)):
            batch, epochs, auxiliary, drop_path = 96, 600, 0.4, 0.2
            optimizer = config_lib.Optimizer("sgd", 0.025, "cosine", (), 0.2, 3e-4, 0.0, clip=5.0)
            data = config_lib.Cifar(data.name, CIFAR_EXAMPLES, 0, 16, 0.0)
    config = config_lib.Config(
        seed=0,
        model=name,
        dtype="float32",
        sharing=config_lib.Sharing("orthogonal", 0.0),
        data=data,
        optimizer=optimizer,
        batch_size=batch if batch_size is None else batch_size,
        duration=f"{epochs} epochs",
        log_every="100 steps",
        evaluate_every=often[0],
        checkpoint_every=often[1],
        keep_checkpoints=2,
        steps_per_dispatch=0,
        profile_steps=0,
        auxiliary=auxiliary,
        drop_path=drop_path,
    )
    return config_lib.from_dict(config.to_dict())
