"""The ``softshare`` command: all commands under one name, with the shipped configs."""

import json
import logging
import os
import subprocess
import sys

import pytest

import softshare_jax
from softshare_jax import config as config_lib
from softshare_jax import describe
from softshare_jax.__main__ import COMMANDS
from softshare_jax.config import recipes
from softshare_jax.description import topology
from softshare_jax.errors import UserError
from softshare_jax.shell import logs
from tests import tiny
from tests.commands.lines import check


def softshare(*arguments, cwd):
    return tiny.run("__main__", *arguments, cwd=cwd)


def test_help_lists_the_commands_and_imports_little(tmp_path):
    # Help must be fast, so it imports neither jax nor numpy.
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "softshare_jax", "--help"],
        cwd=tmp_path,
        env=tiny.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    for name, command in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert command.doc in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not {"jax", "numpy", "flax"} & imported
    assert softshare("--version", cwd=tmp_path).stdout.strip() == softshare_jax.__version__


def test_an_unknown_command(tmp_path):
    check(softshare("trian", cwd=tmp_path), "unknown command 'trian'; did you mean train?")


def test_a_flag_that_the_command_sets(tmp_path):
    message = "--mode does not apply to softshare evaluate"
    check(softshare("evaluate", "--workdir=none", "--mode=train", cwd=tmp_path), message)


@pytest.mark.parametrize("name", ["fold", "run", "describe"])
def test_help_of_a_command_says_how_it_was_called(tmp_path, name):
    assert softshare(name, "--help", cwd=tmp_path).stdout.startswith(f"usage: softshare {name} ")


def test_train_and_evaluate_a_shipped_config_from_any_folder(tmp_path):
    trained = softshare("train", "--config=quickstart", *tiny.flags(), "--workdir=run", cwd=tmp_path)
    assert "trained 16 steps" in trained.stdout, trained.stderr
    evaluated = softshare("evaluate", "--workdir=run", cwd=tmp_path)
    assert evaluated.stdout.startswith("step 16  window 3x3  eval/loss "), evaluated.stderr
    quiet = softshare("evaluate", "--workdir=run", "--verbosity=-1", cwd=tmp_path)
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)


def test_config_prints_what_a_run_would_store(tmp_path):
    printed = softshare("config", "--config=cifar10:wrn-28-10-dropout", "--config.seed=3", cwd=tmp_path)
    config = config_lib.from_dict(json.loads(printed.stdout))
    assert (config.model, config.dropout_rate, config.seed) == ("wrn-28-10", 0.3, 3)
    assert config.optimizer == recipes.cifar("wrn-28-10").optimizer


def test_mistakes_in_the_name_of_a_config(tmp_path):
    check(
        softshare("config", "--config=cifar1000", cwd=tmp_path),
        "unknown config 'cifar1000'; did you mean cifar100",
    )
    check(softshare("config", cwd=tmp_path), "--config=NAME or --config=FILE.py is missing")


def test_progress_of_describe_leaves_stdout_to_the_description(capsys, monkeypatch):
    def compile_for(*_):
        logging.getLogger("softshare_jax.description.topology").info("compiling")
        raise UserError("no such topology")

    monkeypatch.setattr(os, "environ", os.environ.copy())  # the command sets variables of libtpu
    monkeypatch.setattr(topology, "compile_for", compile_for)
    monkeypatch.setattr(sys, "argv", ["describe", "scnn-4-6", "--topology=v5e:2x2", "--json"])
    with pytest.raises(UserError, match="no such topology"):
        describe.main()
    logs.configure()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "compiling\n")
