"""Exports: their files, and that they need neither Flax nor the network's code."""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from softshare_jax import export as export_command
from softshare_jax import loader, sharing
from softshare_jax.conversion import exporting
from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.output import new_workdir, write_run
from softshare_jax.errors import UserError
from softshare_jax.exports.description import FORMAT, sha256
from softshare_jax.runs.load import Trained, load
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing.weights import FEW
from softshare_jax.training.experiment import make_experiment
from tests import forking, tiny
from tests.commands.lines import check

WEIGHTS = ("shared.safetensors", "materialized.safetensors")
# Runs a module of softshare_jax that can import only the loader and what it needs.
ALONE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        needed = "durable errors json_text loader paths shell".split()
        shell = "cli devices ending environment faults logs search_path".split()
        needed += [f"shell.{name}" for name in shell]
        needed += ["exports", *(f"exports.{name}" for name in "description model weights".split())]
        ours = name.startswith("softshare_jax.") and name.removeprefix("softshare_jax.") not in needed
        if ours or name.split(".")[0] in ("flax", "optax", "orbax", "clu", "tensorflow_datasets"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


class Exported(NamedTuple):
    """A run and its export through the real command."""

    run: Trained
    folder: pathlib.Path
    printed: str

    @property
    def images(self) -> np.ndarray:
        """Returns the 20 test examples of the last phase, ``[20, 8, 8, 2]`` uint8."""
        return np.asarray(self.run.experiment.task.load("test", 1)["images"])

    @property
    def logits(self) -> np.ndarray:
        """Returns the run's own logits for the images, ``[20, 8, 8]``."""
        variables = self.run.experiment.programs.to_dense(self.run.variables)
        return self.run.experiment.evaluator.test(variables, 1)[1]


@pytest.fixture(scope="module", params=["soft-shared", "folded", "unshared"])
def exported(request, tmp_path_factory, trained) -> Exported:
    root = tmp_path_factory.mktemp("exported")
    source = {"soft-shared": trained}.get(request.param, Workdir(root / "run"))
    if request.param == "folded":
        fold_run(trained, source, threshold=0.0)
    elif request.param == "unshared":
        experiment = make_experiment(tiny.config(model="cnn-4-6", sharing__recurrence=0.0))
        draw = np.random.default_rng(0)
        variables = experiment.programs.init_state().variables
        # All arrays differ, as after training.
        variables = jax.tree.map(lambda x: x + draw.uniform(0, 0.1, x.shape).astype(x.dtype), variables)
        with new_workdir(source) as workdir:
            write_run(workdir, experiment, 3, variables)
    result = tiny.run("export", f"--workdir={source.root}", f"--output={root / 'out'}")
    assert (result.returncode, result.stderr) == (0, "")
    return Exported(load(source), root / "out", result.stdout)


def test_the_logits_are_the_run_s_for_any_batch(exported):
    model = loader.load(exported.folder)
    for number in (20, 3):
        np.testing.assert_allclose(model(exported.images[:number]), exported.logits[:number], atol=1e-5)
    assert model(jnp.asarray(exported.images[:3])).dtype == jnp.float32


def test_the_files_of_an_export(exported):
    description = loader.describe(exported.folder)
    files = {file.name: file for file in exported.folder.iterdir() if file.name != "export.json"}
    assert set(description["files"]) == set(files) == {"model.stablehlo", *WEIGHTS}
    assert description["model"] == exported.run.experiment.config.model
    assert description["step"] == exported.run.step
    assert description["input"] == {"dtype": "uint8", "shape": ["B", 8, 8, 2]}
    assert description["output"] == {"dtype": "float32", "shape": ["B", 8, 8]}
    assert description["largest_logit_difference"] < 1e-5
    assert description["compared_on"] == 20
    plan = exported.run.experiment.plan
    layers = {group.name: [0] * 4 if group.assignment else [0, 1, 2, 3] for group in plan.groups}
    assert {name: loops["layers"] for name, loops in description["loops"].items()} == layers
    parameters = description["parameters"]
    assert f"{parameters['shared'] + parameters['private']:,}" in exported.printed
    for name, facts in description["files"].items():
        assert facts["bytes"] == files[name].stat().st_size
        assert re.search(rf"{name} +{facts['bytes']:,} bytes", exported.printed)


def test_shared_weights_stay_shared_in_the_module(exported):
    """The constants are exactly the run's variables; a sum or one product computes each group's weights."""
    data = (exported.folder / "model.stablehlo").read_bytes()
    module = export.deserialize(bytearray(data))
    text = module.mlir_module()
    constants = re.findall(r"stablehlo\.constant dense<[^>]*> : tensor<([\dx]+)xf32>", text)
    leaves = ["x".join(map(str, x.shape)) for x in jax.tree.leaves(exported.run.variables)]
    assert collections.Counter(constants) == collections.Counter(leaves)
    # cpu, cuda and tpu have one branch each; one of them runs.
    products = re.findall(
        r"dot_general .* : \(tensor<(\S+)xf32>, tensor<(\S+)xf32>\) -> tensor<(\S+)xf32>", text
    )
    expected = {
        ("x".join(map(str, (g.layers, g.templates))), "x".join(map(str, (g.templates, *g.shape))))
        for g in exported.run.experiment.plan.groups
        if g.templates > FEW
    }
    assert {product[:2] for product in products} == expected
    # The file does not name folders of the exporting process.
    assert str(tiny.REPO).encode() not in data
    assert module.platforms == ("cpu", "cuda", "tpu")
    for platform in module.platforms:
        jax.jit(module.call).trace(exported.images).lower(lowering_platforms=(platform,))


def test_the_weights(exported):
    shared, facts = loader.read(exported.folder / "shared.safetensors")
    assert (facts["model"], facts["step"]) == (exported.run.experiment.config.model, str(exported.run.step))
    plan = sharing.Plan.from_json(facts["plan"])
    assert plan == exported.run.experiment.plan
    jax.tree.map(np.testing.assert_array_equal, shared, jax.device_get(exported.run.variables))
    materialized, _ = loader.read(exported.folder / "materialized.safetensors")
    expected = sharing.to_dense(plan, shared)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), materialized, expected)


