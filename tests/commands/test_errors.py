"""A user's mistake gives one line on stderr and exit code 2, and writes nothing."""

import json
import shutil

import pytest

from tests import forking, tiny
from tests.commands.lines import check

QUICKSTART = "--config=configs/quickstart.py"
VARIANTS = "configs/shortest_paths.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([QUICKSTART, "--config.learning=1"], "learning"),
        ([QUICKSTART, "--config.data.wide=1"], "wide"),
        ([QUICKSTART, "--config.batch_size=many"], "many"),
        (
            [QUICKSTART, "--config.data.windows=(5, 'a')"],
            "config.data.windows is 'a'; it must be of type int",
        ),
        ([QUICKSTART, "--config.data.density=1.5"], "data.density is 1.5; it must be at least 0 and below 1"),
        ([QUICKSTART, "--config.duration=forever"], "config.duration is 'forever'; it must be a duration"),
        ([QUICKSTART, "--config.model=scnn-4-8-0"], "1 to 4 templates, not 0"),
        ([QUICKSTART, "--config.model=scnn-1-8"], "groups of fewer than two layers"),
        ([QUICKSTART, "--config.model=resnet"], "unknown network 'resnet'; did you mean resnet-50"),
        ([QUICKSTART, "--config.model=cnn-4-8"], "needs shared layers, but cnn-4-8 has none"),
        ([f"--config={VARIANTS}:rnn"], "unknown variant 'rnn'; choose one of cnn, scnn, scnn-r"),
        (["--config=configs/none.py"], "configs/none.py"),
        ([QUICKSTART, "--mode=play"], "play"),
        ([QUICKSTART, "--steps=3"], "steps"),
        ([QUICKSTART, "more"], "unexpected argument 'more'"),
    ],
)
def test_main(tmp_path, arguments, message):
    check(forking.run("main", *arguments, f"--workdir={tmp_path / 'run'}"), message)
    assert not (tmp_path / "run").exists()


def test_main_without_a_workdir():
    check(forking.run("main", QUICKSTART), "--workdir=DIR is missing")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_missing_workdir(tmp_path, mode):
    result = forking.run("main", f"--mode={mode}", f"--workdir={tmp_path / 'none'}")
    check(result, f"workdir {tmp_path / 'none'} does not exist")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("path", ["/proc/run", "FILE/run"])
def test_an_unwritable_workdir(tmp_path, path):
    # These paths fail for root, too.
    (tmp_path / "file").write_text("")
    path = path.replace("FILE", str(tmp_path / "file"))
    check(
        forking.run("main", QUICKSTART, *tiny.flags(), f"--workdir={path}"),
        f"workdir {path} cannot be written",
    )


def test_a_workdir_of_another_config(tmp_path, trained):
    workdir = shutil.copytree(trained.root, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
    for arguments in (["--config.seed=3"], ["--mode=evaluate", "--config.seed=3"]):
        check(
            forking.run("main", QUICKSTART, *tiny.flags(), *arguments, f"--workdir={workdir}"),
            "belongs to another config: seed was 0 and is now 3",
        )
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "it must have seed, model"), ("{}", "it must have seed, model and data")],
)
def test_an_invalid_config_json(tmp_path, trained, text, message):
    workdir = shutil.copytree(trained.root, tmp_path / "run")
    (workdir / "config.json").write_text(text)
    check(forking.run("main", f"--workdir={workdir}"), message)
    assert (workdir / "config.json").read_text() == text


def test_an_invalid_plan_json(tmp_path, trained):
    workdir = shutil.copytree(trained.root, tmp_path / "run")
    plan = json.loads((workdir / "plan.json").read_text())
    plan["groups"][0]["templates"] = 0
    (workdir / "plan.json").write_text(json.dumps(plan))
    check(forking.run("main", f"--workdir={workdir}"), "asks for 0 templates: choose from 1 to 4")
    (workdir / "plan.json").unlink()
    check(forking.run("main", f"--workdir={workdir}"), "plan.json is missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold=1.5"], "--threshold is a similarity from 0 to 1, not 1.5"),
        (["--threshold=-0.1"], "--threshold is a similarity from 0 to 1"),
        (["--threshold=high"], "invalid float value: 'high'"),
        (["--max_drop=-1"], "--max_drop is in percentage points"),
        (["--threshold=0.5", "--max_drop=1"], "not allowed with"),
        (["--measure=angle"], "invalid choice: 'angle'"),
        (["--step=3"], "holds no step 3"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_fold(tmp_path, trained, arguments, message):
    output = tmp_path / "folded"
    check(forking.run("fold", f"--workdir={trained.root}", f"--output={output}", *arguments), message)
    assert list(tmp_path.iterdir()) == []


def test_fold_overwrites_nothing(tmp_path, trained):
    (tmp_path / "folded").mkdir()
    (tmp_path / "folded" / "mine").write_text("mine")
    check(forking.run("fold", f"--workdir={trained.root}", f"--output={tmp_path / 'folded'}"), "is in use")
    check(forking.run("fold", f"--workdir={trained.root}", f"--output={trained.root}"), "is in use")
    assert [p.name for p in (tmp_path / "folded").iterdir()] == ["mine"]


def test_fold_needs_a_run(tmp_path):
    check(forking.run("fold", f"--workdir={tmp_path / 'a'}", f"--output={tmp_path / 'b'}"), "does not exist")
    check(
        forking.run("fold", f"--workdir={tmp_path}", f"--output={tmp_path / 'b'}"), "config.json is missing"
    )


def test_describe_and_report():
    check(forking.run("describe", "wrn-1"), "unknown network 'wrn-1'; did you mean wrn-28-10")
    check(forking.run("describe"), "required: name")
    check(forking.run("report", "--workdir=/none"), "/none")


def test_poster(tmp_path):
    page = tmp_path / "page.md"
    check(forking.run("poster"), "required: --output")
    check(forking.run("poster", f"--output={tmp_path}"), f"--output {tmp_path} is a folder")
    check(forking.run("poster", f"--output={page}", "--workdir=/none"), "workdir /none does not exist")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["main", "fold", "describe", "report", "poster", "export", "loader"])
def test_help(command):
    result = tiny.run(command, "--help")
    assert "softshare_jax" in result.stdout
    assert "--workdir" in result.stdout or command in ("describe", "loader")
    assert result.stderr == ""
    assert result.returncode == 0
