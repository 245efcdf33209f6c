"""Shortest paths on a grid with obstacles, generated on the device.

The paper's synthetic task (Savarese & Maire 2019, section 4.3): given two points and the
obstacles, mark every pixel that lies on some shortest path between them.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from softshare_jax.data import mazes
from softshare_jax.errors import RunError

Generator = Literal["random", "maze"]

# Limit on the draws of an example, per pixel of its window. With a probability of about 4 / pixels the points
# are neighbors, which always have a path. So about e^-400 of the examples need more draws.
DRAWS_PER_PIXEL = 100


class Grid(NamedTuple):
    """One example, or a batch of them on leading axes.

    Attributes:
        first: the first query point, ``[H, W]`` bool.
        second: the second query point, ``[H, W]`` bool.
        obstacles: blocked pixels, ``[H, W]`` bool.
        path: pixels on some shortest path, the points included, ``[H, W]`` bool.
    """

    first: jax.Array
    second: jax.Array
    obstacles: jax.Array
    path: jax.Array


def distances(source: jax.Array, free: jax.Array, target: jax.Array) -> jax.Array:
    """Returns distances by breadth-first search on a 4-connected grid; stops at the target.

    Args:
        source: the pixel to start at, ``[H, W]`` bool.
        free: pixels that may be entered, ``[H, W]`` bool.
        target: the pixel to stop at, ``[H, W]`` bool.

    Returns:
        Steps from the source, ``[H, W]`` int32; -1 for pixels that were not reached. The values are correct
        for all pixels that are not farther than the target.
    """

    def spreading(carry):
        reached, frontier, _, step = carry
        # Every step reaches at least one pixel, so free.size steps are enough.
        return jnp.any(frontier) & ~jnp.any(reached & target) & (step < free.size)

    def spread(carry):
        reached, frontier, steps, step = carry
        padded = jnp.pad(frontier, 1)
        neighbors = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        frontier = neighbors & free & ~reached
        return reached | frontier, frontier, jnp.where(frontier, step + 1, steps), step + 1

    start = jnp.where(source, 0, -1).astype(jnp.int32)
    return jax.lax.while_loop(spreading, spread, (source, source, start, jnp.int32(0)))[2]


def shortest_path_pixels(a: jax.Array, b: jax.Array, free: jax.Array) -> jax.Array:
    """Returns the pixels on any shortest path between two pixels, ``[H, W]`` bool.

    Args:
        a: one pixel, ``[H, W]`` bool.
        b: the other, ``[H, W]`` bool.
        free: pixels that may be entered, ``[H, W]`` bool, including both points.

    Returns:
        True for each pixel whose distances to both ends add up to the distance between them. All false if
        there is no path.
    """
    from_a = distances(a, free, b)
    from_b = distances(b, free, a)
    length = jnp.max(jnp.where(b, from_a, -1))
    return (length >= 0) & (from_a >= 0) & (from_b >= 0) & (from_a + from_b == length)


def sample(
    key: jax.Array,
    side: int,
    density: float | jax.Array,
    window: int | jax.Array,
    generator: Generator = "random",
) -> Grid:
    """Draws one example.

    The first point is uniform on the grid. The second is uniform in a window around it, clipped at the
    border. Obstacles are independent and never on a point, or the walls of a maze whose cells the points are.
    Pairs without a path are drawn again, so examples follow the distribution of reachable pairs.

    Args:
        key: random key; the example depends on it alone, and not on its batch.
        side: pixels per side of the grid.
        density: probability of an obstacle, from 0 to below 1; mazes ignore it.
        window: pixels per side of the window, odd and 3 or more; for mazes 5 or more.
        generator: where the obstacles are: ``'random'``, or the walls of a ``'maze'`` with an odd side.

    Returns:
        A grid of ``[side, side]`` arrays. Its path is empty if very many draws had none, which happens with
        keys whose random numbers do not change from draw to draw.
    """
    radius, spacing = window // 2, (mazes.SPACING if generator == "maze" else 1)
    draws = DRAWS_PER_PIXEL * jnp.minimum(window, 2 * side) ** 2

    def attempt(number: jax.Array) -> Grid:
        first, second, blocked = jax.random.split(jax.random.fold_in(key, number), 3)
        cells = -(-side // spacing)
        center = jax.random.randint(first, (2,), 0, cells)
        reach = radius // spacing
        low, high = jnp.maximum(center - reach, 0), jnp.minimum(center + reach + 1, cells)
        other = jax.random.randint(second, (2,), low, high)
        a, b = (_pixel(spacing * cell, side) for cell in (center, other))
        if generator == "maze":
            obstacles = mazes.maze(blocked, side)
        else:
            obstacles = jax.random.bernoulli(blocked, density, (side, side)) & ~(a | b)
        path = shortest_path_pixels(a, b, ~obstacles) & jnp.any(center != other)
        return Grid(a, b, obstacles, path)

    def unreachable(carry):
        return ~jnp.any(carry[1].path) & (carry[0] < draws)

    def again(carry):
        return carry[0] + 1, attempt(carry[0])

    empty = jnp.zeros((side, side), bool)
    return jax.lax.while_loop(unreachable, again, (jnp.int32(0), Grid(empty, empty, empty, empty)))[1]


def generate(
    key: jax.Array,
    number: int,
    side: int,
    density: float,
    window: int,
    split_points: bool = False,
    generator: Generator = "random",
) -> dict[str, jax.Array]:
    """Generates a data set on the default device.

    Args:
        key: random key; example i depends on it and on i.
        number: N, number of examples.
        side: pixels per side of the grid.
        density: probability of an obstacle; mazes ignore it.
        window: pixels per side of the window around the first point.
        split_points: whether each point has a channel of its own.
        generator: ``'random'`` obstacles, or the walls of a ``'maze'``.

    Returns:
        ``images`` ``[N, side, side, 2]`` uint8 (points and obstacles), or ``[N, side, side, 3]`` (first
        point, second point and obstacles), and ``labels`` ``[N, side, side]`` uint8 (path pixels).

    Raises:
        RunError: some examples have no path after very many draws.
    """
    data = _generate(key, number, side, jnp.float32(density), jnp.int32(window), split_points, generator)
    empty = number - int(jnp.sum(jnp.any(data["labels"], axis=(1, 2))))
    if empty:
        raise RunError(
            f"{empty} of {number} grids have no path after {DRAWS_PER_PIXEL} draws per window pixel: "
            f"{jax.random.key_impl(key)} keys give the same random numbers in each draw"
        )
    return data


def _generate_grids(key, number, side, density, window, split_points=False, generator="random"):
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(number))
    # In chunks, because the loops of a batch run as long as its longest search.
    grids = jax.lax.map(
        lambda k: sample(k, side, density, window, generator), keys, batch_size=min(number, 500)
    )
    points = [grids.first, grids.second] if split_points else [grids.first | grids.second]
    images = jnp.stack([*points, grids.obstacles], axis=-1)
    return {"images": images.astype(jnp.uint8), "labels": grids.path.astype(jnp.uint8)}


_generate = jax.jit(_generate_grids, static_argnums=(1, 2, 5, 6))


def _pixel(position: jax.Array, side: int) -> jax.Array:
    """Returns ``[side, side]`` bool with one true pixel."""
    rows = jnp.arange(side)
    return (rows[:, None] == position[0]) & (rows[None, :] == position[1])
