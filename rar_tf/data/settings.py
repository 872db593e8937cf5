"""Which data set, from where, and in what form networks are given it."""

import dataclasses
from typing import Any

from rar_tf import checks
from rar_tf.data.records import RECORDS
from rar_tf.data.stored import IN_MEMORY
from rar_tf.errors import UsageError
from rar_tf.settings import Seeded, setting

AUGMENTATIONS = ("auto", "none", "crop_flip", "resized_crop", "online")


def is_size(**values: Any) -> None:
    """Raise UsageError where a value is not a pair (height, width) of positive numbers."""
    for name, value in values.items():
        if len(value) != 2 or min(value) < 1:
            raise UsageError(f"{name} must be height,width, both positive, got {', '.join(map(str, value)) or 'none'}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Seeded):
    """The data of a run; the seed chooses held-out images and orders the batches."""

    dataset: str = setting(
        "digits",
        f"data set: {', '.join(RECORDS)}, or your own: a folder with one subfolder a class or with record files, an "
        ".npz file, or tfds:NAME",
        defines=True,
        path=True,
    )
    data_dir: str | None = setting(
        None,
        "where <dataset>/{train,test}.npz lie; by default RAR_TF_DATA_DIR of the environment, else "
        "tensorflow-datasets' own folder",
        path=True,
    )
    equalize: bool | None = setting(
        None,
        "histogram equalisation of each colour channel on loading; by default as the data set's paper does",
        defines=True,
    )
    augment: str = setting(
        "auto", "training augmentation: auto is what the data set's record says", choices=AUGMENTATIONS, defines=True
    )
    pixel_range: tuple[float, float] | None = setting(
        None, "pixel range low,high that your own data is scaled to", check=checks.rising, defines=True
    )
    image_size: tuple[int, int] | None = setting(
        None, "height,width that your own images are resized to", check=is_size, defines=True
    )
    in_memory: float = setting(
        IN_MEMORY,
        "GiB of decoded images up to which image and record files are held in memory; more are read batch by batch, "
        "with the same result",
        check=checks.not_negative,
    )
