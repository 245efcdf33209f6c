"""Outputs of commands: exactly one command writes an output completely, and changes nothing else."""

import errno
import functools
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from softshare_jax import durable, loader
from softshare_jax.conversion import exporting, folding
from softshare_jax.conversion.output import new_folder
from softshare_jax.errors import UserError
from softshare_jax.reporting import poster
from softshare_jax.runs.workdir import Workdir

MEANWHILE = "was made by another command meanwhile"
WRITERS = 8
# Fills a folder, prints a line, waits for a line of input and publishes the folder, unless killed.
COMMAND = """
import pathlib, sys
from softshare_jax.shell import cli
from softshare_jax.conversion.output import new_folder

def command():
    with new_folder(pathlib.Path(sys.argv[1])) as folder:
        for number in range(20):
            (folder / str(number)).write_text(sys.argv[2])
        print("filled", flush=True)
        sys.stdin.readline()

cli.run(command)
"""


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def at_once(write):
    """Runs a function in several threads at once; returns what each one raised, by its number."""
    outcomes: list[BaseException | None] = [None] * WRITERS

    def attempt(number):
        try:
            write(number)
        except (UserError, OSError) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.parametrize("exists", [False, True])
def test_one_of_two_concurrent_commands_gets_the_output(tmp_path, exists):
    output, barrier = tmp_path / "output", threading.Barrier(WRITERS)
    if exists:
        output.mkdir()

    def fill(number):
        with new_folder(output) as folder:
            for file in range(20):
                (folder / str(file)).write_text(str(number))
            barrier.wait(60)

    outcomes = at_once(fill)
    (winner,) = {file.read_text() for file in output.iterdir()}
    assert len(entries(output)) == 20
    for number, outcome in enumerate(outcomes):
        assert (outcome is None) is (number == int(winner))
        assert outcome is None or (isinstance(outcome, UserError) and MEANWHILE in str(outcome))
    assert entries(tmp_path) == ["output"]


def test_one_of_several_concurrent_files_appears(tmp_path, monkeypatch):
    for links in (True, False):
        file, barrier = tmp_path / f"file-{links}", threading.Barrier(WRITERS)
        if not links:
            refuse = functools.partial(OSError, errno.EPERM, os.strerror(errno.EPERM))
            monkeypatch.setattr(os, "link", lambda *_, refuse=refuse: (_ for _ in ()).throw(refuse()))

        def write(number, file=file, barrier=barrier):
            content = bytes([number]) * 100_000
            barrier.wait(60)
            durable.write_new(file, content)

        outcomes = at_once(write)
        (winner,) = set(file.read_bytes())
        assert file.stat().st_size == 100_000
        assert [outcome is None for outcome in outcomes] == [number == winner for number in range(WRITERS)]
        assert {type(outcome) for outcome in outcomes} == {type(None), FileExistsError}
    assert entries(tmp_path) == ["file-False", "file-True"]


