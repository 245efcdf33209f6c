"""Checks augmentation against NumPy: every result is one of the possible results."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softshare_jax import config as config_lib
from softshare_jax.data import augmentation, cifar
from softshare_jax.training.tasks import CifarTask

flip = jax.jit(augmentation.flip)
crop = jax.jit(augmentation.crop, static_argnums=2)
cutout = jax.jit(augmentation.cutout, static_argnums=2)
KEYS = st.integers(0, 2**31).map(jax.random.key)


def pictures(number, height=5, width=7, channels=3, seed=0):
    """Returns images whose pixels are all different and not zero."""
    size = number * height * width * channels
    values = np.random.default_rng(seed).permutation(size) + 1
    return (values / size).astype(np.float32).reshape(number, height, width, channels)


def shifts(image, padding, fill):
    """Returns every possible crop, by the offset of its corner in the padded image."""
    height, width, _ = image.shape
    padded = np.empty((height + 2 * padding, width + 2 * padding, image.shape[-1]), image.dtype)
    padded[:] = fill
    padded[padding : padding + height, padding : padding + width] = image
    corners = itertools.product(range(2 * padding + 1), repeat=2)
    return {(y, x): padded[y : y + height, x : x + width] for y, x in corners}


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_normalize(name):
    facts = cifar.CIFARS[name]
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 3), np.uint8)
    expected = np.empty(images.shape)
    for channel in range(3):
        mean, std = facts.mean[channel] / 255, facts.std[channel] / 255
        expected[..., channel] = (images[..., channel] / 255 - mean) / std
    found = augmentation.normalize(jnp.asarray(images), facts.mean, facts.std)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(KEYS)
def test_each_image_is_flipped_or_left_alone(key):
    images = pictures(6)
    for before, after in zip(images, np.asarray(flip(key, images)), strict=True):
        assert (after == before).all() or (after == before[:, ::-1]).all()


def test_half_of_the_images_are_flipped():
    images = jnp.asarray(pictures(1000, 1, 2, 1))
    flipped = np.asarray(flip(jax.random.key(0), images) != images).any((1, 2, 3))
    # Four standard deviations around the mean of 1000 fair coins.
    assert abs(flipped.sum() - 500) < 64
    # Every image and every key has its own coin.
    again = np.asarray(flip(jax.random.key(1), images) != images).any((1, 2, 3))
    assert abs((flipped ^ again).sum() - 500) < 64


@given(KEYS, st.sampled_from([1, 3]))
def test_a_crop_is_one_of_all_shifts(key, padding):
    images, fill = pictures(6), np.array([-1.0, -2.0, -3.0], np.float32)
    out = np.asarray(crop(key, jnp.asarray(images), padding, jnp.asarray(fill)))
    for before, after in zip(images, out, strict=True):
        assert sum((after == shift).all() for shift in shifts(before, padding, fill).values()) == 1


def test_all_shifts_are_equally_likely():
    image, fill, number = pictures(1), np.full(3, -1.0, np.float32), 2000
    images = jnp.asarray(np.repeat(image, number, axis=0))
    out = np.asarray(crop(jax.random.key(0), images, 2, jnp.asarray(fill)))
    counts = [(out == shift).all((1, 2, 3)).sum() for shift in shifts(image[0], 2, fill).values()]
    assert sum(counts) == number
    # 80 expected each. Chi-square with 24 degrees of freedom exceeds 60 less than once in 10^4.
    assert sum((count - 80) ** 2 / 80 for count in counts) < 60


def hole_at(center_y, center_x, side, height, width):
    """Returns the mask of a hole that starts side // 2 pixels before its center, clipped at the border."""
    hole = np.zeros((height, width), bool)
    hole[
        max(0, center_y - side // 2) : max(0, center_y - side // 2 + side),
        max(0, center_x - side // 2) : max(0, center_x - side // 2 + side),
    ] = True
    return hole


@given(KEYS, st.sampled_from([5, 6]))
def test_a_hole_is_zero_and_all_else_untouched(key, side):
    images = pictures(6)
    out = np.asarray(cutout(key, jnp.asarray(images), side))
    holes = [hole_at(y, x, side, 5, 7) for y in range(5) for x in range(7)]
    for before, after in zip(images, out, strict=True):
        zero = (after == 0).all(-1)
        assert any((zero == hole).all() for hole in holes)
        np.testing.assert_array_equal(after, np.where(zero[..., None], 0, before))


@pytest.mark.parametrize("side", [3, 4])
def test_all_centers_are_equally_likely(side):
    number, height, width = 3500, 5, 7
    images = jnp.ones((number, height, width, 1))
    zero = np.asarray(cutout(jax.random.key(1), images, side)[..., 0] == 0)
    holes = [hole_at(y, x, side, height, width) for y in range(height) for x in range(width)]
    assert len({hole.tobytes() for hole in holes}) == height * width
    counts = [(zero == hole).all((1, 2)).sum() for hole in holes]
    assert sum(counts) == number
    # 100 expected each; 34 degrees of freedom.
    assert sum((count - 100) ** 2 / 100 for count in counts) < 75


def test_holes_of_the_paper_are_clipped_at_the_border():
    images = jnp.ones((4000, 32, 32, 1))
    zero = np.asarray(cutout(jax.random.key(0), images, 16)[..., 0] == 0)
    heights, widths = zero.any(2).sum(1), zero.any(1).sum(1)
    np.testing.assert_array_equal(zero.sum((1, 2)), heights * widths)
    # A center in the first row leaves 8 rows of the hole, one in the last row 9.
    assert set(heights) == set(widths) == set(range(8, 17))


def task(name="cifar10", side=0):
    return CifarTask(config_lib.Cifar(name=name, train_examples=8, cutout=side), "")


@pytest.mark.parametrize("side", [0, 4])
def test_augmentation_is_a_pure_function_of_its_key(side):
    inputs, key = jnp.asarray(pictures(40, 32, 32)), jax.random.key(3)
    augment = jax.jit(task(side=side).augment)
    once = augment(key, inputs)
    np.testing.assert_array_equal(augment(key, inputs), once)
    other = augment(jax.random.fold_in(key, 1), inputs)
    assert (np.asarray(other) != np.asarray(once)).any((1, 2, 3)).sum() > 30


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_padding_is_black_before_normalization(name):
    # Images are white, so an augmented pixel is either white or black, both normalized.
    facts = cifar.CIFARS[name]
    white = jnp.full((200, 32, 32, 3), 255, jnp.uint8)
    the_task = task(name)
    inputs = the_task.inputs({"images": white})
    out = np.asarray(jax.jit(the_task.augment)(jax.random.key(0), inputs))
    bright = [(255 - m) / s for m, s in zip(facts.mean, facts.std, strict=True)]
    dark = [-m / s for m, s in zip(facts.mean, facts.std, strict=True)]
    is_bright, is_dark = (np.isclose(out, value, atol=1e-5).all(-1) for value in (bright, dark))
    assert (is_bright ^ is_dark).all()
    # Padding covers up to 4 rows and columns at the border, and none in the middle.
    assert not is_dark[:, 4:28, 4:28].any()
    lost = 32 - is_bright.any(2).sum(1)
    assert set(lost) == {0, 1, 2, 3, 4}


def test_the_task_mirrors_shifts_and_cuts():
    image = pictures(1, 32, 32)
    batch = jnp.asarray(np.repeat(image, 40, axis=0))
    facts = cifar.CIFARS["cifar10"]
    black = (-np.array(facts.mean, np.float32) / np.array(facts.std, np.float32)).astype(np.float32)
    possible = {
        (mirrored, *corner): shift
        for mirrored in (False, True)
        for corner, shift in shifts(image[0, :, ::-1] if mirrored else image[0], 4, black).items()
    }
    out = np.asarray(jax.jit(task(side=6).augment)(jax.random.key(0), batch))
    seen = set()
    for after in out:
        hole = (after == 0).all(-1)
        assert 3 * 3 <= hole.sum() <= 6 * 6
        (which,) = (w for w, p in possible.items() if np.allclose(after[~hole], p[~hole], atol=1e-6))
        seen.add(which)
    assert {mirrored for mirrored, _, _ in seen} == {False, True}
    assert len(seen) > 25
    # Flips, shifts and holes are drawn independently.
    without = np.asarray(jax.jit(task(side=0).augment)(jax.random.key(0), batch))
    hole = (out == 0).all(-1, keepdims=True)
    np.testing.assert_array_equal(out, np.where(hole, 0, without))
