"""A data set from official archives: read from the user's folder, or downloaded once with checksums.

What was read is kept by tensorflow-datasets in its own format, so that archives are unpacked and decoded only once.
"""

import dataclasses
import os
import pathlib
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping

import tensorflow_datasets as tfds

from rar_tf.data import tfds as catalogue
from rar_tf.data.builders import archives
from rar_tf.data.records import Record, Request
from rar_tf.data.splits import Split, Splits, hold_out_validation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Official:
    """The reader of a record whose data set has archives of its own.

    Args:
      read: (folder, *, seed, allow_partial, skip_corrupt, progress) -> Splits of images in the record's shape, from a
        folder with the archives or what they unpack to; of a record with official splits it takes `official_split`.
      url: the folder on the network that the archives are downloaded from.
      md5: name of each archive -> its MD5 sum.
      present: what else may lie there: a folder with any of these, or an archive, is one to read.
      only_official: archives that nothing but an official split needs.
      instructions: what to put into the folder and where to get it, for errors.
      description, homepage, citation: for tensorflow-datasets.
      name: tensorflow-datasets' name of the data set, where it is not the record's.
    """

    read: Callable[..., Splits]
    url: str
    md5: Mapping[str, str]
    instructions: str
    present: tuple[str, ...] = ()
    only_official: tuple[str, ...] = ()
    description: str = "A data set from its official archives."
    homepage: str | None = None
    citation: str | None = None
    name: str | None = None

    def __call__(self, record: Record, request: Request) -> Splits:
        """Return the splits that a request asks for. Raises: UsageError for absent, incomplete or broken files."""
        if request.originals:
            return self.read_folder(record, request.folder_of(record.name), request)
        builder = self.builder(record, "partial" if request.allow_partial else "default", request.folder)
        # A user's folder of official files first (`<data_dir>/gtsrb`, `<data_dir>/flower`), then the network.
        own = None if request.folder is None else request.folder / record.name
        catalogue.prepare(
            builder,
            record.name,
            request.folder,
            urllib.parse.urlsplit(self.url).hostname or "",
            own if own is not None and self.is_in(own) else None,
            f", or put the official files there: {' '.join(self.instructions.split())}",
        )
        train, valid, test = (catalogue.read_split(builder, name, record) for name in ("train", "validation", "test"))
        if "validation" in builder.info.splits:
            return Splits(train, valid, test)
        return hold_out_validation(train, test, record.validation, request.seed)

    def is_in(self, folder: pathlib.Path) -> bool:
        """Return whether a folder has any of the archives or of what they unpack to."""
        return any((folder / name).exists() for name in (*self.md5, *self.present))

    def read_folder(self, record: Record, folder: str | os.PathLike, request: Request) -> Splits:
        """Return the splits of a folder's archives."""
        options = {name: getattr(request, name) for name in ("seed", "allow_partial", "skip_corrupt", "progress")}
        if record.official_splits:
            options["official_split"] = request.official_split
        return self.read(folder, **options)

    def read_downloads(self, record: Record, manager: tfds.download.DownloadManager, request: Request) -> Splits:
        """Return the splits of the archives, downloaded and checked; they are read under their own names.

        Raises: UsageError for an archive that has another MD5 sum.
        """
        wanted = [name for name in self.md5 if request.official_split or name not in self.only_official]
        paths = manager.download({name: self.url + name for name in wanted})
        with tempfile.TemporaryDirectory(prefix="rar_tf-") as folder:
            for name in wanted:
                archives.check_md5(paths[name], self.md5[name], self.url + name)
                os.symlink(pathlib.Path(paths[name]).resolve(), pathlib.Path(folder) / name)
            return self.read_folder(record, folder, request)

    def builder(
        self, record: Record, config: str = "default", data_dir: str | os.PathLike | None = None
    ) -> tfds.core.DatasetBuilder:
        """Return the tensorflow-datasets builder; config: default, partial, or official1, official2, …"""
        official = [
            Config(name=f"official{number}", description=f"Official split {number}.", official_split=number)
            for number in range(1, record.official_splits + 1)
        ]

        class Builder(_Builder, skip_registration=True):  # type: ignore[call-arg]
            name = self.name or record.name
            MANUAL_DOWNLOAD_INSTRUCTIONS = self.instructions
            BUILDER_CONFIGS = [
                Config(name="default", description="The whole data set."),
                *official,
                Config(name="partial", description="What there is of it.", allow_partial=True),
            ]
            source, of = self, record

        return Builder(config=config, data_dir=data_dir)


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """A variant of a data set; the settings are those of `records.Request`."""

    seed: int = 0
    official_split: int = 0
    allow_partial: bool = False
    skip_corrupt: bool = False


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    source: Official
    of: Record

    def _info(self):
        return self.dataset_info_from_configs(
            description=self.source.description,
            homepage=self.source.homepage,
            citation=self.source.citation,
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # rows keep the order of the files
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=self.of.image_shape, encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=self.of.num_classes),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        settings = {name: getattr(self.builder_config, name) for name in ("seed", "official_split", "allow_partial")}
        request = Request(skip_corrupt=self.builder_config.skip_corrupt, **settings)
        try:
            folder = dl_manager.manual_dir
        except AssertionError:  # there is no such folder, or it is empty
            folder = None
        if folder is not None and self.source.is_in(pathlib.Path(folder)):
            splits = self.source.read_folder(self.of, folder, request)
        else:
            splits = self.source.read_downloads(self.of, dl_manager, request)
        named = {"train": splits.train, "validation": splits.valid, "test": splits.test}
        return {name: self._generate_examples(split) for name, split in named.items() if split.count}

    def _generate_examples(self, split: Split):
        for row, (image, label) in enumerate(zip(split.images, split.labels)):
            yield row, {"image": image, "label": int(label)}
