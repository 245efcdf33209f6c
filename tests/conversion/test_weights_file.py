"""Files of weights of any model: shared, and written back with their own names and dtypes."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from softshare_jax import loader, sharing
from tests import forking

LAYERS, METADATA = 4, {"format": "pt"}


def weights(dtype="float32"):
    """Returns arrays with the names, shapes and dtypes of a small BERT as PyTorch saves it."""
    random = np.random.default_rng(0)
    arrays = {"embeddings.position_ids": np.arange(2**40, 2**40 + 8)[None]}
    arrays["embeddings.word_embeddings.weight"] = random.normal(size=(50, 8)).astype(dtype)
    for layer in range(LAYERS):
        for name, shape in (("attention.self.query", (8, 8)), ("intermediate.dense", (16, 8))):
            place = f"encoder.layer.{layer}.{name}"
            arrays[f"{place}.weight"] = random.normal(size=shape).astype(dtype)
            arrays[f"{place}.bias"] = random.normal(size=shape[0]).astype("float64")
    return arrays


def write(folder, arrays):
    file = folder / "model.safetensors"
    save_file(arrays, file, METADATA)
    return file


def convert(*arguments):
    done = forking.run("convert", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def fails(message, *arguments):
    done = forking.run("convert", *arguments)
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert message in line


def tensors(file):
    with safe_open(file, framework="numpy") as content:
        return {name: content.get_tensor(name) for name in content.keys()}, content.metadata()  # noqa: SIM118


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16, "float64"])
def test_a_template_for_each_layer_gives_the_same_file_back(tmp_path, dtype):
    arrays = weights(dtype)
    file = write(tmp_path, arrays)
    convert(f"--safetensors={file}", f"--output={tmp_path / 'shared'}")
    convert(f"--materialize={tmp_path / 'shared'}", f"--output={tmp_path / 'back.safetensors'}")
    found, metadata = tensors(tmp_path / "back.safetensors")
    assert metadata == METADATA
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_fewer_templates_are_the_best_of_their_number(tmp_path):
    arrays = weights()
    file, output = write(tmp_path, arrays), tmp_path / "shared"
    said = convert(
        f"--safetensors={file}", "--rule=query=.*/query/weight", "--rule=up=.*/intermediate/dense/weight",
        "--k=2", f"--output={output}",
    )  # fmt: skip
    plan = sharing.Plan.from_json((output / "plan.json").read_text())
    assert [(group.name, group.layers, group.templates) for group in plan.groups] == [
        ("query", LAYERS, 2),
        ("up", LAYERS, 2),
    ]
    made = json.loads((output / "conversion.json").read_text())
    shared = loader.read(output / "shared.safetensors").variables
    assert shared["templates"]["query"].shape == (2, 8, 8)
    assert made["parameters"]["after"] == sum(
        x.size for x in tensors(output / "shared.safetensors")[0].values()
    )
    convert(f"--materialize={output}", f"--output={tmp_path / 'back.safetensors'}")
    found, _ = tensors(tmp_path / "back.safetensors")
    for group, name in (("query", "attention.self.query"), ("up", "intermediate.dense")):
        names = [f"encoder.layer.{layer}.{name}.weight" for layer in range(LAYERS)]
        rows, back = (np.stack([side[one].ravel() for one in names]) for side in (arrays, found))
        values = np.linalg.svd(rows, compute_uv=False)
        error = np.sqrt(np.sum(values[2:] ** 2) / np.sum(values**2))
        np.testing.assert_allclose(np.linalg.norm(back - rows) / np.linalg.norm(rows), error, rtol=1e-5)
        (errors,) = (one["relative_error"] for one in made["groups"] if one["name"] == group)
        assert errors[1] == pytest.approx(error, rel=1e-5)
        assert f"{error:.3f}" in said
    np.testing.assert_array_equal(
        found["embeddings.word_embeddings.weight"], arrays["embeddings.word_embeddings.weight"]
    )


def test_a_budget_and_names_with_slashes(tmp_path):
    arrays = {name.replace(".", "/"): array for name, array in weights().items()}
    file, budget = write(tmp_path, arrays), 1200
    rule = "--rule=my/query=.*/query/weight"
    convert(f"--safetensors={file}", f"--output={tmp_path / 'whole'}", rule)
    convert(f"--materialize={tmp_path / 'whole'}", f"--output={tmp_path / 'whole.safetensors'}")
    for name, array in tensors(tmp_path / "whole.safetensors")[0].items():
        np.testing.assert_allclose(array, arrays[name], atol=1e-5)
    convert(f"--safetensors={file}", f"--budget={budget}", f"--output={tmp_path / 'shared'}")
    made = json.loads((tmp_path / "shared" / "conversion.json").read_text())
    assert made["parameters"]["after"] <= budget < made["parameters"]["before"]
    convert(f"--materialize={tmp_path / 'shared'}", f"--output={tmp_path / 'back.safetensors'}")
    assert tensors(tmp_path / "back.safetensors")[0].keys() == arrays.keys()


def test_mistakes(tmp_path):
    file = write(tmp_path, weights())
    source, output = f"--safetensors={file}", f"--output={tmp_path / 'out'}"
    fails("does not exist", f"--safetensors={tmp_path / 'none'}", output)
    fails("no path matches", source, output, "--rule=query=.*/key/weight")
    fails("--rule is NAME=REGEX", source, output, "--rule=query")
    fails("two rules have the name 'query'", source, output, "--rule=query=a", "--rule=query=b")
    fails("choose from 1 to 4", source, output, "--k=5")
    fails("is too small", source, output, "--budget=10")
    fails("takes one of --k and --budget", source, output, "--budget=10000", "--k=2")
    fails("--config does not apply", source, output, "--config=cifar10")
    fails("--config does not apply", source, output, "--config.seed=1")
    fails("is a folder: name a file", f"--safetensors={tmp_path}", output)
    fails("--rule does not apply to --materialize", f"--materialize={file}", output, "--rule=a=b")
    fails("was not written by convert --safetensors", f"--materialize={file}", output)
    fails("exists: name a new file", f"--materialize={file}", f"--output={file}")
    write(tmp_path, {"a": np.ones(2), "a.b": np.ones(2)})
    fails("conflicts with another name", source, output)
    write(tmp_path, {"a.0.w": np.ones((0, 4)), "a.1.w": np.ones((0, 4))})
    fails("has no weights", source, output, "--k=1")
    assert not (tmp_path / "out").exists()
