import dataclasses
import json
import runpy

import pytest

from softshare_jax import config as config_lib
from softshare_jax import sharing
from softshare_jax.config import reference
from softshare_jax.config.by_network import recipe
from softshare_jax.config.data_sets import DATA
from softshare_jax.config.field import specs
from softshare_jax.errors import UserError
from softshare_jax.sharing import Plan
from softshare_jax.shell import config_flag
from softshare_jax.training.experiment import make_experiment
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
        ({"batch_size": "many"}, "config.batch_size is 'many'; it must be of type int"),
        ({"batch_size": True}, "config.batch_size is True; it must be of type int"),
        ({"data__windows": 5}, "config.data.windows is 5; it must be a tuple"),
        ({"data__windows": (5, "7")}, "config.data.windows is '7'; it must be of type int"),
        ({"data": 5}, "config.data is 5; it must be a section with fields"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"data__density": 1.0}, "data.density is 1.0; it must be at least 0 and below 1"),
        ({"data__windows": (4,)}, r"data.windows is \(4,\); it must have an odd number"),
        ({"data__windows": ()}, r"data.windows is \(\); it must have an odd number"),
        (
            {"data__name": "mnist"},
            "data.name is 'mnist'; it must be one of shortest_paths, cifar10, cifar100, imagenet2012",
        ),
        ({"data__train_examples": 3}, "data.train_examples is 3; it must be at least batch_size = 8"),
        ({"optimizer__learning_rate": 0.0}, "optimizer.learning_rate is 0.0; it must be above 0"),
        (
            {"optimizer__learning_rate": float("nan")},
            "optimizer.learning_rate is nan; it must be a finite number",
        ),
        (
            {"optimizer__weight_decay": float("inf")},
            "optimizer.weight_decay is inf; it must be a finite number",
        ),
        ({"seed": -1}, "seed is -1; it must be at least 0 and at most 4294967295"),
        ({"seed": 2**32 + 5}, "seed is 4294967301; it must"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must"),
        ({"optimizer__name": "lion"}, "optimizer.name is 'lion'; it must be one of sgd, adam, adamw"),
        (
            {"optimizer__schedule": "step"},
            "schedule is 'step'; it must be one of constant, cosine, steps",
        ),
        ({"optimizer__schedule": "steps"}, r"milestones is \(\) and optimizer.schedule is 'steps'; set"),
        ({"optimizer__milestones": (0.5,)}, "schedule is 'cosine'; set milestones for the schedule"),
        ({"optimizer__ema_decay": 1.0}, "optimizer.ema_decay is 1.0; it must be at least 0 and below 1"),
        ({"optimizer__average": 0.5}, "config.optimizer.average is now called config.optimizer.ema_decay"),
        ({"dropout": 0.3}, "config.dropout is now called config.dropout_rate"),
        ({"optimizer__milestone_factor": 0.0}, "optimizer.milestone_factor is 0.0; it must be above 0"),
        ({"scan_blocks": "maybe"}, "scan_blocks is 'maybe'; it must be one of auto, yes, no"),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0; it must be at least 0 and below 1"),
        ({"optimizer__weight_decay": -1.0}, "optimizer.weight_decay is -1.0; it must be at least 0"),
        (
            {"sharing__coefficients": "random"},
            "coefficients is 'random'; it must be one of orthogonal, identity, sparse",
        ),
        ({"sharing__recurrence": -1}, "sharing.recurrence is -1.0; it must be at least 0"),
        ({"loop__weight": 1.5}, "loop.weight is 1.5; it must be at least 0 and at most 1"),
        ({"data__generator": "maze"}, "data.side is 8; the side of a maze must be odd"),
        ({"data__generator": "maze", "data__side": 9}, r"windows is \(3, 5\); the windows of mazes must be"),
        ({"dtype": "float64"}, "dtype is 'float64'; it must be one of float32, bfloat16"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0; it must be at least 1"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UserError, match=message):
        config_lib.from_dict(changed(**changes))


def test_seeds_of_earlier_runs_keep_their_meaning():
    values = tiny.config(seed=5).to_dict()
    for seed in (5, 2**32 + 5, 5 - 2**32):
        assert config_lib.from_stored({**values, "seed": seed}).seed == 5


def cifar(model):
    values = runpy.run_path(str(tiny.REPO / "configs" / "cifar10.py"))["get_config"](model)
    return config_lib.from_dict(values.to_dict())


@pytest.mark.parametrize("model", ["wrn-38-2", "swrn-38-2", "resnet-50", "densenet-121"])
def test_networks_for_imagenet_do_not_train_on_small_images(model):
    with pytest.raises(UserError, match=f"{model} is for images of 224x224 pixels, which cifar10 does not"):
        make_experiment(cifar(model))
    # Such a run of an earlier version resumes.
    assert make_experiment(cifar(model), Plan()).plan == Plan()


def test_networks_for_small_images_do_not_train_on_large_ones():
    config = recipe("resnet-50", 1000, 8)
    with pytest.raises(UserError, match="wrn-28-10 is for images of 32x32 pixels"):
        make_experiment(dataclasses.replace(config, model="wrn-28-10"))
    small = dataclasses.replace(config.data, image_size=32, resize=32)
    make_experiment(dataclasses.replace(config, model="wrn-10-1", data=small))


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
    with pytest.raises(UserError, match=r"batch_size is 6; it must be a multiple of 4 \(devices\)"):
        make_experiment(tiny.config(batch_size=6))


def test_a_missing_field_has_its_default():
    values = tiny.config().to_dict()
    del values["data"]["side"], values["sharing"], values["keep_checkpoints"]
    config = config_lib.from_dict(values)
    assert (config.data.side, config.sharing, config.keep_checkpoints) == (32, config_lib.Sharing(), 2)


def test_coefficient_names_are_those_of_the_initializers():
    spec = {name: spec for name, _, spec in specs(config_lib.Config())}["sharing.coefficients"]
    assert set(spec.choices) == set(sharing.INITIALIZERS)


def test_every_field_is_documented_once_with_its_bounds():
    text, page = reference.as_text(), reference.as_markdown()
    for cls in DATA.values():
        config = config_lib.Config(data=cls())
        assert config_lib.from_dict(config.to_dict()) == config
        for name, _, spec in specs(config):
            assert page.count(f"| `{name}` ") >= 1, name
            assert f"--config.{name}=" in text
            assert spec.doc in page, name
            assert spec.doc.endswith((".", "none")), name
    assert "Allowed: at least 0 and below 1." in page


def test_a_config_file_states_what_differs(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config():\n"
        "    return ConfigDict({'seed': 7, 'data': {'name': 'cifar100', 'cutout': 8}})\n"
    )
    given = ["main", f"--config={file}", "--config.batch_size=64", "--config.optimizer.ema_decay=0.9"]
    config = config_lib.from_dict(config_flag.parse(given, dict))
    data = config_lib.Cifar(name="cifar100", cutout=8)
    optimizer = config_lib.Optimizer(ema_decay=0.9)
    assert config == config_lib.Config(seed=7, data=data, optimizer=optimizer, batch_size=64)


def test_whole_numbers_stand_for_floats():
    assert config_lib.from_dict(changed(data__density=0)).data.density == 0.0


def test_what_a_resumed_run_may_change():
    config = tiny.config()
    longer = dataclasses.replace(config, duration="99 steps", log_every="1 step", keep_checkpoints=9)
    assert config_lib.first_difference(config, longer) is None
    other = tiny.config(optimizer__learning_rate=0.5)
    assert config_lib.first_difference(config, other) == "optimizer.learning_rate was 0.006 and is now 0.5"
