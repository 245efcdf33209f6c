"""The seal binds config, plan and step to the arrays: an error names a change, and nothing runs with it."""

import json
import shutil

import pytest

from softshare_jax.conversion.folding import fold_run
from softshare_jax.conversion.resizing import resize_run
from softshare_jax.errors import UserError
from softshare_jax.runs.load import load
from softshare_jax.runs.loop import train
from softshare_jax.runs.read import read
from softshare_jax.runs.workdir import Workdir


@pytest.fixture(scope="module")
def folded(tmp_path_factory, trained):
    output = Workdir(tmp_path_factory.mktemp("folded") / "run")
    fold_run(trained, output, threshold=0.0)
    return output


@pytest.fixture
def copy(tmp_path):
    return lambda workdir: Workdir(shutil.copytree(workdir.root, tmp_path / "run"))


def contents(workdir):
    """Returns the files that training made, without the top-level ones: each start rewrites those."""
    return {path: path.read_bytes() for path in workdir.root.glob("*/**/*") if path.is_file()}


def change(file, how):
    values = json.loads(file.read_text())
    how(values)
    file.write_text(json.dumps(values))


def swap_members(plan):
    members = plan["groups"][0]["members"]
    members[0], members[2] = members[2], members[0]


def assign_otherwise(plan):
    group = plan["groups"][0]
    group["templates"] = 2
    group["assignment"] = [0, 1, 0, 1]


PLANS = {
    "members swapped": (swap_members, r"members of group 'blocks' at 0 was \S+ and is now \S+"),
    "a group renamed": (
        lambda plan: plan["groups"][0].update(name="b"),
        "groups were blocks and are now b",
    ),
    "fewer templates": (
        lambda plan: plan["groups"][0].update(templates=2),
        "templates of group 'blocks' was 4",
    ),
    "an assignment": (assign_otherwise, "of group 'blocks' was"),
}
CONFIGS = {
    "seed": (lambda config: config.update(seed=5), "seed was 0 and is now 5"),
    "density": (
        lambda config: config["data"].update(density=0.5),
        r"data.density was 0\.\d+ and is now 0.5",
    ),
    "rate": (lambda config: config["optimizer"].update(learning_rate=0.5), "optimizer.learning_rate was"),
}


@pytest.mark.parametrize("what", [*PLANS, *CONFIGS])
def test_a_changed_plan_or_config_is_named(trained, copy, what):
    workdir = copy(trained)
    how, message = {**PLANS, **CONFIGS}[what]
    change(workdir.plan_file if what in PLANS else workdir.config_file, how)
    before = contents(workdir)
    for command in (load, lambda workdir: train(None, workdir)):
        with pytest.raises(UserError, match=message) as error:
            command(workdir)
        assert f"checkpoint {workdir.checkpoints / '16'}" in str(error.value)
    assert contents(workdir) == before


def test_a_changed_assignment_of_a_folded_run_is_named(folded, copy):
    workdir = copy(folded)
    change(workdir.plan_file, lambda plan: plan["groups"][0].update(templates=2, assignment=[0, 1, 0, 1]))
    with pytest.raises(UserError, match="of group 'blocks' was 1 and is now 2"):
        load(workdir)


@pytest.mark.parametrize(("old", "new"), [("16", "20"), ("12", "16"), ("16", "0")])
def test_a_renamed_step_is_named(trained, copy, old, new):
    workdir = copy(trained)
    shutil.rmtree(workdir.checkpoints / new, ignore_errors=True)
    if new == "0":
        shutil.rmtree(workdir.checkpoints / "12")
    (workdir.checkpoints / old).rename(workdir.checkpoints / new)
    for command in (load, lambda workdir: train(None, workdir)):
        with pytest.raises(UserError, match=f"checkpoints/{new} holds step {old}"):
            command(workdir)
    assert not workdir.damaged.exists()


def test_changeable_fields_may_change(trained, copy):
    workdir = copy(trained)
    change(workdir.config_file, lambda config: config.update(log_every="2 steps", duration="18 steps"))
    train(None, workdir)
    assert load(workdir).step == 18


def test_certificate_and_conversion_have_their_own_seal(trained, folded, copy, tmp_path):
    converted = Workdir(tmp_path / "converted")
    resize_run(trained, converted, templates=3)
    for made, name in ((folded, "certificate"), (converted, "conversion")):
        whole = read(made)
        assert getattr(whole, name).difference.metric.name == "f1"
        assert not any(name in sentence for sentence in whole.problems)
        file = getattr(made, f"{name}_file")
        original = file.read_text()
        for how in (
            lambda values: values["metric"].update(after=0.999),
            lambda values: values.pop("seal"),
            lambda values: values.update(extra=1),
        ):
            change(file, how)
            damaged = read(made)
            assert getattr(damaged, name) is None
            (sentence,) = (sentence for sentence in damaged.problems if name in sentence)
            assert "damaged or was changed" in sentence
            file.write_text(original)


def test_files_of_earlier_versions_are_read_without_a_seal(folded, copy):
    workdir = copy(folded)

    def as_before(values):
        del values["seal"], values["version"]

    change(workdir.certificate_file, as_before)
    assert read(workdir).certificate.shared_layers == 4
