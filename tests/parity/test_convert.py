"""The authors' checkpoints, through the real command."""

import json
import runpy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from softshare_jax.analysis.torch_conversion import convert_torch  # noqa: E402
from softshare_jax.analysis.trained import load  # noqa: E402
from softshare_jax.errors import UserError  # noqa: E402
from softshare_jax.training import config as config_lib  # noqa: E402
from softshare_jax.training.workdir import Workdir  # noqa: E402
from tests import tiny  # noqa: E402
from tests.parity.twin import Twin  # noqa: E402


def save(file, twin, **more):
    """Writes a checkpoint as the authors' code does: prefixed, and each bank again wherever it is used."""
    state = {f"module.{name}": tensor for name, tensor in twin.state_dict().items()}
    for stage in (1, 2, 3):
        bank = state.get(f"module.bank_{stage}.templates")
        if bank is not None:
            state[f"module.stage_{stage}.1.bank.templates"] = bank
    torch.save({"state_dict": state, "best_acc": 95.0, **more}, file)


def convert(file, output, model, *more):
    return tiny.run("convert", f"--torch={file}", f"--model={model}", f"--output={output}", *more)


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    twin = Twin(16, 1, 2)
    with torch.no_grad():
        for norm in (m for m in twin.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 1.5)
    return twin.eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory, twin):
    file = tmp_path_factory.mktemp("theirs") / "model_best.pth.tar"
    save(file, twin, epoch=150)
    return file


def test_a_converted_run_computes_what_theirs_did(tmp_path, twin, file):
    result = convert(file, tmp_path / "run", "swrn-16-1-2")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    run = load(Workdir(tmp_path / "run"))
    assert run.step == 150 * 390
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    logits = run.experiment.network.apply(run.experiment.to_plain(run.variables), images)
    with torch.no_grad():
        expected = twin(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (stored["model"], stored["data"]["name"], stored["batch_size"]) == ("swrn-16-1-2", "cifar10", 128)


def test_a_checkpoint_without_an_epoch_is_a_finished_run(tmp_path, twin):
    save(tmp_path / "theirs.pth", twin)
    result = convert(tmp_path / "theirs.pth", tmp_path / "run", "swrn-16-1-2", "--config.duration=7 steps")
    assert result.returncode == 0, result.stderr
    assert "at step 7" in result.stdout


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("swrn-22-1-2", "10", r"--torch holds swrn-16-1-2 with 10 classes, .* swrn-22-1-2 with 10 classes"),
        ("swrn-16-2-2", "10", r"holds swrn-16-1-2 .* is swrn-16-2-2"),
        ("swrn-16-1-1", "10", r"holds swrn-16-1-2 .* is swrn-16-1-1"),
        ("wrn-16-1", "10", r"holds swrn-16-1-2 .* is wrn-16-1"),
        ("swrn-16-1-2", "100", r"with 10 classes, and .* with 100 classes"),
        ("scnn-4-8", "10", r"scnn-4-8 answers for every pixel"),
    ],
)
def test_a_checkpoint_of_another_network(tmp_path, file, model, data, message):
    fails(file, tmp_path / "run", message, config(model, data))
    assert not list(tmp_path.iterdir())


class Code:
    """Pickles as a call: what a checkpoint must never be able to do."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_files_that_are_no_checkpoints(tmp_path, twin):
    file, output = tmp_path / "theirs.pth", tmp_path / "run"
    fails(file, output, "does not exist")
    file.write_bytes(b"PK\x03\x04 not a checkpoint")
    fails(file, output, "is not a checkpoint of tensors")
    torch.save({"state_dict": twin.state_dict(), "more": Code(tmp_path / "ran")}, file)
    fails(file, output, "is not a checkpoint of tensors")
    torch.save([1], file)
    fails(file, output, "has no 'state_dict'")
    torch.save({"state_dict": {"module.conv1.weight": torch.ones(1)}}, file)
    fails(file, output, "holds no wide ResNet")
    state = dict(twin.state_dict())
    del state["stage_1.0.bn2.running_var"]
    torch.save({"state_dict": state}, file)
    fails(file, output, "holds no stage_1.0.bn2.running_var")
    state = {**twin.state_dict(), "stage_2.0.extra": torch.ones(1)}
    torch.save({"state_dict": state}, file)
    fails(file, output, "stage_2.0.extra, which is not part")
    state = {**twin.state_dict(), "conv_3x3.weight": torch.ones(16, 1, 3, 3)}
    torch.save({"state_dict": state}, file)
    fails(file, output, r"has \(3, 3, 1, 16\) for params/stem/kernel, .* \(3, 3, 3, 16\)")
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=swrn-16-1-1"], "--torch holds swrn-16-1-2 with 10 classes"),
        (["--model=resnet"], "there is no network 'resnet'"),
        ([], "--model is missing"),
    ],
)
def test_mistakes_through_the_command(tmp_path, file, arguments, message):
    result = tiny.run("convert", f"--torch={file}", f"--output={tmp_path / 'run'}", *arguments)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_an_output_in_use(tmp_path, file):
    (tmp_path / "mine").write_text("")
    fails(file, tmp_path, "is in use")


def config(model="swrn-16-1-2", data="10"):
    values = runpy.run_path(str(tiny.REPO / "configs" / f"cifar{data}.py"))["get_config"](model)
    return config_lib.from_dict(values.to_dict())


def fails(file, output, message, settings=None):
    with pytest.raises(UserError, match=message):
        convert_torch(file, settings or config(), Workdir(output))
