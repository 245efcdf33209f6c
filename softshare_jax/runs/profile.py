"""A profile of a few training steps, for TensorBoard or XProf."""

import logging

import jax

from softshare_jax.job.processes import is_first
from softshare_jax.runs.workdir import Workdir
from softshare_jax.training.state import TrainState

# Steps between the start of a run and that of its profile, which then holds no compilation.
PROFILE_AFTER = 5

log = logging.getLogger(__name__)


class Profile:
    """Traces some steps into the workdir."""

    def __init__(self, workdir: Workdir, step: int, steps: int):
        """Traces ``steps`` steps, soon after ``step``."""
        self._workdir = workdir
        self._start = step + PROFILE_AFTER
        self._stop = self._start + steps
        self._running = False

    def before(self, step: int) -> None:
        """Starts the trace when it is due."""
        if self._start <= step < self._stop and not self._running and is_first():
            jax.profiler.start_trace(str(self._workdir.profile))
            self._running = True

    def after(self, step: int, state: TrainState) -> None:
        """Ends the trace when it is due."""
        if self._running and step >= self._stop:
            jax.block_until_ready(state)
            jax.profiler.stop_trace()
            self._running = False
            log.info("wrote a profile to %s", self._workdir.profile)