@pytest.mark.parametrize("exported", ["folded"], indirect=True)
def test_it_runs_without_flax_and_the_network_s_code(tmp_path, exported):
    np.save(tmp_path / "batch.npy", exported.images)
    arguments = [exported.folder, f"--images={tmp_path}/batch.npy", f"--output={tmp_path}/logits.npy"]
    command = [sys.executable, "-c", ALONE, "softshare_jax.loader", *map(str, arguments), "--batch_size=16"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tiny.REPO)
    assert (result.returncode, result.stderr) == (0, "")
    assert "wrote the logits of 20 images" in result.stdout
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), exported.logits, atol=1e-5)
    assert {file.name for file in tmp_path.iterdir()} == {"batch.npy", "logits.npy"}


@pytest.mark.parametrize("exported", ["soft-shared"], indirect=True)
def test_the_example_in_the_docs(tmp_path, monkeypatch, exported):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "exported").symlink_to(exported.folder)
    np.save(tmp_path / "batch.npy", exported.images)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (tiny.REPO / "docs" / "export.md").read_text(), re.DOTALL)
    blocks = [code for code in blocks if "onnx" not in code]  # tests/library/test_onnx.py has that one
    assert len(blocks) == 3
    for code in blocks:
        names: dict = {}
        exec(code, names)
        if "logits" in names:
            np.testing.assert_allclose(names["logits"], exported.logits, atol=1e-5)
        else:
            dense = exported.run.experiment.programs.to_dense(exported.run.variables)["params"]
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), names["params"], dense)


@pytest.mark.parametrize("exported", ["soft-shared"], indirect=True)
def test_damaged_images(tmp_path, exported):
    (tmp_path / "batch.npy").write_bytes(b"PK\x03\x04 no archive")
    arguments = (f"--images={tmp_path}/batch.npy", f"--output={tmp_path}/logits.npy")
    check(tiny.run("loader", exported.folder, *arguments), "is not a .npy file")
    assert not (tmp_path / "logits.npy").exists()


def test_any_dtype_and_layout_is_kept(tmp_path):
    variables = {
        "templates": {"g": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3) / 3},
        "coefficients": {"g": np.asfortranarray(np.arange(4, dtype=np.float16).reshape(2, 2))},
        "params": {
            "a": {"scale": np.float32(0.1), "none": np.zeros((0, 2), np.int32)},
            # As Haiku names modules.
            "a/~/b": {"c": np.ones(1), "~1/c": np.ones(2)},
        },
    }
    exporting.write_weights(tmp_path / "w.safetensors", variables, {"model": "m"})
    found, facts = loader.read(tmp_path / "w.safetensors")
    assert facts == {"model": "m"}
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    dtypes = [jax.tree.map(lambda x: np.asarray(x).dtype, tree) for tree in (found, variables)]
    assert dtypes[0] == dtypes[1]
    with pytest.raises(UserError, match=r"w\.safetensors cannot hold these weights: Unknown dtype"):
        exporting.write_weights(tmp_path / "w.safetensors", {"params": {"x": jnp.ones(2, jnp.int4)}}, {})


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-5])


def foreign(file):
    """Replaces a file by another program's and updates its checksum in the description."""
    file.write_bytes(b"another program's" * 9)
    description = json.loads((file.parent / "export.json").read_text())
    description["files"][file.name]["sha256"] = sha256(file)
    (file.parent / "export.json").write_text(json.dumps(description))


