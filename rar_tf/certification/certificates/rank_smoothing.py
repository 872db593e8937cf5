"""Smoothed maps with features in [0, 1]: which pixels, and in which order, no perturbation changes."""

import numpy as np
import tensorflow as tf
from matplotlib.patches import Patch

from rar_tf.attributions.maps import rar_map, top_k_mask
from rar_tf.certification import attack as attacks
from rar_tf.certification import plots, ranks, settings
from rar_tf.certification.field import Field, attribution_field
from rar_tf.certification.limits import bernstein_limits, binomial_limits
from rar_tf.certification.smoothed import SmoothedCertificate, said_of_samples
from rar_tf.figures import Figure


class RankSmoothing(SmoothedCertificate):
    """Top-k intersection, Kendall's tau-a and certain pixels: one row per image, radius and ε."""

    Settings = settings.RankSmoothing
    key, counted = ("radius", "epsilon"), ("joint", "violation")
    shown = ("certified", "pixels", "largest_epsilon", "attack_topk", "attack_kendall", "violation", "seconds")
    files = ("pixels.npz",)
    map_channels = 1

    def __init__(self, network, settings: settings.RankSmoothing):
        self.noise_name = settings.noise
        super().__init__(network, settings)
        self.settings.check_k()
        self.k = self.settings.k
        self.searches = {}
        if self.attacks:
            self.searches = {
                "cosine": self.attack_of(),
                "topk": self.attack_of(objective="topk_soft", score=attacks.top_k_score(self.k)),
                "kendall": self.attack_of(objective="kendall", score=attacks.kendall_score()),
            }

    def field_of(self, network):
        return rank_field(self._maps(network), self.settings)

    def directions_of(self, network):
        return rank_field(self._maps(network), self.settings, smooth=True)

    def _maps(self, network):
        return attribution_field(network, self.settings.attribution, ig_steps=self.settings.ig_steps)

    def limits(self, estimate, num_samples=None):
        """Limits of all features of h(x) at once, by Bonferroni's inequality. Shape: two of [D]."""
        mean, variance = estimate.mean.ravel(), estimate.variance.ravel()
        count, each = num_samples or estimate.num_samples, 1 - (1 - self.level) / (2 * mean.size)
        if not np.all(np.isfinite(mean)):
            return np.zeros(mean.size), np.ones(mean.size)
        if self.settings.features == "top_k":
            return binomial_limits(np.rint(mean * count), count, each)
        return bernstein_limits(mean, variance, count, each)

    def moved(self, still, epsilon, radius):
        """Limits of all features of every h(x̃)."""
        return ranks.moved(*still, epsilon, radius, self.settings.dimension, self.noise_name)

    def reach(self, mean, still, radius, threshold):
        """The largest ε with a certified top-k intersection of `threshold`."""

        def certifies(epsilon):
            return ranks.top_k_intersection(mean, still, self.moved(still, epsilon, radius), self.k) >= threshold

        return ranks.largest_epsilon(certifies, radius, self.settings.dimension)

    def promise(self, estimate, radius):
        still = self.limits(estimate, self.settings.num_samples)
        return self.reach(estimate.mean.ravel(), still, radius, min(self.settings.threshold))

    @property
    def per_image(self):
        return self.per_radius * len(self.settings.epsilons)

    @classmethod
    def columns(cls, settings):
        return [
            "radius",
            "epsilon",
            "num_samples",
            "certified_topk",
            "certified_kendall",
            "pixels_in",
            "pixels_out",
            *(f"largest_epsilon_{threshold:g}" for threshold in settings.threshold),
            "label_epsilon",
            "joint",
            "attack_cosine",
            "attack_topk",
            "attack_kendall",
            "violation",
            "attack_seconds",
        ]

    def rows(self, image, label, index, attack):
        s, rows = self.settings, []
        for radius in self.radii(image, label, index):
            estimate = self.estimate(image, label, index, radius)
            still, mean = self.limits(estimate), estimate.mean.ravel()
            largest = {f"largest_epsilon_{t:g}": self.reach(mean, still, radius, t) for t in s.threshold}
            states = []
            for epsilon in s.epsilons:
                moving = self.moved(still, epsilon, radius)
                inside, outside = ranks.certain_pixels(*moving, self.k)
                states.append(np.where(inside, 2, np.where(outside, 0, 1)))
                row = {
                    "radius": radius,
                    "epsilon": epsilon,
                    "num_samples": estimate.num_samples,
                    "certified_topk": ranks.top_k_intersection(mean, still, moving, self.k),
                    "certified_kendall": ranks.kendall(*moving),
                    "pixels_in": int(inside.sum()),
                    "pixels_out": int(outside.sum()),
                    **largest,
                    **self.label(estimate, radius),
                }
                if s.certify_label:
                    row["joint"] = int(row["certified_topk"] > 0 and row["label_epsilon"] >= epsilon)
                if attack:
                    row.update(self._attacked(image, label, index, row))
                rows.append(row)
            if not self.arrays:
                shape = image.shape[:2]
                self.arrays["pixels.npz"] = {
                    "image": image,
                    "map": mean.reshape(shape),
                    "states": np.array(states, np.int8).reshape(-1, *shape),
                    "epsilons": np.array(s.epsilons),
                }
        return rows

    def _attacked(self, image, label, index, row):
        """The lowest top-k intersection and tau-a that are found at the row's own ε."""
        s, began = self.settings, tf.timestamp()
        worst = attacks.worst_of(
            self.searches,
            self.smoother,
            image,
            label,
            row["epsilon"],
            row["radius"],
            num_samples=s.num_samples,
            seed=s.seed,
            index=index,
        )
        found = {f"attack_{name}": each.score for name, each in worst.items()}
        below = any(found[f"attack_{name}"] < row[f"certified_{name}"] for name in ("topk", "kendall"))
        return {**found, "violation": int(below), "attack_seconds": round(float(tf.timestamp() - began), 2)}

    def guarantee(self):
        s = self.settings
        kind = (
            f"whether a pixel is among the {s.sparsity or self.k} largest"
            if s.features == "top_k"
            else f"the rar map over {s.feature_ceiling:g}, at most 1,"
        )
        return (
            f"Of the exact map that is smoothed with {self.noise_name} noise ({kind} of the {s.attribution} of the "
            "label's logit), every l2 perturbation of at most epsilon, of any pixel value, keeps the stated share of "
            f"the top {self.k} pixels, the stated tau-a, and the certain pixels in or out of the top {self.k}. "
            + said_of_samples(s, "any of this is wrong")
            + " It says nothing of the plain map, or of a map that is estimated from samples."
            + (" Up to label_epsilon the class that most noisy images get stays the label." if s.certify_label else "")
        )

    @classmethod
    def plots(cls, rows, record, folder):
        lines = {
            f"{label}, r = {radius:g}": ([row for row in rows if row["radius"] == radius], name)
            for name, label in (("topk", "top-k intersection"), ("kendall", "Kendall's tau-a"))
            for radius in sorted({row["radius"] for row in rows})
        }
        found = {"certified.png": plots.over_epsilon(lines)}
        if (folder / "pixels.npz").is_file():
            with np.load(folder / "pixels.npz") as archive:
                found["pixels.png"] = pixels_figure(**archive)
        return found


