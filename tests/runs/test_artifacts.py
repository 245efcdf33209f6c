"""Certificates and conversions: round trips, earlier versions, damage, and other readers."""

import copy
import dataclasses
import json
import pathlib
import tarfile

import pytest

from softshare_jax.errors import UserError
from softshare_jax.runs.artifacts import (
    Certificate,
    Conversion,
    Counts,
    Difference,
    Metric,
    Models,
    Resized,
)
from softshare_jax.runs.workdir import Workdir

ARCHIVES = pathlib.Path(__file__).parent / "workdirs"
DIFFERENCE = Difference(Counts(1000, 250), Metric("f1", "20 test examples, window 5x5", 0.75, 0.5), 1.5, "ab")
CERTIFICATE = Certificate(
    step=16,
    difference=DIFFERENCE,
    source="runs/source",
    batch_norm_batches=3,
    model="scnn-4-6",
    measure="weights",
    threshold=0.9,
    shared_layers=4,
    distinct_layers=Counts(4, 2),
    loops={"blocks": "(1 2)×2"},
    layers={"blocks": (0, 1, 0, 1)},
)
CONVERSION = Conversion(
    step=16,
    difference=DIFFERENCE,
    source="runs/source",
    model=Models("cnn-4-6", "scnn-4-6-2"),
    groups=(Resized("blocks", 2, (0.5, 0.25, 0.0)), Resized("others", 1, (0.0,))),
)
BOTH = pytest.mark.parametrize("artifact", [CERTIFICATE, CONVERSION], ids=["certificate", "conversion"])


@BOTH
def test_a_workdir_returns_what_was_written(tmp_path, artifact):
    workdir = Workdir(tmp_path)
    workdir.write_sealed(workdir.certificate_file, artifact.to_json())
    values = workdir.read_sealed(workdir.certificate_file)
    assert type(artifact).from_json(values, "file") == artifact


def test_other_readers_of_the_files_find_every_value():
    values = CERTIFICATE.to_json()
    assert values["format"] == 1
    assert values["parameters"] == {"before": 1000, "after": 250, "kept": 0.25}
    assert values["metric"]["drop"] == 0.25
    assert values["distinct_layers"] == {"before": 4, "after": 2}
    assert (values["max_logit_difference"], values["checksum"]) == (1.5, "ab")
    values = CONVERSION.to_json()
    assert values["model"] == {"before": "cnn-4-6", "after": "scnn-4-6-2"}
    assert [group["layers"] for group in values["groups"]] == [3, 1]


@pytest.mark.parametrize(("name", "kind"), [("folded", Certificate), ("converted", Conversion)])
def test_files_of_earlier_versions(tmp_path, name, kind):
    with tarfile.open(ARCHIVES / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    file = tmp_path / name / ("certificate.json" if kind is Certificate else "conversion.json")
    values = json.loads(file.read_text())
    assert "format" not in values
    artifact = kind.from_json(values, "file")
    # The new file keeps everything that the older version wrote.
    written = json.loads(json.dumps(artifact.to_json()))
    assert {key: value for key, value in written.items() if key != "format"} == values


def _paths(values, path=()):
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*path, key))


@BOTH
@pytest.mark.parametrize("wrong", [None, [], {"a": 1}, "text", -1, 10**400, float("nan"), True])
def test_a_wrong_value_anywhere_is_one_line(artifact, wrong):
    values = json.loads(json.dumps(artifact.to_json()))
    for *way, last in _paths(values):
        changed = copy.deepcopy(values)
        parent = changed
        for key in way:
            parent = parent[key]
        parent[last] = wrong
        message = ""
        try:
            read = type(artifact).from_json(changed, "certificate.json")
        except UserError as error:
            message = str(error)
        if message:
            assert message.startswith("certificate.json ")
            assert "\n" not in message
            assert len(message) < 200
        else:
            # The value has the right type, or is derived from others and not read.
            assert read == artifact or isinstance(wrong, str | int | dict | list)


@BOTH
def test_a_missing_field_is_named(artifact):
    values = artifact.to_json()
    del values["metric"]["name"]
    with pytest.raises(UserError, match="name is missing in its metric"):
        type(artifact).from_json(values, "file")
    with pytest.raises(UserError, match=r"^file is not a (certificate|conversion): step is missing"):
        type(artifact).from_json({}, "file")
    for other in (None, [], 3, "text"):
        with pytest.raises(UserError, match="it is not a JSON object"):
            type(artifact).from_json(other, "file")


@BOTH
def test_a_newer_format_is_refused_and_new_fields_are_not(artifact):
    values = artifact.to_json()
    assert type(artifact).from_json({**values, "new": [1]}, "file") == artifact
    with pytest.raises(UserError, match="file has format 2; this version reads formats up to 1"):
        type(artifact).from_json({**values, "format": 2, "metric": "renamed"}, "file")


def test_impossible_numbers():
    values = CONVERSION.to_json()
    values["groups"][0]["templates"] = 4
    with pytest.raises(UserError, match="group 'blocks' has 3 layers and 4 templates"):
        Conversion.from_json(values, "file")
    values = CERTIFICATE.to_json()
    values["parameters"]["before"] = 0
    with pytest.raises(UserError, match="from 0 to 250 is impossible"):
        Certificate.from_json(values, "file")


def test_a_certificate_is_a_value():
    assert dataclasses.replace(CERTIFICATE) == CERTIFICATE
    with pytest.raises(dataclasses.FrozenInstanceError):
        CERTIFICATE.step = 3
