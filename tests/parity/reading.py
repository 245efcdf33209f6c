"""What reading a PyTorch checkpoint gives, and what it refuses."""

import numpy as np
import pytest

from softshare_jax.conversion.torch import state as torch_state
from softshare_jax.errors import UserError

# Saves in the format up to PyTorch 1.5.
LEGACY = {"_use_new_zipfile_serialization": False}


def check_same(found, twin):
    """Checks that the arrays read equal the network's own state."""
    expected = {
        name: tensor.float().numpy()
        for name, tensor in twin.state_dict().items()
        if ".bank." not in name and "num_batches" not in name
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def refused(file, message):
    with pytest.raises(UserError) as caught:
        torch_state.read(file)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--torch {file}")
    assert message in line
