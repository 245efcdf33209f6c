"""The command for rented machines, from start to end on this one, and what stops it."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import time

import pytest

from benchmarks import accelerator
from benchmarks.rented import check, measure, results, smoke
from benchmarks.rented.clock import Clock
from benchmarks.rented.notes import Notes
from benchmarks.rented.part import Part
from benchmarks.rented.rows import Row, Settings
from benchmarks.rented.training import Training
from softshare_jax.description import chips, published
from softshare_jax.description.description import describe
from softshare_jax.reporting.poster import write_poster
from softshare_jax.reporting.write import write_report
from softshare_jax.runs.records import read_metrics, similarity_files
from softshare_jax.runs.stopping import StopRequest
from softshare_jax.runs.workdir import Workdir
from tests import tiny
from tests.reporting.page import read_page

SHARED = f"{smoke.ROWS[0]}-2-epochs-smoke"


def run(output: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command on a CPU with one device, as a user does."""
    command = [sys.executable, "-m", "benchmarks.accelerator", "--smoke", f"--output={output}", *arguments]
    return subprocess.run(command, cwd=tiny.REPO, env=tiny.environment(), capture_output=True, text=True)


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    """Returns the results of a smoke run, and its output."""
    output = tmp_path_factory.mktemp("accelerator")
    # One row is enough; more time than it needs, so that a busy machine leaves nothing out.
    done = run(output, "--minutes=60", "--rows", smoke.ROWS[0])
    assert done.returncode == 0, done.stderr
    return output / "results", done.stdout


def test_a_smoke_run_finds_checks_and_measures(smoked):
    folder, out = smoked
    notes = json.loads((folder / "accelerator.json").read_text())
    assert (notes["found"]["platform"], notes["found"]["number"]) == ("cpu", 1)
    assert "found 1 × cpu (cpu), memory not known, peak not known, so no share of it" in out
    assert notes["check"]["passed"]
    # Rounding, far below the bounds.
    assert notes["check"]["loss_difference"] < 1e-5
    assert notes["check"]["gradient_difference"] < 1e-4
    usual = measure.usual("cpu", "auto")
    timed = [(one["network"], Settings.of(one)) for one in notes["measured"]]
    assert timed[0] == ("swrn-16-1-1", usual)
    # A change of the settings, then the unshared network in the best ones.
    assert [name for name, _ in timed] == ["swrn-16-1-1"] * 2 + ["wrn-16-1"]
    assert timed[-1][1] == Settings.of(notes["chosen"])
    assert all(one["step_seconds"] > 0 < one["compile_seconds"] for one in notes["measured"])
    assert {one["share_of_bfloat16_peak"] for one in notes["measured"]} == {None}
    assert len(notes["chosen"]["why"]) == 1
    assert (notes["shared_over_unshared"]["shared"], len(notes["shared_over_unshared"]["ratios"])) == (
        "swrn-16-1-1",
        measure.PAIRS,
    )
    if importlib.util.find_spec("torch"):
        assert notes["twin"]["ours_over_torch"] > 0
    else:
        assert "no comparison with PyTorch" in out


def test_its_results_have_everything_but_weights(smoked):
    folder, out = smoked
    rows = json.loads((folder / "accelerator.json").read_text())["rows"]
    assert [(row["folder"], row["outcome"], row["step"]) for row in rows] == [(SHARED, "finished", 8)]
    names = {"config.json", "plan.json", "metrics.jsonl", "devices.jsonl", "data.json"}
    assert {file.name for file in (folder / SHARED).iterdir()} == names | {"similarity"}
    assert list(similarity_files(Workdir(folder / SHARED))) == [0, 4, 8]
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 50_000
    assert f"softshare report --workdir={folder / SHARED}" in out


def test_the_poster_and_the_report_read_them(smoked, tmp_path, monkeypatch):
    folder, _ = smoked
    row = published.Published("SWRN 16-1-1", "swrn-16-1-1", published.CUTOUT)
    table = published.Table("Tiny networks", ("cifar10",), (row,))
    monkeypatch.setattr(published, "TABLES", (table,))
    write_poster(tmp_path / "poster.md", [Workdir(folder / SHARED)], "")
    line = (tmp_path / "poster.md").read_text().splitlines()[-1]
    assert re.search(r"\d+\.\d\d% after 2 of 200 epochs on 1 × cpu, 1 seed, ", line)
    # The images are called what they are.
    assert f"images: “{smoke.DESCRIPTION}”" in line
    report = write_report([Workdir(folder / SHARED)])
    text = read_page(Workdir(report.parent)).text
    assert f"not known to be the official images: “{smoke.DESCRIPTION}”" in text
    assert "How the layers came to resemble each other" in text
    assert "No checkpoint" in text


