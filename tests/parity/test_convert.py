"""Checkpoints of the authors' and other scripts become runs."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from softshare_jax.conversion.torch import state as torch_state  # noqa: E402
from softshare_jax.runs.load import load  # noqa: E402
from softshare_jax.runs.workdir import Workdir  # noqa: E402
from tests import tiny  # noqa: E402
from tests.parity import checkpoints  # noqa: E402
from tests.parity.reading import LEGACY, check_same, refused  # noqa: E402
from tests.parity.twin import Twin  # noqa: E402


def convert(file, output, model, *more, cwd=tiny.REPO):
    return tiny.run("convert", f"--torch={file}", f"--model={model}", f"--output={output}", *more, cwd=cwd)


def test_a_converted_run_computes_what_theirs_did(tmp_path, twin, file):
    # The command needs no file of the checkout, so it runs from any folder.
    result = convert(file, tmp_path / "run", "swrn-16-1-2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith(
        f"{tmp_path / 'run'} holds swrn-16-1-2 at step 58500 (skipped: utils.RecorderMeter): evaluate"
    )
    run = load(Workdir(tmp_path / "run"))
    assert run.step == 150 * 390
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    logits = run.experiment.network.apply(run.experiment.programs.to_dense(run.variables), images)
    with torch.no_grad():
        expected = twin(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (stored["model"], stored["data"]["name"], stored["batch_size"]) == ("swrn-16-1-2", "cifar10", 128)


def test_a_checkpoint_without_an_epoch_is_a_finished_run(tmp_path):
    torch.save({"state_dict": Twin(10, 1, num_classes=100).state_dict()}, tmp_path / "theirs.pth")
    # The recipe matches the checkpoint's number of classes, and flags change its fields.
    fields = ("--config.duration=7 steps", "--config.data.validation_examples=5000")
    more = (*fields, "--config.data.train_examples=45000")
    result = convert(tmp_path / "theirs.pth", tmp_path / "run", "wrn-10-1", *more, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "at step 7: evaluate" in result.stdout
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (stored["data"]["name"], stored["data"]["validation_examples"]) == ("cifar100", 5000)


@pytest.mark.parametrize("module", ["utils", "__main__"])
@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}])
def test_any_class_and_any_format(tmp_path, twin, module, options):
    with checkpoints.recorder(module) as recorder:
        content = {"all": [recorder, {recorder: 1}], **checkpoints.theirs(twin), "recorder": recorder}
        torch.save(content, tmp_path / "it.pth", **options)
    found = torch_state.read(tmp_path / "it.pth")
    assert (found.epoch, found.passed_over) == (150, (f"{module}.RecorderMeter",))
    check_same(found.arrays, twin)


def wrapped(state, *wrappers):
    return {"".join(wrappers) + name: tensor for name, tensor in state.items()}


def annotated(tensor):
    tensor.note = "of a script's own"
    return tensor


@pytest.mark.parametrize(
    "made",
    [
        lambda net: net.state_dict(),
        lambda net: {"model": net.state_dict(), "epoch": None, "step": torch.tensor(3)},
        lambda net: {"model": "swrn", "net": {"state_dict": net.state_dict()}},
        lambda net: {"model_state_dict": dict(net.named_parameters()) | dict(net.named_buffers())},
        lambda net: torch.nn.DataParallel(net).state_dict(),
        lambda net: wrapped(net.state_dict(), "module.", "_orig_mod."),
        lambda net: wrapped(net.state_dict(), "_orig_mod.", "module.", "module."),
        lambda net: {n.replace(".0.", "._orig_mod.0."): t for n, t in net.state_dict().items()},
        lambda net: {n: torch.nn.Parameter(t, False) for n, t in net.state_dict().items()},
        lambda net: {n: t.double() for n, t in net.state_dict().items()},
        lambda net: {n: t.numpy() for n, t in net.state_dict().items()},
        lambda net: {n: annotated(t) for n, t in net.state_dict().items()},
        lambda net: net.to(memory_format=torch.channels_last).state_dict(),
    ],
)
def test_weights_in_any_position_and_container(tmp_path, made):
    net = Twin(10, 1).eval()
    for options in ({}, LEGACY):
        torch.save(made(net), tmp_path / "it.pth", **options)
        found = torch_state.read(tmp_path / "it.pth")
        assert found.epoch is None
        check_same(found.arrays, net)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_low_precision(tmp_path, dtype):
    net = Twin(10, 1).to(dtype)
    torch.save(net.state_dict(), tmp_path / "it.pth")
    check_same(torch_state.read(tmp_path / "it.pth").arrays, net)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (7, 7),
        (7.0, 7),
        (np.int64(7), 7),
        (np.float32(7), 7),
        (torch.tensor(7), 7),
        (torch.tensor([7.0]), 7),
        (np.array([7]), 7),
        (None, None),
        (-3, "it has -3 for its epoch; it must be an integer of at least 0"),
        (7.5, "7.5 for its epoch"),
        (float("nan"), "nan for its epoch"),
        (float("inf"), "inf for its epoch"),
        (True, "True for its epoch"),
        ("best", "'best' for its epoch"),
        (torch.tensor([7, 8]), "a tensor for its epoch"),
        ({7}, "an object of __builtin__.set for its epoch"),
    ],
)
def test_epochs(tmp_path, epoch, expected):
    torch.save({"epoch": epoch, "state_dict": Twin(10, 1).state_dict()}, tmp_path / "it.pth")
    if isinstance(expected, str):
        refused(tmp_path / "it.pth", expected)
    else:
        assert torch_state.read(tmp_path / "it.pth").epoch == expected
