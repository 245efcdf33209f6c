"""A small part of the fault suite; `make faults` runs all of it."""

import pytest

from tests.faults import beside, calls, hostile, malformed, power
from tests.faults.verdict import Tried, Verdict, as_table, update_table


def check(tried):
    bad = [one.line() for one in tried if not one.verdict.good]
    assert not bad, "\n".join(bad)
    return tried


def test_faults_in_files():
    assert len(check(list(malformed.run(12, seed=5)))) == 12


def test_faults_of_calls():
    tried = check(list(calls.run(every=10_000, first=600, limits=False)))
    assert len(tried) >= 2 or calls.shutil.which("cc") is None


def test_faults_of_power():
    if not power.possible():
        pytest.skip("power loss needs root, and mkfs.ext4")
    assert len(check(list(power.run(1, steps=40)))) == 1


def test_faults_beside():
    assert len(check(list(beside.run(1)))) == 4


def test_hostile_workdirs():
    assert len(check(list(hostile.run(commands=1)))) == len(hostile.CASES)


def test_a_table_keeps_the_rows_of_kinds_that_were_not_tried(tmp_path):
    right, wrong, said, lost = Verdict.RIGHT, Verdict.WRONG, Verdict.SAID, Verdict.LOST
    page = tmp_path / "page.md"
    text = "# Page\n\n<!-- verdicts -->\n{}<!-- end of verdicts -->\n\nThe end.\n".format
    cut, zeros, power = Tried("cut", right, ""), Tried("zeros", wrong, ""), Tried("power", lost, "")
    page.write_text(text(as_table([cut, zeros, power])))
    now = [*[Tried("zeros", said, "")] * 3, Tried("flip", right, "")]
    update_table(page, "verdicts", now)
    assert page.read_text() == text(as_table([cut, *now[:3], power, now[3]]))
