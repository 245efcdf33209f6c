import dataclasses
import json
import runpy

import pytest

from softshare_jax.config import schema as config_lib
from softshare_jax.config.recipes import recipe
from softshare_jax.errors import UserError
from softshare_jax.sharing import Plan
from softshare_jax.training.experiment import Experiment
from tests import tiny


@pytest.mark.parametrize("variant", ["cnn", "scnn", "scnn-r"])
def test_shipped_variants(variant):
    config = tiny.config("shortest_paths", (variant,))
    assert config_lib.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.sharing.recurrence > 0) == (variant == "scnn-r")


def changed(**changes):
    values = tiny.config().to_dict()
    for name, value in changes.items():
        *path, last = name.split("__")
        node = values
        for key in path:
            node = node[key]
        node[last] = value
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning": 1}, "unknown config field 'learning'"),
        ({"data__wide": 1}, "unknown config field 'data.wide'; did you mean data.side"),
        ({"batch_size": "many"}, "config.batch_size is of type int, not 'many'"),
        ({"batch_size": True}, "config.batch_size is of type int, not True"),
        ({"data__windows": 5}, "config.data.windows is a tuple, not 5"),
        ({"data__windows": (5, "7")}, "config.data.windows is of type int, not '7'"),
        ({"data": 5}, "config.data holds fields of its own"),
        ({"batch_size": 0}, "batch_size is 1 or more"),
        ({"data__density": 1.0}, "data.density is a probability"),
        ({"data__windows": (4,)}, "data.windows has an odd number"),
        ({"data__windows": ()}, "data.windows has an odd number"),
        (
            {"data__name": "mnist"},
            "data.name is one of shortest_paths, cifar10, cifar100, imagenet2012, not 'mnist'",
        ),
        ({"data__train_examples": 3}, "data.train_examples is at least batch_size"),
        ({"optimizer__learning_rate": 0.0}, "optimizer.learning_rate is above 0"),
        ({"optimizer__learning_rate": float("nan")}, "optimizer.learning_rate is a finite number, not nan"),
        ({"optimizer__weight_decay": float("inf")}, "optimizer.weight_decay is a finite number, not inf"),
        ({"seed": -1}, "seed is from 0 to .* = 4294967295, not -1"),
        ({"seed": 2**32 + 5}, "seed is from 0 to .*, not 4294967301"),
        ({"seed": 2**63}, "seed is from 0 to .*, not 9223372036854775808"),
        ({"optimizer__name": "lion"}, "optimizer.name is one of sgd, adam, adamw, not 'lion'"),
        ({"optimizer__schedule": "step"}, "optimizer.schedule is one of constant, cosine, steps, not 'step'"),
        ({"optimizer__schedule": "steps"}, "optimizer.milestones belong to the schedule 'steps'"),
        ({"optimizer__milestones": (0.5,)}, "optimizer.milestones belong to the schedule 'steps'"),
        ({"optimizer__average": 1.0}, "optimizer.average is from 0"),
        ({"optimizer__milestone_factor": 0.0}, "optimizer.milestone_factor is above 0"),
        ({"scan_blocks": "maybe"}, "scan_blocks is one of auto, yes, no, not 'maybe'"),
        ({"dropout": 1.0}, "dropout is a rate from 0 to below 1"),
        ({"optimizer__weight_decay": -1.0}, "optimizer.weight_decay is 0 or more"),
        ({"sharing__coefficients": "random"}, "sharing.coefficients is one of orthogonal, identity, sparse"),
        ({"sharing__recurrence": -1}, "sharing.recurrence is 0 or more"),
        ({"dtype": "float64"}, "dtype is one of float32, bfloat16, not 'float64'"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 1 or more"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UserError, match=message):
        config_lib.from_dict(changed(**changes))


def test_the_seeds_of_earlier_runs_are_what_they_were_to_them():
    values = tiny.config(seed=5).to_dict()
    for seed in (5, 2**32 + 5, 5 - 2**32):
        assert config_lib.from_stored({**values, "seed": seed}).seed == 5


def cifar(model):
    values = runpy.run_path(str(tiny.REPO / "configs" / "cifar10.py"))["get_config"](model)
    return config_lib.from_dict(values.to_dict())


@pytest.mark.parametrize("model", ["wrn-38-2", "swrn-38-2", "resnet-50", "densenet-121"])
def test_networks_for_imagenet_do_not_train_on_small_images(model):
    with pytest.raises(UserError, match=f"{model} is a network for images of 224x224 pixels, which cifar10"):
        Experiment(cifar(model))
    # A run that an earlier version made so goes on.
    assert Experiment(cifar(model), Plan()).plan == Plan()


def test_networks_for_small_images_do_not_train_on_large_ones():
    config = recipe("resnet-50", 1000, 8)
    with pytest.raises(UserError, match="wrn-28-10 is a network for images of 32x32 pixels"):
        Experiment(dataclasses.replace(config, model="wrn-28-10"))
    small = dataclasses.replace(config.data, image_size=32, resize=32)
    Experiment(dataclasses.replace(config, model="wrn-10-1", data=small))


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("wrn-28-10-cutuot", "unknown ending '-cutuot'; choose one of -dropout, -cutout"),
        ("wrn-28-10-cutuot-dropout", "unknown ending '-cutuot'"),
        ("swrn-28-10-2-DROPOUT", "unknown ending '-DROPOUT'"),
    ],
)
def test_endings_of_variants(variant, message):
    with pytest.raises(UserError, match=message):
        cifar(variant)


def test_a_batch_that_the_devices_cannot_split():
    with pytest.raises(UserError, match="batch_size is 6, which 4 devices cannot split evenly"):
        Experiment(tiny.config(batch_size=6))


def test_a_missing_field():
    values = tiny.config().to_dict()
    del values["data"]["side"]
    with pytest.raises(UserError, match=r"config\.data\.side is missing"):
        config_lib.from_dict(values)


def test_whole_numbers_stand_for_floats():
    assert config_lib.from_dict(changed(data__density=0)).data.density == 0.0


def test_what_a_resumed_run_may_change():
    config = tiny.config()
    longer = dataclasses.replace(config, duration="99 steps", log_every="1 step", keep_checkpoints=9)
    assert config_lib.first_difference(config, longer) is None
    other = tiny.config(optimizer__learning_rate=0.5)
    assert config_lib.first_difference(config, other) == "optimizer.learning_rate is 0.006 there and 0.5 here"
