import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from softshare_jax.training.checksum import checksum
from softshare_jax.training.mesh import data_mesh

TREE = {"a": {"kernel": np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)}, "step": np.int32(7)}


@given(st.integers(0, 64 * 32 - 1))
def test_any_flipped_bit_changes_it(bit):
    damaged = {**TREE, "a": {"kernel": TREE["a"]["kernel"].copy()}}
    damaged["a"]["kernel"].view(np.uint8).reshape(-1)[bit // 8] ^= 1 << (bit % 8)
    assert checksum(damaged) != checksum(TREE)


@pytest.mark.parametrize(
    "other",
    [
        {"a": {"kernel": TREE["a"]["kernel"].T}, "step": np.int32(7)},
        {"a": {"kernel": TREE["a"]["kernel"].reshape(64)}, "step": np.int32(7)},
        {"b": {"kernel": TREE["a"]["kernel"]}, "step": np.int32(7)},
        {"a": {"kernel": TREE["a"]["kernel"]}, "step": np.float32(7)},
    ],
)
def test_order_shape_name_and_dtype_count(other):
    assert checksum(other) != checksum(TREE)


def test_it_does_not_depend_on_the_sharding():
    mesh = data_mesh(4)
    split = jax.device_put(TREE["a"]["kernel"], NamedSharding(mesh, PartitionSpec("batch")))
    assert len(split.addressable_shards) == 4
    assert checksum({**TREE, "a": {"kernel": split}}) == checksum(TREE)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.uint8, jnp.int32, jnp.uint32, jnp.bool_])
def test_other_dtypes(dtype):
    ones, zeros = jnp.ones(5, dtype), jnp.zeros(5, dtype)
    assert checksum({"x": ones}) == checksum({"x": ones}) != checksum({"x": zeros})
