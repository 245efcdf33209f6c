"""Files name the version that wrote them. Older files are migrated; newer ones give one line."""

import dataclasses
import json
import platform
import shutil

import jax
import pytest

import softshare_jax
from softshare_jax.errors import UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage import versions


@pytest.fixture
def workdir(tmp_path, trained):
    return Workdir(shutil.copytree(trained.root, tmp_path / "run"))


def test_config_and_checkpoints_name_their_version(trained):
    seal = json.loads((trained.checkpoints / "16" / "seal" / "metadata").read_text())
    version = {
        "schema": len(versions.RENAMED),
        "softshare_jax": softshare_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    assert json.loads(trained.config_file.read_text())["version"] == version
    assert seal["config"]["version"] == {**version, "convolution": load(trained).experiment.convolution}


def test_plans_name_their_version(trained):
    written_by = json.loads(trained.plan_file.read_text())["written_by"]
    assert (written_by["softshare_jax"], written_by["jax"]) == (softshare_jax.__version__, jax.__version__)
    assert trained.read_plan().groups


def test_a_newer_schema_is_refused_with_a_line(workdir):
    config = json.loads(workdir.config_file.read_text())
    for version, message in (
        (
            {"schema": 99, "softshare_jax": "9.0"},
            r"has schema 99, written by softshare_jax 9\.0; .* up to schema \d+; update it",
        ),
        ({"schema": "x"}, "its schema must be an integer of at least 0"),
        (7, "has version 7; its schema must be an integer of at least 0"),
    ):
        workdir.config_file.write_text(json.dumps({**config, "version": version}))
        for command in (load, lambda workdir: train(None, workdir)):
            with pytest.raises(UserError, match=message):
                command(workdir)


def test_a_renamed_field_is_read_by_its_old_name(workdir, monkeypatch, capfd):
    # Pretends that the next version renamed two fields to today's names.
    old = json.loads(workdir.config_file.read_text())
    old["dropout_probability"] = old.pop("dropout_rate")
    old["data"]["obstacles"] = old["data"].pop("density")
    workdir.config_file.write_text(json.dumps(old))
    with pytest.raises(UserError, match="unknown config field 'dropout_probability'"):
        load(workdir)
    renamed = (*versions.RENAMED, {"dropout_probability": "dropout_rate", "data.obstacles": "data.density"})
    monkeypatch.setattr(versions, "RENAMED", renamed)
    assert load(workdir).experiment.config.dropout_rate == 0
    train(None, workdir)
    new = json.loads(workdir.config_file.read_text())
    assert (new["dropout_rate"], new["version"]["schema"]) == (0, len(renamed))
    assert "obstacles" not in new["data"]


def _resume_lines(workdir, capfd, **changes):
    """Resumes for one step and returns the lines about its bits."""
    train(dataclasses.replace(workdir.read_config(), duration="17 steps", **changes), workdir)
    return [line for line in capfd.readouterr().out.splitlines() if "bit-for-bit" in line]


def test_the_same_versions_resume_without_a_line(workdir, capfd):
    assert not _resume_lines(workdir, capfd)


def test_another_python_is_a_line_at_resume(workdir, monkeypatch, capfd):
    here = ".".join(platform.python_version().split(".")[:2])
    monkeypatch.setattr(platform, "python_version", lambda: "9.8.7")
    (line,) = _resume_lines(workdir, capfd)
    assert line.startswith(f"checkpoint 16 was saved with jax {jax.__version__} on Python {here} and ")
    assert f", this is jax {jax.__version__} on Python 9.8 and " in line


def test_another_convolution_is_a_line_at_resume(workdir, capfd):
    before = load(workdir).experiment.convolution
    (line,) = _resume_lines(workdir, capfd, convolution="xla")
    assert f"and convolutions of {before}, this is " in line
    assert "and convolutions of xla; the resumed run is not bit-for-bit the same" in line
    # The new checkpoint was trained with XLA's.
    seal = json.loads((workdir.checkpoints / "17" / "seal" / "metadata").read_text())
    assert seal["config"]["version"]["convolution"] == "xla"


def test_what_changes_the_bits():
    def change(**versions_of_checkpoint):
        saved = {**versions.stamp(), "convolution": "matmul", **versions_of_checkpoint}
        return versions.change_of_bits(saved, "matmul")

    assert versions.change_of_bits({}, "xla") is None
    assert change() is None
    assert change(softshare_jax="0.0.1") is None
    major_minor = ".".join(platform.python_version().split(".")[:2])
    assert change(python=f"{major_minor}.99") is None
    assert "jax 0.1.2 on Python" in change(jax="0.1.2")
    assert "on Python 3.0 and" in change(python="3.0.1")
    assert "convolutions of an earlier version, this is" in versions.change_of_bits(versions.stamp(), "xla")
