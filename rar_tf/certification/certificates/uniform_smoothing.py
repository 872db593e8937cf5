"""Uniformly smoothed attributions, SmoothSM and SmoothIG: one row per image and radius."""

import math

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import figures
from rar_tf.certification import attack as attacks
from rar_tf.certification import overlap, plots, settings, smoothing
from rar_tf.certification.certificate import Certificate, smooth_network
from rar_tf.certification.field import attribution_field, clipped_field, unit_field
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.errors import UsageError


class UniformSmoothing(Certificate):
    """How alike the smoothed maps of an image and of all its perturbations are."""

    Settings = settings.UniformSmoothing
    key, counted = ("radius",), ("certified", "violation")
    shown = ("certified", "largest_epsilon", "smallest_radius", "violation", "seconds")

    def __init__(self, network, settings: settings.UniformSmoothing):
        super().__init__(network, settings)
        s, self.attacks = self.settings, self.settings.certificate_attack
        field, self.bound = self._bounded(network)
        self.smoother = smoothing.Smoother(field, bound=self.bound, batch_size=min(s.sample_batch, s.num_samples))
        self.attack = None
        if self.attacks:
            directions, _ = self._bounded(smooth_network(network, s), self.bound)
            # Several restarts share a batch as long as it is no larger than a batch of samples.
            self.attack = attacks.SmoothedMapAttack(
                field,
                directions,
                k=s.k,
                restarts=s.certificate_attack_restarts,
                restarts_at_once=max(1, s.sample_batch // 32),
            )

    def _bounded(self, network, bound=None):
        """The field that is smoothed, and M."""
        s = self.settings
        field = attribution_field(network, s.attribution, ig_steps=s.ig_steps)
        if s.normalization == "unit":
            return unit_field(field), 1.0
        if s.normalization == "clip":
            return clipped_field(field, s.attribution_bound), s.attribution_bound
        if s.attribution != "saliency":
            raise UsageError(
                f"normalization=lipschitz bounds saliency maps only: {s.attribution} has no finite "
                "bound M, choose unit or clip"
            )
        return field, gradient_bound(network) if bound is None else bound

    @classmethod
    def columns(cls, settings):
        return [
            "radius",
            "norm",
            "norm_low",
            "certified_cosine",
            "certified",
            *(f"largest_epsilon_{threshold:g}" for threshold in settings.threshold),
            "interval_width",
            *(f"smallest_radius_{threshold:g}" for threshold in settings.threshold),
            "attack_epsilon",
            "attack_bound",
            "attack_cosine",
            "attack_inside",
            "violation",
            "attack_seconds",
        ]

    @property
    def per_image(self):
        return len(self.settings.radius)

    def record(self):
        return {**super().record(), "bound": self.bound}

    def rows(self, image, label, index, attack):
        s = self.settings
        rows = [self._row(image, label, index, radius) for radius in s.radius]
        if s.largest_radius > 0:
            for threshold in s.threshold:
                rows[0][f"smallest_radius_{threshold:g}"] = self.smoother.smallest_radius(
                    image,
                    label,
                    s.epsilon,
                    threshold,
                    s.num_samples,
                    confidence=s.confidence,
                    seed=s.seed,
                    index=index,
                    largest=s.largest_radius,
                    formula=s.formula,
                )
        if attack:
            for row in rows:
                row.update(self._attacked(image, label, index, row))
        return rows

    def _row(self, image, label, index, radius):
        s = self.settings
        # Every radius has its own samples: one purpose number each, far from those of the search and the attack.
        estimate = self.smoother.estimate(
            image, label, radius, s.num_samples, seed=s.seed, index=index, purpose=200 + s.radius.index(radius)
        )
        if estimate.norm == 0:
            logging.warning("image %d: its attribution is zero, nothing can be certified", index)
        found = smoothing.certificate(
            estimate,
            radius,
            epsilon=s.epsilon,
            thresholds=s.threshold,
            confidence=s.confidence,
            formula=s.formula,
            interval=s.interval,
        )
        row = {"radius": radius, **found, "certified": int(not math.isnan(found["certified_cosine"]))}
        if s.interval == "chi_square" and estimate.norm > 0:
            row["interval_width"] = smoothing.interval_width(
                estimate, radius, s.epsilon, s.confidence, formula=s.formula
            )
        return row

    def _attacked(self, image, label, index, row):
        """Attack at the largest ε certified for the lowest threshold, where the certificate says: not below it."""
        s, threshold, began = self.settings, min(self.settings.threshold), tf.timestamp()
        epsilon = row[f"largest_epsilon_{threshold:g}"]
        if epsilon <= 0:
            return {}
        worst = attacks.worst_of(
            self.attack,
            self.smoother,
            image,
            label,
            epsilon,
            row["radius"],
            num_samples=s.num_samples,
            seed=s.seed,
            index=index,
        )
        return {
            "attack_epsilon": epsilon,
            "attack_bound": threshold,
            "attack_cosine": worst.cosine,
            "attack_inside": worst.inside,
            "violation": int(worst.cosine < threshold),
            "attack_seconds": round(float(tf.timestamp() - began), 2),
        }

    def guarantee(self):
        s = self.settings
        if s.formula == "paper":
            return (
                "No guarantee: the paper's printed formula gives larger values than a bounded attribution can keep. It "
                "is computed for comparison only."
            )
        if s.interval == "chi_square":
            return "No guarantee: the lower limit of the smoothed map's length assumes normal, independent pixels."
        return (
            f"For each certified image: with probability {s.confidence:g} over the samples, the exact smoothed "
            f"{s.normalization}-normalised {s.attribution} of the label's logit keeps the stated cosine under every "
            "l2 perturbation of at most epsilon, of any pixel value. It says nothing of the plain map, of a map that "
            "is estimated from samples, or of the label."
        )

    @classmethod
    def plots(cls, rows, record, folder):
        dimension, bound = int(np.prod(record["image_shape"])), record["bound"]
        curves = {}
        for radius in record["radius"]:
            low = np.array([row["norm_low"] for row in rows if row["radius"] == radius])
            reach = overlap.largest_epsilon(1.0, radius, 1e-3, dimension)
            epsilons = np.linspace(reach / 100, 1.05 * reach, 100)
            # An image that is not certified at ε counts as 0: the mean never looks better for losing images.
            cosine = overlap.certified_cosine(
                low[:, None], epsilons, radius, dimension, bound=bound, formula=record["formula"]
            )
            curves[f"r = {radius:g}"] = (epsilons, np.nan_to_num(cosine).mean(0))
        largest = {}
        for threshold in record["threshold"]:
            values = [
                np.mean([row[f"largest_epsilon_{threshold:g}"] for row in rows if row["radius"] == radius])
                for radius in record["radius"]
            ]
            largest[f"T = {threshold:g}"] = (np.array(record["radius"]), np.array(values))
        found = {
            "certified_cosine.png": figures.curves_figure(curves, "l2 perturbation ε", "certified cosine, mean"),
            "largest_epsilon.png": figures.curves_figure(largest, "smoothing radius r", "largest certified ε, mean"),
        }
        attacked = [row for row in rows if "attack_cosine" in row]
        if attacked:
            points = tuple(np.array([row[name] for row in attacked]) for name in ("attack_bound", "attack_cosine"))
            found["attack.png"] = plots.against_bound(
                {"attack": points}, "certified cosine", "lowest cosine attacked", from_below=True
            )
        return found
