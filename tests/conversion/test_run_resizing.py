"""Changes the number of templates of runs: from unshared, up, down and within a budget, through convert."""

import json
import shutil

import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.resizing import resize_run
from softshare_jax.errors import UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from tests import forking, tiny
from tests.commands.lines import check


@pytest.fixture
def output(tmp_path):
    return Workdir(tmp_path / "converted")


def weights(workdir):
    """Returns the dense weights of the shared layers, one row per layer."""
    run = load(workdir)
    params = run.experiment.programs.to_dense(run.variables)["params"]
    return np.stack([np.ravel(params[f"block_{i}"]["conv"]["kernel"]) for i in range(4)]).astype(np.float64)


def logits(workdir):
    run = load(workdir)
    return run.experiment.evaluator.test(run.experiment.programs.to_dense(run.variables), 1)[1]


def test_the_command_makes_a_run_that_main_evaluates_and_trains_on(unshared, output):
    before = {p: p.stat().st_mtime_ns for p in unshared.root.rglob("*")}
    result = tiny.run("convert", f"--dense={unshared.root}", "--k=2", f"--output={output.root}")
    assert result.returncode == 0, result.stderr
    assert {p: p.stat().st_mtime_ns for p in unshared.root.rglob("*")} == before
    # 4 layers of 3x3x6x6 parameters, and 73 others.
    assert f"parameters       {4 * 324 + 73:,} -> {2 * 324 + 8 + 73:,}" in result.stdout

    values = np.linalg.svd(weights(unshared), compute_uv=False)
    lost = [np.linalg.norm(values[k:]) / np.linalg.norm(values) for k in range(1, 5)]
    conversion = json.loads(output.conversion_file.read_text())
    (group,) = conversion["groups"]
    np.testing.assert_allclose(group["relative_error"], lost, atol=1e-5)
    difference = np.linalg.norm(weights(output) - weights(unshared))
    assert difference == pytest.approx(lost[1] * np.linalg.norm(values), rel=1e-4)
    furthest = np.abs(logits(output) - logits(unshared)).max()
    assert conversion["max_logit_difference"] == pytest.approx(furthest, rel=1e-4)

    stored = output.read_config()
    assert (stored.model, stored.seed) == ("scnn-4-6-2", load(unshared).experiment.config.seed)
    assert load(output).step == 16
    config = tiny.config(model="scnn-4-6-2", sharing__recurrence=0.0, duration="20 steps")
    train(config, output)
    assert load(output).step == 20
    assert np.linalg.matrix_rank(weights(output), tol=1e-4) == 2


def test_as_many_templates_as_layers_lose_nothing(unshared, output):
    resize_run(unshared, output, templates=4)
    np.testing.assert_allclose(logits(output), logits(unshared), atol=1e-4)


@pytest.mark.parametrize("k", [3, 4])
def test_growth_changes_no_logit(unshared, output, tmp_path, k):
    small = Workdir(tmp_path / "small")
    resize_run(unshared, small, templates=2)
    conversion = resize_run(small, output, templates=k)
    assert conversion.difference.max_logit_difference <= 1e-5
    np.testing.assert_allclose(logits(output), logits(small), atol=1e-5)
    assert load(output).experiment.plan.groups[0].templates == k


def test_a_folded_run_mixes_templates_again(trained, output, tmp_path):
    folded = Workdir(tmp_path / "folded")
    fold_run(trained, folded, threshold=0.0)
    resize_run(folded, output, templates=2)
    (group,) = load(output).experiment.plan.groups
    assert (group.templates, group.assignment) == (2, None)
    np.testing.assert_allclose(logits(output), logits(folded), atol=1e-5)


def test_a_budget_is_kept(unshared, output):
    conversion = resize_run(unshared, output, budget=3 * 324 + 12 + 73)
    assert conversion.groups[0].templates == 3
    assert conversion.difference.parameters.after == 3 * 324 + 12 + 73
    assert conversion.model.after == "scnn-4-6"


def test_with_a_config_it_starts_from_step_zero(unshared, output):
    config = tiny.config(duration="4 steps", sharing__recurrence=0.0)
    resize_run(unshared, output, templates=1, config=config)
    assert load(output).step == 0
    train(None, output)
    run = load(output)
    assert (run.step, run.experiment.config.model) == (4, "scnn-4-6-1")


