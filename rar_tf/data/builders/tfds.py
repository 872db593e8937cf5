"""The two readers as tensorflow-datasets builders: downloaded with checksums, or from the user's folder."""

import dataclasses
import os
import pathlib
import tempfile

import tensorflow_datasets as tfds

from rar_tf.data.builders import archives, flower17, gtsrb
from rar_tf.data.splits import Split, Splits


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """A variant of a data set.

    Args:
      seed: of the random split.
      official_split: Flower-17 only: 1, 2 or 3 of datasplits.mat, or 0 for the random split.
      allow_partial: only warn where the archive is incomplete.
      skip_corrupt: leave out broken images instead of raising.
    """

    seed: int = 0
    official_split: int = 0
    allow_partial: bool = False
    skip_corrupt: bool = False


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _describe(self, reader, description: str, homepage: str, citation: str) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=description,
            homepage=homepage,
            citation=citation,
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # rows keep the order of the files
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=reader.SHAPE, encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=reader.CLASSES),
                }
            ),
        )

    def _read(self, reader, dl_manager, **settings) -> dict:
        config = self.builder_config
        settings |= {name: getattr(config, name) for name in ("seed", "allow_partial", "skip_corrupt")}
        try:
            folder = dl_manager.manual_dir
        except AssertionError:  # there is no such folder, or it is empty
            folder = None
        if folder is not None and archives.has_any(folder, reader.PRESENT):
            splits = reader.read(folder, **settings)
        else:
            splits = _read_downloads(reader, dl_manager, settings)
        named = {"train": splits.train, "validation": splits.valid, "test": splits.test}
        return {name: self._generate_examples(split) for name, split in named.items() if split.count}

    def _generate_examples(self, split: Split):
        for row, (image, label) in enumerate(zip(split.images, split.labels)):
            yield row, {"image": image, "label": int(label)}


def _read_downloads(reader, dl_manager, settings) -> Splits:
    """Download the archives, check their sums, and read them from a folder in which they have their names."""
    wanted = [name for name in reader.MD5 if name != "datasplits.mat" or settings.get("official_split")]
    paths = dl_manager.download({name: reader.URL + name for name in wanted})
    with tempfile.TemporaryDirectory(prefix="rar_tf-") as folder:
        for name in wanted:
            archives.check_md5(paths[name], reader.MD5[name], reader.URL + name)
            os.symlink(pathlib.Path(paths[name]).resolve(), pathlib.Path(folder) / name)
        return reader.read(folder, **settings)


class Gtsrb(_Builder):
    """German Traffic Sign Recognition Benchmark, 43 classes, whole images resized to 32x32."""

    name = "gtsrb"
    MANUAL_DOWNLOAD_INSTRUCTIONS = gtsrb.INSTRUCTIONS
    BUILDER_CONFIGS = [
        Config(name="default", description="The whole official data set."),
        Config(name="partial", description="What there is of it.", allow_partial=True),
    ]

    def _info(self):
        return self._describe(
            gtsrb,
            Gtsrb.__doc__,
            "https://benchmark.ini.rub.de/",
            "Stallkamp et al.: The German Traffic Sign Recognition Benchmark, IJCNN 2011",
        )

    def _split_generators(self, dl_manager):
        return self._read(gtsrb, dl_manager)


class Flower17(_Builder):
    """Oxford Flower-17, 17 classes of 80 images resized to 128x128."""

    name = "flower17"
    MANUAL_DOWNLOAD_INSTRUCTIONS = flower17.INSTRUCTIONS
    BUILDER_CONFIGS = [
        Config(name="default", description="Random split of 72 training and 8 test images a class."),
        *(
            Config(name=f"official{number}", description=f"Official split {number}.", official_split=number)
            for number in (1, 2, 3)
        ),
        Config(name="partial", description="What there is of it, random split.", allow_partial=True),
    ]

    def _info(self):
        return self._describe(
            flower17,
            Flower17.__doc__,
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/",
            "Nilsback, Zisserman: A Visual Vocabulary for Flower Classification, CVPR 2006",
        )

    def _split_generators(self, dl_manager):
        return self._read(flower17, dl_manager, official_split=self.builder_config.official_split)
