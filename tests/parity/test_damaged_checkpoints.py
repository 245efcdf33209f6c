"""PyTorch checkpoints that are damaged, hostile or no weights."""

import io
import pickle
import warnings
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from softshare_jax.conversion.torch import state as torch_state  # noqa: E402
from softshare_jax.errors import UserError  # noqa: E402
from tests.parity import checkpoints  # noqa: E402
from tests.parity.reading import LEGACY, check_same, refused  # noqa: E402
from tests.parity.twin import Twin  # noqa: E402


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
