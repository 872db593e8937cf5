"""Oxford Flower-17 from its official archive (Nilsback and Zisserman 2006): 17 classes of 80 images.

The papers' split is a seeded random one of 72 training and 8 test images per class; the three official ones of
datasplits.mat have 40 training, 20 validation and 20 test images per class.
"""

import os
import pathlib
import re
from collections.abc import Callable

import numpy as np

from rar_tf.data import images as image_io
from rar_tf.data.builders import archives
from rar_tf.data.builders.complaints import Complaints
from rar_tf.data.builders.official import Official
from rar_tf.data.records import RECORDS
from rar_tf.data.splits import Splits, holdout
from rar_tf.errors import UsageError, brief

SHAPE, CLASSES = RECORDS["flower"].image_shape, RECORDS["flower"].num_classes
PER_CLASS, TEST_PER_CLASS = 80, 8
URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/"
MD5 = {"17flowers.tgz": "b59a65d8d1a99cd66944d474e1289eab", "datasplits.mat": "4828cddfd0d803c5abbdebcb1e148a1e"}
ARCHIVES = {"17flowers.tgz": "jpg"}
INSTRUCTIONS = f"""17flowers.tgz of {URL} (or what it unpacks to: jpg/image_0001.jpg ... image_1360.jpg and
jpg/files.txt), and datasplits.mat for the official splits"""


def read(
    folder: str | os.PathLike,
    *,
    seed: int = 0,
    official_split: int = 0,
    allow_partial: bool = False,
    skip_corrupt: bool = False,
    progress: Callable = iter,
) -> Splits:
    """Return Flower-17 from a folder with 17flowers.tgz or with what it unpacks to.

    Shape: images [N, 128, 128, 3] uint8, resized from the whole image by Pillow's antialiased bilinear filter; `valid`
    is empty for the random split.

    Args:
      seed: of the random split.
      official_split: 1, 2 or 3 for one of datasplits.mat; 0 for the random split of 72 and 8 a class.
      allow_partial, skip_corrupt, progress: as in `records.Request`.

    Raises: UsageError for absent, incomplete or broken files.
    """
    if official_split not in (0, 1, 2, 3):
        raise UsageError(f"official_split={official_split}: must be 1, 2 or 3, or 0 for the random split")
    folder = pathlib.Path(folder)
    complaints = Complaints(allow_partial, skip_corrupt)
    with archives.opened(folder, ARCHIVES) as roots:
        numbers, images = _numbers(roots, folder, complaints)
        labels = (numbers - 1) // PER_CLASS
        if official_split:
            parts = _official(roots, folder, official_split, numbers)
        else:
            test = holdout(labels, round(len(numbers) * TEST_PER_CLASS / PER_CLASS), seed)
            parts = [~test, np.zeros(len(numbers), bool), test]
        splits = []
        for part in parts:
            paths = [images / f"image_{number:04d}.jpg" for number in numbers[part]]
            split, skipped = image_io.read_files(
                image_io.Files(paths, labels[part]), SHAPE[:2], skip_corrupt=skip_corrupt, progress=progress
            )
            complaints.skipped += skipped
            splits.append(split)
    complaints.report()
    return Splits(*splits)


def _numbers(roots, folder, complaints: Complaints) -> tuple[np.ndarray, pathlib.Path]:
    """Return the numbers 1 … 1360 of the images that are there, and their folder."""
    images = archives.locate(roots, "jpg", "17flowers/jpg", "17flowers")
    if images is None and any(folder.glob("image_*.jpg")):
        images = folder
    if images is None:
        raise UsageError(f"{folder}: no Flower-17 images; put there: {' '.join(INSTRUCTIONS.split())}")
    names = {path.name for path in image_io.image_files(images)}
    if (images / "files.txt").exists():
        listed = set((images / "files.txt").read_text(encoding="utf-8", errors="replace").split())
        for name in sorted(listed - names):
            complaints.broken(f"{images / 'files.txt'}: there is no image {name}")
        for name in sorted(names - listed):
            complaints.broken(f"{images / name}: an image that files.txt does not list")
        names &= listed
    found = []
    for name in sorted(names):
        match = re.fullmatch(r"image_(\d{4})\.jpg", name)
        if not match or not 1 <= int(match[1]) <= CLASSES * PER_CLASS:
            complaints.broken(f"{images / name}: not image_0001.jpg ... image_{CLASSES * PER_CLASS}.jpg")
        else:
            found.append(int(match[1]))
    numbers = np.array(found, np.int64)
    if not len(numbers):
        raise UsageError(f"{images}: no image")
    classes = len(np.unique((numbers - 1) // PER_CLASS))
    if classes != CLASSES:
        complaints.partial(f"{images}: {classes} of {CLASSES} classes")
    if len(numbers) + complaints.skipped < CLASSES * PER_CLASS:
        complaints.partial(f"{images}: {len(numbers)} of {CLASSES * PER_CLASS} images")
    return numbers, images


def _official(roots, folder, split: int, numbers: np.ndarray) -> list[np.ndarray]:
    """Return the masks of the training, validation and test images of an official split."""
    from scipy.io import loadmat

    path = archives.locate(roots, "datasplits.mat", "jpg/datasplits.mat", "17flowers/datasplits.mat")
    if path is None:
        raise UsageError(f"{folder}: no datasplits.mat, which the official splits need ({URL}datasplits.mat)")
    try:
        content = loadmat(path)
        parts = [np.ravel(content[f"{part}{split}"]).astype(np.int64) for part in ("trn", "val", "tst")]
    except Exception as error:  # scipy's reader raises many kinds on a truncated file
        raise UsageError(
            f"{path}: truncated or corrupt, or without trn{split}, val{split}, tst{split} ({brief(error)})"
        ) from error
    every = np.concatenate(parts)
    if len(np.unique(every)) != len(every) or every.min() < 1 or every.max() > CLASSES * PER_CLASS:
        raise UsageError(f"{path}: split {split} has an image twice, or one that is not 1 ... 1360")
    return [np.isin(numbers, part) for part in parts]


SOURCE = Official(
    read=read,
    url=URL,
    md5=MD5,
    present=("jpg", "17flowers"),
    only_official=("datasplits.mat",),
    instructions=INSTRUCTIONS,
    description="Oxford Flower-17, 17 classes of 80 images resized to 128x128.",
    homepage=URL,
    citation="Nilsback, Zisserman: A Visual Vocabulary for Flower Classification, CVPR 2006",
    name="flower17",
)
