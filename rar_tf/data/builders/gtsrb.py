"""GTSRB from its official archives (Stallkamp et al. 2011), or from the pickles of Chen et al. 2019.

Validation images are 147 whole tracks of 30 frames (a track is one physical sign), so that no sign is in two
splits: 34,799 / 4,410 / 12,630 images.
"""

import csv
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np

from rar_tf.data import images as image_io
from rar_tf.data.builders import archives, pickles
from rar_tf.data.builders.complaints import Complaints
from rar_tf.data.builders.official import Official
from rar_tf.data.records import RECORDS
from rar_tf.data.splits import Split, Splits, holdout
from rar_tf.errors import UsageError, brief

SHAPE, CLASSES = RECORDS["gtsrb"].image_shape, RECORDS["gtsrb"].num_classes
TRAINING, TEST = 39_209, 12_630
TRACKS, VALIDATION_TRACKS = 1_307, 147
URL = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
MD5 = {
    "GTSRB_Final_Training_Images.zip": "f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}
ARCHIVES = {
    "GTSRB_Final_Training_Images.zip": "GTSRB/Final_Training",
    "GTSRB_Final_Test_Images.zip": "GTSRB/Final_Test",
    "GTSRB_Final_Test_GT.zip": "GT-final_test.csv",
}
INSTRUCTIONS = f"""{", ".join(MD5)} of {URL} (or what they unpack to: GTSRB/Final_Training/Images/CCCCC/ with
GT-CCCCC.csv, GTSRB/Final_Test/Images/ and GT-final_test.csv), or train.p, valid.p and test.p of the 2019
reference's source"""


def read(
    folder: str | os.PathLike,
    *,
    seed: int = 0,
    allow_partial: bool = False,
    skip_corrupt: bool = False,
    progress: Callable = iter,
) -> Splits:
    """Return GTSRB from a folder with the official archives, what they unpack to, or the three pickles.

    Shape: images [N, 32, 32, 3] uint8, resized from the whole image by bilinear interpolation.

    Args:
      seed: chooses the validation tracks.
      allow_partial: only warn where classes, tracks or Final_Test are missing; the splits are then in proportion, and
        without Final_Test test tracks are held out of the training tracks.
      skip_corrupt, progress: as in `records.Request`.

    Raises: UsageError for absent, incomplete or broken files.
    """
    folder = pathlib.Path(folder)
    if (folder / "train.p").exists() or (folder / "test.p").exists():
        return Splits(
            *(pickles.read_pickled_split(folder / f"{name}.p", SHAPE, CLASSES) for name in ("train", "valid", "test"))
        )
    complaints = Complaints(allow_partial, skip_corrupt)
    with archives.opened(folder, ARCHIVES) as roots:
        training, tracks = _training_files(roots, folder, complaints)
        test = _test_files(roots, folder, complaints)
        parts = _split(training, tracks, test, seed)
        splits = [_decode(files, complaints, skip_corrupt, progress) for files in parts]
    complaints.report()
    return Splits(*splits)


def _decode(files: image_io.Files, complaints: Complaints, skip_corrupt: bool, progress: Callable) -> Split:
    split, skipped = image_io.read_files(
        files, SHAPE[:2], antialias=False, skip_corrupt=skip_corrupt, progress=progress
    )
    complaints.skipped += skipped
    return split


def _split(
    training: image_io.Files, tracks: np.ndarray, test: image_io.Files | None, seed: int
) -> list[image_io.Files]:
    """Return the files of each split: whole tracks are held out for validation, and for test where it has no files."""
    names, lengths = np.unique(tracks, return_counts=True)
    longest = names[lengths == np.bincount(lengths).argmax()]  # 30 frames: all tracks but one of 29
    eligible = np.isin(tracks, longest)
    part = np.zeros(len(tracks), int)

    def hold_out(share, number, seed):
        free = np.flatnonzero(eligible & (part == 0))
        held = holdout(training.labels[free], round(share * len(names)), seed, tracks[free])
        part[free[held]] = number

    if test is None:
        hold_out(TEST / (TEST + TRAINING), 2, seed + 1)
    hold_out(VALIDATION_TRACKS / TRACKS, 1, seed)

    def select(number):
        rows = np.flatnonzero(part == number)
        return image_io.Files([training.paths[row] for row in rows], training.labels[rows])

    return [select(0), select(1), select(2) if test is None else test]


def _training_files(roots, folder, complaints: Complaints) -> tuple[image_io.Files, np.ndarray]:
    images = archives.locate(roots, "GTSRB/Final_Training/Images", "Final_Training/Images")
    if images is None:
        raise UsageError(f"{folder}: no GTSRB training images; put there: {' '.join(INSTRUCTIONS.split())}")
    paths, labels = [], []
    folders = sorted(path for path in images.iterdir() if path.is_dir())
    for class_folder in folders:
        if not re.fullmatch(r"\d{5}", class_folder.name) or int(class_folder.name) >= CLASSES:
            raise UsageError(f"{class_folder}: no GTSRB class; the folders are 00000 ... {CLASSES - 1:05d}")
        if not image_io.image_files(class_folder):
            complaints.partial(f"{class_folder}: a class folder without an image")
            continue
        truth = class_folder / f"GT-{class_folder.name}.csv"
        rows = _read_csv(truth, class_folder, complaints, int(class_folder.name))
        paths += [class_folder / name for name, _ in rows]
        labels += [label for _, label in rows]
    if not paths:
        raise UsageError(f"{images}: no training image")
    classes = len(set(labels))
    if classes != CLASSES:
        complaints.partial(f"{images}: {classes} of {CLASSES} classes")
    if len(paths) + complaints.skipped < TRAINING:
        complaints.partial(f"{images}: {len(paths)} of {TRAINING} training images")
    tracks = np.array([f"{path.parent.name}/{path.name.split('_')[0]}" for path in paths])
    return image_io.Files(paths, np.array(labels, np.int64)), tracks


def _test_files(roots, folder, complaints: Complaints) -> image_io.Files | None:
    images = archives.locate(roots, "GTSRB/Final_Test/Images", "Final_Test/Images")
    folders = ("", "GTSRB/", "GTSRB/Final_Test/", "GTSRB/Final_Test/Images/", "Final_Test/", "Final_Test/Images/")
    truth = archives.locate(roots, *(f"{place}GT-final_test.csv" for place in folders))
    if images is None or truth is None:
        missing = "GTSRB/Final_Test/Images" if images is None else "GT-final_test.csv"
        complaints.partial(f"{folder}: no {missing}", "test tracks are held out of the training images")
        return None
    before = complaints.skipped
    rows = _read_csv(truth, images, complaints)
    if len(rows) + complaints.skipped - before < TEST:
        complaints.partial(f"{images}: {len(rows)} of {TEST} test images")
    labels = np.array([label for _, label in rows], np.int64)
    return image_io.Files([images / name for name, _ in rows], labels)


def _read_csv(
    path: pathlib.Path, images: pathlib.Path, complaints: Complaints, only: int | None = None
) -> list[tuple[str, int]]:
    """Return (file name, class) of each row; every row must have its image and every image its row."""
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    present = {image.name for image in image_io.image_files(images)}
    result, seen = [], set()
    try:
        with open(path, newline="", encoding="ascii") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UsageError(f"{path}: no readable csv file ({brief(error)})") from error
    for number, row in enumerate(rows, start=2):
        try:
            name, label = row["Filename"], int(row["ClassId"])
        except (KeyError, TypeError, ValueError):
            complaints.broken(f"{path}: row {number} has no Filename and ClassId")
            continue
        if not 0 <= label < CLASSES or (only is not None and label != only):
            right = "0 ... 42" if only is None else only
            complaints.broken(f"{path}: row {number}: ClassId {label} of {name} is not {right}")
        elif name in seen or pathlib.PurePath(name).name != name:
            complaints.broken(f"{path}: row {number}: {name!r} is there twice or is no plain file name")
        elif name not in present:
            complaints.broken(f"{path}: row {number}: there is no image {name}")
        else:
            result.append((name, label))
        seen.add(name)
    for name in sorted(present - seen):
        complaints.broken(f"{images / name}: an image without a row in {path.name}")
    return result


SOURCE = Official(
    read=read,
    url=URL,
    md5=MD5,
    present=("GTSRB", "Final_Training", "train.p"),
    instructions=INSTRUCTIONS,
    description="German Traffic Sign Recognition Benchmark, 43 classes, whole images resized to 32x32.",
    homepage="https://benchmark.ini.rub.de/",
    citation="Stallkamp et al.: The German Traffic Sign Recognition Benchmark, IJCNN 2011",
)
