"""PyTorch checkpoints of other networks than the command names, and other mistakes."""

import runpy

import pytest

torch = pytest.importorskip("torch")

from softshare_jax import config as config_lib  # noqa: E402
from softshare_jax.conversion.torch.conversion import convert_torch  # noqa: E402
from softshare_jax.errors import UserError  # noqa: E402
from softshare_jax.runs.workdir import Workdir  # noqa: E402
from tests import tiny  # noqa: E402
from tests.commands.lines import check  # noqa: E402
from tests.parity.twin import Twin  # noqa: E402


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("swrn-22-1-2", "10", r"--torch holds swrn-16-1-2 with 10 classes; .* swrn-22-1-2 with 10 classes"),
        ("swrn-16-2-2", "10", r"holds swrn-16-1-2 .* is swrn-16-2-2"),
        ("swrn-16-1-1", "10", r"holds swrn-16-1-2 .* is swrn-16-1-1"),
        ("wrn-16-1", "10", r"holds swrn-16-1-2 .* is wrn-16-1"),
        ("swrn-16-1-2", "100", r"with 10 classes; .* with 100 classes"),
        ("scnn-4-8", "10", r"scnn-4-8 predicts a value for every pixel"),
    ],
)
def test_a_checkpoint_of_another_network(tmp_path, file, model, data, message):
    fails(file, tmp_path / "run", message, config(model, data))
    assert not list(tmp_path.iterdir())


def test_incomplete_networks(tmp_path, twin):
    file, output = tmp_path / "theirs.pth", tmp_path / "run"

    def saved(**changes):
        state = {name: tensor for name, tensor in twin.state_dict().items() if ".bank." not in name}
        state |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
        torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, file)
        return file

    torch.save({"state_dict": {"module.conv1.weight": torch.ones(1)}}, file)
    fails(file, output, r"holds no wide ResNet .* classifier.weight .*; found conv1.weight")
    fails(saved(classifier__weight=torch.ones(10)), output, "holds no wide ResNet")
    fails(saved(bank_1__templates=torch.ones(2)), output, "holds no wide ResNet")
    fails(saved(stage_1__0__bn2__running_var=None), output, "has no array stage_1.0.bn2.running_var")
    fails(saved(stage_2__0__extra=torch.ones(1)), output, "wide ResNet does not have: stage_2.0.extra")
    fails(saved(conv_3x3__weight=torch.ones(3)), output, r"has \(3,\) for conv_3x3.weight; a kernel is")
    fails(
        saved(stage_2__1__bn1__bias=torch.ones(7)), output, r"has \(1, 7\) for batch|has \(1, 7\) for params"
    )
    fails(
        saved(conv_3x3__weight=torch.ones(16, 1, 3, 3)),
        output,
        r"has \(3, 3, 1, 16\) for params/stem/kernel; .* \(3, 3, 3, 16\)",
    )
    state = Twin(22, 1).state_dict()
    state["stage_1.2.bn1.bias"] = torch.ones(7)
    torch.save(state, file)
    fails(file, output, "has blocks of different shapes in stage_1", config("wrn-22-1"))
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=swrn-16-1-1"], "--torch holds swrn-16-1-2 with 10 classes"),
        (["--model=resnet"], "unknown network 'resnet'"),
        ([], "--model is missing"),
        (["--model=swrn-16-1-2", "--config.nosuch=3"], "nosuch"),
        (["--model=swrn-16-1-2", "--config.batch_size=many"], "many"),
    ],
)
def test_mistakes_through_the_command(tmp_path, file, arguments, message):
    result = tiny.run("convert", f"--torch={file}", f"--output={tmp_path / 'run'}", *arguments)
    check(result, message)
    assert not list(tmp_path.iterdir())


def test_an_output_in_use(tmp_path, file):
    (tmp_path / "mine").write_text("")
    fails(file, tmp_path, "is in use")


def config(model="swrn-16-1-2", data="10"):
    values = runpy.run_path(str(tiny.REPO / "configs" / f"cifar{data}.py"))["get_config"](model)
    return config_lib.from_dict(values.to_dict())


def fails(file, output, message, settings=None):
    with pytest.raises(UserError, match=message):
        convert_torch(file, lambda classes: settings or config(), Workdir(output))
