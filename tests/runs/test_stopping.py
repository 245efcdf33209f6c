"""Ctrl-C ends a run at once before the first step, and saves after it; a second Ctrl-C ends it."""

import signal

from softshare_jax.runs.stopping import stop_on_signal
from tests import tiny


def test_ctrl_c_before_the_first_step_ends_with_a_line(tmp_path):
    flags = tiny.flags(model="scnn-40-6", duration="100000 steps")
    # An empty cache makes the compilation take long.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    run = f"--workdir={tmp_path / 'run'}"
    process = tiny.start("main", "--config=configs/quickstart.py", *flags, run, env=cache)
    assert "compiling takes a moment" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_the_second_signal_has_the_handler_from_before():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("before"))
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGINT)
            assert (bool(stop), heard) == (False, ["before"])
            stop.answer(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert (bool(stop), heard) == (True, ["before"])
            signal.raise_signal(signal.SIGINT)
            assert heard == ["before", "before"]
    finally:
        signal.signal(signal.SIGINT, before)
