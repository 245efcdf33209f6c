"""Mistakes of the user: every command gives one short line."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from softshare_jax.__main__ import COMMANDS
from softshare_jax.runs.workdir import Workdir
from tests import forking, tiny
from tests.commands.lines import check

QUICKSTART = "--config=configs/quickstart.py"
CONFIGS = {
    "def get_config():\n    retrun 1\n": "config.py, line 2",
    "import nosuchmodule\n": "line 1: ModuleNotFoundError: No module named 'nosuchmodule'",
    "def get_config():\n    return 1 / 0\n": "line 2: ZeroDivisionError: division by zero",
    "def get_config():\n    pass\n": "returns None; it must return a ConfigDict",
    "x = 1\n": "it must define a function get_config",
    "import sys\nsys.exit('stop')\n": "line 2: SystemExit: stop",
}


@pytest.mark.parametrize("text", CONFIGS)
def test_invalid_config_files(tmp_path, trained, text):
    # The workdir holds a finished run, which must not resume as if no config were given.
    workdir = shutil.copytree(trained.root, tmp_path / "run")
    config = tmp_path / "config.py"
    config.write_text(text)
    result = forking.run("main", f"--config={config}", f"--workdir={workdir}")
    check(result, CONFIGS[text])


def test_fields_that_a_config_leaves_open(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        "import runpy\nfrom ml_collections import config_dict\n\n\ndef get_config():\n"
        f"    config = runpy.run_path({str(tiny.REPO / 'configs/quickstart.py')!r})['get_config']()\n"
        "    config.batch_size = config_dict.required_placeholder(int)\n    return config\n"
    )
    result = forking.run("main", f"--config={config}", f"--workdir={tmp_path / 'run'}")
    check(result, "requires config.batch_size: set --config.batch_size=VALUE")
    flags = [flag for flag in tiny.flags(duration="4 steps") if not flag.startswith("--config.model")]
    result = forking.run(
        "main", f"--config={config}", *flags, "--config.model=scnn-4-6", f"--workdir={tmp_path / 'run'}"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("main", [QUICKSTART, "--config.nosuch.x=3"], "unknown config field 'nosuch.x'"),
        ("main", [QUICKSTART, "--config.data.sdie=3"], "did you mean data.side"),
        ("main", [QUICKSTART, "--config.data=3"], "config.data is a group of fields"),
        ("main", [QUICKSTART, "--confg.seed=3"], "unknown flag '--confg.seed'"),
        ("main", [QUICKSTART, "--wrokdir=x"], "did you mean --workdir?"),
        ("main", ["--config=configs/quikstart.py"], "did you mean configs/quickstart.py?"),
        ("main", ["--config=configs/cifar10.py:wnr-28-10"], "did you mean wrn-28-10"),
        ("main", ["--config=configs/cifar10.py:swrn-28-10-2-cutuot"], "cutout"),
        ("main", ["--config=configs/cifar10.py:wrn-38-2"], "wrn-38-2"),
        ("main", ["--config=configs/cifar10.py:resnet50"], "resnet-50"),
        ("main", [QUICKSTART, "--mode=evalute"], "evaluate"),
        ("main", [QUICKSTART, *tiny.flags(seed=2**32)], "seed"),
        ("main", [QUICKSTART, *tiny.flags(seed=2**63)], "seed"),
        ("main", [QUICKSTART, *tiny.flags(seed=-1)], "seed"),
        ("describe", ["wnr-28-10"], "did you mean wrn-28-10"),
        ("fold", ["--wokdir=a", "--output=b", "--workdir=c"], "--workdir"),
        ("report", ["--workdir=docs"], "holds no run"),
        ("poster", ["--output=/tmp/none.md", "--workdir=docs"], "holds no run"),
    ],
)
def test_mistakes_get_a_short_line(tmp_path, command, arguments, message):
    before = sorted(path.name for path in (tiny.REPO / "docs").iterdir())
    extra = [f"--workdir={tmp_path / 'run'}"] if command == "main" and "--wrokdir=x" not in arguments else []
    check(forking.run(command, *arguments, *extra), message)
    assert sorted(path.name for path in (tiny.REPO / "docs").iterdir()) == before
    assert not (tmp_path / "run").exists()


def test_a_folder_of_other_things(tmp_path, trained):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    (other / "report.html").write_text("mine")
    check(forking.run("main", QUICKSTART, *tiny.flags(), f"--workdir={other}"), "holds 'mine.txt' but no run")
    check(forking.run("report", f"--workdir={other}"), "holds no run")
    assert sorted(path.name for path in other.iterdir()) == ["mine.txt", "report.html"]
    assert (other / "report.html").read_text() == "mine"


def test_files_that_may_be_in_a_new_workdir(tmp_path):
    workdir = Workdir(tmp_path)
    for name in (
        ".lock",
        ".nfs01",
        "train.log",
        "slurm-7.out",
        "plan.json",
        "config.json.partial",
        "lost+found",
    ):
        (tmp_path / name).write_text("")
    assert workdir.strangers() == []
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "src").mkdir()
    assert workdir.strangers() == ["notes.txt", "src"]


def test_fields_of_the_stored_config(tmp_path, trained):
    workdir = pathlib.Path(shutil.copytree(trained.root, tmp_path / "run"))
    before = (workdir / "config.json").read_text()
    check(forking.run("main", f"--workdir={workdir}", "--config.duration=8 steps"), "is already at step 16")
    check(forking.run("main", f"--workdir={workdir}", "--config.seed=7"), "belongs to another config: seed")
    assert (workdir / "config.json").read_text() == before
    result = forking.run("main", f"--workdir={workdir}", "--config.duration=18 steps")
    assert (result.returncode, result.stderr) == (0, "")
    assert "resuming from step 16 of 18" in result.stdout
    assert json.loads((workdir / "config.json").read_text())["duration"] == "18 steps"


def test_every_command_reports_mistakes_on_stderr_only():
    for command in sorted({command.module for command in COMMANDS.values()}):
        result = subprocess.run(
            [sys.executable, "-m", f"softshare_jax.{command}", "--nosuchflag=1"],
            cwd=tiny.REPO,
            capture_output=True,
            text=True,
            timeout=120,
        )
        check(result, "")
