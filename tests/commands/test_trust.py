"""Commands execute nothing from the current folder or from a workdir."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

from softshare_jax.__main__ import COMMANDS
from softshare_jax.conversion import exporting
from softshare_jax.runs.read import read
from softshare_jax.runs.workdir import Workdir
from tests import tiny

# Modules of the standard library, of installed packages, and optional imports of libraries.
PLANTED = (
    *("argparse", "hashlib", "json", "logging", "signal", "tempfile", "threading", "uuid"),
    *("absl", "clu", "flax", "jax", "jaxlib", "ml_collections", "numpy", "optax", "orbax", "safetensors"),
    *("IPython", "jax_plugins", "libtpu", "matplotlib", "PIL", "tensorboardX", "tensorflow", "torch"),
)
MODULES = sorted({command.module for command in COMMANDS.values()})


def plant(folder):
    """Puts files into a folder that leave a mark when executed."""
    folder.mkdir(exist_ok=True)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'executed')!r}, 'a').write('{name} ')\n")


def executed(folder):
    file = folder / "executed"
    return file.read_text() if file.exists() else ""


def run_in(folder, *arguments, flags=(), environment=None):
    """Runs Python in a folder, with the package installed."""
    return subprocess.run(
        [sys.executable, *flags, "-m", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", MODULES)
def test_no_command_imports_from_the_current_folder(tmp_path, command):
    plant(tmp_path / "sent")
    result = run_in(tmp_path / "sent", f"softshare_jax.{command}", "--help")
    assert (executed(tmp_path / "sent"), result.stderr, result.returncode) == ("", "", 0)


def test_evaluate_and_report_in_an_untrusted_workdir(tmp_path, trained):
    sent = tmp_path / "sent"
    shutil.copytree(trained.root, sent)
    plant(sent)
    # matplotlib reads this file from the current folder. It would run LaTeX for every label of a figure.
    (sent / "matplotlibrc").write_text("text.usetex: True\n")
    for arguments in (("main", "--mode=evaluate", "--workdir=."), ("report", "--workdir=.")):
        result = run_in(sent, f"softshare_jax.{arguments[0]}", *arguments[1:])
        assert (executed(sent), result.stderr, result.returncode) == ("", "", 0)
    assert "No network" not in (sent / "report.html").read_text()
    assert list((sent / "figures").glob("*.png"))


def test_a_checkout_that_is_not_installed_works(tmp_path):
    # -S: packages are found, but not editable installs.
    packages = {"PYTHONPATH": sysconfig.get_path("purelib")}
    shutil.copytree(tiny.REPO / "softshare_jax", tmp_path / "softshare_jax")
    plant(tmp_path)
    for flags in (("-S",), ("-S", "-P")):
        result = run_in(tmp_path, "softshare_jax.describe", "scnn-4-6", flags=flags, environment=packages)
        found = result.returncode == 0 and "scnn-4-6" in result.stdout
        # With -P, Python does not search the current folder, not even for the package.
        assert found is ("-P" not in flags), result.stderr
    assert executed(tmp_path) == ""


def test_programs_that_import_the_package_keep_their_path(tmp_path):
    (tmp_path / "program.py").write_text(
        "import sys; before = list(sys.path); import softshare_jax.loader; assert sys.path == before"
    )
    result = run_in(tmp_path, "program")
    assert (result.stderr, result.returncode) == ("", 0)


def test_a_config_file_imports_modules_beside_it(tmp_path):
    configs = tmp_path / "mine"
    configs.mkdir()
    shipped = tiny.REPO / "configs" / "quickstart.py"
    (configs / "settings_of_mine.py").write_text("DURATION = 'no duration'\n")
    (configs / "config.py").write_text(
        f"import runpy\nimport settings_of_mine\n\ndef get_config():\n"
        f"    config = runpy.run_path({str(shipped)!r})['get_config']()\n"
        "    config.duration = settings_of_mine.DURATION\n    return config\n"
    )
    result = run_in(
        tmp_path, "softshare_jax.main", f"--config={configs / 'config.py'}", f"--workdir={tmp_path / 'run'}"
    )
    (line,) = result.stderr.splitlines()
    assert (result.returncode, "it must be a duration such as" in line) == (2, True), line


def test_a_report_reads_no_data_that_a_workdir_names(tmp_path, trained, monkeypatch):
    """Only training and evaluation use the data folder in a workdir's config."""
    sent = Workdir(tmp_path / "sent")
    shutil.copytree(trained.root, sent.root)
    values = json.loads(sent.config_file.read_text())
    sent.config_file.write_text(json.dumps({**values, "data_dir": "/theirs"}))
    assert read(sent).experiment.config.data_dir == ""
    assert read(sent, "/mine").experiment.config.data_dir == "/mine"
    assert read(sent).config.data_dir == "/theirs"
    monkeypatch.setattr(exporting, "write", lambda run, *_: run.experiment.config.data_dir)
    assert exporting.export_run(sent, pathlib.Path(tmp_path / "out")) == "/theirs"
