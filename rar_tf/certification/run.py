"""A certification: rows and their statistics, in memory or as files, see `rar_tf.results`."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import inputs, provenance, results
from rar_tf.certification import CERTIFICATES
from rar_tf.certification import settings as records
from rar_tf.certification.certificate import Certificate
from rar_tf.errors import UsageError
from rar_tf.files import atomic_write
from rar_tf.settings import items
from rar_tf.statistics import statistics

COMMON = ["index", "label", "prediction", "correct"]


@dataclasses.dataclass
class Certification:
    """The rows of a certification, one per image and radius or budget, and what they were made with."""

    rows: list[dict]
    settings: dict
    guarantee: str

    def summary(self) -> dict:
        """Return the record that `summary.json` holds."""
        return summarize(self.rows, self.settings, self.guarantee)


def certify(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    method: str,
    bounds: tuple[float, float],
    progress: Callable[[int], None] | bool | None = None,
    **settings,
) -> Certification:
    """Bound or certify how far small perturbations can move a network's attributions.

    Images that the network does not classify as their label are counted and left out, as in evaluations.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      network: images -> logits: a Keras model, or any function of images. method: of `CERTIFICATES`.
      settings: those of the certificate's record in `rar_tf.certification.settings`, by their names or their flags',
        such as radius, threshold, num_samples, budgets; a single radius, threshold or budget need not be a tuple.
        seed: of all samples.
      progress: called with the number of images finished; True shows a bar.

    Raises: UsageError for settings that make no sense or are unknown, or images out of range.
    """
    inputs.check_arrays(images, labels)
    Settings = certificate_of(method).Settings
    names = {item.flag or item.otherwise: item.name for item in items(Settings)}
    given = {names.get(name, name): value for name, value in settings.items()}
    chosen = Settings.make({**given, "bounds": bounds, "image_shape": np.shape(images)[1:]})
    job = CertificationJob(network, images, labels, method, chosen)
    rows = results.work(job, progress=progress)
    return Certification(rows, results.as_json(job.record), job.certificate.guarantee())


def certify_into(
    folder,
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    method: str,
    settings: records.Certificate,
    sources: Mapping[str, Any] | None = None,
    shard: str = results.ALL,
    progress: Callable[[int], None] | bool | None = None,
    overwrite: bool = False,
) -> dict:
    """Certify images and leave settings.json, examples.csv, summary.json and plots in `folder`.

    A folder that an interrupted run with the same record left is continued; the numbers are the same.

    Shape: images [N, H, W, C] in the settings' bounds, labels int [N].

    Args:
      method: of `CERTIFICATES`. settings: its record.
      sources: where network and images come from, for the record.
      shard, progress, overwrite: those of `rar_tf.results.run`.

    Returns: the summary, of all parts where they are finished.
    Raises: as `certify`, and UsageError where the folder belongs to another certification.
    """
    job = CertificationJob(network, images, labels, method, settings, sources)
    return results.run(job, folder, shard=shard, progress=progress, overwrite=overwrite)


def merge(folder, count: int | None = None) -> dict:
    """Put the parts in a folder together, see `rar_tf.results.merge`; return the summary."""
    return results.merge(CertificationJob, folder, count)


def certificate_of(method: str) -> type[Certificate]:
    """Return the class that a name stands for. Raises: UsageError for an unknown one."""
    if method not in CERTIFICATES:
        raise UsageError(f"--method={method} is no certificate; known: {', '.join(CERTIFICATES)}")
    return CERTIFICATES[method]


class CertificationJob(results.Job):
    """The certification of images, one after the other.

    Which of them are attacked is decided by all images' predictions, so that it is the same for every part of them.

    Args: those of `certify_into`.
    """

    command, mark = "certify", "guarantee"
    text = ("ball",)

    def __init__(self, network, images, labels, method: str, settings: records.Certificate, sources=None):
        network = inputs.unwrapped(network)
        self.images, self.labels = inputs.arrays(images, labels)
        self.predictions = _predictions(inputs.evaluation_mode(network), self.images, self.labels, settings.bounds)
        settings = settings.replace(num_images=len(self.images))
        self.certificate = certificate = certificate_of(method)(inputs.evaluation_mode(network), settings)
        self.count, self.per_image, self.files = len(self.images), certificate.per_image, certificate.files
        self.columns = [*COMMON, *certificate.columns(certificate.settings), "seconds"]
        self.record = {
            **(sources or {}),
            "method": method,
            **certificate.record(),
            "weights_digest": results.fingerprint(network),
            "architecture_digest": results.architecture(network, self.predictions),
            "images_digest": results.images_digest(self.images, self.labels),
        }
        self.correct = self.predictions == self.labels
        self.attacked = self.correct & (np.cumsum(self.correct) <= certificate.attacks)

    def rows(self, group):
        index, began = group.start, time.monotonic()
        label, correct = int(self.labels[index]), bool(self.correct[index])
        common = {
            "index": index,
            "label": label,
            "prediction": int(self.predictions[index]),
            "correct": int(correct),
        }
        rows = [{}] * self.per_image
        if correct:
            rows = self.certificate.rows(self.images[index], label, index, bool(self.attacked[index]))
        seconds = round((time.monotonic() - began) / len(rows), 3)
        return [{**common, **_existing(row), "seconds": seconds} for row in rows]

    def keep(self, folder):
        for name, arrays in self.certificate.arrays.items():
            if not (folder / name).is_file():
                with atomic_write(folder / name) as temporary:
                    np.savez_compressed(temporary, **arrays)

    def notes(self):
        return {"guarantee": self.certificate.guarantee()}

    @classmethod
    def finish(cls, folder, rows, record, notes):
        correct = [row for row in rows if row["correct"]]
        if correct:
            for name, figure in certificate_of(record["method"]).plots(correct, record, folder).items():
                figure.suptitle(title(rows, record), fontsize=8)
                with atomic_write(folder / name) as temporary:
                    figure.savefig(temporary, dpi=110)
        return {**summarize(rows, record, notes["guarantee"]), "seconds": notes["seconds"]}

    @classmethod
    def join(cls, folder, parts, summaries):
        for name in certificate_of(summaries[0]["method"]).files:
            found = [part / name for part in parts if (part / name).is_file()]
            if found:
                with atomic_write(folder / name) as temporary:
                    temporary.write_bytes(found[0].read_bytes())
        return {"guarantee": summaries[0]["guarantee"]}


def title(rows: list[dict], record: Mapping[str, Any]) -> str:
    """Return what a plot is of: data and certificate, attribution and images, network and when it was made."""
    data = ", ".join(str(record[name]) for name in ("dataset", "split") if record.get(name))
    certified, images = (len({row["index"] for row in some}) for some in ([r for r in rows if r["correct"]], rows))
    return "\n".join(
        [
            ": ".join(filter(None, [data, record["method"]])),
            f"{record['attribution']}; {certified} of {images} images",
            provenance.in_words(record),
        ]
    )


def _predictions(network, images, labels, bounds):
    """The predicted labels [N]."""
    found, cautions = inputs.predictions(
        network, lambda batch: network(tf.constant(batch), training=False), images, labels, bounds
    )
    for caution in cautions:
        logging.warning("%s", caution)
    return found


def _existing(row):
    return {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}


def summarize(rows: list[dict], record: dict, guarantee: str) -> dict:
    """Return counts and, for each radius or budget, statistics of every column over the images that have a value.

    A share of certified images is over all correctly classified ones: an image that cannot be certified counts as 0.
    """
    certificate = certificate_of(record["method"])
    correct = [row for row in rows if row["correct"]]
    images = {row["index"]: row["correct"] for row in rows}
    summary = {
        "method": record["method"],
        "formula": record.get("formula", "sound"),
        "num_examples": len(images),
        "num_certifiable": sum(images.values()),
        "guarantee": guarantee,
        "results": [],
    }
    if not correct:
        logging.warning("no image is classified correctly: nothing was certified")
    for key in dict.fromkeys(tuple((name, row[name]) for name in certificate.key) for row in correct):
        group = [row for row in correct if all(row[name] == value for name, value in key)]
        entry = dict(key)
        for name in dict.fromkeys(name for row in group for name in row):
            if name in COMMON or name in entry:
                continue
            values = np.array([row[name] for row in group if name in row], np.float64)
            entry[name] = _share(values) if name in certificate.counted else _spread(values)
        summary["results"].append(entry)
    return {**summary, "settings": record}


def _share(values):
    return {"count": int(values.sum()), "of": len(values), "share": float(values.mean())}


def _spread(values):
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"count": 0, "min": None, "max": None}
    return {
        **statistics(finite),
        "count": len(finite),
        "min": float(finite.min()),
        "max": float(finite.max()),
    }
