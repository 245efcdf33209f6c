"""Checks generated grids against networkx."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax.data import shortest_paths
from softshare_jax.errors import RunError
from softshare_jax.training import randomness


def graph(free):
    grid = nx.grid_2d_graph(*free.shape)
    grid.remove_nodes_from([node for node in list(grid) if not free[node]])
    return grid


def path_pixels(free, a, b):
    """Returns all pixels on all shortest paths, from a list of every path."""
    pixels = np.zeros(free.shape, bool)
    grid = graph(free)
    if nx.has_path(grid, a, b):
        for path in nx.all_shortest_paths(grid, a, b):
            pixels[tuple(zip(*path, strict=True))] = True
    return pixels


def one(shape, node):
    return jnp.zeros(shape, bool).at[node].set(True)


@given(st.integers(0, 2**31), st.integers(2, 7), st.floats(0, 0.5))
def test_distances_and_paths_on_any_grid(seed, side, density):
    random = np.random.default_rng(seed)
    free = random.random((7, 7)) >= density
    free[side % 7, :] &= True
    a, b = (tuple(int(x) for x in random.integers(0, 7, 2)) for _ in range(2))
    free[a] = free[b] = True
    found = shortest_paths.shortest_path_pixels(one((7, 7), a), one((7, 7), b), jnp.asarray(free))
    np.testing.assert_array_equal(found, path_pixels(free, a, b))
    steps = np.asarray(shortest_paths.distances(one((7, 7), a), jnp.asarray(free), one((7, 7), b)))
    lengths = nx.single_source_shortest_path_length(graph(free), a)
    reach = lengths.get(b, max(lengths.values()))
    for node in itertools.product(range(7), repeat=2):
        if node in lengths and lengths[node] <= reach:
            assert steps[node] == lengths[node]


@pytest.fixture(scope="module", params=[(0.1, 5), (0.3, 9), (0.6, 5)])
def generated(request):
    density, window = request.param
    data = shortest_paths.generate(jax.random.key(3), 60, 12, density, window)
    return density, window, jax.tree.map(np.asarray, data)


def test_generated_paths(generated):
    _, _, data = generated
    assert data["images"].shape == (60, 12, 12, 2)
    assert data["images"].dtype == data["labels"].dtype == np.uint8
    for image, label in zip(data["images"], data["labels"], strict=True):
        a, b = (tuple(int(x) for x in node) for node in np.argwhere(image[..., 0]))
        np.testing.assert_array_equal(label, path_pixels(image[..., 1] == 0, a, b))
        assert label[a]
        assert label[b]


def test_the_second_point_lies_in_the_window_and_obstacles_never_on_points(generated):
    density, window, data = generated
    points, obstacles = data["images"][..., 0], data["images"][..., 1]
    assert (points.sum((1, 2)) == 2).all()
    assert not (points & obstacles).any()
    spans = [np.ptp(np.argwhere(p), axis=0).max() for p in points]
    assert max(spans) == window // 2
    if density < 0.2:  # denser grids are biased: only reachable pairs are kept
        assert abs(obstacles.mean() - density) < 0.02


def test_an_example_does_not_depend_on_its_batch():
    whole = shortest_paths.generate(jax.random.key(5), 20, 8, 0.4, 7)
    start = shortest_paths.generate(jax.random.key(5), 7, 8, 0.4, 7)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:7], b), whole, start)
    other = shortest_paths.generate(jax.random.key(6), 7, 8, 0.4, 7)
    assert (np.asarray(other["images"]) != np.asarray(start["images"])).any()


def test_one_program_generates_data_sets_of_all_sizes(caplog):
    chunk = shortest_paths.CHUNK
    small = shortest_paths.generate(jax.random.key(5), 7, 8, 0.4, 7)
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        large = shortest_paths.generate(jax.random.key(5), chunk + 9, 8, 0.4, 7)
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
    assert large["labels"].shape == (chunk + 9, 8, 8)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:7], b), large, small)


def test_constant_keys_end_with_a_message():
    # Under vmap, such keys draw the same example every time.
    with pytest.raises(RunError, match="of 60 grids have no path after 100 draws per window pixel"):
        shortest_paths.generate(jax.random.key(3, impl="rbg"), 60, 8, 0.1, 3)


def test_random_numbers_do_not_depend_on_the_default_key_type():
    expected = jax.random.key_data(randomness.stream(5, "order", 3))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(jax.random.key_data(randomness.stream(5, "order", 3)), expected)


def test_dense_grids_still_have_paths():
    data = shortest_paths.generate(jax.random.key(3), 30, 9, 0.99, 101)
    assert np.asarray(data["labels"]).any((1, 2)).all()


def test_points_in_channels_of_their_own():
    arguments = jax.random.key(4), 20, 9, 0.3, 7
    together, split = (shortest_paths.generate(*arguments, split_points=s) for s in (False, True))
    assert split["images"].shape == (20, 9, 9, 3)
    np.testing.assert_array_equal(split["labels"], together["labels"])
    first, second, obstacles = np.moveaxis(np.asarray(split["images"]), -1, 0)
    np.testing.assert_array_equal(np.stack([first | second, obstacles], -1), together["images"])
    assert (first.sum((1, 2)) == 1).all()
    assert (second.sum((1, 2)) == 1).all()


@pytest.mark.parametrize(("side", "window"), [(9, 17), (13, 7)])
def test_mazes_have_one_path(side, window):
    data = shortest_paths.generate(jax.random.key(5), 12, side, 0.1, window, generator="maze")
    spans = []
    for image, label in zip(np.asarray(data["images"]), np.asarray(data["labels"]), strict=True):
        free = image[..., 1] == 0
        assert nx.is_tree(graph(free))
        assert free[::2, ::2].all()
        assert not free[1::2, 1::2].any()
        a, b = (tuple(int(x) for x in node) for node in np.argwhere(image[..., 0]))
        assert not any(x % 2 for x in (*a, *b))
        np.testing.assert_array_equal(label, path_pixels(free, a, b))
        assert label.sum() == nx.shortest_path_length(graph(free), a, b) + 1
        spans.append(np.abs(np.subtract(a, b)).max())
    assert max(spans) <= window // 2
    assert len({image.tobytes() for image in np.asarray(data["images"])[..., 1]}) == 12


def test_passages_of_mazes_lead_in_all_directions():
    walls = np.asarray(shortest_paths.generate(jax.random.key(6), 60, 9, 0.1, 17, generator="maze")["images"])
    passages = walls[..., 1].sum(0) == 0
    assert not passages[1::2, 1::2].any()
    # Every wall between two cells is a passage in some mazes and stands in others.
    for between in (walls[:, ::2, 1::2, 1], walls[:, 1::2, ::2, 1]):
        assert (between.any(0) & ~between.all(0)).all()
