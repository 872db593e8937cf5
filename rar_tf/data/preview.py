"""A sheet of samples: originals, augmented copies, equalised images, and class counts before and after balancing."""

import os

import numpy as np
import tensorflow as tf

from rar_tf.data import augmentation
from rar_tf.data.equalize import equalize
from rar_tf.data.records import Record
from rar_tf.data.splits import Split
from rar_tf.figures import Figure
from rar_tf.files import atomic_write


def write_sheet(
    path: str | os.PathLike, record: Record, train: Split, plan: augmentation.Balance, seed: int = 0, columns: int = 8
) -> None:
    """Write the sheet as an image file.

    Args:
      train: training images, not equalised; one of each of `columns` classes is shown.
      plan: how classes are balanced.
      seed: of the augmentation.
    """
    classes, first = np.unique(train.labels, return_index=True)
    chosen = first[np.linspace(0, len(classes) - 1, min(columns, len(classes))).round().astype(int)]
    rows = {"original": train.images[chosen]}
    if train.images.dtype == np.uint8:
        with tf.device("CPU"):
            indices = tf.range(len(plan.rows), len(plan.rows) + 2 * len(chosen), dtype=tf.int64)
            warp = augmentation.draw(seed, 0, indices, record.image_shape[0])
            copies = augmentation.augment(tf.constant(np.concatenate([rows["original"]] * 2)), warp).numpy()
        rows["augmented"], rows["again"] = np.split(copies, 2)
        used = "" if record.equalize else "\n(not used here)"
        rows["equalised" + used] = equalize(rows["original"])
    figure = Figure(figsize=(1.25 * columns + 1, 1.25 * len(rows) + 3), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.25 * len(rows), 2.5])  # type: ignore[misc]
    _show_images(upper, rows, train.labels[chosen])
    _show_counts(lower.subplots(), record, train.labels, plan.labels)
    figure.suptitle(f"{record.name}: {train.count:,} training images, {len(plan.labels):,} after balancing")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _show_images(figure, rows, labels) -> None:
    axes = figure.subplots(len(rows), len(labels), squeeze=False)
    for line, (name, images) in zip(axes, rows.items()):
        line[0].set_ylabel(name)
        for axis, image in zip(line, images):
            axis.imshow(image, cmap="gray", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
    for axis, label in zip(axes[0], labels):
        axis.set_title(f"class {label}", fontsize="small")


def _show_counts(axis, record: Record, before, after) -> None:
    places = np.arange(record.num_classes)
    axis.bar(places + 0.2, np.bincount(after, minlength=record.num_classes), 0.4, label="after")
    axis.bar(places - 0.2, np.bincount(before, minlength=record.num_classes), 0.4, label="before")
    axis.set(xlabel="class", ylabel="training images", xticks=places[:: max(1, record.num_classes // 22)])
    axis.margins(x=0.01)
    axis.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
