"""Runs that are not complete: what is missing is named and the rest is shown."""

import shutil

import numpy as np
import pytest

from softshare_jax.reporting.write import write_report
from softshare_jax.runs.workdir import Workdir
from tests.reporting.page import read_page


def _damage_checkpoints(workdir: Workdir, steps: str = "*") -> None:
    """Makes the checksums wrong."""
    for file in workdir.checkpoints.glob(f"{steps}/seal/metadata"):
        file.write_text('{"variables": "0", "optimizer": "0"}')


def _write_garbage(workdir: Workdir) -> None:
    for file in workdir.similarity.iterdir():
        file.write_bytes(b"no zip file")
    workdir.metrics_file.write_bytes(b"\xff\xfe\n")
    workdir.certificate_file.write_text('{"parameters": 3}')


@pytest.mark.parametrize(
    ("damage", "sentences", "absent"),
    [
        (lambda w: w.metrics_file.unlink(), ["No metrics:"], ["Learning curves"]),
        (
            lambda w: shutil.rmtree(w.checkpoints),
            ["No checkpoint:", "train first"],
            ["Folding, a preview", "Test examples"],
        ),
        (
            _damage_checkpoints,
            ["Checkpoint 16 is damaged", "Checkpoint 12 is damaged", "can be read"],
            ["Folding, a preview", "Test examples"],
        ),
        (
            lambda w: shutil.rmtree(w.similarity),
            ["No similarity history:"],
            ["How the layers came to resemble each other"],
        ),
        (
            lambda w: w.plan_file.unlink(),
            ["No plan:", "The checkpoints cannot be read"],
            ["Folding, a preview", "Test examples", "Parameters"],
        ),
        (
            lambda w: w.config_file.unlink(),
            ["No config:", "The checkpoints cannot be read"],
            ["Folding, a preview", "Test examples", "Parameters", "Config"],
        ),
        (
            lambda w: w.config_file.write_text("{"),
            ["No config:", "is not JSON"],
            ["Folding, a preview", "Test examples", "Parameters", "Config"],
        ),
        (
            _write_garbage,
            ["No metrics:", "No similarity history:", "No certificate:"],
            ["Learning curves", "How the layers came to resemble each other", "Certificate of the fold"],
        ),
    ],
    ids=["metrics", "checkpoints", "damaged", "similarity", "plan", "config", "json", "garbage"],
)
def test_what_is_missing_is_named_and_the_rest_shown(copy, damage, sentences, absent):
    workdir = copy("trained")
    damage(workdir)
    write_report([workdir])
    page = read_page(workdir)
    expected = [
        "What is missing",
        "Layer similarity",
        "How the layers came to resemble each other",
        "Folding, a preview",
        "Learning curves",
        "Test examples",
        "Parameters",
        "Config",
    ]
    assert page.headings[1:] == [heading for heading in expected if heading not in absent]
    for sentence in sentences:
        assert sentence in page.text


def test_one_damaged_checkpoint_is_passed_over(copy, capsys):
    workdir = copy("trained")
    _damage_checkpoints(workdir, "16")
    write_report([workdir])
    page = read_page(workdir)
    assert "Checkpoint 16 is damaged" in page.text
    assert "step 12 of 16" in page.text
    assert "Test examples" in page.headings
    assert "is damaged" not in capsys.readouterr().out


def test_matrices_of_another_shape_are_left_out(copy):
    """A workdir that was sent may hold anything."""
    workdir = copy("trained")
    for step, shape in ((0, (3, 3)), (4, (4, 5)), (8, (0, 0))):
        np.savez(workdir.similarity / f"{step:08d}.npz", **{"weights/blocks": np.ones(shape, np.float16)})
    write_report([workdir])
    text = workdir.report_file.read_text()
    assert "steps [4, 8]" in text
    assert 'data-steps="[12, 16]"' in text
