"""What is left of an evaluation: rows, one an image, examples for figures, and their statistics."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rar_tf import metrics
from rar_tf.data.npz import read_arrays
from rar_tf.files import atomic_write
from rar_tf.statistics import statistics

SCORES = (
    "topk_intersection",
    "kendall",
    "kendall_support",
    "kendall_foreground",
    "spearman",
    "cosine",
    "pearson",
    "kendall_a",
    "lens_recall",
    "lens_precision",
)
AVERAGE_SCORES = ("topk_intersection", "kendall", "kendall_support", "spearman", "cosine")
FAITHFULNESS = (
    "insertion",
    "deletion",
    "randomisation_spearman",
    "sparseness",
    "relative_input_stability",
    "relative_output_stability",
)
MAX_FALLBACK_RATE = 0.05
MAX_UNRESOLVED = 0.05


@dataclasses.dataclass
class Examples:
    """Inputs, attacked inputs and both maps of some attacked images, for figures; maps as [N, H, W] or [N, H, W, C]."""

    index: np.ndarray
    images: np.ndarray
    perturbed: np.ndarray
    maps: np.ndarray
    perturbed_maps: np.ndarray
    scores: np.ndarray  # Kendall

    def __add__(self, other: "Examples") -> "Examples":
        return Examples(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in dataclasses.fields(self))
        )

    def take(self, which: np.ndarray) -> "Examples":
        """Return some of them, by a mask or by places."""
        return Examples(*(getattr(self, f.name)[which] for f in dataclasses.fields(self)))

    @classmethod
    def read(cls, path) -> "Examples":
        """Return the maps that an evaluation left. Raises: UsageError for a damaged file."""
        return cls(*read_arrays(path, tuple(field.name for field in dataclasses.fields(cls))))

    def write(self, path) -> None:
        """Write maps whole."""
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **dataclasses.asdict(self))


def map_scores(clean: np.ndarray, maps: np.ndarray, metric_k: int) -> dict[str, np.ndarray]:
    """Return AVERAGE_SCORES of two maps each. Shape: [N, D], [N, D] -> [N] by name."""
    return {
        "topk_intersection": metrics.topk_intersection(clean, maps, metric_k),
        "kendall": metrics.kendall(clean, maps),
        "kendall_support": metrics.kendall_support(clean, maps),
        "spearman": metrics.spearman(clean, maps),
        "cosine": metrics.cosine(clean, maps),
    }


def kept_scores(attack, images: np.ndarray, clean: np.ndarray, kept, metric_k: int) -> dict[str, np.ndarray]:
    """Every metric of a kept iterate, 1 for fallbacks; the least over all candidates of those that were tracked."""
    shape = images.shape[1:3]
    pixels_k = min(metric_k, shape[0] * shape[1])
    scores = {
        **map_scores(clean, kept.maps, metric_k),
        "kendall_foreground": metrics.kendall_foreground(clean, kept.maps, images, attack.epsilon, attack.bounds[0]),
        "pearson": metrics.pearson(clean, kept.maps),
        "kendall_a": metrics.kendall(clean, kept.maps, "a"),
        "lens_recall": metrics.lens_recall(clean, kept.maps, pixels_k, shape),
        "lens_precision": metrics.lens_precision(clean, kept.maps, pixels_k, shape),
    }
    scores = {name: np.where(kept.score < 1, values, 1.0) for name, values in scores.items()}
    for column, name in enumerate(attack.settled):
        if attack.track and name in scores:
            scores[name] = np.minimum(scores[name], kept.lowest[:, column])
    return scores


def thin(curve, points=25):
    """At most `points` of a curve's steps [T, B], the last one among them."""
    return curve[np.unique(np.linspace(0, len(curve) - 1, points).round().astype(int))]


def plain_number(value):
    """Six decimals are kept, so that a row read back from a file equals the row that was written."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6)
    return value if isinstance(value, str) else int(value)


def accuracy_column(name: str) -> str:
    """Return the row's column that says whether an image withstood a prediction attack."""
    return "adversarial_correct" if name == "pgd" else f"adversarial_correct:{name}"


