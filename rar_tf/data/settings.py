"""Which images: stub until the data wing lands."""

import dataclasses

from rar_tf.settings import Seeded, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Seeded):
    """Which data set, from where, and how its images are prepared."""

    dataset: str = setting("digits", "data set", defines=True)
    data_dir: str | None = setting(None, "where <dataset>/{train,test}.npz lie")
    equalize: bool | None = setting(None, "histogram equalisation", defines=True)
    augment: str = setting(
        "auto", "training augmentation", choices=("auto", "none", "crop_flip", "online"), defines=True
    )
    pixel_range: tuple[float, float] | None = setting(None, "pixel range low,high", defines=True)
    image_size: tuple[int, int] | None = setting(None, "height,width", defines=True)
