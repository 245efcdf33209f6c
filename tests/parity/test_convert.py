"""Checkpoints of the authors' and other scripts, and invalid files."""

import io
import json
import pickle
import runpy
import sys
import warnings
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from softshare_jax import config as config_lib  # noqa: E402
from softshare_jax.conversion.torch import state as torch_state  # noqa: E402
from softshare_jax.conversion.torch.conversion import convert_torch  # noqa: E402
from softshare_jax.errors import UserError  # noqa: E402
from softshare_jax.runs.load import load  # noqa: E402
from softshare_jax.runs.workdir import Workdir  # noqa: E402
from tests import tiny  # noqa: E402
from tests.commands.lines import check  # noqa: E402
from tests.parity import checkpoints  # noqa: E402
from tests.parity.twin import Twin  # noqa: E402

LEGACY = {"_use_new_zipfile_serialization": False}


def convert(file, output, model, *more, cwd=tiny.REPO):
    return tiny.run("convert", f"--torch={file}", f"--model={model}", f"--output={output}", *more, cwd=cwd)


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
    """Returns a checkpoint of the authors' script, with an object of an unknown class."""
    file = tmp_path_factory.mktemp("theirs") / "model_best.pth.tar"
    with checkpoints.recorder() as recorder:
        torch.save({**checkpoints.theirs(twin), "recorder": recorder}, file)
    assert "utils" not in sys.modules
    return file


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


def quantized(tensor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated it
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_sparse(), "an object of torch._utils._rebuild_sparse_tensor for conv_3x3.weight"),
        (lambda t: t.to("meta"), "an object of torch._utils._rebuild_meta_tensor_no_storage for conv_3x3"),
        (quantized, "an object of torch._utils._rebuild_qtensor for conv_3x3.weight"),
        (lambda t: t.to(torch.float8_e4m3fn), "an object of torch._utils._rebuild_tensor_v3 for conv_3x3"),
        (lambda t: t.to(torch.complex64), "it has conv_3x3.weight in complex64; weights must be floating"),
        (lambda t: t.to(torch.int64), "it has conv_3x3.weight in int64"),
        (lambda t: t * float("nan"), "it has values in conv_3x3.weight that are not finite"),
        (lambda t: t / 0, "it has values in conv_3x3.weight that are not finite"),
        (lambda t: t.double() * 1e300, "it has values in conv_3x3.weight that are not finite in float32"),
        (lambda t: t[:1, :1, :1, :1].expand(10000, 10000, 3, 3), "tensors are larger than the file"),
        (lambda t: [0.5], "it has a value of type list for conv_3x3.weight; weights must be dense tensors"),
        (lambda t: None, "it has a value of type NoneType for conv_3x3.weight"),
        (lambda t: np.array(["a"]), "numpy arrays of type U1 are not supported"),
    ],
)
def test_entries_that_are_not_weights(tmp_path, change, message):
    state = Twin(10, 1).state_dict()
    state["conv_3x3.weight"] = change(state["conv_3x3.weight"])
    for options in ({}, LEGACY):
        torch.save({"state_dict": state}, tmp_path / "it.pth", **options)
        refused(tmp_path / "it.pth", message)


def test_invalid_duplicate_and_contradictory_names(tmp_path, twin):
    file, state = tmp_path / "it.pth", twin.state_dict()
    torch.save({"state_dict": {**state, 3: torch.ones(1)}}, file)
    refused(file, "it names a weight 3; names must be strings")
    torch.save({**state, "module.conv_3x3.weight": torch.ones(1)}, file)
    refused(file, "it has conv_3x3.weight twice, with different prefixes such as module.")
    name = "stage_2.1.conv1.bank.templates"
    torch.save({**state, name: state[name] + 1}, file)
    refused(file, f"it has different values for {name} and bank_2.templates, which are the same bank")
    with checkpoints.recorder("swrn") as model:
        torch.save({"model": model, "epoch": 3}, file)
    refused(file, "found a dictionary of 'model' (swrn.RecorderMeter), 'epoch';")
    torch.save(twin, file)
    refused(file, "found an object of tests.parity.twin.Twin; save the state_dict of the model")
    holder = {}
    holder["model"] = holder
    torch.save(holder, file)
    refused(file, "expected a dictionary of weights")


