"""Images of any kind are decoded, cropped and resized."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from softshare_jax.data import jpeg
from softshare_jax.errors import UserError


def png(array):
    """Returns a 16-bit PNG of ``[H, W, C]`` (gray, gray and alpha, RGB or RGBA). Pillow writes none."""
    height, width, channels = array.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data, size=4):
    return jpeg.decode(data, "it", lambda width, height: (0.0, 0.0, 1.0, 1.0), size)


def test_parts_of_images():
    random = np.random.default_rng(0)
    boxes = np.array([jpeg.random_box(random, 500, 375, 0.08) for _ in range(2000)])
    pixels = boxes * [500, 375, 500, 375]
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-9)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    ratios = widths * 500 / (heights * 375)
    assert 0.73 < ratios.min() < 0.77
    assert 1.30 < ratios.max() < 1.36
    areas = widths * heights
    assert 0.079 < areas.min() < 0.1
    # If no aspect ratio fits the image, the crop is central.
    left, upper, right, lower = jpeg.random_box(random, 1000, 10, 1.0)
    assert (upper, lower, left + right) == (0, 1, 1)
    assert (right - left) * 1000 == pytest.approx(13)
    assert jpeg.central_box(400, 200, 0.5) == pytest.approx((3 / 8, 1 / 4, 5 / 8, 3 / 4))


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same():
    y, x = np.mgrid[:1200, :1600] / 1600
    pixels = np.stack([128 + 100 * np.sin(9 * x), 255 * y, 128 + 100 * np.cos(7 * y)], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    box = (0.25, 0.0, 1.0, 0.75)
    found = jpeg.decode(stream.getvalue(), "large", lambda width, height: box, 64)
    expected = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR, box=(400, 0, 1600, 900))
    assert np.abs(np.asarray(expected, float) - found).max() < 5


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_images_keep_their_upper_8_bits(channels):
    wide = np.random.default_rng(channels).integers(0, 2**16, (4, 4, channels), np.uint16)
    colors = wide[..., :1].repeat(3, -1) if channels < 3 else wide[..., :3]
    np.testing.assert_array_equal(decoded(png(wide)), colors >> 8)


def test_images_of_any_kind_are_decoded_as_by_torchvision():
    numbers = np.arange(16, dtype=np.uint8).reshape(4, 4)
    gray, rgb = np.stack([numbers] * 3, -1), np.stack([numbers, 255 - numbers, 3 * numbers], -1)
    palette = Image.fromarray(numbers, "P")
    palette.putpalette(rgb.tobytes())
    # Transparency is dropped, which shows hidden pixels.
    alpha = np.full((4, 4, 1), 9, np.uint8)
    for image, options, expected in (
        (Image.fromarray(numbers), {}, gray),
        (Image.fromarray(numbers), {"transparency": 3}, gray),
        (Image.fromarray(np.concatenate([numbers[..., None], alpha], -1)), {}, gray),
        (Image.fromarray(rgb), {"transparency": (0, 255, 0)}, rgb),
        (Image.fromarray(np.concatenate([rgb, alpha], -1)), {}, rgb),
        (palette, {}, rgb),
        (palette, {"transparency": 3}, rgb),
        (palette, {"transparency": bytes(range(16))}, rgb),
        (Image.fromarray(numbers > 7), {}, np.where(gray > 7, 255, 0)),
    ):
        np.testing.assert_array_equal(decoded(encoded(image, **options)), expected)
    # CMYK: 0 is no ink, and black counts as much as the colors.
    ink = Image.new("CMYK", (16, 16), (0, 51, 102, 51))
    np.testing.assert_allclose(
        decoded(encoded(ink, "JPEG", quality=100)), [[[204, 163, 122]] * 4] * 4, atol=2
    )
    # The EXIF orientation is ignored.
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = Image.fromarray(np.repeat(numbers[:1].repeat(8, 1), 8, 0) * 60)
    np.testing.assert_array_equal(decoded(encoded(wide, "JPEG", exif=turned)), decoded(encoded(wide, "JPEG")))
    # Floating-point images have no known range.
    with pytest.raises(UserError, match=r"it is not a valid image \(.*mode F"):
        decoded(encoded(Image.fromarray(numbers.astype(np.float32)), "TIFF"))
