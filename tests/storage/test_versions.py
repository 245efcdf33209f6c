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
    for config in (json.loads(trained.config_file.read_text()), seal["config"]):
        assert config["version"] == {
            "schema": len(versions.RENAMED),
            "softshare_jax": softshare_jax.__version__,
            "jax": jax.__version__,
            "python": platform.python_version(),
        }


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


@pytest.mark.parametrize("version", ["9.8.7", None])
def test_another_python_is_a_line_at_resume(workdir, monkeypatch, capfd, version):
    if version:
        monkeypatch.setattr(platform, "python_version", lambda: version)
    train(dataclasses.replace(workdir.read_config(), duration="17 steps"), workdir)
    lines = [line for line in capfd.readouterr().out.splitlines() if "bit-for-bit" in line]
    here = ".".join(platform.python_version().split(".")[:2])
    assert len(lines) == bool(version)
    for line in lines:
        assert line.startswith(f"checkpoint 16 was saved with jax {jax.__version__} on Python 3.")
        assert f", this is jax {jax.__version__} on Python {here}; the resumed run is not" in line


def test_what_changes_the_bits():
    here = versions.stamp()
    assert versions.change_of_bits({}) is None
    assert versions.change_of_bits(here) is None
    assert versions.change_of_bits({**here, "softshare_jax": "0.0.1"}) is None
    major_minor = ".".join(here["python"].split(".")[:2])
    assert versions.change_of_bits({**here, "python": f"{major_minor}.99"}) is None
    assert "jax 0.1.2 on Python" in versions.change_of_bits({**here, "jax": "0.1.2"})
    assert "on Python 3.0, this is" in versions.change_of_bits({**here, "python": "3.0.1"})
