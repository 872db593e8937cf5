"""The user's own images: a folder with a subfolder a class, an .npz, a folder of .npz or record files, a tfds name."""

import os
import pathlib

import numpy as np
from absl import logging

from rar_tf.data import images as image_io
from rar_tf.data import npz, tfds
from rar_tf.data.record_files import SPLIT_NAMES, read_examples, record_files
from rar_tf.data.records import RECORDS, Record, Request, data_directory
from rar_tf.data.splits import Split, Splits, check_labels, hold_out_validation, holdout
from rar_tf.errors import UsageError

TEST_FRACTION = 0.1  # held out, a class in proportion, where the source has no test images
TEST_SEED = 1  # whatever the run's: all runs, and evaluations with other seeds, have the same test images
VALIDATION_FRACTION = 0.1
SEEN = 1000  # files of a folder, at the most, whose channels decide those of all


def is_source(name: str) -> bool:
    """Return whether a data set's name is meant as the user's own images: a path or tfds:NAME."""
    is_path = name.endswith(".npz") or os.sep in name or pathlib.Path(name).expanduser().exists()
    return is_path or name.startswith("tfds:")


def record(source: str, bounds: tuple[float, float] | None, image_size: tuple[int, int] | None = None) -> Record:
    """Return the record of the user's own images.

    Args:
      source: folder with a subfolder a class (or with `train`, `test` and `valid` folders of such, or two of them),
        folder with train.npz and test.npz or with TFRecord or ArrayRecord files, a single .npz with `images` and
        `labels`, or "tfds:NAME".
      bounds: (lowest, highest) pixel value that networks are given; grey levels 0-255 are mapped onto it.
      image_size: (height, width) that image files are resized to; not for .npz.

    Raises: UsageError where there is no pixel range, or no such source.
    """
    if bounds is None or len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise UsageError(
            f"data set {source!r}: give --pixel_range=LOW,HIGH, the pixel values that the network is for, such as 0,1"
            + ("" if bounds is None else f"; not {','.join(map(str, bounds))}")
        )
    bounds = (float(bounds[0]), float(bounds[1]))
    if image_size is not None:
        if len(image_size) != 2:
            raise UsageError(f"data set {source!r}: give --image_size=HEIGHT,WIDTH, not {image_size}")
        image_size = (image_size[0], image_size[1])
    if source.startswith("tfds:"):
        return _tfds_record(source, bounds, image_size)
    path = pathlib.Path(source).expanduser()
    if path.suffix == ".npz" or (path / "train.npz").exists():
        file = path if path.suffix == ".npz" else path / "train.npz"
        split = npz.read_split(file, None, None, bounds)
        shape, classes = split.images.shape[1:], int(split.labels.max()) + 1
        if classes < 2:
            raise UsageError(f"{file}: all labels are 0: a classifier needs two classes at least")
        if image_size is not None and image_size != shape[:2]:
            raise UsageError(f"{file}: its images are {shape[:2]} and are not resized to {image_size}")
    elif record_files(path):
        split = read_examples(record_files(path)["train"], None, image_size)
        shape, classes = split.images.shape[1:], int(split.labels.max()) + 1
    else:
        shape, classes = _folder_shape(path, image_size)
    return _record(path.stem, shape, classes, bounds, source, image_size)


def _record(name, shape, classes, bounds, source, image_size, **more) -> Record:
    return Record(
        name,
        tuple(shape),
        classes,
        bounds,
        validation=VALIDATION_FRACTION,
        source=source,
        image_size=image_size,
        reader="rar_tf.data.custom:read",
        prepared=False,
        **more,
    )


def read(record: Record, request: Request) -> Splits:
    """Return the user's own images.

    Where they have no test images, their validation images are those, as in tensorflow-datasets, where the test images
    of many data sets have no public labels; without these, too, a tenth of each class, always the same.

    Raises: UsageError for files that are absent, broken or not as the record says.
    """
    source = str(record.source)
    path = pathlib.Path(source).expanduser()
    if (path / "train.npz").exists():
        return npz.read_splits(record, path, request.seed)
    if source.startswith("tfds:"):
        found = _read_tfds(record, request)
    elif path.suffix == ".npz":
        found = {"train": npz.read_split(path, record.image_shape, record.num_classes, record.bounds)}
    elif record_files(path):
        found = _read_record_files(record, path)
    else:
        folders = _split_folders(path)
        _same_classes(path, folders)
        found = {name: _read_folder(record, folder) for name, folder in folders.items()}
    return _splits(record, found, request.seed)