def unlisted(file):
    (file.parent / "export.json").write_text(json.dumps({"format": FORMAT}))


@pytest.mark.parametrize("exported", ["soft-shared"], indirect=True)
@pytest.mark.parametrize("name", ["model.stablehlo", *WEIGHTS])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, r"is damaged \(wrong checksum\)"),
        (truncate, "is damaged"),
        (pathlib.Path.unlink, "cannot be read: No such file"),
        (foreign, "cannot be read "),
        (unlisted, "export.json does not list"),
        (lambda file: (file.parent / "export.json").write_text("{"), "export.json is not JSON"),
        (lambda file: (file.parent / "export.json").write_text("[]"), "does not describe an export"),
    ],
)
def test_damage_is_one_line(tmp_path, exported, name, damage, message):
    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    damage(folder / name)
    with pytest.raises(UserError, match=message) as raised:
        loader.load(folder) if name == "model.stablehlo" else loader.read(folder / name)
    assert "\n" not in str(raised.value)
    if name != "model.stablehlo" and damage is truncate:
        # The same file without a description to compare it with.
        shutil.copy(folder / name, tmp_path / name)
        with pytest.raises(UserError, match="cannot be read as safetensors"):
            loader.read(tmp_path / name)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"none/export\.json cannot be read \(No such file or directory\)"):
        loader.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"none\.safetensors does not exist"):
        loader.read(tmp_path / "none.safetensors")


@pytest.mark.parametrize("exported", ["soft-shared"], indirect=True)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 9, 8, 2), np.uint8), r"uint8 \[2, 9, 8, 2\]; .* expects uint8 \[B, 8, 8, 2\]"),
        (np.zeros((2, 8, 8, 2), np.float32), "the input is float32"),
        (np.zeros((8, 8, 2), np.uint8), "the input is uint8"),
        (np.zeros((0, 8, 8, 2), np.uint8), "with B of 1 or more"),
        (np.uint8(1), "is not one array of images"),
        (b"another program's", "is not a .npy file"),
        (b"", "is not a .npy file"),
        (None, "cannot be read: No such file"),
    ],
)
def test_invalid_images(tmp_path, monkeypatch, exported, images, message):
    file = tmp_path / "batch.npy"
    if isinstance(images, bytes):
        file.write_bytes(images)
    elif images is not None:
        np.save(file, images)
    arguments = [str(exported.folder), f"--images={file}", f"--output={tmp_path / 'logits.npy'}"]
    monkeypatch.setattr(sys, "argv", ["loader", *arguments])
    with pytest.raises(UserError, match=message):
        loader.main()
    assert not (tmp_path / "logits.npy").exists()


@pytest.mark.parametrize("exported", ["soft-shared"], indirect=True)
def test_the_loader_overwrites_nothing(tmp_path, exported):
    (tmp_path / "logits.npy").write_text("mine")
    for output, message in (("logits.npy", "exists: name a new file"), ("none/logits.npy", "no such folder")):
        check(
            tiny.run("loader", exported.folder, "--images=batch.npy", f"--output={tmp_path / output}"),
            message,
        )
    assert (tmp_path / "logits.npy").read_text() == "mine"
    arguments = (exported.folder, "--images=batch.npy", f"--output={tmp_path / 'new.npy'}", "--batch_size=0")
    check(forking.run("loader", *arguments), "--batch_size is 0; it must be at least 1")


def test_mistakes_of_export(tmp_path, monkeypatch, trained):
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("mine")
    run, out = f"--workdir={trained.root}", f"--output={tmp_path / 'out'}"
    check(forking.run("export", run), "required: --output")
    check(forking.run("export", run, out, "--fast"), "unrecognized arguments: --fast")
    check(forking.run("export", run, out, "--step=3"), "holds no step 3")
    for arguments, message in (
        ([run, f"--output={used}"], "is in use: name a new folder"),
        ([run, "--output=/proc/out"], "--output /proc/out cannot be written"),
        ([f"--workdir={tmp_path / 'none'}", out], "none does not exist"),
    ):
        monkeypatch.setattr(sys, "argv", ["export", *arguments])
        with pytest.raises(UserError, match=message):
            export_command.main()
    assert [file.name for file in tmp_path.rglob("*")] == ["used", "mine"]


def test_an_export_appears_complete_or_not_at_all(tmp_path, monkeypatch, trained):
    def fail(folder):
        assert len(list(folder.iterdir())) == 4
        raise UserError("it cannot be read back")

    monkeypatch.setattr(exporting, "load_exported", fail)
    with pytest.raises(UserError, match="read back"):
        exporting.export_run(trained, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
