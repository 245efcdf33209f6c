"""Trees of arrays on disk. No other module uses Orbax's checkpointing."""

import pathlib
from collections.abc import Mapping
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from softshare_jax.job.save_barrier import SaveBarrier
from softshare_jax.training.checksum import named_leaves

# Orbax times a save by the wall clock, which may jump. A hanging process is detected by its heartbeat.
LONGEST_SAVE_SECONDS = 7 * 24 * 3600


class Writer:
    """Saves trees of arrays in the background, one folder per save."""

    def __init__(self, barrier: SaveBarrier):
        """Creates a writer; it starts no thread yet.

        Args:
            barrier: synchronizes the processes of a job while they save.
        """
        options = ocp.AsyncOptions(
            timeout_secs=LONGEST_SAVE_SECONDS,
            barrier_sync_fn=barrier,
            # If a thread failed to create a folder, the other processes of a job would hang.
            create_directories_asynchronously=False,
        )
        handler = ocp.CompositeCheckpointHandler(
            composite_options=ocp.CompositeOptions(async_options=options)
        )
        self._checkpointer = ocp.AsyncCheckpointer(handler, async_options=options)

    def save(self, folder: pathlib.Path, items: Mapping[str, Any]) -> None:
        """Starts a save.

        Args:
            folder: the folder to create; it must not exist.
            items: trees of arrays by name. The caller may donate them as soon as this returns.
        """
        trees = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        self._checkpointer.save(folder, args=ocp.args.Composite(**trees))

    def wait(self) -> None:
        """Waits until the folder is complete, but not yet flushed to disk; raises the errors of the save."""
        self._checkpointer.wait_until_finished()

    def close(self) -> None:
        """Waits, then ends the threads."""
        self._checkpointer.close()


def read(folder: pathlib.Path, item: str, shapes: Any) -> Any:
    """Returns a saved tree of arrays.

    Args:
        folder: folder of the save.
        item: name of the tree.
        shapes: structure, shapes, dtypes and shardings of the tree.
    """
    # The checkpointer would make the processes of a job wait for one that cannot read; the handler does not.
    handler = ocp.StandardCheckpointHandler()
    try:
        return handler.restore(epath.Path(folder / item), args=ocp.args.StandardRestore(shapes))
    finally:
        handler.close()


def stored_shapes(folder: pathlib.Path, item: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a saved tree, by the names of its arrays."""
    handler = ocp.StandardCheckpointHandler()
    try:
        tree = handler.metadata(epath.Path(folder / item)).tree
        return {name: tuple(leaf.shape) for name, leaf in named_leaves(tree)}
    finally:
        handler.close()
