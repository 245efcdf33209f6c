"""CIFAR is fetched, checked and written once, also by several processes; every fault is one line."""

import contextlib
import functools
import http.server
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from softshare_jax.data import cifar, cifar_archive
from softshare_jax.errors import RunError, UserError
from tests import cifar as fakes
from tests import tiny
from tests.data.loading import NAMES, by_image, mistake, prepare_and_load


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_unreachable(tmp_path, monkeypatch, name):
    monkeypatch.setattr(cifar_archive, "URL", "http://127.0.0.1:9/")
    line = mistake(name, tmp_path)
    file = cifar_archive.ARCHIVES[name].file
    assert f"{name} is not in {tmp_path} and http://127.0.0.1:9/{file} cannot be reached" in line
    assert f"put {file} into {tmp_path / 'downloads'}" in line
    assert "--config.data_dir=DIR" in line
    assert {p.name for p in tmp_path.rglob("*")} == {f".{name}.lock", "downloads"}


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert mistake("cifar10", tmp_path / "file").startswith(str(tmp_path / "file"))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, but breaks off half-way through the archive of CIFAR-100."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "100" in self.path else content)

    def log_message(self, *_):
        """Says nothing."""


@contextlib.contextmanager
def served(folder):
    """Serves a folder on a free port of this machine, and yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_archive_is_fetched_checked_and_kept(tmp_path, monkeypatch, capfd):
    data = fakes.fake("cifar10", seed=1)
    file, sha256 = fakes.write_archive(data, tmp_path / "toronto")
    with served(tmp_path / "toronto") as url, fakes.trusted("cifar10", sha256):
        monkeypatch.setattr(cifar_archive, "URL", url)
        loaded = prepare_and_load("cifar10", str(tmp_path / "data"))
    assert by_image(**loaded["train"]) == by_image(*data.splits["train"])
    assert f"fetched {url}{file.name}" in capfd.readouterr().out
    assert [p.name for p in (tmp_path / "data" / "downloads").glob("*.gz")] == [file.name]
    # From here on, neither the server nor the archive exists.
    (tmp_path / "data" / "downloads" / file.name).unlink()
    np.testing.assert_array_equal(
        cifar.load("cifar10", str(tmp_path / "data"))["test"]["images"], loaded["test"]["images"]
    )


PREPARE = """
import sys
from softshare_jax.data import cifar
from softshare_jax.shell import logs
from tests import cifar as fakes
logs.configure()
root, sha256 = sys.argv[1:]
with fakes.trusted("cifar10", sha256):
    cifar.prepare("cifar10", root)
print(len(cifar.load("cifar10", root)["train"]["labels"]))
"""


def test_one_of_several_processes_prepares_and_a_killed_one_leaves_nothing(tmp_path):
    _, sha256 = fakes.write_archive(fakes.fake("cifar10", train=1000), tmp_path / "downloads")
    command, waiting = [sys.executable, "-c", PREPARE, str(tmp_path), sha256], "waiting for another process"
    with contextlib.ExitStack() as started:

        def start():
            process = subprocess.Popen(command, cwd=tiny.REPO, stdout=subprocess.PIPE, text=True)
            started.enter_context(process)
            started.callback(process.kill)
            return process

        first = start()
        while not list((tmp_path / ".cifar10.partial").glob("*/*/*")):
            assert first.poll() is None
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)
        others = [start() for _ in range(3)]
        assert [other.stdout.readline() for other in others] == [
            f"{waiting} to prepare cifar10 in {tmp_path}\n"
        ] * 3
        assert not (tmp_path / "cifar10").exists()
        first.kill()
        ends = [other.communicate(timeout=60)[0] for other in others]
        assert [other.returncode for other in others] == [0, 0, 0]
    # One process wrote it, and all can read it.
    assert sorted(ends) == ["1000\n", "1000\n", f"writing {tmp_path / 'cifar10'}\n1000\n"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cifar10.lock", "cifar10", "downloads"]
    assert [p.name for p in (tmp_path / "cifar10").iterdir()] == ["3.0.2"]


def test_a_full_disk_is_a_line_and_leaves_nothing(tmp_path):
    _, sha256 = fakes.write_archive(fakes.fake("cifar10", train=100), tmp_path / "downloads")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with (
            fakes.trusted("cifar10", sha256),
            pytest.raises(RunError, match=r"3.0.2 cannot be written \(.*too large"),
        ):
            cifar.prepare("cifar10", str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cifar10.lock", "downloads"]


def test_a_full_disk_during_the_download_is_no_mistake_of_the_user(tmp_path, monkeypatch):
    _, sha256 = fakes.write_archive(fakes.fake("cifar100", train=1000), tmp_path / "toronto")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with served(tmp_path / "toronto") as url, fakes.trusted("cifar100", sha256):
        monkeypatch.setattr(cifar_archive, "URL", url)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
            with pytest.raises(RunError, match="cannot be written: File too large"):
                cifar.prepare("cifar100", str(tmp_path / "data"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {p.name for p in (tmp_path / "data").rglob("*")} == {".cifar100.lock", "downloads"}


def test_reading_fetches_nothing(tmp_path):
    # A report on a machine without the data must not wait for a download.
    with pytest.raises(UserError, match=f"cifar10 is not in {tmp_path}"):
        cifar.load("cifar10", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off(tmp_path, monkeypatch):
    _, sha256 = fakes.write_archive(fakes.fake("cifar100"), tmp_path / "toronto")
    with served(tmp_path / "toronto") as url, fakes.trusted("cifar100", sha256):
        monkeypatch.setattr(cifar_archive, "URL", url)
        line = mistake("cifar100", tmp_path / "data")
    assert f"the download of {url}cifar-100-binary.tar.gz failed" in line
    assert line.endswith("try again")
    assert {p.name for p in (tmp_path / "data").rglob("*")} == {".cifar100.lock", "downloads"}


def test_an_archive_that_the_server_does_not_have(tmp_path, monkeypatch):
    (tmp_path / "toronto").mkdir()
    with served(tmp_path / "toronto") as url:
        monkeypatch.setattr(cifar_archive, "URL", url)
        line = mistake("cifar10", tmp_path / "data")
        assert f"{url}cifar-10-binary.tar.gz cannot be reached (File not found)" in line


def test_the_command_without_data_and_network(tmp_path):
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    workdir, data = tmp_path / "run", tmp_path / "data"
    result = tiny.run(
        "main",
        "--config=configs/cifar10.py",
        f"--config.data_dir={data}",
        f"--workdir={workdir}",
        env={**nowhere, "no_proxy": ""},
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cifar10 is not in {data} and https://www.cs.toronto.edu/")
    assert line.endswith("or set --config.data_dir=DIR to a folder with the data set")
    assert result.stdout == ""
    assert not workdir.exists()
    assert not (data / "cifar10").exists()