def test_two_processes_and_a_killed_one(tmp_path):
    output = tmp_path / "output"
    start = functools.partial(
        subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    commands = [
        start([sys.executable, "-c", COMMAND, str(output), name]) for name in ("one", "two", "killed")
    ]
    for command in commands:
        assert command.stdout is not None
        assert command.stdout.readline() == "filled\n"
    commands[2].kill()
    ends = [command.communicate("\n", timeout=60) for command in commands]
    assert [command.returncode for command in commands] == [0, 2, -9]
    assert {file.read_text() for file in output.iterdir()} == {"one"}
    assert ends[1][1] == f"error: --output {output} {MEANWHILE}: name a new folder\n"
    # The killed command leaves a hidden folder that names its output and blocks no other command.
    (left,) = {*entries(tmp_path)} - {"output"}
    assert left.startswith(".output.")
    assert left.endswith(".partial")


@pytest.mark.parametrize("name", ["X.partial", "X.npy.partial", ".writable"])
def test_no_other_file_is_deleted_or_overwritten(tmp_path, name):
    theirs = tmp_path / name
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    file = tmp_path / f"{name}-file"
    file.write_text("mine")
    with new_folder(tmp_path / "X") as folder:
        (folder / "made").touch()
    durable.write_new(tmp_path / "X.npy", b"made")
    Workdir(tmp_path).create()
    assert ((theirs / "notes.txt").read_text(), file.read_text()) == ("mine", "mine")
    assert entries(tmp_path) == sorted([name, file.name, "X", "X.npy"])


def test_a_file_named_as_the_probe_of_a_workdir_stays(tmp_path):
    (tmp_path / ".writable").write_text("mine")
    at_once(lambda _: Workdir(tmp_path).create())
    assert (tmp_path / ".writable").read_text() == "mine"
    assert entries(tmp_path) == [".writable"]


def test_the_output_has_the_usual_permissions(tmp_path):
    # Usual permissions, behind a symbolic link, and with the longest possible name.
    (tmp_path / "made").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    for output in (tmp_path / "link", tmp_path / "dangling", tmp_path / ("x" * 255), tmp_path / "a/b/c"):
        with new_folder(output) as folder:
            (folder / "file").write_text("content")
        assert (output / "file").read_text() == "content"
        assert stat.S_IMODE(output.stat().st_mode) == stat.S_IMODE((tmp_path / "made").stat().st_mode)
    durable.write(tmp_path / ("y" * 255), b"content")
    assert (tmp_path / "link").is_symlink()
    assert not list(tmp_path.rglob("*.partial"))


def test_an_overtaken_fold_or_export_leaves_the_first_output_intact(tmp_path, monkeypatch, trained):
    """The second command runs completely just before the first one finishes."""
    for module, last, command in (
        (folding, "certify", lambda output, step: folding.fold_run(trained, Workdir(output), step=step)),
        (exporting, "write", lambda output, step: exporting.export_run(trained, output, step)),
    ):
        output, work = tmp_path / last, getattr(module, last)

        def overtaken(*arguments, command=command, output=output, module=module, last=last, work=work):
            monkeypatch.setattr(module, last, work)
            command(output, 12)
            return work(*arguments)

        monkeypatch.setattr(module, last, overtaken)
        with pytest.raises(UserError, match=MEANWHILE):
            command(output, 16)
        assert not list(tmp_path.glob(".*"))
    folded = Workdir(tmp_path / "certify")
    assert folded.read_json(folded.certificate_file)["step"] == 12
    assert entries(folded.checkpoints) == ["12"]
    assert loader.describe(tmp_path / "write")["step"] == 12
    loader.load(tmp_path / "write")


def test_an_overtaken_loader_or_poster_overwrites_nothing(tmp_path, monkeypatch, capsys):
    for output, run, what in (
        (tmp_path / "logits.npy", lambda output: _load(output, monkeypatch), "name a new file"),
        (tmp_path / "poster.md", lambda output: _write_poster(output, monkeypatch), "run this again"),
    ):
        overtaken = durable.partial

        def partial(path, output=output, overtaken=overtaken):
            output.write_text("theirs")
            return overtaken(path)

        monkeypatch.setattr(durable, "partial", partial)
        with pytest.raises(UserError, match=f"{MEANWHILE}: {what}"):
            run(output)
        monkeypatch.undo()
        assert output.read_text() == "theirs"
        output.unlink()
    assert entries(tmp_path) == []
    assert "wrote" not in capsys.readouterr().out


def _load(output, monkeypatch):
    images = np.zeros((2, 3), np.uint8)
    monkeypatch.setattr(loader, "_read_images", lambda file: images)
    monkeypatch.setattr(loader, "load", lambda folder: lambda images: images)
    monkeypatch.setattr(sys, "argv", ["loader", "folder", "--images=images.npy", f"--output={output}"])
    loader.main()


def _write_poster(output, monkeypatch):
    # Counting the parameters of all networks takes long, so this writes another page.
    monkeypatch.setattr(poster, "render", lambda runs, command: "page")
    poster.write_poster(output, [], "command")
