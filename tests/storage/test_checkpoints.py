"""Damage to the newest checkpoint gives one line, and the previous step is restored correctly."""

import shutil

import jax
import numpy as np
import pytest

from softshare_jax.errors import RunError, UserError
from softshare_jax.job.save_barrier import GAVE_UP, SaveBarrier
from softshare_jax.runs.loop import train
from softshare_jax.runs.workdir import Workdir
from softshare_jax.storage.checkpoints import Checkpoints
from softshare_jax.training.checksum import checksum
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.stages import Stages
from tests import tiny
from tests.runs.final import final_checksum
from tests.storage.corruption import DAMAGE, empty, flip


@pytest.fixture(scope="module")
def experiment():
    return make_experiment(tiny.config())


@pytest.fixture(scope="module")
def saved(tmp_path_factory, experiment):
    """Returns a folder with the states of steps 1 and 2, and their checksums."""
    root = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(root, Stages(experiment))
    state, sums = experiment.programs.init_state(), {}
    for step in (1, 2):
        change = lambda x, step=step: x + step if x.dtype == np.float32 else x  # noqa: E731
        state = jax.tree.map(change, state).replace(step=jax.numpy.int32(step))
        sums[step] = (checksum(state.variables), checksum(state.opt_state))
        checkpoints.save(state, {"target/f1": 0.5})
    checkpoints.close()
    return root, sums


@pytest.fixture
def root(tmp_path, saved):
    return shutil.copytree(saved[0], tmp_path / "checkpoints")


def restore(root, experiment):
    checkpoints = Checkpoints(root, Stages(experiment))
    try:
        return checkpoints.restore(root.parent / "damaged")
    finally:
        checkpoints.close()


def sums_of(state):
    return checksum(state.variables), checksum(state.opt_state)


def test_the_newest_is_restored(root, saved, experiment):
    state = restore(root, experiment)
    assert int(state.step) == 2
    assert sums_of(state) == saved[1][2]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(root, saved, experiment, damage, capfd):
    DAMAGE[damage](root / "2")
    state = restore(root, experiment)
    assert int(state.step) == 1
    assert sums_of(state) == saved[1][1]
    assert (root.parent / "damaged" / "2").is_dir()
    assert not (root / "2").exists()
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("checkpoint 2 is damaged (")
    assert line.endswith(f"moved it to {root.parent / 'damaged' / '2'}")
    assert len(line) < 400
    assert err == ""


def test_a_flipped_bit_anywhere(root, saved, experiment):
    # Random positions in all files of the step: no flip may silently restore other values.
    files = sorted(p for p in (root / "2").rglob("*") if p.is_file() and p.stat().st_size)
    random = np.random.default_rng(0)
    for file in random.choice(np.array(files, dtype=object), 12):
        original = file.read_bytes()
        data = bytearray(original)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        file.write_bytes(data)
        state = restore(root, experiment)
        assert sums_of(state) == saved[1][int(state.step)], file
        if not (root / "2").exists():
            shutil.move(root.parent / "damaged" / "2", root / "2")
        file.write_bytes(original)


def test_all_damaged(root, experiment, capfd):
    for step in ("1", "2"):
        empty(root / step)
    with pytest.raises(RunError, match=r"all checkpoints of .* were damaged"):
        restore(root, experiment)
    assert len(capfd.readouterr().out.splitlines()) == 2


def test_the_same_step_damaged_twice_is_kept_twice(root, saved, experiment):
    for name in ("2", "2-2"):
        empty(root / "2") if (root / "2").exists() else (root / "2").mkdir()
        restore(root, experiment)
        assert (root.parent / "damaged" / name).is_dir()


def test_reading_for_other_commands_moves_nothing(root, saved, experiment, capfd):
    flip(root / "2")
    checkpoints = Checkpoints(root, Stages(experiment))
    step, variables = checkpoints.read_variables()
    assert (step, checksum(variables)) == (1, saved[1][1][0])
    assert (root / "2").exists()
    with pytest.raises(RunError, match=r"checkpoint 2 of .* is damaged \(.*\); choose another step: 1$"):
        checkpoints.read_variables(step=2)
    with pytest.raises(UserError, match="holds no step 7; it holds 2, 1"):
        checkpoints.read_variables(step=7)
    checkpoints.close()


def test_nothing_saved(tmp_path, experiment):
    assert restore(tmp_path / "none", experiment) is None


def test_the_newest_and_the_best_are_kept(tmp_path, experiment):
    assert experiment.config.keep_checkpoints == 2
    checkpoints = Checkpoints(tmp_path / "checkpoints", Stages(experiment))
    state = experiment.programs.init_state()
    for step, score in enumerate([0.1, 0.9, 0.5, None, 0.3, 0.2], start=1):
        checkpoints.save(state.replace(step=step), None if score is None else {"target/f1": score})
        checkpoints.wait()
    checkpoints.close()
    assert Checkpoints(tmp_path / "checkpoints", Stages(experiment)).steps() == [6, 5, 2]


def test_a_run_resumes_before_the_damage_and_ends_the_same(tmp_path, trained, capfd):
    workdir = Workdir(shutil.copytree(trained.root, tmp_path / "run"))
    flip(workdir.checkpoints / "16")
    train(None, workdir)
    assert "resuming from step 12 of 16" in capfd.readouterr().out
    assert final_checksum(workdir) == final_checksum(trained)


@pytest.mark.parametrize(
    ("mine", "other", "raises"),
    [("written.4", "written.4", False), ("written.4", GAVE_UP, True), ("written.4", "committed", True)],
)
def test_a_barrier_does_not_wait_for_a_process_that_gave_up(monkeypatch, mine, other, raises):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    barrier, asked = SaveBarrier("save"), []

    def exchange(said, timeout_ms=0):
        asked.append(said)
        return [said, other]

    monkeypatch.setattr(barrier, "_exchange", exchange)
    if raises:
        for _ in range(2):
            with pytest.raises(RunError, match="another process of the job could not save"):
                barrier(key=mine, timeout_ms=9)
        # After a failure the barrier exchanges nothing.
        barrier.give_up()
        assert asked == [mine]
    else:
        barrier(key=mine, timeout_ms=9)
        # If this process fails, it reports so instead of joining the next barrier.
        barrier.give_up()
        assert asked == [mine, GAVE_UP]
