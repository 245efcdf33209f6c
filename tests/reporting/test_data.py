"""A run says what its images are: in its workdir, in the report and on the poster."""

import json

import pytest

from softshare_jax.data.identity import DataSet
from softshare_jax.errors import UserError
from softshare_jax.reporting.poster import write_poster
from softshare_jax.reporting.write import write_report
from softshare_jax.runs import data_record
from softshare_jax.runs.read import read
from softshare_jax.runs.workdir import Workdir
from tests.reporting.page import read_page
from tests.reporting.runs import config, fabricate, record

OFFICIAL = DataSet("cifar10", "3.0.2", "cifar10 from the official archive.", "0a" * 32, True)
JPEG = DataSet("cifar10", "3.0.2", "Images as\nJPEG | at <75>.", "1b" * 32, False)


def run_on(root, *data_sets: DataSet, **changes):
    """Returns a run of a row of the poster that recorded these data sets."""
    workdir = fabricate(root, config("wrn-28-10", **changes), [record(4, eval__accuracy=0.9)])
    for data_set in data_sets:
        data_record.write(workdir, data_set)
    return workdir


def test_it_is_recorded_once_and_other_images_are_a_warning(tmp_path, capsys):
    workdir = run_on(tmp_path / "run", OFFICIAL)
    written = workdir.data_file.read_bytes()
    data_record.write(workdir, OFFICIAL)
    assert workdir.data_file.read_bytes() == written
    assert capsys.readouterr().out == ""
    data_record.write(workdir, JPEG)
    assert "these are not the images that this run began with" in capsys.readouterr().out
    assert read(workdir).data_sets == (OFFICIAL, JPEG)


def test_a_record_that_was_changed_is_not_believed(tmp_path):
    workdir = run_on(tmp_path / "run", JPEG)
    workdir.data_file.write_text(workdir.data_file.read_text().replace("false", "true"))
    assert read(workdir).data_sets == ()
    assert any("data.json is damaged or was changed" in problem for problem in read(workdir).problems)
    workdir.data_file.write_text(json.dumps({"data_sets": [{"name": "cifar10"}]}))
    with pytest.raises(UserError, match="is not a record of data sets"):
        data_record.read(workdir)


@pytest.mark.parametrize(
    ("data_sets", "said"),
    [
        ([OFFICIAL], "Data: cifar10 3.0.2, the official images."),
        (
            [JPEG],
            "Data: cifar10 3.0.2, not known to be the official images: "
            "“Images as JPEG | at <75>.” (digest 1b1b1b1b).",
        ),
    ],
)
def test_the_report_says_it_in_a_line(tmp_path, data_sets, said):
    assert said in read_page(Workdir(write_report([run_on(tmp_path / "run", *data_sets)]).parent)).text


def test_the_poster_says_it_and_takes_no_mean_over_different_images(tmp_path):
    runs = [
        run_on(tmp_path / "official", OFFICIAL),
        run_on(tmp_path / "unrecorded", seed=1),
        run_on(tmp_path / "jpeg", JPEG, seed=2),
    ]
    page = tmp_path / "page.md"
    write_poster(page, runs, "")
    (line,) = (line for line in page.read_text().splitlines() if "10.00" in line)
    two, one = (cell for cell in line.split("<br>"))
    assert "2 seeds" in two
    assert "images" not in two
    assert "1 seed," in one
    assert r"images: “Images as JPEG \| at &lt;75>.” (digest 1b1b1b1b)" in one
