"""Implementations of convolution: equal to XLA's to rounding, wherever the network runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

from softshare_jax.errors import UserError
from softshare_jax.ops import dense_convolution, onednn, patches, weight_gradient
from softshare_jax.ops.convolution import CONVOLUTIONS, choose

# Batch, height, width, input and output channels, side of the kernel, stride, padding.
SHAPES = {
    "3x3": (8, 9, 10, 4, 6, 3, 1, "SAME"),
    "3x3, stride 2": (4, 9, 8, 4, 6, 3, 2, ((1, 1), (1, 1))),
    # oneDNN 3.2 is wrong or crashes here when asked for the strided convolution itself.
    "1x1, stride 2": (4, 8, 8, 4, 6, 1, 2, "VALID"),
    "1x1, stride 2, three channels": (4, 8, 8, 3, 16, 1, 2, "VALID"),
    "1x1, stride 2, padded": (4, 8, 8, 3, 16, 1, 2, ((1, 1), (0, 1))),
    "7x7, uneven": (2, 14, 12, 3, 8, 7, 2, ((3, 2), (2, 3))),
    "one image": (1, 5, 5, 3, 2, 3, 1, "SAME"),
    "many blocks": (24, 32, 32, 8, 8, 3, 1, "SAME"),
}
# Sums of thousands of products, in another order.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture(params=["matmul", "patches", "onednn"])
def convolution(request, monkeypatch):
    """Each implementation, for convolutions of any size."""
    if request.param == "onednn" and not onednn.available():
        pytest.skip("the extra cpu is not installed")
    module = {"matmul": weight_gradient, "patches": patches, "onednn": onednn}[request.param]
    return dense_convolution.DenseConvolution(module.convolve)


def _layer(convolution, features, side, stride, padding, **options):
    return nn.Conv(
        features, (side, side), stride, padding=padding, conv_general_dilated=convolution, **options
    )


def _draw(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_result_and_gradients_are_those_of_xla(convolution, shape):
    """A convolution, its image gradient and its weight gradient equal XLA's to rounding."""
    batch, height, width, inputs, outputs, side, stride, padding = shape
    images = _draw(0, (batch, height, width, inputs))
    variables = {"params": {"kernel": _draw(1, (side, side, inputs, outputs)), "bias": jnp.ones(outputs)}}
    results = {}
    for name, used in (("tested", convolution), ("xla", CONVOLUTIONS["xla"])):
        layer = _layer(used, outputs, side, stride, padding)

        def loss(variables, images, layer=layer):
            return jnp.sum(jnp.sin(layer.apply(variables, images)))

        results[name] = layer.apply(variables, images), jax.jit(jax.grad(loss, (0, 1)))(variables, images)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), results["tested"], results["xla"])


@pytest.mark.parametrize(
    "options", [{"feature_group_count": 2}, {"kernel_dilation": 2}, {"dtype": jnp.bfloat16}], ids=str
)
def test_what_an_implementation_does_not_cover_is_xlas(convolution, options):
    """Grouped and dilated convolutions and bfloat16 give the bits of XLA's."""
    images = _draw(0, (2, 8, 8, 4))
    layer, xla = (_layer(used, 6, 3, 1, "SAME", **options) for used in (convolution, None))
    variables = xla.init(jax.random.key(0), images)
    np.testing.assert_array_equal(layer.apply(variables, images), xla.apply(variables, images))


def test_small_convolutions_are_xlas():
    """Below the threshold the program is XLA's; above it the weight gradient is a matrix product."""
    layer = _layer(CONVOLUTIONS["matmul"], 16, 3, 1, "SAME")

    def products(batch):
        images = jnp.zeros((batch, 32, 32, 16))
        variables = layer.init(jax.random.key(0), images)
        program = jax.make_jaxpr(jax.grad(lambda v: jnp.sum(layer.apply(v, images))))(variables)
        return str(program).count("dot_general")

    assert products(2) == 0
    assert products(64) == 1


def test_over_several_devices(convolution):
    """Under shard_map, gradients of a batch split over four devices are those of the whole batch."""
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    images, kernel = _draw(0, (8, 6, 6, 3)), _draw(1, (3, 3, 3, 5))
    layer = _layer(convolution, 5, 3, 1, "SAME", use_bias=False)

    def gradient(kernel, images):
        return jax.grad(lambda k: jnp.sum(jnp.sin(layer.apply({"params": {"kernel": k}}, images))))(kernel)

    def on_device(kernel, images):
        own = jax.lax.pcast(kernel, "batch", to="varying")
        return jax.lax.psum(gradient(own, images), "batch")

    split = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("batch")),
        out_specs=PartitionSpec(),
    )
    np.testing.assert_allclose(jax.jit(split)(kernel, images), gradient(kernel, images), **CLOSE)