def rank_field(field: Field, settings: settings.RankSmoothing, *, smooth: bool = False) -> Field:
    """Return (images [N, H, W, C], labels [N]) -> features [N, H, W, 1] in [0, 1].

    Args:
      field: the attribution.
      smooth: whether a slope stands in for the step of features=top_k, around the present K-th value, for attacks.
    """
    s = settings
    height, width = s.image_shape[:2]
    kept = min(s.sparsity or s.k, height * width)

    def features(images, labels):
        maps = rar_map(field(images, labels))
        if s.features == "clipped":
            values = tf.minimum(maps / s.feature_ceiling, 1.0)
        elif smooth:
            edge = tf.stop_gradient(tf.math.top_k(maps, kept).values[:, -1:])
            values = tf.sigmoid(4.0 * (maps - edge) / tf.maximum(edge, 1e-6))
        else:
            values = top_k_mask(maps, kept) + 0.0 * maps  # what is no number stays so
        return tf.reshape(values, [-1, height, width, 1])

    return features


def pixels_figure(image: np.ndarray, map: np.ndarray, states: np.ndarray, epsilons: np.ndarray) -> Figure:
    """Draw an image, its smoothed map, and for each ε which pixels are certainly in the top k, possible, excluded.

    Shape: image [H, W, C], map [H, W], states [E, H, W] of 2, 1 and 0, epsilons [E].
    """
    figure = Figure(figsize=(2.0 * (2 + len(epsilons)), 2.8), layout="constrained")
    axes = figure.subplots(1, 2 + len(epsilons))
    shown = (image - image.min()) / max(float(np.ptp(image)), 1e-12)
    axes[0].imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray")
    axes[0].set_title("image", fontsize=8)
    axes[1].imshow(map, cmap="inferno")
    axes[1].set_title("smoothed map", fontsize=8)
    colours = np.array([[32, 32, 64], [160, 160, 160], [240, 96, 32]], np.uint8)
    said = ("certainly not in the top k", "perhaps", "certainly in the top k")
    figure.legend(
        [Patch(color=colour / 255) for colour in colours], said, loc="outside lower center", ncols=3, fontsize=8
    )
    for axis, state, epsilon in zip(axes[2:], states, epsilons):
        axis.imshow(colours[state])
        axis.set_title(f"ε = {epsilon:.3g}: {np.sum(state == 2)} certain", fontsize=8)
    for axis in axes:
        axis.set_axis_off()
    return figure
