"""The gated grid network by hand, and the interface of networks that can answer after any layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.models import zoo
from softshare_jax.models.anytime import Anytime, answers
from softshare_jax.ops.convolution import CONVOLUTIONS
from tests.models.networks import ByHand

IMAGES = np.random.default_rng(0).integers(0, 2, (2, 6, 6, 2)).astype(np.float32)


def built(name, images=IMAGES, convolution="xla"):
    network = zoo.named(name).build(zoo.Options(convolution=CONVOLUTIONS[convolution]))
    return network, network.init(jax.random.key(1), images)


def square(kernel):
    """Returns a kernel as ``[3, 3, I, O]``, without corners if it has five pixels."""
    if kernel.ndim == 4:
        return kernel
    found = np.zeros((3, 3, *kernel.shape[1:]), np.float32)
    found[[0, 1, 1, 1, 2], [1, 0, 1, 2, 1]] = kernel
    return found


def by_hand(params, depth, images=IMAGES):
    seen = np.concatenate([images, np.ones((*images.shape[:-1], 1), np.float32)], -1)
    state = np.tanh(ByHand.conv(seen, square(params["stem"]["kernel"])))
    for i in range(depth):
        both = ByHand.conv(np.concatenate([state, seen], -1), square(params[f"layer_{i}"]["conv"]["kernel"]))
        gate, candidate = 1 / (1 + np.exp(1 - both[..., :5])), np.tanh(both[..., 5:])
        state = (1 - gate) * state + gate * candidate
    return (state @ params["head"]["kernel"][0, 0] + params["head"]["bias"])[..., 0]


@pytest.mark.parametrize("convolution", ["xla", "patches"])
@pytest.mark.parametrize(("name", "pixels"), [("gated-3-5", (3, 3)), ("gated4-3-5", (5,))])
def test_by_hand(name, pixels, convolution):
    network, variables = built(name, convolution=convolution)
    assert set(variables) == {"params"}
    params = jax.tree.map(np.asarray, variables["params"])
    assert jax.tree.map(np.shape, params) == {
        "stem": {"kernel": (*pixels, 3, 5)},
        "head": {"kernel": (1, 1, 5, 1), "bias": (1,)},
        **{f"layer_{i}": {"conv": {"kernel": (*pixels, 8, 10)}} for i in range(3)},
    }
    np.testing.assert_allclose(network.apply(variables, IMAGES), by_hand(params, 3), atol=1e-5)
    found = network.apply(variables, IMAGES, (0, 1, 3), method=answers)
    np.testing.assert_allclose(found, [by_hand(params, n) for n in (0, 1, 3)], atol=1e-5)


def test_any_number_of_input_channels():
    images = np.zeros((1, 4, 4, 3), np.float32)
    network, variables = built("gated-2-5", images)
    assert variables["params"]["layer_0"]["conv"]["kernel"].shape == (3, 3, 9, 10)
    assert network.apply(variables, images).shape == (1, 4, 4)


def test_the_border_is_seen():
    # Without the channel of ones, an empty image would have the same state everywhere.
    network, variables = built("gated-2-5")
    logits = np.asarray(network.apply(variables, np.zeros((1, 7, 7, 2), np.float32)))
    assert abs(logits[0, 0, 0] - logits[0, 3, 3]) > 1e-3


def test_paths_between_four_neighbors_do_not_turn_a_corner():
    # A pixel is seen after as many layers as a path to it has steps, the stem among them.
    network, variables = built("gated4-3-5")
    images = np.zeros((1, 9, 9, 2), np.float32)
    changed = images.copy()
    changed[0, 4, 4, 0] = 1
    logits = [np.asarray(network.apply(variables, one))[0] for one in (images, changed)]
    rows, columns = np.nonzero(np.abs(logits[1] - logits[0]) > 1e-7)
    assert np.max(np.abs(rows - 4) + np.abs(columns - 4)) == 4


@pytest.mark.parametrize("name", ["gated-3-5", "gated4-3-5", "cnn-3-5"])
def test_a_network_answers_after_any_layer_as_a_shallower_one_does(name):
    network, variables = built(name)
    assert isinstance(network, Anytime)
    found = network.apply(variables, IMAGES, (1, 3), method=answers)
    np.testing.assert_allclose(found[1], network.apply(variables, IMAGES), atol=1e-5)
    shallow, _ = built(zoo.at_depth(name, 1))
    params = {k: v for k, v in variables["params"].items() if not k.endswith(("_1", "_2"))}
    np.testing.assert_allclose(found[0], shallow.apply({**variables, "params": params}, IMAGES), atol=1e-5)


def test_other_networks_do_not_answer_early():
    assert not isinstance(zoo.named("wrn-10-1").build(zoo.Options()), Anytime)


def test_a_folded_network_that_is_lengthened_is_a_loop():
    named, longer = zoo.named("sgated-4-5-1"), zoo.named("sgated-9-5-1")
    _, variables = built("gated-4-5")
    plan = named.rule(variables["params"])
    shared = sharing.initialize(plan, variables["params"], jax.random.key(0))
    shared["coefficients"]["layers"] = jnp.array([[1.0], [0.9], [1.1], [1.2]])
    folded = sharing.fold(plan, shared, tied=True)
    deep = longer.build(zoo.Options())
    shapes = jax.eval_shape(deep.init, jax.random.key(0), IMAGES)["params"]
    long_plan, long = sharing.lengthen(*folded, longer.rule, shapes)
    params = jax.tree.map(np.asarray, sharing.materialize(*folded))
    loop = {**params, **{f"layer_{i}": params["layer_0"] for i in range(9)}}
    found = sharing.SoftShare(deep, long_plan).apply(long, jnp.asarray(IMAGES))
    np.testing.assert_allclose(found, by_hand(loop, 9), atol=1e-5)