def test_in_loops(convolution):
    """In scan and fori_loop, values and gradients are those of the unrolled program."""
    images, kernels = _draw(0, (2, 6, 6, 3)), 0.2 * _draw(1, (4, 3, 3, 3, 3))
    layer = _layer(convolution, 3, 3, 1, "SAME", use_bias=False)

    def one(x, kernel):
        return jnp.tanh(layer.apply({"params": {"kernel": kernel}}, x))

    def unrolled(kernels):
        x = images
        for kernel in kernels:
            x = one(x, kernel)
        return jnp.sum(x)

    def scanned(kernels):
        return jnp.sum(jax.lax.scan(lambda x, kernel: (one(x, kernel), None), images, kernels)[0])

    np.testing.assert_allclose(jax.grad(scanned)(kernels), jax.grad(unrolled)(kernels), **CLOSE)
    looped = jax.lax.fori_loop(0, 4, lambda i, x: one(x, kernels[i]), images)
    np.testing.assert_allclose(jnp.sum(looped), unrolled(kernels), **CLOSE)


def test_under_vmap(convolution):
    """Vmapped over kernels, gradients are those of each kernel alone."""
    images, kernels = _draw(0, (2, 6, 6, 3)), _draw(1, (3, 3, 3, 3, 5))
    layer = _layer(convolution, 5, 3, 1, "SAME", use_bias=False)
    gradient = jax.grad(lambda kernel: jnp.sum(jnp.sin(layer.apply({"params": {"kernel": kernel}}, images))))
    alone = jnp.stack([gradient(kernel) for kernel in kernels])
    np.testing.assert_allclose(jax.vmap(gradient)(kernels), alone, **CLOSE)


def test_the_second_derivative_is_right_or_refused(convolution):
    """The gradient of a gradient is that of XLA's convolution; oneDNN's cannot be differentiated twice."""
    images, kernel = _draw(0, (2, 5, 5, 2)), _draw(1, (3, 3, 2, 3))

    def curvature(used):
        layer = _layer(used, 3, 3, 1, "SAME", use_bias=False)
        loss = lambda k: jnp.sum(jnp.sin(layer.apply({"params": {"kernel": k}}, images)))  # noqa: E731
        return jax.grad(lambda k: jnp.sum(jnp.sin(jax.grad(loss)(k))))(kernel)

    if convolution.convolve is onednn.convolve:
        with pytest.raises(ValueError, match="cannot be differentiated"):
            curvature(convolution)
    else:
        np.testing.assert_allclose(curvature(convolution), curvature(None), rtol=1e-3, atol=1e-3)


def test_the_same_bits_each_time(convolution):
    """Two evaluations of one program give the same bits."""
    images, kernel = _draw(0, (16, 16, 16, 8)), _draw(1, (3, 3, 8, 8))
    layer = _layer(convolution, 8, 3, 1, "SAME", use_bias=False)
    gradient = jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(layer.apply({"params": {"kernel": k}}, images)))))
    first = gradient(kernel)
    for _ in range(5):
        np.testing.assert_array_equal(gradient(kernel), first)


def test_the_choice(monkeypatch):
    """On one CPU device oneDNN where it is available, on others matrix products; XLA's on accelerators."""
    for available, chosen in ((True, "onednn"), (False, "matmul")):
        monkeypatch.setattr(onednn, "available", lambda available=available: available)
        assert choose("auto", "cpu", 1) == chosen
        assert choose("auto", "cpu", 4) == "matmul"
        assert choose("auto", "cpu", 4, looped=True) == "patches"
        assert choose("xla", "cpu", 1) == choose("xla", "cpu", 1, looped=True) == "xla"
        assert choose("auto", "tpu", 1) == choose("onednn", "cuda", 1) == "xla"
    with pytest.raises(UserError, match=r"config.convolution is 'onednn'.*pip install"):
        choose("onednn", "cpu", 1)


def test_without_a_compiler(monkeypatch, tmp_path, caplog):
    """Where oneDNN is installed and there is no compiler, one line says so and XLA computes."""
    if not onednn.available():
        pytest.skip("the extra cpu is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not onednn.available.__wrapped__()
    (record,) = caplog.records
    assert record.getMessage().startswith("oneDNN is installed but cannot be used (there is no C++ compiler)")


def test_a_compiler_that_fails(monkeypatch, tmp_path, caplog):
    """The line holds the start of what the compiler says, and nothing is left in the cache."""
    if not onednn.available():
        pytest.skip("the extra cpu is not installed")
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'fatal error: no such header' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with caplog.at_level("WARNING"):
        assert not onednn.available.__wrapped__()
    (record,) = caplog.records
    assert "c++: fatal error: no such header" in record.getMessage()
    assert not list((tmp_path / "cache" / "softshare_jax").iterdir())