def test_the_same_command_measures_and_trains_only_once(smoked):
    folder, _ = smoked
    before = json.loads((folder / "accelerator.json").read_text())
    done = run(folder.parent, "--rows", smoke.ROWS[0])
    assert done.returncode == 0, done.stderr
    assert "checked and measured before" in done.stdout
    assert "compiling" not in done.stdout
    assert "training" not in done.stdout
    assert json.loads((folder / "accelerator.json").read_text()) == before


def test_an_accelerator_that_computes_less_exactly_fails_the_check(smoked):
    # Most of its programs are those of the smoke run.
    program = """
import json
from benchmarks.rented.check import Settings, check
print(json.dumps(check(Settings("bfloat16", "no", 1))))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=tiny.REPO, env=tiny.environment(), capture_output=True, text=True, check=True
    )
    checked = json.loads(done.stdout)
    assert not checked["passed"]
    assert checked["gradient_difference"] > 10 * check.GRADIENT_BOUND
    assert check.line(checked).startswith("check FAILED: 3 float32 steps of swrn-16-1-2 differ from")


class Timed:
    """A run that takes a given time for a step."""

    trace_seconds, compile_seconds, cached = 1.0, 2.0, False

    def __init__(self, config):
        settings = Settings(config.dtype, config.scan_blocks, config.steps_per_dispatch)
        if settings.dtype == "float32":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of\nmemory")
        self.seconds = {"yes": 0.01, "no": 0.02}[config.scan_blocks]
        if settings.steps_per_dispatch == 1:
            self.seconds *= 0.99

    def block(self, steps):
        return steps * self.seconds


def test_the_fastest_settings_are_chosen_and_a_failure_is_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "make_experiment", lambda config: config)
    monkeypatch.setattr(measure, "Run", Timed)
    notes = Notes(tmp_path / "notes.json")
    notes["found"] = {"platform": "gpu", "peak": 1e12, "number": 2}
    row = Row("swrn-16-1-1-cutout", 200, False)
    measurement = measure.Measurement(row, notes, time.time() + 60)
    chosen = measurement.choose("auto")
    assert chosen is not None
    # One step a dispatch is faster too, but by less than what may be noise.
    assert Settings.of(chosen) == ("bfloat16", "yes", 32)
    assert chosen["why"] == [
        "dtype float32: not measured",
        "scan_blocks yes is 100.0% faster than no",
        "steps_per_dispatch 1 is 1.0% faster than 32",
    ]
    assert "float32, blocks unrolled, 32 step(s) a dispatch: failed (RESOURCE_EXHAUSTED: out of memory)" in (
        capsys.readouterr().out
    )
    measured = Notes(notes.file)["measured"]
    assert [one["images_per_second"] for one in measured] == [6400, 12800, 12929.3]
    flops = describe("swrn-16-1-1")["flops_per_example"]
    assert measured[0]["share_of_bfloat16_peak"] == pytest.approx(3 * flops * 6400 / 2e12, abs=1e-4)
    ratio = measurement.compare(Settings.of(chosen))
    assert ratio is not None
    assert ratio["median"] == 1
    # Nothing is begun after the time.
    late = measure.Measurement(row, notes, time.time() - 1)
    assert late.choose("float32") is None
    assert late.compare(Settings("float32", "yes", 32)) is None


@pytest.mark.parametrize("begun", [False, True])
def test_a_failed_check_ends_the_command(tmp_path, monkeypatch, begun):
    notes = Notes(tmp_path / "notes.json")

    def fail(*_, **__):
        if begun:
            notes["check"] = {"passed": False}
        return 1

    monkeypatch.setattr(Part, "run", fail)
    told = Part(notes.file, Row("swrn-16-1-1-cutout", 2, True), "auto", 0.0)
    with pytest.raises(SystemExit) as ended:
        accelerator._measure(told, Clock(time.time(), 60))
    assert ended.value.code == 1


def test_a_measurement_that_is_cut_off_leaves_its_fastest_settings(tmp_path, monkeypatch, capsys):
    slow, fast = Settings("float32", "yes", 32), Settings("bfloat16", "yes", 32)
    notes = Notes(tmp_path / "notes.json")

    def cut_off(*_, **__):
        notes["check"] = {"passed": True}
        rates = {slow: 1.0, fast: 2.0}
        notes["measured"] = [{**one._asdict(), "images_per_second": rate} for one, rate in rates.items()]
        return -9

    monkeypatch.setattr(Part, "run", cut_off)
    told = Part(notes.file, Row("swrn-16-1-1-cutout", 2, True), "auto", 0.0)
    assert accelerator._measure(told, Clock(time.time() - 1, 60)) == fast
    assert "the measurement did not end" in capsys.readouterr().out


def test_without_an_accelerator_only_a_smoke_run(tmp_path):
    told = Part(tmp_path / "notes.json", Row("swrn-16-1-1-cutout", 2, False), "auto", 0.0)
    assert told.run("probe", 60) == 2
    assert not told.notes.exists()


def test_mistakes_are_one_line(tmp_path):
    done = run(tmp_path, "--rows", "swrn-16-1-9-cutout")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "swrn-16-1-9" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_rows_are_trained_one_after_another_while_there_is_time(tmp_path, monkeypatch):
    rows = [Row(variant, 2, True) for variant in (*smoke.ROWS, "swrn-16-2-1-cutout", "wrn-16-2-cutout")]
    finished = rows[1].workdir(tmp_path)
    (finished.checkpoints / str(rows[1].steps)).mkdir(parents=True)
    clock, trained = Clock(time.time(), 1800), []

    class Fake(Training):
        def train(self, row):
            trained.append(row)
            if len(trained) == 2:  # it takes all the time that is left
                monkeypatch.setattr(Clock, "starts", False)
            return "stopped" if len(trained) == 2 else "failed with exit code 1"

    part = Part(tmp_path / "notes.json", rows[0], "auto", 0.0)
    ended = accelerator._train(
        rows, part, Fake(tmp_path, measure.usual("cpu", "auto"), "", clock, StopRequest())
    )
    assert trained == [rows[0], rows[2]]
    expected = ["failed with exit code 1", "finished", "stopped", "not started"]
    assert [one["outcome"] for one in ended] == expected
    assert Notes(part.notes)["rows"] == ended


class After:
    """A request to stop when a run has more records than before."""

    def __init__(self, workdir: Workdir):
        self.workdir, self.before = workdir, len(read_metrics(workdir.metrics_file))

    def __bool__(self) -> bool:
        return len(read_metrics(self.workdir.metrics_file)) > self.before


def test_a_row_that_is_stopped_resumes(tmp_path, capfd, monkeypatch):
    for name, value in tiny.environment().items():
        monkeypatch.setenv(name, value)
    row, data = Row("wrn-16-1-cutout", 5000, True), smoke.write_data(tmp_path / "data")
    workdir, clock = row.workdir(tmp_path), Clock(time.time(), 600)
    reached = [0]
    # A resumed run keeps its precision, whatever is fastest now.
    for dtype in ("float32", "bfloat16"):
        settings = Settings(dtype, "no", 1)
        training = Training(tmp_path, settings, str(data), clock, After(workdir))  # type: ignore[arg-type]
        assert training.train(row) == "stopped"
        reached.append(max(workdir.saved_steps()))
    assert 0 < reached[1] < reached[2] < row.steps
    assert f"resuming from step {reached[1]} of {row.steps}" in capfd.readouterr().out
    assert workdir.read_config().dtype == "float32"
    # A run that is asked to stop before it can begin keeps its checkpoint.
    over = training._replace(clock=Clock(time.time() - 60, 30))
    assert over.train(row) == "stopped"
    assert max(workdir.saved_steps()) == reached[2]
    outcome = results.outcome(row, workdir, "stopped")
    assert (outcome["step"], outcome["steps"]) == (reached[2], 20000)


def test_many_matrices_are_thinned_out(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    workdir.similarity.mkdir(parents=True)
    workdir.config_file.write_text("{}")
    for step in range(0, 100, 10):
        (workdir.similarity / f"{step:08d}.npz").write_bytes(bytes(100))
    monkeypatch.setattr(results, "MOST_BYTES", 400)
    results.carry(workdir, tmp_path / "carried")
    # The last one stays.
    assert list(similarity_files(Workdir(tmp_path / "carried"))) == [0, 30, 60, 90]
    results.carry(Workdir(tmp_path / "none"), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_the_usual_settings_are_those_of_auto():
    # See build_network and Experiment.steps_per_dispatch.
    assert measure.usual("tpu", "auto") == ("bfloat16", "yes", 32)
    assert measure.usual("gpu", "float32") == ("float32", "no", 32)
    assert measure.usual("cpu", "auto") == ("float32", "no", 1)


def test_chips_are_known_by_the_names_that_jax_gives_them():
    assert set(chips.KINDS.values()) == set(chips.CHIPS)
    assert chips.of_kind("NVIDIA H100 80GB HBM3") is chips.CHIPS["h100"]
    # It is slower than the other H100.
    assert chips.of_kind("NVIDIA H100 PCIe") is None


def test_the_time_is_shared():
    clock = Clock(time.time(), 1800)
    assert clock.measured < clock.cut < clock.trained < clock.began + clock.seconds
    assert clock.starts
    assert not Clock(time.time() - 1700, 1800).starts
