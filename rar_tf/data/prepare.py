"""Writing the train.npz, valid.npz and test.npz of Chen et al. 2019, the classes balanced by augmentation.

The images go one after another into a plain file, which is then copied into the .npz: nothing is held in memory but the
originals and one chunk, and after an interruption the plain file's length says where to go on. Row i is a function of
the seed and i alone, so that the files do not depend on interruptions.
"""

import hashlib
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import checks
from rar_tf.data import augmentation
from rar_tf.data.records import Record
from rar_tf.data.splits import Split, Splits
from rar_tf.errors import UsageError
from rar_tf.files import atomic_write, guarded

_CHUNK_BYTES = 4_000_000
_UNFINISHED = ".unfinished"
_SUMMARY = "prepared.json"


def plan(record: Record, train: Split, examples_per_class: int | None, seed: int) -> augmentation.Balance:
    """Return the plan of the training file: `examples_per_class` images per class, or the originals where None or 0.

    Raises: UsageError for a negative number, or images that are not uint8.
    """
    if not examples_per_class:
        return augmentation.Balance(np.arange(train.count), np.zeros(train.count, bool), train.labels)
    checks.not_negative(examples_per_class=examples_per_class)
    if train.images.dtype != np.uint8:
        raise UsageError(f"the images of {record.name} are {train.images.dtype}: only uint8 is augmented")
    counts = np.bincount(train.labels, minlength=record.num_classes)
    large = np.flatnonzero(counts > examples_per_class)
    if len(large):
        logging.warning(
            "%d classes have more than %d originals (up to %d), a seeded choice is kept: %s",
            len(large),
            examples_per_class,
            counts.max(),
            ", ".join(map(str, large)),
        )
    return augmentation.balance(train.labels, record.num_classes, examples_per_class, seed)


def prepare(
    record: Record,
    splits: Splits,
    output_dir: str | os.PathLike,
    *,
    examples_per_class: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], Iterable] | None = None,
) -> dict:
    """Write `<output_dir>/<name>/{train,valid,test}.npz`, or finish writing them; return what `prepared.json` says.

    Args:
      splits: images that are not equalised; those of validation and test are written as they are.
      examples_per_class: images of each class in train.npz; None or 0 writes the originals only.
      seed: of the augmentation.
      progress: called with (images done, images in all), gives something with `update(n)` and `close()`, such as a tqdm
        bar.

    Raises: UsageError for files of another origin that are in the way, or a disk that is too full.
    """
    folder = pathlib.Path(output_dir).expanduser() / record.name
    todo = plan(record, splits.train, examples_per_class, seed)
    summary = _summary(record, splits, todo, examples_per_class, seed)
    work = folder / _UNFINISHED
    if _is_done(folder, summary):
        return summary
    _claim(folder, work, summary, splits, todo)
    raw = work / "images.raw"
    _append(raw, splits.train, todo, seed, progress)
    shape = (len(todo.rows), *splits.train.images.shape[1:])
    write_npz(work / "train.npz", _chunks_of(raw), shape, splits.train.images.dtype, todo.labels)
    for name, split in (("valid", splits.valid), ("test", splits.test)):
        if split.count:
            images = np.ascontiguousarray(split.images)
            write_npz(work / f"{name}.npz", [images], images.shape, images.dtype, split.labels)
    for name in summary["images"]:  # test.npz last: without it nothing is loaded
        os.replace(work / f"{name}.npz", folder / f"{name}.npz")
    os.replace(work / _SUMMARY, folder / _SUMMARY)
    shutil.rmtree(work)
    return summary


