"""Untrusted JSON, safetensors and similarity matrices are read or give one line."""

import json
import pathlib
import shutil
import socket
import struct
import sys

import jax
import numpy as np
import pytest

from softshare_jax import json_text, loader
from softshare_jax.errors import RunError, UserError
from softshare_jax.exports.description import DESCRIPTION
from softshare_jax.runs.artifacts import Certificate
from softshare_jax.runs.read import read as read_run
from softshare_jax.runs.records import Records, read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir
from softshare_jax.shell import cli

DEEP = b"[" * 100_000 + b"]" * 100_000
# Parsers accept this depth, but code that prints or compares values does not.
NEARLY = b"[" * 900 + b"]" * 900
NOT_UTF8 = b'{"model": "\xff"}'
HOSTILE = {
    "deep": DEEP,
    "nearly too deep": NEARLY,
    "a deep version": b'{"version": %s}' % DEEP,
    "deep groups": b'{"groups": %s}' % NEARLY,
    "a deep seed": b'{"seed": %s}' % NEARLY,
    "no UTF-8": NOT_UTF8,
    "UTF-16": "{}".encode("utf-16"),
    "a list": b"[]",
    "a number": b"5",
    "a long number": b"9" * 5000,
    "null": b"null",
    "a string": b'"x"',
    "nothing": b"",
    "an endless version": b'{"version": {"schema": 1e999}}',
}
hostile = pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)


@pytest.mark.parametrize("content", [DEEP, NOT_UTF8, b"", b"{", b"9" * 5000])
def test_invalid_json_is_a_value_error(content):
    with pytest.raises(ValueError):  # noqa: PT011 (the messages are Python's)
        json_text.parse(content)


@pytest.fixture
def made(tmp_path, trained):
    workdir = Workdir(tmp_path / "run")
    workdir.create()
    for file in (trained.config_file, trained.plan_file, trained.metrics_file):
        shutil.copy(file, workdir.root / file.name)
    return workdir


@hostile
@pytest.mark.parametrize("name", ["config", "plan", "certificate"])
def test_every_json_file_of_a_workdir(made, name, content):
    file, read = {
        "config": (made.config_file, made.read_config),
        "plan": (made.plan_file, made.read_plan),
        "certificate": (
            made.certificate_file,
            lambda: Certificate.from_json(made.read_sealed(made.certificate_file), "certificate.json"),
        ),
    }[name]
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read()
    assert "\n" not in str(error.value)
    made.holds_run()
    assert any(sentence.startswith("No ") for sentence in read_run(made).problems)


@pytest.mark.parametrize("content", [*HOSTILE.values(), b'{"host": "%s", "pid": 1%s, "since": ""}'])
def test_a_damaged_lock_file_names_no_process(made, content):
    if b"%s" in content:  # not a process id on any system
        content = content % (socket.gethostname().encode(), b"0" * 400)
    # The file locks, whatever its content.
    with made.lock():
        made.lock_file.write_bytes(content)
        with pytest.raises(UserError, match="another process is writing to"), made.lock():
            raise AssertionError("two hold the lock")


@pytest.mark.parametrize("seconds", [10**400, "5", None, float("nan"), [1]])
def test_a_run_resumes_after_records_with_an_invalid_time(made, seconds):
    made.metrics_file.write_text(json.dumps({"step": 4, "time/seconds": seconds}) + "\n")
    records = Records(made, 4)
    records.write_scalars(5, {"train/loss": 1.0})
    records.close()
    assert read_metrics(made.metrics_file)[-1]["time/seconds"] < 60


def test_similarity_that_would_fill_the_memory_is_left_out(made):
    """0.1 MB of file becomes 100 MB in memory; a hundred such files would become 10 GB."""
    made.similarity.mkdir()
    whole = {"weights/layers": np.eye(4, dtype=np.float16)}
    np.savez_compressed(made.similarity / "00000004.npz", **whole)
    np.savez_compressed(
        made.similarity / "00000008.npz", **{"weights/layers": np.zeros((7200, 7200), np.float16)}
    )
    assert (made.similarity / "00000008.npz").stat().st_size < 200_000
    history = read_similarity(made)
    assert list(history) == [4]
    np.testing.assert_array_equal(history[4]["weights"]["layers"], np.eye(4))
    assert any("similarity history" in sentence and "8" in sentence for sentence in read_run(made).problems)


@hostile
def test_the_description_of_an_export(tmp_path, content):
    (tmp_path / DESCRIPTION).write_bytes(content)
    with pytest.raises(UserError, match=r"export\.json"):
        loader.load(tmp_path)


def write_safetensors(file: pathlib.Path, **dtypes: str) -> None:
    """Writes arrays of four bytes each, with names and dtypes in the format's own terms."""
    entries = {
        name: {"dtype": dtype, "shape": [4 // size], "data_offsets": [4 * place, 4 * place + 4]}
        for place, (name, (dtype, size)) in enumerate((n, d.split(":")) for n, d in dtypes.items())
        for size in [int(size)]
    }
    header = json.dumps(entries).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * len(entries)))


def test_safetensors_of_any_dtype_and_any_names(tmp_path):
    file = tmp_path / "weights.safetensors"
    for dtypes, message in (
        ({"a": "F8_E4M3:1"}, "'a' has dtype F8_E4M3, which numpy cannot read"),
        ({"a": "F8_E5M2:1"}, "'a' has dtype F8_E5M2, which numpy cannot read"),
        ({"a": "F32:4", "a/b": "F32:4"}, "the name 'a/b' conflicts with another"),
        ({"a/b/c": "F32:4", "a/b": "F32:4"}, "the name 'a/b/c' conflicts with another"),
    ):
        write_safetensors(file, **dtypes)
        with pytest.raises(UserError, match=message):
            loader.read(file)
    write_safetensors(file, **{"a/b": "F32:4", "a/c": "BF16:2", "": "I32:4"})
    variables, _ = loader.read(file)
    assert variables["a"]["b"].dtype == np.float32
    assert (variables["a"]["c"].dtype.name, variables["a"]["c"].shape) == ("bfloat16", (2,))


@pytest.mark.parametrize("kind", [UserError, RunError])
def test_a_message_that_quotes_anything_is_one_line(capsys, monkeypatch, kind):
    def command():
        raise kind("group 'a\nerror: b\x1b[2J\u202e\udcff' is unknown")

    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit):
        cli.run(command)
    assert capsys.readouterr().err == r"error: group 'a error: b\x1b[2J\u202e\udcff' is unknown" + "\n"


def test_an_export_of_a_newer_jax_runs_or_says_so_when_it_is_loaded():
    folder = pathlib.Path(__file__).parent / "exports" / "jax-0.12.0"
    if jax.__version_info__ >= (0, 12):
        logits = loader.load(folder)(np.ones((2, 8, 8, 2), np.uint8))
        np.testing.assert_array_equal(logits, np.full((2, 2), 64, np.float32))
        return
    with pytest.raises(UserError) as error:
        loader.load(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("; it was written by jax 0.12.0.1: use that version or export again")


@pytest.mark.parametrize("versions", [None, 5, [], {}, {"jax": None}, {"jax": []}, {"jax": "newest"}])
def test_an_export_that_does_not_say_which_jax_wrote_it(tmp_path, versions):
    shutil.copytree(pathlib.Path(__file__).parent / "exports" / "jax-0.12.0", tmp_path / "export")
    file = tmp_path / "export" / DESCRIPTION
    file.write_text(json.dumps({**json.loads(file.read_text()), "versions": versions}))
    assert callable(loader.load(tmp_path / "export"))
