"""Decodes and crops images to a square, for training and evaluation on ImageNet."""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from softshare_jax.errors import UserError, one_line

Box = tuple[float, float, float, float]
# Aspect ratio (width / height) of a crop for training.
LEAST_RATIO, GREATEST_RATIO = 3 / 4, 4 / 3
# After this many random crops that do not fit, take the middle of the image, as torchvision does.
TRIES = 10


def decode(data: bytes, name: str, choose: Callable[[int, int], Box], size: int) -> np.ndarray:
    """Decodes a part of an image, resized to a square.

    Args:
        data: content of a JPEG or PNG file: gray, RGB, CMYK, with a palette, of 16 bits or with transparency.
        name: name of the file, for the error message.
        choose: function from width and height in pixels to the part: its left, upper, right and lower edge
            as fractions of the image.
        size: pixels per side of the square.

    Returns:
        ``[size, size, 3]`` uint8, RGB.

    Raises:
        UserError: the data is not a valid image, or it is cut off.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            box = choose(width, height)
            shrink = min((box[2] - box[0]) * width, (box[3] - box[1]) * height) / size
            if shrink >= 2:
                # JPEG decoding at 1/2, 1/4 or 1/8 of the size is that much faster.
                image.draft("RGB", (int(width / shrink), int(height / shrink)))
            width, height = image.size
            part = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
            square = _rgb(image).resize((size, size), Image.Resampling.BILINEAR, box=part)
            return np.asarray(square)
    except Exception as error:  # the exceptions for damaged files are not documented
        raise UserError(f"{name} is not a valid image ({one_line(error)}): replace it") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Returns an image as 8-bit RGB. Like torchvision and TFDS, drops transparency and ignores rotation tags.

    Keeps the upper 8 of 16 bits; Pillow would clip at 255, which makes such an image white.

    Raises:
        ValueError: the pixel values have no known range.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"unsupported Pillow mode {image.mode}")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # avoids a warning of Pillow
    return image.convert("RGB")


def random_box(random: np.random.Generator, width: int, height: int, min_area: float) -> Box:
    """Draws a random crop for training (Szegedy et al. 2015), like torchvision's RandomResizedCrop.

    Args:
        random: random generator.
        width, height: size of the image in pixels.
        min_area: smallest fraction of the image's area that the crop covers.

    Returns:
        Edges as fractions of the image, as for ``decode``; they are at pixel boundaries.
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
    """Returns the central square of an image; its side is the given fraction of the shorter side.

    A fraction of 224/256 equals resizing the shorter side to 256 pixels and cropping the central 224.
    """
    side = share * min(width, height)
    return _middle(side / width, side / height)


def _middle(width: float, height: float) -> Box:
    return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2
