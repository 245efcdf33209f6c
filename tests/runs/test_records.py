"""Invalid records are skipped, counted and reported once; later records are kept."""

import json
import shutil

import pytest

from softshare_jax.runs.read import read
from softshare_jax.runs.records import Records, read_lines, read_metrics, read_similarity
from softshare_jax.runs.workdir import Workdir

NO_RECORDS = {
    "torn in the middle": b'{"step": 4, "train/lo',
    "an array": b"[]",
    "a number": b"5",
    "null": b"null",
    "a string as step": b'{"step": "4", "train/loss": 1.0}',
    "a fraction as step": b'{"step": 4.5}',
    "a truth value as step": b'{"step": true}',
    "a negative step": b'{"step": -4}',
    "a step that no run reaches": b'{"step": 4000000000}',
    "no step": b'{"train/loss": 1.0}',
    "bytes that are no text": b'{"step": 4, "train/\xff": 1.0}',
    "deep nesting": b"[" * 100_000,
    "an empty line": b"",
}


@pytest.fixture
def workdir(tmp_path, trained):
    return Workdir(shutil.copytree(trained.root, tmp_path / "run"))


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("what", NO_RECORDS)
def test_invalid_records_are_skipped_and_counted(tmp_path, what, place):
    lines = [b'{"step": %d}' % step for step in (4, 8, 12)]
    lines.insert({"first": 0, "middle": 2, "last": 3}[place], NO_RECORDS[what])
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    found = read_lines(file)
    assert ([record["step"] for record in found.records], found.skipped) == ([4, 8, 12], 1)


def test_the_torn_last_line_of_a_killed_process_is_no_fault(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 4}\n{"step": 8, "tra')
    assert read_lines(file) == ([{"step": 4}], 0)
    file.write_bytes(b'{"step": 4}\n{"step": 8}')
    assert read_lines(file) == ([{"step": 4}, {"step": 8}], 0)
    file.write_bytes(b"")
    assert read_lines(file) == read_lines(tmp_path / "none") == ([], 0)


def test_a_resumed_run_reports_them_once(workdir, capfd):
    lines = workdir.metrics_file.read_bytes().splitlines()
    workdir.metrics_file.write_bytes(b"\n".join([lines[0], *NO_RECORDS.values(), *lines[1:], b"[]"]) + b"\n")
    assert any(
        f"{len(NO_RECORDS) + 1} of {len(NO_RECORDS) + 5} lines" in line for line in read(workdir).problems
    )
    for said in (1, 0):
        Records(workdir, step=16).close()
        out = capfd.readouterr().out
        assert out.count(f"{len(NO_RECORDS) + 1} of {len(NO_RECORDS) + 5} lines are not records") == said
    assert [record["step"] for record in read_metrics(workdir.metrics_file)] == [4, 8, 12, 16]
    assert not any("not records" in line for line in read(workdir).problems)


def test_a_torn_list_of_devices_continues_intact(workdir):
    workdir.devices_file.write_bytes(b'{"step": 0, "device": "cpu", "devices": 1}\n[]\n{"step": 4, "dev')
    Records(workdir, step=16).close()
    starts = [json.loads(line) for line in workdir.devices_file.read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 16]


def test_a_damaged_similarity_file_affects_no_other(workdir):
    (workdir.similarity / "00000008.npz").write_bytes(b"PK")
    data = bytearray((workdir.similarity / "00000012.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (workdir.similarity / "00000012.npz").write_bytes(data)
    (workdir.similarity / "mine.npz").write_bytes(b"")
    assert sorted(read_similarity(workdir)) == [0, 4, 16]
    run = read(workdir)
    assert sorted(run.history) == [0, 4, 16]
    assert any("steps [8, 12]" in line for line in run.problems)
    Records(workdir, step=16).close()
