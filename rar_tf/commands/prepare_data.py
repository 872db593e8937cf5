"""Prepare a data set as the papers did: python scripts/prepare_data.py --dataset=gtsrb --source_dir=DIR

Writes <output_dir>/gtsrb/train.npz (classes balanced by augmentation), valid.npz and test.npz, from a folder with
train.npz and test.npz, the official archives or what they unpack to, or the pickles of the reference's source. The
images are not equalised: the data set's record does that on loading. After an interruption the same command goes on
where it was.
"""

import pathlib

from absl import flags, logging

from rar_tf import checks
from rar_tf.data.records import RECORDS
from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError

FLAGS = flags.FLAGS
_PER_CLASS = ", ".join(
    f"{each.examples_per_class} for {name}" for name, each in RECORDS.items() if each.examples_per_class
)

flags.DEFINE_string(
    "dataset",
    None,
    f"{', '.join(RECORDS)}, or your own: a folder with one subfolder a class, an .npz, or tfds:NAME",
    required=True,
)
flags.DEFINE_string(
    "source_dir",
    None,
    "folder with the original files: train.npz and test.npz, official archives or what they unpack to, or pickles; "
    "by default tensorflow-datasets downloads them",
)
flags.DEFINE_string("output_dir", "data", "a folder with the data set's name is made in it")
flags.DEFINE_integer(
    "examples_per_class",
    None,
    f"images per class in train.npz; by default {_PER_CLASS}, and no augmentation otherwise; 0 for no augmentation",
    lower_bound=0,
)
flags.DEFINE_boolean(
    "preview",
    False,
    "also write preview.png: originals, augmented and equalised images, and class counts before and after",
)
flags.DEFINE_boolean(
    "allow_partial", False, "go on, with warnings, where classes, images or GTSRB's Final_Test are missing"
)
flags.DEFINE_boolean("skip_corrupt", False, "leave out broken images and rows, with warnings and a count")
flags.DEFINE_integer(
    "official_split",
    0,
    "flower: 1, 2 or 3 for a split of datasplits.mat; 0 for the random one of 72 and 8 images per class",
    lower_bound=0,
    upper_bound=3,
)
flags.DEFINE_integer("seed", 0, "of held-out images and of the augmentation")
flags.DEFINE_list("pixel_range", None, "low,high of your own float images")
flags.DEFINE_list("image_size", None, "height,width that your own images are resized to")


def main():
    from rar_tf import files
    from rar_tf.data import datasets, prepare
    from rar_tf.progress import bar, over

    bounds = _numbers("pixel_range", float)
    if bounds is None and FLAGS.dataset not in RECORDS:
        bounds = (0.0, 255.0)  # grey levels are written as they are
    settings = DataSettings(
        dataset=FLAGS.dataset, seed=FLAGS.seed, pixel_range=bounds, image_size=_numbers("image_size", int)
    )
    record = datasets.record_of(settings)
    splits = datasets.read_source(
        record,
        FLAGS.source_dir,
        seed=FLAGS.seed,
        official_split=FLAGS.official_split,
        allow_partial=FLAGS.allow_partial,
        skip_corrupt=FLAGS.skip_corrupt,
        progress=lambda images: over(images, "reading"),
    )
    per_class = record.examples_per_class if FLAGS.examples_per_class is None else FLAGS.examples_per_class
    folder = pathlib.Path(checks.path(output_dir=FLAGS.output_dir)) / record.name
    with files.guarded(folder):
        if FLAGS.preview:
            print(f"wrote {_preview(record, splits, per_class)}")
        summary = prepare.prepare(
            record,
            splits,
            folder.parent,
            examples_per_class=per_class,
            seed=FLAGS.seed,
            progress=lambda done, total: bar(total, "writing", done=done),
        )
    for name, count in summary["images"].items():
        print(f"wrote {folder}/{name}.npz: {count:,} images")


def _preview(record, splits, per_class):
    from rar_tf.data import prepare, preview

    path = pathlib.Path(FLAGS.output_dir).expanduser() / record.name / "preview.png"
    logging.set_verbosity(logging.ERROR)  # the plan's warnings come once, with the files
    todo = prepare.plan(record, splits.train, per_class, FLAGS.seed)
    logging.set_verbosity(logging.WARNING)
    preview.write_sheet(path, record, splits.train, todo, FLAGS.seed)
    return path


def _numbers(name, kind):
    value = FLAGS[name].value
    try:
        return None if value is None else tuple(map(kind, value))
    except ValueError:
        raise UsageError(f"--{name}={','.join(value)}: must be two numbers") from None
