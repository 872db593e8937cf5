"""A certification: rows and their statistics, in memory or as files.

The files are settings.json, examples.csv (rows appended image by image), summary.json and plots.

A run that was stopped goes on where it was. A part i/n of the images writes to a folder of its own; the part that
finishes last puts all of them together.
"""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import checks
from rar_tf.certification import methods, plots
from rar_tf.config import Settings
from rar_tf.errors import UsageError
from rar_tf.evaluation.evaluator import check_images, fingerprint, images_digest
from rar_tf.evaluation.summary import statistics
from rar_tf.files import atomic_write
from rar_tf.results import Results, read_json, read_rows, shard_folder, shard_slice, write_json

COMMON = ["index", "label", "prediction", "correct"]
SETTINGS = (
    "method",
    "attribution",
    "seed",
    "epsilon",
    "constraint",
    "radius",
    "threshold",
    "num_samples",
    "confidence",
    "formula",
    "certify_ig_steps",
    "sample_batch",
    "interval",
    "normalization",
    "attribution_bound",
    "largest_radius",
    "budgets",
    "certify_softplus_beta",
    "certify_smooth_pooling",
    "blockwise",
    "certificate_attack",
    "certificate_attack_restarts",
    "ifia_metric_k",
)
SOURCES = ("dataset", "equalize", "num_examples", "shard", "model_dir", "keras_model", "saved_model")


@dataclasses.dataclass
class Certification:
    """The rows of a certification, one an image and radius or budget, and what they were made with."""

    rows: list[dict]
    settings: dict

    def summary(self) -> dict:
        """Return the record that `summary.json` holds."""
        return summarize(self.rows, self.settings)


def certify(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    method: str,
    bounds: tuple[float, float],
    progress: Callable[[int], None] | None = None,
    **settings,
) -> Certification:
    """Bound or certify how far small perturbations can move a network's attributions.

    Images that the network does not classify as their label are counted and left out, as in evaluations.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      network: images -> logits. method: `upper_bound`, `uniform_smoothing` or `center_smoothing`.
      settings: the flags of `scripts/certify.py`, such as radius, threshold, num_samples, budgets; a single radius,
        threshold or budget need not be a list. seed: of all samples.
      progress: called with the number of images finished.

    Raises: UsageError for settings that make no sense or are unknown, or images out of range.
    """
    unknown = sorted(set(settings) - set(SETTINGS) - {"memory_limit"})
    if unknown:
        raise UsageError(f"unknown certification setting: {', '.join(unknown)}")
    lists = {name: np.ravel(settings[name]).tolist() for name in ("radius", "threshold", "budgets") if name in settings}
    chosen = Settings(method=method, **{**settings, **lists})
    images, labels = _checked(images, labels, bounds, chosen)
    maker = methods.make(network, chosen, bounds)
    rows = _rows(network, maker, images, labels, range(len(images)), progress)
    return Certification(rows, {**_record(network, maker, images, labels, chosen), "guarantee": maker.describe()})


def certify_into(
    folder,
    network,
    images: np.ndarray,
    labels: np.ndarray,
    settings: Settings,
    *,
    bounds: tuple[float, float],
    progress: Callable[[int], None] | None = None,
) -> dict:
    """Certify images as `settings` say and leave settings.json, examples.csv, summary.json and plots in `folder`.

    A folder that an interrupted run with the same record left is continued; the numbers are the same.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      progress: called with the number of images finished (at first with those of an earlier run).

    Returns: the summary. Raises: as `certify`, and UsageError where the folder belongs to another certification.
    """
    images, labels = _checked(images, labels, bounds, settings)
    maker = methods.make(network, settings, bounds)
    part = shard_slice(settings.shard, len(images))
    folder, target = pathlib.Path(folder), shard_folder(folder, settings.shard)
    record = {
        **{name: getattr(settings, name) for name in SOURCES},
        **_record(network, maker, images, labels, settings),
    }
    results = Results(target, record, [*COMMON, *maker.columns, "seconds"])
    count = part.stop - part.start
    rows = results.resume([slice(n * maker.groups, (n + 1) * maker.groups) for n in range(count)])
    done = len(rows) // maker.groups
    if done and progress is not None:
        progress(done)
    _spend(maker, rows)
    rows += _rows(network, maker, images, labels, range(part.start + done, part.stop), progress, results)
    if getattr(maker, "pictured", None) is not None:
        with atomic_write(target / "jacobian.npz") as temporary:
            np.savez_compressed(temporary, **maker.pictured)
    summary = _finish(target, rows, {**record, "guarantee": maker.describe()})
    if target != folder:
        return merge(folder) or summary
    return summary


def _record(network, maker, images, labels, settings):
    """What decides the numbers."""
    return {
        **{name: getattr(settings, name) for name in SETTINGS},
        "weights_digest": fingerprint(network),
        "images_digest": images_digest(images, labels),
        "image_shape": list(images.shape[1:]),
        "bound": getattr(maker, "bound", None),
    }


