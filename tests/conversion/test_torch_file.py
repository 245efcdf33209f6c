"""PyTorch files, made by checkpoints/make_checkpoint.py, are read without PyTorch."""

import io
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from softshare_jax.conversion.torch import pickle as torch_pickle
from softshare_jax.conversion.torch import state as torch_state
from softshare_jax.conversion.torch.values import Unknown
from softshare_jax.errors import UserError

FILES = pathlib.Path(__file__).with_name("checkpoints")
NUMBERS = np.arange(24, dtype=np.float32)
EXPECTED = {
    "whole": NUMBERS.reshape(2, 3, 4),
    "turned": NUMBERS[:6].reshape(2, 3).T,
    "part": NUMBERS[5:9],
    "half": NUMBERS[:3] / 2,
    "bfloat": NUMBERS[:3] / 4,
    "double": NUMBERS[:3] / 8,
    "one": np.float32(0.5),
}


@pytest.mark.parametrize("name", ["since-1.6.pt", "until-1.5.pt", "python-2.pt"])
def test_formats(name):
    found = torch_state.read(FILES / name)
    assert (found.epoch, found.passed_over) == (3, ("__main__.RecorderMeter",))
    assert found.arrays.keys() == EXPECTED.keys()
    for name, array in EXPECTED.items():
        assert found.arrays[name].dtype == np.float32
        np.testing.assert_array_equal(found.arrays[name], array)


def archive(file, content):
    """Writes a file in the format of PyTorch 1.6 and later, with the given bytes as its pickle."""
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", content)
    return file


def test_a_pickle_calls_nothing(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    touch = f"touch {tmp_path / 'ran'}".encode()
    code = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    for calls in (
        # Protocols 2 and 4, by name and by instance, nested calls, and with a state.
        b"cos\nsystem\nX" + len(touch).to_bytes(4, "little") + touch + b"\x85R",
        b"\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(touch)]) + touch + b"\x85R",
        b"(S'" + touch + b"'\nios\nsystem\n",
        b"cplanted\nThing\n)\x81}b",
        b"cbuiltins\neval\nX" + len(code).to_bytes(4, "little") + code + b"\x85R",
        b"cplanted\nThing\n)R(X\x01\x00\x00\x00a]db]a",
    ):
        stream = io.BytesIO(b"\x80\x04" + calls + b".")
        value, _, unknown = torch_pickle.load(stream)
        assert isinstance(value, Unknown)
        assert value.path in unknown
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}b",
        b"ccollections\nOrderedDict\nN}X\x03\x00\x00\x00getNs\x86b",
        b"ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeNsb",
        b"cnumpy\ndtype\n}X\x07\x00\x00\x00numbersNsb",
    ],
)
def test_placeholders_for_names_cannot_be_changed(tmp_path, change):
    file = archive(tmp_path / "it.pt", b"\x80\x02" + change + b".")
    with pytest.raises(UserError, match=r"it.pt is not a torch.save file"):
        torch_state.read(file)
    test_formats("since-1.6.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickle.dumps([1], 2),
            "expected a dictionary of weights, found a value of type list; save the state_dict",
        ),
        (pickle.dumps({"weights": 3}, 2), "found a dictionary of 'weights'; save"),
        (b"\x80\x02N", "is not a torch.save file (pickle exhausted"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "is not a torch.save file (its memo index is larger than"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, message):
    with pytest.raises(UserError) as caught:
        torch_state.read(archive(tmp_path / "it.pt", content))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--torch {tmp_path / 'it.pt'}")
    assert message in line


def test_a_tensor_does_not_reach_beyond_its_storage(tmp_path):
    content = (FILES / "since-1.6.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        (name,) = (name for name in old.namelist() if name.endswith("data.pkl"))
        # The tensor has four numbers, from the sixth on. The changed offset or size ends beyond the storage.
        original = old.read(name)
    assert original.count(b"K\x05K\x04\x85") == 1
    for changed, message in (
        (original.replace(b"K\x05K\x04\x85", b"K\x15K\x04\x85"), "a tensor reaches beyond its storage"),
        (original.replace(b"K\x05K\x04\x85", b"K\x05K\x20\x85"), "a tensor reaches beyond its storage"),
        (original.replace(b"K\x05K\x04\x85", b"K\x05J\xff\xff\xff\xff\x85"), "a tensor has an invalid shape"),
    ):
        with pytest.raises(UserError, match=message):
            torch_state.read(archive(tmp_path / "it.pt", changed))
