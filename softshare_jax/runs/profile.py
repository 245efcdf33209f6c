"""A profile of a few training steps, for TensorBoard or XProf."""

import logging

import jax

from softshare_jax.job.processes import is_first
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.state import TrainState

# Steps before the profile starts, so that it contains no compilation.
PROFILE_AFTER = 5

log = logging.getLogger(__name__)


class Profile:
    """Profiles some steps into the workdir."""

    def __init__(self, workdir: Workdir, step: int, steps: int):
        """Traces ``steps`` steps or a few more, soon after ``step``."""
        self._workdir = workdir
        self._earliest = step + PROFILE_AFTER
        self._left = steps if is_first() else 0
        self._stop: int | None = None

    def before(self, step: int) -> None:
        """Starts the trace when it is due."""
        if self._left and step >= self._earliest and self._stop is None:
            jax.profiler.start_trace(str(self._workdir.profile))
            self._stop = step + self._left

    def after(self, step: int, state: TrainState) -> None:
        """Ends the trace when it is due."""
        if self._stop is not None and step >= self._stop:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Ends a trace that runs; no other one starts."""
        if self._stop is not None:
            jax.profiler.stop_trace()
            log.info("wrote a profile to %s", self._workdir.profile)
        self._left, self._stop = 0, None