def summarize(rows: list[dict], settings: dict, warnings: Sequence[str] = ()) -> dict:
    """Return accuracies, statistics of every score over the attacked images, warnings and settings.

    A row is what `Evaluator.evaluate_group` gives or what `rar_tf.results` reads back from a file.
    """
    attacked = [row for row in rows if "fallback" in row]
    summary: dict[str, Any] = {
        "num_attacked": len(attacked),
        "natural_accuracy": float(np.mean([row["correct"] for row in rows])),
    }
    for name in settings["prediction_attacks"]:
        key = "adversarial_accuracy" if name == "pgd" else f"adversarial_accuracy_{name}"
        summary[key] = float(np.mean([row[accuracy_column(name)] for row in rows]))
        parts = [column for column in rows[0] if name != "pgd" and column.startswith(f"{accuracy_column(name)}:")]
        if parts:  # of an attack with several members: the share that stands after each and all before it
            standing = {column.rpartition(":")[2]: float(np.mean([row[column] for row in rows])) for column in parts}
            summary[name] = {"standing_after": standing}
    summary.setdefault("adversarial_accuracy", None)

    def column(name):
        return np.array([row[name] for row in attacked], np.float64)

    for name in SCORES:
        known = attacked and name in attacked[0]  # not in a table from before there was such a score
        nothing = dict.fromkeys(("mean", "median", "std", "ci95", "median_ci95"))
        summary[name] = statistics(column(name)) if known else nothing
        key = f"attainable:{name}"
        summary[name]["attainable"] = float(column(key).mean()) if attacked and key in attacked[0] else None
    summary["fallback_rate"] = float(column("fallback").mean()) if attacked else None
    if attacked:
        _add_diagnosis(summary, attacked, column)
    messages = [*warnings, *([] if settings.get("attack") == "none" else _warnings(summary))]
    return {**settings, **summary, "warnings": messages, "run_warnings": list(warnings)}


def _add_diagnosis(summary, attacked, column):
    names = attacked[0]
    members = [name for name in names if name.startswith("kendall:")]
    if members:
        summary["plain"] = {name: statistics(column(f"plain:{name}")) for name in SCORES if f"plain:{name}" in names}
        summary["plain"]["fallback_rate"] = float(column("plain:fallback").mean())
        first = np.argmin([column(name) for name in members], axis=0)  # later ones begin where others ended
        summary["members"] = {
            name.split(":", 1)[1]: {"kendall": float(column(name).mean()), "lowest_on": float(np.mean(first == number))}
            for number, name in enumerate(members)
        }
    if "constant_map" in names:
        summary["constant_maps"] = float(column("constant_map").mean())
    if "unresolved" in names:
        summary["unresolved"] = float(column("unresolved").mean())
    changes = [name.partition(":")[0] for name in names if name.endswith(":label_kept")]
    if changes:
        summary["average_case_scores"] = {
            change: {name: float(column(f"{change}:{name}").mean()) for name in (*AVERAGE_SCORES, "label_kept")}
            for change in changes
        }
    summary["gradient_vanished"] = float(column("gradient_vanished").mean())
    if "completeness_error" in names:
        summary["completeness_error"] = float(np.median(column("completeness_error")))
    if "active" in names:
        summary["activation_consistency"] = metrics.activation_consistency(
            column("active").sum(), column("active_perturbed").sum(), column("active_both").sum()
        )
    for name in ("reference_spearman", "target_cosine", "target_cosine_clean", *FAITHFULNESS):
        if name in names:
            summary[name] = statistics(column(name))


def _warnings(summary):
    found = []
    if summary["num_attacked"] == 0:
        return ["no image whose map was to be attacked is classified correctly: nothing was attacked"]
    if summary["fallback_rate"] > MAX_FALLBACK_RATE:
        found.append(
            f"{summary['fallback_rate']:.0%} of the scores are fallbacks (no iterate kept the label and "
            "lowered the measure); they count as 1 and make the network look more robust than it is shown to be"
        )
    if summary.get("constant_maps"):
        found.append(
            f"{summary['constant_maps']:.0%} of the maps are constant, most likely zero: a top-k intersection of 1 and "
            "correlations of 0 say nothing of them"
        )
    if summary.get("unresolved", 0) > MAX_UNRESOLVED:
        found.append(
            f"{summary['unresolved']:.0%} of the attacked maps' values are zero or below float32's rounding where "
            "pixels are not the baseline: Kendall and Spearman over all pixels rank that rounding, and differ by "
            "device; read the scores over the support"
        )
    if summary["gradient_vanished"] > MAX_FALLBACK_RATE:
        found.append(
            f"the loss has no gradient at {summary['gradient_vanished']:.0%} of the images: attacks that follow "
            "gradients may fail for that reason alone"
        )
    if summary.get("randomisation_spearman", {"mean": 0})["mean"] > 0.9:
        found.append(
            f"maps hardly change where the network's weights are shuffled (Spearman "
            f"{summary['randomisation_spearman']['mean']:.2f}): they show the image more than the network"
        )
    if "insertion" in summary and summary["insertion"]["mean"] <= summary["deletion"]["mean"]:
        found.append(
            f"the label's probability rises no faster with the pixels that the maps rank first than it falls without "
            f"them (insertion {summary['insertion']['mean']:.2f}, deletion {summary['deletion']['mean']:.2f}): robust "
            "or not, these maps do not show what the network looks at"
        )
    if summary.get("completeness_error", 0) > 0.1:
        found.append(
            f"integrated gradients miss the change of the logit by {summary['completeness_error']:.0%} "
            "(median): more ig_steps are needed, or the network standardises each image, where completeness fails"
        )
    return found
