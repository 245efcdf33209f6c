"""Mazes with one path between any two cells, generated on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# A cell and the wall or passage after it.
SPACING = 2
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))


class _Walk(NamedTuple):
    free: jax.Array  # carved pixels, [H, W] bool
    stack: jax.Array  # cells from the start to the current one, [n * n, 2]
    top: jax.Array  # index of the current cell; -1 at the end
    turn: jax.Array


def maze(key: jax.Array, side: int) -> jax.Array:
    """Returns the walls of a random maze, ``[side, side]`` bool.

    Cells lie at even rows and columns, with walls or passages between them. A randomized depth-first search
    carves the passages, so they are a spanning tree with long corridors: any two cells have exactly one path.

    Args:
        key: random key.
        side: pixels per side, odd.
    """
    cells = (side + 1) // SPACING
    directions = jnp.array(DIRECTIONS)
    first_cell, steps = jax.random.split(key)

    def walk(now: _Walk) -> _Walk:
        cell = now.stack[now.top]
        beside = cell[None] + SPACING * directions
        inside = jnp.all((beside >= 0) & (beside < side), axis=1)
        carved = now.free[beside[:, 0], beside[:, 1]]
        open_ = inside & ~carved
        random = jax.random.uniform(jax.random.fold_in(steps, now.turn), (len(DIRECTIONS),))
        chosen = jnp.argmax(jnp.where(open_, random, -1))
        passage, target = cell + directions[chosen], beside[chosen]
        stuck = ~jnp.any(open_)
        # Writes that must not happen go outside of the array, where they are dropped.
        outside = jnp.where(stuck, 2 * side, 0)
        free = now.free.at[passage[0] + outside, passage[1]].set(True, mode="drop")
        free = free.at[target[0] + outside, target[1]].set(True, mode="drop")
        top = jnp.where(stuck, now.top - 1, now.top + 1)
        place = jnp.where(stuck, cells * cells, top)
        return _Walk(free, now.stack.at[place].set(target, mode="drop"), top, now.turn + 1)

    start = SPACING * jax.random.randint(first_cell, (2,), 0, cells)
    free = jnp.zeros((side, side), bool).at[start[0], start[1]].set(True)
    stack = jnp.zeros((cells * cells, 2), start.dtype).at[0].set(start)
    first = _Walk(free, stack, jnp.int32(0), jnp.int32(0))
    return ~jax.lax.while_loop(lambda now: now.top >= 0, walk, first).free
