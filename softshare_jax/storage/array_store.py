"""Trees of arrays on disk: the one place that knows Orbax."""

import pathlib
from collections.abc import Mapping
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from softshare_jax.job.save_barrier import SaveBarrier
from softshare_jax.training.checksum import named_leaves

# Orbax bounds a save by the wall clock, which may jump; a process that hangs is noticed by its heartbeat.
LONGEST_SAVE_SECONDS = 7 * 24 * 3600


class Writer:
    """Saves trees of arrays in the background, each save into a folder of its own."""

    def __init__(self, barrier: SaveBarrier):
        """Starts no thread yet.

        Args:
            barrier: where the processes of a job meet while they save.
        """
        options = ocp.AsyncOptions(
            timeout_secs=LONGEST_SAVE_SECONDS,
            barrier_sync_fn=barrier,
            # In a thread, a folder that cannot be made would hold the other processes of a job.
            create_directories_asynchronously=False,
        )
        handler = ocp.CompositeCheckpointHandler(
            composite_options=ocp.CompositeOptions(async_options=options)
        )
        self._checkpointer = ocp.AsyncCheckpointer(handler, async_options=options)

    def save(self, folder: pathlib.Path, items: Mapping[str, Any]) -> None:
        """Starts to save.

        Args:
            folder: to make; it does not exist.
            items: trees of arrays by name. They may be donated as soon as this returns.
        """
        trees = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        self._checkpointer.save(folder, args=ocp.args.Composite(**trees))

    def wait(self) -> None:
        """Returns when the folder is complete, but not yet flushed to the disk; raises what a save raised."""
        self._checkpointer.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the threads."""
        self._checkpointer.close()


def read(folder: pathlib.Path, item: str, shapes: Any) -> Any:
    """Returns a tree of arrays that was saved.

    Args:
        folder: of the save.
        item: name of the tree.
        shapes: its structure, shapes, dtypes and shardings.
    """
    # By the handler, because the checkpointer lets the processes of a job wait for one that could not read.
    handler = ocp.StandardCheckpointHandler()
    try:
        return handler.restore(epath.Path(folder / item), args=ocp.args.StandardRestore(shapes))
    finally:
        handler.close()


def stored_shapes(folder: pathlib.Path, item: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a tree that was saved, by the names of its arrays."""
    handler = ocp.StandardCheckpointHandler()
    try:
        tree = handler.metadata(epath.Path(folder / item)).tree
        return {name: tuple(leaf.shape) for name, leaf in named_leaves(tree)}
    finally:
        handler.close()
