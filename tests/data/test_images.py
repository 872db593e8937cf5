"""Image files of every kind that Pillow reads: what is made of their pixels."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from rar_tf.data.images import decode
from rar_tf.errors import UsageError

LEVELS = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10


def file(array, kind, **options):
    """The array as an image file of that kind."""
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind, **options)
    return io.BytesIO(content.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation, turn", [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_photographs_stand_upright(kind, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = np.repeat(LEVELS[..., None], 3, axis=2)
    found = decode(file(colours, kind, exif=exif, **({} if kind == "TIFF" else {"quality": 100})), "photograph")
    np.testing.assert_allclose(found, np.rot90(colours, turn), atol=16)  # JPEG's and WebP's own losses
    deep = file(LEVELS.astype(np.uint16) * 257, "PNG", exif=exif)
    np.testing.assert_array_equal(decode(deep, "of 16 bits", channels=1)[..., 0], np.rot90(LEVELS, turn))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("damage", [b"MM*", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", b"damaged!"])
def test_damaged_exif_data_say_nothing(damage):
    found = decode(file(LEVELS, "JPEG", exif=b"Exif\0\0" + damage), "photograph", channels=1)
    np.testing.assert_allclose(found[..., 0], LEVELS, atol=16)


def test_an_orientation_counts_beside_exif_data_that_cannot_be_written_again():
    description, orientation = struct.pack("<HHII", 0x010E, 5, 1, 38), struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = struct.pack("<2sHIH", b"II", 42, 8, 2) + description + orientation + struct.pack("<III", 0, 1, 1)
    found = decode(file(LEVELS, "JPEG", exif=b"Exif\0\0" + exif), "a description that is a number", channels=1)
    np.testing.assert_allclose(found[..., 0], np.rot90(LEVELS, -1), atol=16)


def test_grey_levels_of_16_bits_and_numbers_of_no_known_range():
    deep = LEVELS.astype(np.uint16) * 257
    plain = io.BytesIO(b"P5 4 6 65535\n" + deep.astype(">u2").tobytes())
    for source in (file(deep, "PNG"), file(deep, "TIFF"), plain):
        np.testing.assert_array_equal(decode(source, "deep", channels=1)[..., 0], LEVELS)
    for dtype in (np.int32, np.float32):
        with pytest.raises(UsageError, match="numbers of no known range"):
            decode(file(LEVELS.astype(dtype), "TIFF"), "numbers", channels=1)
