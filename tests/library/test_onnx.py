"""ONNX files: onnxruntime computes the same, and weights and loops stay shared."""

import importlib.util
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import library, loader, sharing
from softshare_jax.conversion import onnx_file
from softshare_jax.errors import UserError
from softshare_jax.exports.description import sha256
from softshare_jax.models import zoo
from softshare_jax.sharing.parameters import count
from tests import tiny
from tests.library.networks import drawn_together

installed = all(importlib.util.find_spec(name) for name in onnx_file.NEEDED)
needs_onnx = pytest.mark.skipif(not installed, reason="needs the extra onnx")
# Runs ONNX files on their inputs, without jax.
ALONE = """
import pathlib, sys
import numpy as np
import onnxruntime

for folder in map(pathlib.Path, sys.argv[1:]):
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = np.load(folder / "inputs.npz").values()
    named = {one.name: array for one, array in zip(session.get_inputs(), inputs, strict=True)}
    np.savez(folder / "outputs.npz", *session.run(None, named))
assert "jax" not in sys.modules
"""


def run_alone(*folders) -> None:
    """Runs the files of exports in a process of their own; it must not print a warning."""
    command = [sys.executable, "-c", ALONE, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tiny.REPO)
    assert (done.returncode, done.stderr) == (0, "")


def constants(file) -> int:
    """Returns how many numbers of type float32 the constants of an ONNX file hold."""
    import onnx

    graph = onnx.load(file).graph
    return sum(int(np.prod(one.dims)) for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT)


@needs_onnx
def test_another_runtime_computes_the_same(users, tmp_path):
    """For linen, NNX, Equinox and no library; of a folded network the file holds each weight once."""
    expected = {}
    for name, user in users.items():
        network = sharing.Folded(user.plan, user.variables)
        if name == "linen":
            network = sharing.fold(user.plan, drawn_together(user, 1.0))
            user = user._replace(variables=drawn_together(user, 1.0))
        description = library.export(*network, user.apply, user.inputs, tmp_path / name, name=name, onnx=True)
        assert loader.describe(tmp_path / name) == description
        assert description["onnx"]["largest_logit_difference"] < 1e-5
        assert description["files"]["model.onnx"]["sha256"] == sha256(tmp_path / name / "model.onnx")
        if name == "linen":
            # Batch-norm's statistics, epsilon and the scalars of the fold are the rest.
            assert constants(tmp_path / name / "model.onnx") < count(network.variables).total + 100
        # Another size of the batch than that of the example.
        np.savez(tmp_path / name / "inputs.npz", *(array[:3] for array in user.inputs))
        expected[name] = [array[:3] for array in jax.tree.leaves(user.outputs)]
    run_alone(*(tmp_path / name for name in users))
    for name, arrays in expected.items():
        with np.load(tmp_path / name / "outputs.npz") as found:
            for array, other in zip(arrays, found.values(), strict=True):
                np.testing.assert_allclose(other, array, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize(
    ("name", "shape", "pattern"),
    [("gated4-3-5", (6, 6, 2), r"layer_\d/conv/kernel"), ("vit-2-32-16", (32, 32, 3), r".*/up/kernel")],
)
def test_networks_of_the_zoo(name, shape, pattern, tmp_path, caplog):
    """A gated network, whose layers concatenate and split, and attention; nothing is logged."""
    network = zoo.named(name).build(zoo.Options())
    images = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    params = network.init(jax.random.key(0), images)["params"]
    plan = sharing.by_regex({"body": pattern}, templates=1)(params)
    variables = sharing.from_dense(plan, params)
    description = library.export(
        plan,
        variables,
        lambda params, images: network.apply({"params": params}, images),
        images,
        tmp_path / "out",
        onnx=True,
    )
    assert description["onnx"]["largest_logit_difference"] < 1e-5
    assert constants(tmp_path / "out" / "model.onnx") < count(variables).total + 100
    assert [record for record in caplog.records if record.name.startswith(("jax2onnx", "onnx"))] == []


@needs_onnx
def test_a_loop_of_the_code_stays_a_loop(tmp_path):
    import onnx

    def apply(params, x):
        kernels = jnp.stack([params[f"layer_{i}"] for i in range(6)])
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels)[0]

    draw = np.random.default_rng(0)
    layers = {f"layer_{i}": draw.normal(size=(5, 5)).astype(np.float32) for i in range(6)}
    plan = sharing.by_regex({"body": r"layer_\d"}, templates=2)(layers)
    variables = sharing.from_dense(plan, layers)
    x = draw.normal(size=(4, 5)).astype(np.float32)
    description = library.export(plan, variables, apply, x, tmp_path / "out", onnx=True)
    assert description["onnx"]["largest_logit_difference"] < 1e-5
    nodes = [node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node]
    assert nodes.count("Loop") + nodes.count("Scan") == 1
    assert nodes.count("Tanh") == 0


@needs_onnx
def test_the_command_and_the_example_in_the_docs(trained, tmp_path, monkeypatch):
    out = tmp_path / "runs" / "exported"
    done = tiny.run("export", f"--workdir={trained.root}", f"--output={out}", "--onnx")
    assert (done.returncode, done.stderr) == (0, "")
    difference = loader.describe(out)["onnx"]["largest_logit_difference"]
    assert difference < 1e-4
    assert f"model.onnx: opset 23, difference {difference:.3g}" in done.stdout
    images = np.random.default_rng(0).integers(0, 2, (7, 8, 8, 2)).astype(np.uint8)
    np.savez(out / "inputs.npz", images)
    run_alone(out)
    with np.load(out / "outputs.npz") as found:
        np.testing.assert_allclose(found["arr_0"], loader.load(out)(images), atol=1e-4)
    page = (tiny.REPO / "docs" / "export.md").read_text()
    (code,) = re.findall(r"```python\n([^`]*onnxruntime[^`]*)```", page)
    np.save(tmp_path / "batch.npy", images)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    np.testing.assert_allclose(names["logits"], loader.load(out)(images), atol=1e-4)


@needs_onnx
def test_what_onnx_cannot_hold_is_said_in_one_line(users, tmp_path):
    user = users["dictionary"]
    networks = (
        lambda params, x, scale: jnp.linalg.svd(x, compute_uv=False),
        lambda params, x, scale: x + jax.random.normal(jax.random.key(0), x.shape),
    )
    for apply in networks:
        with pytest.raises(UserError, match=r"^the network cannot be written as ONNX: .{1,160}$"):
            library.export(
                user.plan, user.variables, apply, user.inputs, tmp_path / "out", onnx=True, any_batch=False
            )
        assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_a_file_that_computes_something_else_is_refused(users, tmp_path, monkeypatch):
    user = users["linen"]
    run = onnx_file._run
    monkeypatch.setattr(onnx_file, "_run", lambda *arguments: [1 + output for output in run(*arguments)])
    with pytest.raises(UserError, match=r"^the network cannot be written as ONNX: outputs .* differ by 1$"):
        library.export(user.plan, user.variables, user.apply, user.inputs, tmp_path / "out", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages(trained, users, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "NEEDED", ("a_package_that_nobody_has",))
    said = r"needs a_package_that_nobody_has, .*: pip install 'softshare_jax\[onnx\]'"
    from softshare_jax.conversion.exporting import export_run

    with pytest.raises(UserError, match=said):
        export_run(trained, tmp_path / "out", onnx=True)
    user = users["linen"]
    with pytest.raises(UserError, match=said):
        library.export(user.plan, user.variables, user.apply, user.inputs, tmp_path / "out", onnx=True)
    assert list(tmp_path.iterdir()) == []
