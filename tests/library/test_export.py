"""Exports of any model: another process runs them without the model's code."""

import functools
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import library, loader, sharing
from softshare_jax.errors import RunError, UserError
from softshare_jax.sharing.tree import named_arrays
from tests import tiny
from tests.library.networks import drawn_together

# Runs exports on their inputs, without the libraries of the models.
ALONE = """
import pathlib, sys
import numpy as np
from softshare_jax import loader

for folder in map(pathlib.Path, sys.argv[1:]):
    outputs = loader.load(folder)(*np.load(folder / "inputs.npz").values())
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    np.savez(folder / "outputs.npz", **{name: np.asarray(array) for name, array in outputs.items()})
assert not {"flax", "equinox", "optax"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def exported(users, tmp_path_factory):
    """Exports every model, folded as far as the layers of one are equal, and runs all in one process."""
    root = tmp_path_factory.mktemp("exports")
    for name, user in users.items():
        network = user.plan, user.variables
        if name == "linen":
            network = sharing.fold(user.plan, drawn_together(user, 1.0))
        library.export(*network, user.apply, user.inputs, root / name, name=name)
        # Another size of the batch than that of the example.
        np.savez(root / name / "inputs.npz", *(array[:3] for array in user.inputs))
    folders = [str(root / name) for name in users]
    command = [sys.executable, "-c", ALONE, *folders]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tiny.REPO)
    assert (result.returncode, result.stderr) == (0, "")
    return root


def test_another_process_computes_the_same(user, exported, request):
    name = request.node.callspec.params["user"]
    network = user
    if name == "linen":
        network = user._replace(variables=drawn_together(user, 1.0))
    expected = network.outputs if isinstance(network.outputs, dict) else {"output": network.outputs}
    with np.load(exported / name / "outputs.npz") as found:
        assert set(found) == set(expected)
        for output, array in expected.items():
            np.testing.assert_allclose(found[output], array[:3], atol=1e-5)


def test_the_files_hold_the_weights_and_the_loops(user, exported, request):
    folder = exported / request.node.callspec.params["user"]
    description = loader.describe(folder)
    assert description["model"] == folder.name
    assert description["largest_logit_difference"] < 1e-5
    shared, facts = loader.read(folder / "shared.safetensors")
    plan = sharing.Plan.from_json(facts["plan"])
    folded = folder.name == "linen"
    assert [group.templates for group in plan.groups] == [1 if folded else 2] * len(plan.groups)
    assert set(shared) == set(user.variables)
    dense, _ = loader.read(folder / "materialized.safetensors")
    variables = drawn_together(user, 1.0) if folded else user.variables
    expected = named_arrays(sharing.to_dense(user.plan, variables))
    assert named_arrays(dense).keys() == expected.keys()
    for name, array in named_arrays(dense).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
    # The schedule alone rebuilds every layer from the distinct weights.
    assert set(description["loops"]) == {group.name for group in plan.groups}
    for group in plan.groups:
        loops = description["loops"][group.name]
        assert loops["loops"] == (f"(1)×{group.layers}" if folded else loops["loops"])
        named = {str(member): member for member in group.members}
        for member, number, scale in zip(group.members, loops["layers"], loops["scales"], strict=True):
            first = named[loops["weights"][number]]
            source = first.of(named_arrays(dense)[f"params/{first.path}"])
            weight = member.of(named_arrays(dense)[f"params/{member.path}"])
            np.testing.assert_allclose(scale * source, weight, atol=1e-5)


def test_inputs_are_checked(users, exported):
    two, one = loader.load(exported / "dictionary"), loader.load(exported / "linen")
    x, scale = map(np.asarray, users["dictionary"].inputs)
    for message, call in (
        (r"input 2 is float64 \[4\]; .* expects float32 \[B\]", lambda: two(x, scale.astype(float))),
        ("expects 2 inputs, not 1", lambda: two(x)),
        ("batches of 3 and 4", lambda: two(x, scale[:3])),
        ("input 2 is a list, not an array: use numpy.asarray", lambda: two(x, [1.0, 2.0])),
        (r"the input is float32 \[4\]; .* expects float32 \[B, 6\]", lambda: one(scale)),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_a_model_that_needs_the_size_of_its_batch(users, tmp_path, monkeypatch):
    user = users["linen"]

    def apply(params, x, batch_stats):
        return user.apply(params, x, batch_stats) * np.arange(int(x.shape[0]))[:, None], x

    with pytest.raises(UserError, match=r"cannot be exported: .*any_batch=False exports it for the shapes"):
        library.export(user.plan, user.variables, apply, user.inputs, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    library.export(user.plan, user.variables, apply, user.inputs, tmp_path / "out", any_batch=False)
    with pytest.raises(UserError, match=r"expects float32 \[4, 6\]"):
        loader.load(tmp_path / "out")(user.inputs[0][:3])
    # The command writes one array.
    np.save(tmp_path / "in.npy", user.inputs[0])
    arguments = [str(tmp_path / "out"), f"--images={tmp_path}/in.npy", f"--output={tmp_path}/out.npy"]
    monkeypatch.setattr(sys, "argv", ["loader", *arguments])
    with pytest.raises(UserError, match="has several outputs: load it from Python"):
        loader.main()


def test_an_example_with_64_bits(users, tmp_path):
    user = users["linen"]
    example = tuple(np.asarray(array, np.float64) for array in user.inputs)
    description = library.export(user.plan, user.variables, user.apply, example, tmp_path / "out")
    assert description["input"]["dtype"] == "float32"


def test_a_bug_of_the_model_keeps_its_error(users, tmp_path):
    user = users["linen"]
    with pytest.raises(ZeroDivisionError):
        library.export(
            user.plan, user.variables, lambda params, x: x / 0 * (1 // 0), user.inputs, tmp_path / "o"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_line_and_leaves_nothing(users, tmp_path):
    user = users["linen"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        with pytest.raises(RunError, match=r"folder .*out cannot be written: File too large"):
            library.export(user.plan, user.variables, user.apply, user.inputs, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_the_command_needs_an_output_for_each_image(users, tmp_path, monkeypatch):
    user = users["linen"]

    @functools.wraps(user.apply)
    def mean(*arguments, **collections):
        return jnp.mean(user.apply(*arguments, **collections))

    library.export(user.plan, user.variables, mean, user.inputs, tmp_path / "mean")
    np.save(tmp_path / "x.npy", user.inputs[0])
    arguments = [str(tmp_path / "mean"), f"--images={tmp_path / 'x.npy'}", f"--output={tmp_path / 'y.npy'}"]
    monkeypatch.setattr("sys.argv", ["run", *arguments])
    with pytest.raises(UserError, match=r"mean has no output for each image, but one of shape \[\]: load it"):
        loader.main()
    assert not (tmp_path / "y.npy").exists()


def test_mistakes(users, tmp_path):
    user = users["dictionary"]
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("mine")
    keys = {**user.variables, "params": {**user.variables["params"], "key": jax.random.key(0)}}
    for message, variables, example, folder in (
        (r"folder .*used is in use: name a new folder", user.variables, user.inputs, "used"),
        ("input 1 of the example is list", user.variables, [1.0], "out"),
        ("the example is empty", user.variables, (), "out"),
        ("params/key holds random keys", keys, user.inputs, "out"),
    ):
        with pytest.raises(UserError, match=message):
            library.export(user.plan, variables, user.apply, example, tmp_path / folder)
    with pytest.raises(sharing.PlanError, match="no templates"):
        library.export(user.plan, {"params": {}}, user.apply, user.inputs, tmp_path / "out")
    assert [file.name for file in tmp_path.rglob("*")] == ["used", "mine"]