def write_npz(path: str | os.PathLike, chunks: Iterable, shape: tuple[int, ...], dtype, labels: np.ndarray) -> None:
    """Write `images` (in chunks of bytes or arrays) and `labels` as an .npz: same content, same bytes."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def member(name):
            return archive.open(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), "w", force_zip64=True)

        descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
        header = {"descr": descr, "fortran_order": False, "shape": tuple(shape)}
        with member("images.npy") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                file.write(memoryview(chunk).cast("B"))
        with member("labels.npy") as file:
            np.lib.format.write_array(file, np.asarray(labels, np.int64), allow_pickle=False)


def _chunks_of(path: pathlib.Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _summary(record: Record, splits: Splits, todo: augmentation.Balance, examples_per_class, seed) -> dict:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    counts = {"train": len(todo.rows), "valid": splits.valid.count, "test": splits.test.count}
    return {
        "dataset": record.name,
        "num_classes": record.num_classes,
        "examples_per_class": examples_per_class or 0,
        "seed": seed,
        "images": {name: count for name, count in counts.items() if count},
        "augmented": int(todo.augmented.sum()),
        "equalized": False,
        "source_sha256": digest.hexdigest(),
    }


def _read_json(path: pathlib.Path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _is_done(folder: pathlib.Path, summary: dict) -> bool:
    present = all((folder / f"{name}.npz").exists() for name in summary["images"])
    return present and _read_json(folder / _SUMMARY) == summary


def _claim(folder: pathlib.Path, work: pathlib.Path, summary: dict, splits: Splits, todo: augmentation.Balance) -> None:
    """Begin, or go on with what an interrupted run with the same settings and images left."""
    same = _read_json(work / _SUMMARY) == summary
    ours = work.exists() or (folder / _SUMMARY).exists()
    present = [name for name in ("train", "valid", "test") if (folder / f"{name}.npz").exists()]
    if present and not ours:
        raise UsageError(
            f"{folder / present[0]}.npz is not a file of this script and would be overwritten; "
            "choose another --output_dir"
        )
    needed = 2 * splits.train.images[:1].nbytes * len(todo.rows)
    needed += splits.valid.images.nbytes + splits.test.images.nbytes
    with guarded(folder):
        if not same:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
        left = work / "images.raw"
        needed -= left.stat().st_size if left.exists() else 0
        if shutil.disk_usage(work).free < needed:
            raise UsageError(
                f"{folder}: needs {needed / 1e6:,.0f} MB of free disk space, and there are "
                f"{shutil.disk_usage(work).free / 1e6:,.0f} MB: free some space, or give another --output_dir"
            )
        if not same:
            for name in ("train", "valid", "test"):  # of earlier settings: no mixture may pass for a data set
                (folder / f"{name}.npz").unlink(missing_ok=True)
            (folder / _SUMMARY).unlink(missing_ok=True)
            with atomic_write(work / _SUMMARY) as temporary:
                temporary.write_text(json.dumps(summary, indent=2) + "\n")


def _append(path: pathlib.Path, train: Split, todo: augmentation.Balance, seed: int, progress) -> None:
    """Bring the plain file of images to its full length."""
    size, total = train.images[:1].nbytes, len(todo.rows)
    chunk = max(1, _CHUNK_BYTES // size)
    path.touch()
    # The last chunk may not have reached the disk if the machine itself went down: it is made again.
    written = path.stat().st_size // size
    done = total if written == total else max(0, written // chunk - 1) * chunk
    bar = progress(done, total) if progress else None
    augmented = augmenter(train.images.shape[1:], seed)
    with open(path, "r+b") as file:
        file.truncate(done * size)
        file.seek(done * size)
        for start in range(done, total, chunk):
            rows = np.arange(start, min(start + chunk, total))
            file.write(np.ascontiguousarray(balanced_rows(train, todo, rows, augmented)).data)
            file.flush()
            os.fsync(file.fileno())
            if bar is not None:
                bar.update(len(rows))
    if bar is not None:
        bar.close()


def balanced_rows(train: Split, todo: augmentation.Balance, rows: np.ndarray, augmented: Callable) -> np.ndarray:
    """Return these rows [B] of the plan: originals as they are, and copies by the function of `augmenter`."""
    images = train.images[todo.rows[rows]]
    copies = todo.augmented[rows]
    if copies.any():
        images[copies] = augmented(images[copies], rows[copies])
    return images


def augmenter(image_shape: tuple[int, ...], seed: int) -> Callable:
    """Return the function (images [B, H, W, C] uint8, rows [B]) -> images of the online augmentation's epoch 0."""
    signature = [tf.TensorSpec([None, *image_shape], tf.uint8), tf.TensorSpec([None], tf.int64)]

    @tf.function(autograph=False, input_signature=signature)
    def graph(images, rows):
        return augmentation.augment(images, augmentation.draw(seed, 0, rows, image_shape[0]))

    def augmented(images, rows):
        with tf.device("CPU"):
            return graph(tf.constant(images), tf.constant(rows, tf.int64)).numpy()

    return augmented
