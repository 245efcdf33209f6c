"""Paths in arguments are local. Every command refuses others before it writes anything."""

import dataclasses
import os
import pathlib
import re
import sys

import numpy as np
import pytest

from softshare_jax import export, fold, loader, paths, poster, report
from softshare_jax.config.by_network import recipe
from softshare_jax.data import directories
from softshare_jax.errors import UserError
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.experiment import make_experiment
from tests import tiny

BUCKET = "gs://bucket/run"


def test_local_paths_are_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in (
        ("runs/a", tmp_path / "runs" / "a"),
        (pathlib.Path("/runs/a"), pathlib.Path("/runs/a")),
        ("~/runs", pathlib.Path("/home/me/runs")),
        # Folder names may contain colons.
        ("./gs:/runs", tmp_path / "gs:" / "runs"),
        ("run:3", tmp_path / "run:3"),
        ("/a/b://c", pathlib.Path("/a/b:/c")),
        ("C:/runs", tmp_path / "C:" / "runs"),
    ):
        assert paths.local(given) == expected


@pytest.mark.parametrize(
    "path", [BUCKET, "s3://bucket", "gs:/bucket/run", "hdfs://host:8020/a", "file:///a", "https://a.com/b"]
)
def test_urls_are_refused(path):
    with pytest.raises(UserError) as caught:
        paths.local(path)
    assert str(caught.value).startswith(
        f"{path} is a URL; runs, data and outputs need a path on this machine"
    )
    for read in (Workdir, loader.load, loader.read, loader.describe, directories.root):
        with pytest.raises(UserError, match="is a URL"):
            read(path)


def test_invalid_paths():
    with pytest.raises(UserError, match="a path is empty"):
        Workdir("")
    with pytest.raises(UserError, match=r"~nobody.here/run: there is no such home folder"):
        paths.local("~nobody.here/run")
    with pytest.raises(UserError, match=r"caf\\xe9 is not UTF-8, which checkpoints need"):
        Workdir(os.fsdecode(b"/runs/caf\xe9"))


def test_urls_of_data(monkeypatch, tiny_config):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", BUCKET)
    with pytest.raises(UserError, match=f"{BUCKET} is a URL"):
        directories.root("")
    for config in (recipe("wrn-10-1", 10), recipe("wrn-50-2", 1000), tiny_config):
        with pytest.raises(UserError, match=f"{BUCKET} is a URL"):
            make_experiment(dataclasses.replace(config, data_dir=BUCKET))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (fold, ["--workdir=RUN", "--output=URL"]),
        (fold, ["--workdir=URL", "--output=out"]),
        (export, ["--workdir=RUN", "--output=URL"]),
        (export, ["--workdir=URL", "--output=out"]),
        (report, ["--workdir=RUN", "--workdir=URL"]),
        (poster, ["--output=URL"]),
        (poster, ["--output=out.md", "--workdir=URL"]),
        (loader, ["URL", "--images=IMAGES", "--output=out.npy"]),
        (loader, ["RUN", "--images=URL", "--output=out.npy"]),
        (loader, ["RUN", "--images=IMAGES", "--output=URL"]),
    ],
)
def test_commands_refuse_urls(tmp_path, monkeypatch, trained, command, arguments):
    images, here = tmp_path / "images.npy", tmp_path / "here"
    np.save(images, np.zeros(1))
    here.mkdir()
    monkeypatch.chdir(here)
    before = {p: p.stat().st_mtime_ns for p in trained.root.rglob("*")}
    meant = {"URL": BUCKET, "RUN": str(trained.root), "IMAGES": str(images)}
    given = [re.sub("URL|RUN|IMAGES", lambda found: meant[found[0]], one) for one in arguments]
    monkeypatch.setattr(sys, "argv", ["command", *given])
    with pytest.raises(UserError, match=f"{BUCKET} is a URL"):
        command.main()
    assert not list(here.iterdir())
    assert {p: p.stat().st_mtime_ns for p in trained.root.rglob("*")} == before


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("main", ["--config=CONFIG", "--workdir=URL"]),
        ("main", ["--config=CONFIG", "--workdir=run", "--config.data_dir=URL"]),
        ("convert", ["--dense=run", "--k=2", "--output=URL"]),
        ("convert", ["--torch=URL", "--model=swrn-16-1-2", "--output=out"]),
    ],
)
def test_commands_with_a_config_refuse_urls(tmp_path, command, arguments):
    config = str(tiny.REPO / "configs" / "cifar10.py:wrn-10-1")
    given = [one.replace("URL", BUCKET).replace("CONFIG", config) for one in arguments]
    result = tiny.run(command, *given, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {BUCKET} is a URL; ")
    assert not list(tmp_path.iterdir())
