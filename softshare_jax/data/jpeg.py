"""Decoding images to a square, as ImageNet networks are trained and measured."""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from softshare_jax.errors import UserError, one_line

Box = tuple[float, float, float, float]
# Of a crop for training: width over height.
LEAST_RATIO, GREATEST_RATIO = 3 / 4, 4 / 3
# As torchvision: then it takes the middle of the image.
TRIES = 10


def decode(data: bytes, name: str, choose: Callable[[int, int], Box], size: int) -> np.ndarray:
    """Decodes a part of an image, resized to a square.

    Args:
        data: the content of a JPEG or PNG file: of any colours, for print, with a palette, of 16 bits or with
            transparency.
        name: of the file, for the message.
        choose: width and height of the image, in pixels, to the part: its left, upper, right and lower
            edge as fractions of the image.
        size: pixels per side of the square.

    Returns:
        ``[size, size, 3]`` uint8, RGB.

    Raises:
        UserError: this is not a whole image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            box = choose(width, height)
            shrink = min((box[2] - box[0]) * width, (box[3] - box[1]) * height) / size
            if shrink >= 2:
                # A JPEG decodes at a half, a quarter or an eighth of its size in as much less time.
                image.draft("RGB", (int(width / shrink), int(height / shrink)))
            width, height = image.size
            part = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
            square = _rgb(image).resize((size, size), Image.Resampling.BILINEAR, box=part)
            return np.asarray(square)
    except Exception as error:  # what damaged files raise is not documented
        raise UserError(f"{name} is not a whole image ({one_line(error)}): replace it") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Returns an image in RGB of 8 bits, as torchvision and TFDS do: without transparency, turned by nobody.

    Of 16 bits the upper 8 remain. Pillow would cut at 255 and make such an image white.

    Raises:
        ValueError: its numbers have no known range.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of Pillow's mode {image.mode}")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns otherwise
    return image.convert("RGB")


def random_box(random: np.random.Generator, width: int, height: int, min_area: float) -> Box:
    """Draws a part of an image to train on (Szegedy et al. 2015), as torchvision's RandomResizedCrop.

    Args:
        random: generator.
        width, height: of the image, in pixels.
        min_area: least share of the image that the part covers.

    Returns:
        Fractions of the image, as for ``decode``, that stand for whole pixels.
    """
    for _ in range(TRIES):
        area = width * height * random.uniform(min_area, 1)
        ratio = math.exp(random.uniform(math.log(LEAST_RATIO), math.log(GREATEST_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = random.integers(0, (width - w, height - h), endpoint=True)
            return left / width, upper / height, (left + w) / width, (upper + h) / height
    w, h = min(width, round(height * GREATEST_RATIO)), min(height, round(width / LEAST_RATIO))
    return _middle(w / width, h / height)


def central_box(width: int, height: int, share: float) -> Box:
    """Returns the square in the middle of an image, of that share of its shorter side.

    With 224/256 that is what remains where the shorter side is resized to 256 pixels and the middle 224
    are cut out, in one step.
    """
    side = share * min(width, height)
    return _middle(side / width, side / height)


def _middle(width: float, height: float) -> Box:
    return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2
