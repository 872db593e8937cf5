"""A folder of JPEGs made of the images of a small data set: random crops, scaled up, in random colours.

python tests/make_images.py SOURCE.npz FOLDER COUNT [SIZE]      writes FOLDER/<class>/<number>.jpg
"""

import pathlib
import sys

import numpy as np
from PIL import Image


def make(images: np.ndarray, labels: np.ndarray, folder, count: int, size: int = 224) -> None:
    """Write so many JPEGs of size x size pixels, the i-th made from image i modulo N. Shape: images [N, H, W, C]."""
    for number in range(count):
        rng = np.random.default_rng([number, size])
        image, label = images[number % len(images)], labels[number % len(images)]
        side = min(image.shape[:2])
        side = int(rng.integers(max(side // 2, 1), side + 1))
        top, left = (int(rng.integers(0, whole - side + 1)) for whole in image.shape[:2])
        crop = Image.fromarray(image[top : top + side, left : left + side].squeeze()).convert("RGB")
        pixels = np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC), np.float32)
        pixels = pixels * rng.uniform(0.6, 1.0, 3) + rng.uniform(0, 40, 3)
        path = pathlib.Path(folder) / f"{label:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=85)


if __name__ == "__main__":
    source, target, count, *size = sys.argv[1:]
    with np.load(source) as archive:
        make(archive["images"], archive["labels"], target, int(count), *map(int, size))
