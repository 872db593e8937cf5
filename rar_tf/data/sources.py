"""Original files of a data set, wherever the user has them, as splits that are ready to be prepared."""

import os
import pathlib
from collections.abc import Callable

from rar_tf.data import loading, npz, own
from rar_tf.data.records import Record
from rar_tf.data.splits import Splits
from rar_tf.errors import UsageError


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
    """Read a data set from a folder with .npz files, official archives or what they unpack to, or pickles.

    Args:
      record: the data set's record.
      source_dir: the folder, or one with a folder of the data set's name in it; None: as `load`.
      seed: chooses validation images, tracks, and Flower-17's test images.
      official_split: Flower-17 only, see `flower17.read`.
      allow_partial: only warn where an archive is incomplete or a class has no image.
      skip_corrupt: leave out broken images, with a warning and a count.
      progress: wraps the iteration over images.
    Raises:
      UsageError: absent, incomplete or broken files.
    """
    if official_split and record.name != "flower":
        raise UsageError(f"official_split={official_split} is for flower only, not {record.name}")
    if record.source is not None:
        splits, origin = own.load(record, source_dir, seed, skip_corrupt), record.source
    elif source_dir is None:
        return loading.load(record, seed=seed, allow_partial=allow_partial)
    else:
        origin = pathlib.Path(source_dir).expanduser()
        if not origin.is_dir():
            raise UsageError(f"{origin}: no such folder")
        nested = origin / record.name
        folder = nested if nested.is_dir() else origin
        if (folder / "train.npz").exists() or (folder / "test.npz").exists():
            splits = loading.from_npz(record, folder, seed)
        elif record.name in ("gtsrb", "flower"):
            from rar_tf.data.builders import flower17, gtsrb

            settings = {
                "seed": seed,
                "allow_partial": allow_partial,
                "skip_corrupt": skip_corrupt,
                "progress": progress,
            }
            splits = (
                gtsrb.read(folder, **settings)
                if record.name == "gtsrb"
                else flower17.read(folder, official_split=official_split, **settings)
            )
        else:
            return loading.load(record, origin, seed=seed, allow_partial=allow_partial)
    npz.require_classes(splits.train.labels, record.num_classes, origin, allow_partial)
    return splits
