"""The folders of a run's checkpoints: one for each step, which appears and disappears in one move."""

import contextlib
import fcntl
import itertools
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from softshare_jax import durable
from softshare_jax.storage import seal

STEP = re.compile(r"0|[1-9][0-9]*")
# A step that was moved aside, perhaps not as the first of its number.
ASIDE = re.compile(rf"({STEP.pattern})(-[0-9]+)?")
# A step that is not committed yet, and one that is being deleted.
SAVING, DELETING = ".saving", ".deleting"
# What a killed process leaves of these, and of a save by earlier versions.
LEFTOVER = re.compile(rf"[0-9]+({SAVING}|{DELETING}|\.orbax-checkpoint-tmp).*")


class StepFolders:
    """The folder ``checkpoints`` of a workdir. All methods raise ``OSError`` where the disk refuses."""

    def __init__(self, root: pathlib.Path):
        """Opens the folder; it need not exist."""
        self.root = root

    def steps(self) -> list[int]:
        """Returns the steps that are committed, the newest first."""
        names = os.listdir(self.root) if self.root.exists() else []
        return sorted((int(name) for name in names if STEP.fullmatch(name)), reverse=True)

    def of(self, step: int) -> pathlib.Path:
        """Returns the folder of a step."""
        return self.root / str(step)

    def saving(self, step: int) -> pathlib.Path:
        """Returns the folder in which a step is made."""
        return self.root / f"{step}{SAVING}"

    def commit(self, step: int) -> None:
        """Renames a step, whose files are complete and on disk, to its final name."""
        durable.rename(self.saving(step), self.of(step))

    def delete(self, step: int) -> None:
        """Deletes a step, unless a process is reading it."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                file = held.enter_context(open(self.of(step) / seal.FILE, "rb"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            deleting = self.root / f"{step}{DELETING}"
            os.replace(self.of(step), deleting)
            shutil.rmtree(deleting)

    @contextlib.contextmanager
    def kept(self, step: int) -> Iterator[pathlib.Path]:
        """Yields the folder of a step and keeps it from deletion, where the file system can lock files."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                fcntl.flock(held.enter_context(open(self.of(step) / seal.FILE, "rb")), fcntl.LOCK_SH)
            yield self.of(step)

    def discard_leftovers(self) -> None:
        """Deletes the leftovers of killed processes; no other process may be saving."""
        for path in self.root.iterdir() if self.root.exists() else ():
            if LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path)

    def move_aside(self, step: int, target: pathlib.Path) -> pathlib.Path:
        """Moves a step into another folder, which is made, and returns where it is now."""
        durable.make_folder(target)
        names = itertools.chain([str(step)], (f"{step}-{number}" for number in itertools.count(2)))
        moved = next(target / name for name in names if not (target / name).exists())
        durable.rename(self.of(step), moved)
        return moved


def holds_steps(set_aside: pathlib.Path) -> bool:
    """Returns whether a folder holds steps that ``move_aside`` moved there."""
    return set_aside.is_dir() and any(ASIDE.fullmatch(path.name) for path in set_aside.iterdir())
