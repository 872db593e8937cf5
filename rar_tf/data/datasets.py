"""The chooser: a data set by the user's name for it, and its splits from wherever they are."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from rar_tf.data import custom, npz
from rar_tf.data.records import RECORDS, Record, Request, data_directory
from rar_tf.data.settings import DataSettings
from rar_tf.data.splits import Splits, require_classes
from rar_tf.data.stored import IN_MEMORY
from rar_tf.errors import UsageError


def load_data(settings: DataSettings) -> tuple[Record, Splits]:
    """Return the record and the splits of the data set that the settings name.

    Raises: UsageError for an unknown name, settings that do not fit it, or absent data.
    """
    record = record_of(settings)
    return record, load(record, settings.data_dir, seed=settings.seed, in_memory=settings.in_memory)


def record_of(settings: DataSettings) -> Record:
    """Return the record of the data set that the settings name. Raises: UsageError as `get`."""
    return get(
        settings.dataset, equalize=settings.equalize, bounds=settings.pixel_range, image_size=settings.image_size
    )


def get(
    name: str,
    *,
    equalize: bool | None = None,
    bounds: tuple[float, float] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Record:
    """Return the record of a known data set, or of the user's own images.

    Args:
      name: a known name; or the path of a folder (one subfolder a class, train.npz and test.npz, or record files) or of
        an .npz; or "tfds:NAME".
      equalize: takes the place of the record's own setting.
      bounds: (lowest, highest) pixel value for networks; the user's own images need it, known data sets have theirs.
      image_size: (height, width) to which the user's own images are resized.

    Raises: UsageError for an unknown name, or `bounds` or `image_size` missing where needed or given where fixed.
    """
    if name in RECORDS:
        record = RECORDS[name]
        if bounds is not None and tuple(bounds) != record.bounds:
            raise UsageError(
                f"the pixel range of {name} is {record.bounds}: leave --pixel_range out, got {tuple(bounds)}"
            )
        if image_size is not None and tuple(image_size) != record.image_shape[:2]:
            raise UsageError(
                f"the image size of {name} is {record.image_shape[:2]}: leave --image_size out, got {tuple(image_size)}"
            )
    elif custom.is_source(name):
        record = custom.record(name, bounds, image_size)
    else:
        raise UsageError(
            f"unknown data set {name!r}; known: {', '.join(RECORDS)}, or the path of a "
            "folder or .npz of your own images, or tfds:NAME"
        )
    return record if equalize is None else dataclasses.replace(record, equalize=bool(equalize))


def load(
    record: Record,
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    allow_partial: bool = False,
    in_memory: float = IN_MEMORY,
) -> Splits:
    """Return training, validation and test images, not equalised: `to_pixels` does what the record says.

    Shape: images [N, H, W, C] uint8 (digits and float images of the user's own: float32 in [0, 1]), labels [N] int64.

    Args:
      data_dir: folder that has `<name>/train.npz` and `test.npz` (`valid.npz` is used where it exists), or the
        directory of tensorflow-datasets; None: the environment's RAR_TF_DATA_DIR, else the directory of
        tensorflow-datasets.
      seed: chooses the validation images where the data set has none of its own.
      allow_partial: only warn where a class has no training image.
      in_memory: GiB of decoded images; those of image and record files that are more stay `Stored`, and are read when
        rows of them are asked for.

    Raises: UsageError for absent, unreadable or wrong data.
    """
    folder = data_directory(data_dir)
    origin: str | pathlib.Path
    if record.prepared and folder is not None and npz.has_splits(folder / record.name):
        splits, origin = npz.read_splits(record, folder / record.name, seed), folder / record.name / "train.npz"
    else:
        splits = record.read(Request(folder=folder, seed=seed, allow_partial=allow_partial))
        origin = record.source or record.name
    require_classes(splits.train.labels, record.num_classes, origin, allow_partial)
    return splits.loaded(in_memory)


def read_source(
    record: Record,
    source_dir: str | os.PathLike | None,
    *,
    seed: int = 0,
    official_split: int = 0,
    allow_partial: bool = False,
    skip_corrupt: bool = False,
    progress: Callable = iter,
) -> Splits:
    """Return a data set's original images, ready to be prepared.

    Args:
      source_dir: a folder with .npz files, official archives, what they unpack to, or pickles, or one with a folder of
        the data set's name in it; None: as `load`.
      seed: chooses validation images, tracks, and Flower-17's test images.
      official_split, allow_partial, skip_corrupt, progress: as in `records.Request`.

    Raises: UsageError for absent, incomplete or broken files.
    """
    if official_split and not record.official_splits:
        having = ", ".join(known.name for known in RECORDS.values() if known.official_splits)
        raise UsageError(f"official_split={official_split} is for {having} only, not {record.name}")
    folder = None if source_dir is None else pathlib.Path(source_dir).expanduser()
    request = Request(
        folder=folder,
        originals=True,
        seed=seed,
        official_split=official_split,
        allow_partial=allow_partial,
        skip_corrupt=skip_corrupt,
        progress=progress,
    )
    origin: str | pathlib.Path
    if record.source is not None:
        splits, origin = record.read(request), record.source
    elif folder is None:
        return load(record, seed=seed, allow_partial=allow_partial)
    elif not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    else:
        own, origin = request.folder_of(record.name), folder
        splits = npz.read_splits(record, own, seed) if npz.has_splits(own) else record.read(request)
    require_classes(splits.train.labels, record.num_classes, origin, allow_partial)
    return splits.loaded(skip_corrupt=skip_corrupt, progress=progress)