def _checked(images, labels, bounds, settings):
    checks.at_least_one(num_samples=settings.num_samples, sample_batch=settings.sample_batch)
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    check_images(images, labels, bounds)
    return images, labels


def _spend(maker, rows):
    """Count the attacks that an earlier run has made already."""
    if getattr(maker, "attacks_left", 0):
        maker.attacks_left -= sum(row["correct"] for row in rows[:: maker.groups])


def _rows(network, maker, images, labels, indices, progress, results=None):
    """The rows of some images, each image's appended to `results` as soon as it has them."""
    rows = []
    for index in indices:
        new = _image_rows(network, maker, images[index], int(labels[index]), index)
        if results is not None:
            results.append(new, None)
        rows += new
        if progress is not None:
            progress(1)
    return rows


def _image_rows(network, maker, image, label, index):
    began = time.monotonic()
    logits = network(tf.constant(image[None]), training=False).numpy()[0]
    if not 0 <= label < len(logits):
        raise UsageError(f"image {index} has the label {label}, the network has {len(logits)} outputs")
    common = {"index": index, "label": label, "prediction": int(np.argmax(logits))}
    correct = common["prediction"] == label
    rows = maker.rows(image, label, index) if correct else [{}] * maker.groups
    seconds = round((time.monotonic() - began) / len(rows), 3)
    return [
        {
            **common,
            "correct": int(correct),
            **{name: value for name, value in row.items() if _exists(value)},
            "seconds": seconds,
        }
        for row in rows
    ]


def _exists(value):
    return not (isinstance(value, float) and math.isnan(value))


def _finish(folder, rows, record):
    summary = summarize(rows, record)
    write_json(folder / "summary.json", summary)
    if summary["num_certifiable"]:
        for name, figure in plots.draw(rows, record, folder).items():
            with atomic_write(folder / name) as temporary:
                figure.savefig(temporary, dpi=110)
    return summary


def summarize(rows: list[dict], record: dict) -> dict:
    """Return counts and, for each radius or budget, statistics of every column over the images that have a value.

    A share of certified images is over all correctly classified ones: an image that cannot be certified counts as 0.
    """
    correct = [row for row in rows if row["correct"]]
    images = {row["index"]: row["correct"] for row in rows}
    summary = {
        "method": record["method"],
        "formula": record["formula"],
        "num_examples": len(images),
        "num_certifiable": sum(images.values()),
        "guarantee": record["guarantee"],
        "results": [],
    }
    if not correct:
        logging.warning("no image is classified correctly: nothing was certified")
    for key in dict.fromkeys(_key(row) for row in correct):
        group = [row for row in correct if _key(row) == key]
        entry = dict(key)
        for name in dict.fromkeys(name for row in group for name in row):
            if name in COMMON or name in entry:
                continue
            values = np.array([row[name] for row in group if name in row], np.float64)
            if name in (
                "violation",
                "exceeded",
                "corrected_exceeded",
                "abstained",
                "certified",
                "plus_keeps_label",
                "minus_keeps_label",
                "dense",
            ):
                entry[name] = {"count": int(values.sum()), "of": len(values), "share": float(values.mean())}
            else:
                finite = values[np.isfinite(values)]
                entry[name] = {
                    **(statistics(finite) if len(finite) else {}),
                    "count": len(finite),
                    "min": float(finite.min()) if len(finite) else None,
                    "max": float(finite.max()) if len(finite) else None,
                }
        summary["results"].append(entry)
    return {**summary, "settings": record}


def _key(row):
    return tuple((name, row[name]) for name in ("radius", "linf", "epsilon") if name in row)


def merge(folder) -> dict | None:
    """Put the finished parts of a folder together; None while some are not finished.

    Raises: UsageError where the parts belong to different certifications.
    """
    folder = pathlib.Path(folder)
    parts = sorted(folder.glob("shard-*-of-*"), key=lambda path: int(path.name.split("-")[1]))
    if not parts:
        raise UsageError(f"{folder} holds no shard-i-of-n folders to merge")
    count = int(parts[0].name.split("-")[3])
    if len(parts) < count or not all((part / "summary.json").is_file() for part in parts):
        return None
    records = [read_json(part / "settings.json") for part in parts]
    for part, record in zip(parts, records):
        if {**record, "shard": None} != {**records[0], "shard": None}:
            raise UsageError(f"{part} belongs to another certification than {parts[0]}")
    guarantee = read_json(parts[0] / "summary.json")["guarantee"]
    rows = [row for part in parts for row in read_rows(part / "examples.csv")[0]]
    for name in ("examples.csv", "settings.json"):
        (folder / name).unlink(missing_ok=True)
    record = {**records[0], "shard": f"0/1, from {count} parts"}
    columns = (parts[0] / "examples.csv").read_text().split("\n")[0].split(",")
    Results(folder, record, columns).append(rows, None)
    if (parts[0] / "jacobian.npz").is_file():
        with atomic_write(folder / "jacobian.npz") as temporary:
            temporary.write_bytes((parts[0] / "jacobian.npz").read_bytes())
    return _finish(folder, rows, {**record, "guarantee": guarantee})
