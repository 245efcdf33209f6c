"""Times the training step in a few settings and chooses the fastest."""

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from benchmarks.rented.notes import Notes
from benchmarks.rented.rows import Row, Settings
from benchmarks.runs import Run, interleave, ratio
from softshare_jax.description.description import describe
from softshare_jax.errors import one_line
from softshare_jax.models import zoo
from softshare_jax.training.experiment import make_experiment

# What another setting must gain to be chosen: less may be noise.
LEAST_GAIN = 0.02
# Most steps of a block, pairs of blocks, and about how many seconds a comparison of two networks takes.
BLOCK, PAIRS, SECONDS, SMOKE_SECONDS = 32, 8, 10.0, 1.0

T = TypeVar("T")


class Measurement:
    """Measures the network of a row, in the training that it will have.

    The measured program is that of the training, which finds it in the cache of compiled programs. Whatever
    fails, as for lack of memory, is a line, and the rest goes on. The notes get ``measured``, a list.
    """

    def __init__(self, row: Row, notes: Notes, until: float):
        """Prepares; ``until`` is the time (``time.time()``) after which nothing else is begun."""
        self._row, self._notes, self._until = row, notes, until
        self._found = notes["found"]
        self._seconds = SMOKE_SECONDS if row.smoke else SECONDS
        self._longest = 0.0
        self._measured: list[dict[str, Any]] = []
        self._fastest: Run | None = None

    def choose(self, dtype: str) -> dict[str, Any] | None:
        """Returns the fastest settings, and ``why``: a sentence for each comparison; ``None`` if all failed.

        Starts with what ``auto`` means on this platform, and then changes one setting at a time.

        Args:
            dtype: precision of the computation; ``"auto"`` to measure bfloat16 and float32.
        """
        best = usual(self._found["platform"], dtype)
        why = []
        self._fastest = self._timed(best)
        for field, value in _changes(self._found["platform"], dtype):
            other = best._replace(**{field: value})
            if (run := self._timed(other)) is None:
                why.append(f"{field} {value}: not measured")
                continue
            if self._fastest is None:
                why.append(f"{best}: not measured")
                best, self._fastest = other, run
                continue
            turns = self._in_turns({"best": self._fastest, "other": run})
            if turns is None:
                why.append(f"{field} {value}: not compared")
                continue
            gain = statistics.median(turn["best"] / turn["other"] for turn in turns) - 1
            told = f"{abs(gain):.1%} {'faster' if gain > 0 else 'slower'}"
            why.append(f"{field} {value} is {told} than {getattr(best, field)}")
            print(f"  {why[-1]}", flush=True)
            if gain > LEAST_GAIN:
                best, self._fastest = other, run
        return {**best._asdict(), "why": why} if self._fastest else None

    def compare(self, settings: Settings) -> dict[str, Any] | None:
        """Returns the step time of the row's network over that of its unshared network, in turns.

        ``None`` if the row shares nothing or one of the two fails.
        """
        unshared = zoo.named(self._row.model).unshared
        if not self._row.shares or self._fastest is None or (run := self._timed(settings, unshared)) is None:
            return None
        turns = self._in_turns({"shared": self._fastest, "unshared": run})
        if turns is None:
            return None
        print(f"  {self._row.model} over {unshared}: step {ratio(turns, 'shared', 'unshared')}", flush=True)
        ratios = [round(turn["shared"] / turn["unshared"], 4) for turn in turns]
        median = round(statistics.median(ratios), 4)
        return {"shared": self._row.model, "unshared": unshared, "median": median, "ratios": ratios}

    def _timed(self, settings: Settings, model: str = "") -> Run | None:
        """Compiles and times a network in some settings, and notes the result."""
        name = model or self._row.model
        if time.time() + self._longest > self._until:
            print(f"  {name}, {settings}: left out, for lack of time", flush=True)
            return None
        print(f"  {name}, {settings}: compiling", flush=True)
        start = time.time()
        measured = self._attempt(f"{name}, {settings}", lambda: self._time(name, settings))
        if measured is None:
            return None
        self._longest = max(self._longest, time.time() - start)
        run, values = measured
        share = values["share_of_bfloat16_peak"]
        print(
            f"    {values['step_seconds'] * 1e3:.2f} ms a step, {values['images_per_second']:,.0f} images/s"
            + (f", {share:.1%} of the peak in bfloat16" if share is not None else "")
            + f"; compiled in {run.compile_seconds:.1f} s{' from the cache' if run.cached else ''}",
            flush=True,
        )
        self._measured.append({"network": name, **settings._asdict(), **values})
        self._notes["measured"] = self._measured
        return run

    def _time(self, name: str, settings: Settings) -> tuple[Run, dict[str, Any]]:
        config = self._row.config(self._row.computed(settings), name)
        run = Run(make_experiment(config))
        block = self._steps(run)
        seconds = statistics.median(run.block(block) / block for _ in range(3))
        return run, {
            "batch_size": config.batch_size,
            "step_seconds": round(seconds, 6),
            "images_per_second": round(config.batch_size / seconds, 1),
            "share_of_bfloat16_peak": self._share(name, config.batch_size / seconds),
            "trace_seconds": round(run.trace_seconds, 2),
            "compile_seconds": round(run.compile_seconds, 2),
            "compiled_before": run.cached,
        }

    def _share(self, name: str, images_per_second: float) -> float | None:
        """Returns the share of the peak that the network's own operations take; ``None`` if not known."""
        if self._found["peak"] is None:
            return None
        with jax.default_device(jax.devices("cpu")[0]):  # other platforms may not count operations
            forward = describe(name)["flops_per_example"]
        # A backward pass does twice the work of a forward pass.
        return round(3 * forward * images_per_second / (self._found["peak"] * self._found["number"]), 4)

    def _in_turns(self, runs: dict[str, Run]) -> list[dict[str, float]] | None:
        return self._attempt(
            " and ".join(runs), lambda: interleave(runs, PAIRS, min(map(self._steps, runs.values())))
        )

    def _steps(self, run: Run) -> int:
        """Returns the number of steps of a block: fewer on a slow device."""
        run.block(1)
        return max(1, min(BLOCK, int(self._seconds / (2 * PAIRS) / run.block(1))))

    def _attempt(self, what: str, measure: Callable[[], T]) -> T | None:
        """Returns what ``measure`` returns, or ``None`` after a line that says why it failed."""
        try:
            return measure()
        except Exception as error:  # out of memory, or a compiler's bug with one of the settings
            print(f"  {what}: failed ({one_line(error, 160)})", flush=True)
            return None


def usual(platform: str, dtype: str) -> Settings:
    """Returns the settings to start with: what the fields ``auto`` and 0 of a config mean.

    Args:
        platform: platform of the devices.
        dtype: precision of the computation; ``"auto"``: bfloat16 on accelerators, as CPUs emulate it.
    """
    cpu = platform == "cpu"
    if dtype == "auto":
        dtype = "float32" if cpu else "bfloat16"
    return Settings(dtype, "yes" if platform == "tpu" else "no", 1 if cpu else 32)


def _changes(platform: str, dtype: str) -> list[tuple[str, Any]]:
    """Returns the changes to try, the most important first."""
    scan = ("scan_blocks", "no" if platform == "tpu" else "yes")
    if platform == "cpu":
        return [scan]
    both = [("dtype", "float32")] if dtype == "auto" else []
    return [*both, scan, ("steps_per_dispatch", 1)]