def test_richer_forms_and_calibration(unshared, output):
    form = ("--config.sharing.per_channel=True", "--config.sharing.rank=4", "--config.duration=20 steps")
    result = tiny.run(
        "convert",
        f"--dense={unshared.root}",
        "--k=1",
        f"--output={output.root}",
        "--calibration_batches=2",
        *form,
    )
    assert result.returncode == 0, result.stderr
    run = load(output)
    (group,) = run.experiment.plan.groups
    assert (group.templates, group.per_channel, group.rank) == (1, True, 4)
    (resized,) = json.loads(output.conversion_file.read_text())["groups"]
    lost = np.linalg.norm(weights(output) - weights(unshared)) / np.linalg.norm(weights(unshared))
    assert resized["fitted_error"] == pytest.approx(lost, rel=1e-4)
    assert f"relative error of the weights as fitted: blocks {lost:.3f}" in result.stdout
    train(None, output)
    assert load(output).step == 20


def test_calibration_keeps_more_of_the_outputs_of_layers(unshared, tmp_path):
    run = load(unshared)
    images = run.experiment.task.inputs(run.experiment.task.load("train", 0))[:64]
    lost = []
    for batches in (0, 4):
        output = Workdir(tmp_path / str(batches))
        resize_run(unshared, output, templates=2, calibration_batches=batches)
        moments = sharing.input_moments(
            load(output).experiment.plan, lambda: run.experiment.network.apply(run.variables, images)
        )
        wrong = (weights(output) - weights(unshared)).reshape(4, 54, 6)
        lost.append(np.einsum("lpc,lpq,lqc->", wrong, np.asarray(moments["blocks"], np.float64), wrong))
    assert lost[1] < 0.9 * lost[0]


def test_layers_whose_inputs_cannot_be_read(tmp_path, output):
    run = Workdir(tmp_path / "run")
    loop = {"loop__weight": 0.0, "sharing__recurrence": 0.0, "duration": "1 steps"}
    train(tiny.config("extrapolation", model="gated4-4-6", **loop), run)
    with pytest.raises(
        UserError, match=r"layers of gated4-4-6 cannot be read: leave --calibration_batches out"
    ):
        resize_run(run, output, templates=1, calibration_batches=1)
    assert not output.root.exists()


def test_mistakes(trained, unshared, output):
    def fails(message, *arguments):
        check(forking.run("convert", f"--output={output.root}", *arguments), message)
        assert not output.root.exists()

    dense = f"--dense={unshared.root}"
    fails("set exactly one of --dense, --shared, --folded, --torch, --safetensors and --materialize")
    fails(
        "set exactly one of --dense, --shared, --folded, --torch, --safetensors and --materialize",
        dense,
        f"--shared={trained.root}",
    )
    fails("--dense needs one of --k and --budget", dense)
    fails("--model does not apply to --dense", dense, "--k=2", "--model=scnn-4-6")
    shared = f"--shared={trained.root}"
    fails("--calibration_batches does not apply to --shared", shared, "--k=2", "--calibration_batches=2")
    fails("--k does not apply to --torch", "--torch=file", "--model=swrn-16-1-1", "--k=2")
    fails("is an unshared run: use --dense", f"--shared={unshared.root}", "--k=2")
    fails("4 layers and asks for 5 templates: choose from 1 to 4", dense, "--k=5")


def test_more_mistakes(trained, unshared, output, tmp_path):
    with pytest.raises(UserError, match="budget of 400 is too small: one template a group takes 401"):
        resize_run(unshared, output, budget=400)
    with pytest.raises(UserError, match="does not exist"):
        resize_run(Workdir(tmp_path / "none"), output, templates=2)
    with pytest.raises(UserError, match="is in use"):
        resize_run(unshared, trained, templates=2)
    with pytest.raises(UserError, match="holds no step 3"):
        resize_run(unshared, output, templates=2, step=3)
    config = tiny.config(sharing__recurrence=0.0, sharing__rank=4)
    with pytest.raises(UserError, match=r"config\.sharing\.rank of the run is 0, not 4"):
        resize_run(trained, output, templates=2, config=config)
    with pytest.raises(UserError, match="--calibration_batches is 0 or more, not -1"):
        resize_run(unshared, output, templates=2, calibration_batches=-1)
    assert not list(tmp_path.iterdir())


def test_the_report_shows_what_was_lost(unshared, output, tmp_path):
    from softshare_jax.reporting.write import write_report
    from tests.reporting.page import read_page

    resize_run(unshared, output, templates=2)
    write_report([output])
    page = read_page(output)
    assert "Converted" in page.headings
    rows = {row[0]: row for row in page.cells if row}
    assert rows["parameters"][1:3] == ["1,369", "729"]
    assert (output.figures / "error-against-k.svg").exists()
    broken = Workdir(shutil.copytree(output.root, tmp_path / "broken"))
    broken.conversion_file.write_text("{}")
    write_report([broken])
    assert "No conversion" in read_page(broken).text


def test_a_plan_states_how_a_budget_was_divided(unshared, output):
    resize_run(unshared, output, budget=2 * 324 + 8 + 73)
    assert sharing.Plan.from_json(output.plan_file.read_text()).groups[0].templates == 2