def _splits(record: Record, found: dict[str, Split], seed: int) -> Splits:
    if "train" not in found:
        raise UsageError(f"{record.source}: no training images, only of {' and '.join(found) or 'no split'}")
    if len(found) == 1:
        every = found["train"]
        held = holdout(every.labels, round(TEST_FRACTION * every.count), TEST_SEED)
        if not held.any():
            raise UsageError(
                f"{record.source}: {every.count} images in {record.num_classes} classes are too few to hold out test "
                "images"
            )
        found = {"train": every.take(~held), "test": every.take(held)}
        logging.warning(
            "%s has no test images: %d of its %d are held out as such", record.source, held.sum(), every.count
        )
    elif "test" not in found:
        found = {"train": found["train"], "test": found["valid"]}
    if "valid" in found:
        return Splits(found["train"], found["valid"], found["test"])
    return hold_out_validation(found["train"], found["test"], record.validation, seed)


def _split_folders(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of class folders by split; one of the name `train` alone is a class."""
    found: dict[str, pathlib.Path] = {}
    for name, split in SPLIT_NAMES.items():
        if (path / name).is_dir():
            if split in found:
                raise UsageError(f"{path}: both {found[split].name} and {name} hold {split} images")
            found[split] = path / name
    return found if "train" in found and len(found) > 1 else {"train": path}


def _class_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        raise UsageError(f"{folder}: needs one subfolder a class, at least two, and has {len(folders)}")
    return folders


def _same_classes(path: pathlib.Path, folders: dict[str, pathlib.Path]) -> None:
    names = {split: {each.name for each in _class_folders(folder)} for split, folder in folders.items()}
    for split, own in names.items():
        if own != names["train"]:
            different = ", ".join(sorted(own ^ names["train"])[:5])
            raise UsageError(f"{path}: train and {split} do not have the same class folders: {different}")


def _files(folder: pathlib.Path) -> image_io.Files:
    names, labels = [], []
    for label, class_folder in enumerate(_class_folders(folder)):
        found = image_io.image_files(class_folder)
        if not found:
            raise UsageError(f"{class_folder}: a class folder without an image")
        names += [os.path.join(class_folder.name, path.name).encode("utf-8", "surrogateescape") for path in found]
        labels += [label] * len(found)
    # Mixed, so that the first images, which are evaluated and monitored, are not all of the first classes.
    order = np.random.default_rng(len(names)).permutation(len(names))
    return image_io.Files(np.array(names)[order], np.array(labels, np.int64)[order], folder)


def _folder_shape(path: pathlib.Path, image_size) -> tuple[tuple[int, int, int], int]:
    folder = _split_folders(path)["train"]
    files = _files(folder)
    some = [files.path(number) for number in np.unique(np.linspace(0, len(files.paths) - 1, SEEN).astype(int))]
    found = [image_io.channels_of(path) for path in some]
    if len(set(found)) > 1:
        logging.warning("%s: %d of %d images are grey; all are read as RGB", folder, found.count(1), len(found))
    channels = max(found)
    shape = image_size if image_size is not None else image_io.read_image(some[0], None, channels).shape[:2]
    return (*shape, channels), int(files.labels.max()) + 1


def _read_folder(record: Record, folder: pathlib.Path) -> Split:
    files = _files(folder)
    labels = check_labels(files.labels, folder, record.num_classes)
    return Split(image_io.stored(files, record.image_shape, record.image_size), labels)


def _read_record_files(record: Record, path: pathlib.Path) -> dict[str, Split]:
    found = {
        name: read_examples(paths, record.image_shape, record.image_size) for name, paths in record_files(path).items()
    }
    for name, split in found.items():
        check_labels(split.labels, f"{path}, {name}", record.num_classes)
    return found


def _tfds_record(source: str, bounds, image_size) -> Record:
    name = source.removeprefix("tfds:")
    features = tfds.find(name, data_directory()).info.features
    known = features is not None and {"image", "label"} <= set(features)
    if not known or not hasattr(features["label"], "num_classes"):
        raise UsageError(f"{source}: needs the features image and label (classes)")
    if not np.issubdtype(features["image"].np_dtype, np.integer):
        raise UsageError(f"{source}: its pixels are numbers of no known range: give an .npz with --pixel_range")
    size, channels = features["image"].shape[:2], 1 if features["image"].shape[2:] == (1,) else 3
    if image_size is None and None in size:
        raise UsageError(f"{source}: images of several sizes; give --image_size=HEIGHT,WIDTH")
    shape = (*(image_size or size), channels)
    folder = name.replace("/", "-").replace(":", "-")
    host = RECORDS[_plain(name)].host if _plain(name) in RECORDS else Record.host
    return _record(folder, shape, features["label"].num_classes, bounds, source, image_size, host=host)


def _read_tfds(record: Record, request: Request) -> dict[str, Split]:
    name = str(record.source).removeprefix("tfds:")
    builder = tfds.find(name, request.folder)
    tfds.prepare(builder, _plain(name), request.folder, record.host)
    found = {
        split: tfds.read_split(builder, theirs, record)
        for split, theirs in (("train", "train"), ("valid", "validation"), ("test", "test"))
    }
    return {split: images for split, images in found.items() if images.count}


def _plain(name: str) -> str:
    """A tensorflow-datasets name without its variant and version."""
    return name.split("/")[0].split(":")[0]