class Code:
    """Pickles as a function call. Reading a checkpoint must never execute it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_nothing_is_executed(tmp_path, twin):
    content = {"state_dict": twin.state_dict(), "more": Code(tmp_path / "ran")}
    for options in ({}, LEGACY):
        torch.save(content, tmp_path / "it.pth", **options)
        found = torch_state.read(tmp_path / "it.pth")
        check_same(found.arrays, twin)
        assert found.passed_over == ("io.open",)
    assert [p.name for p in tmp_path.iterdir()] == ["it.pth"]


def test_bombs_and_damage(tmp_path, twin, file):
    it = tmp_path / "it.pth"
    zeros = bytes(10_000_000)
    checkpoints.rewritten(file, it, zipfile.ZIP_DEFLATED, bomb=zeros)
    assert it.stat().st_size < 5_000_000
    refused(it, "is not a torch.save file (its entries are compressed; torch.save does not compress)")
    # A short pickle whose memo would exhaust memory.
    checkpoints.rewritten(file, it, **{"data.pkl": b"\x80\x02Nr\xff\xff\xff\x7f."})
    refused(it, "is not a torch.save file (its memo index is larger than its number of objects)")
    checkpoints.rewritten(file, it, **{"constants.pkl": b""})
    refused(it, "is not a torch.save file (a TorchScript program: save the state_dict of the model)")
    checkpoints.rewritten(file, it, byteorder=b"big")
    refused(it, "big-endian")
    content = bytearray(file.read_bytes())
    content[content.index(twin.conv_3x3.weight.detach().numpy().tobytes())] ^= 4
    it.write_bytes(content)
    refused(it, "(Bad CRC-32 for file")
    it.write_bytes(file.read_bytes()[:-100])
    refused(it, "is not a torch.save file (it is truncated)")
    with zipfile.ZipFile(it, "w") as archive:
        archive.writestr("something", "else")
    refused(it, "(a zip archive with 0 files data.pkl; torch.save writes one)")
    for content in (b"", b"text", b"PK\x03\x04 not a checkpoint", pickle.dumps({"state_dict": {}})):
        it.write_bytes(content)
        refused(it, "is not a torch.save file (")
    torch.save({"a": torch.ones(9)}, it, **LEGACY)
    it.write_bytes(it.read_bytes()[:-4])
    refused(it, "is damaged (storage")
    it.unlink()
    refused(it, "does not exist")


@pytest.mark.parametrize("options", [{}, LEGACY])
def test_flipped_bits(tmp_path, options):
    net, stream = Twin(10, 1), io.BytesIO()
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, stream, **options)
    content, random, lines = stream.getvalue(), np.random.default_rng(0), 0
    for i in range(300):
        flipped = bytearray(content)
        # Half of the flips hit the part with names, shapes and sizes.
        place = int(random.integers(0, 6000 if i % 2 else len(content)))
        flipped[place] ^= 1 << int(random.integers(8))
        (tmp_path / "it.pth").write_bytes(flipped)
        try:
            found = torch_state.read(tmp_path / "it.pth")
        except UserError as error:
            lines += 1
            assert len(str(error).splitlines()) == 1  # noqa: PT017 (other flips are read)
        else:
            # The format up to 1.5 has no checksums, so a changed number is not detectable.
            if not options:
                assert found.epoch == 3
                check_same(found.arrays, net)
    assert lines > 30


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


def refused(file, message):
    with pytest.raises(UserError) as caught:
        torch_state.read(file)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--torch {file}")
    assert message in line
