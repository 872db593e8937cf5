"""Uniformly smoothed attributions, SmoothSM and SmoothIG: one row per image and radius."""

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import figures
from rar_tf.attributions.settings import name_of
from rar_tf.certification import attack as attacks
from rar_tf.certification import overlap, plots, settings, smoothing
from rar_tf.certification.field import attribution_field, clipped_field, unit_field
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.certification.smoothed import SmoothedCertificate, least_radius, said_of_samples
from rar_tf.errors import UsageError
from rar_tf.figures import Figure

CLOSE = 0.995  # of the certified ε: where it is attacked


class UniformSmoothing(SmoothedCertificate):
    """How alike the smoothed maps of an image and of all its perturbations are."""

    Settings = settings.UniformSmoothing
    key, counted = ("radius",), ("certified", "joint", "violation")
    shown = ("certified", "largest_epsilon", "smallest_radius", "label", "joint", "violation", "seconds")
    files = ("maps.npz",)

    def __init__(self, network, settings: settings.UniformSmoothing):
        super().__init__(network, settings)
        s = self.settings
        for radius in self.all_radii:
            silent = [f"{t:g}" for t in s.threshold if self._needed(s.epsilon, radius, t) > self.bound]
            if silent:
                logging.warning(
                    "at epsilon %g no map smoothed with radius %g can be certified for a cosine of %s: a larger radius "
                    "or a smaller epsilon says something; largest_epsilon is computed all the same",
                    s.epsilon,
                    radius,
                    ", ".join(silent),
                )
        self.attack = self.attack_of() if self.attacks else None

    def _needed(self, epsilon, radius, threshold):
        s = self.settings
        return overlap.needed_norm(epsilon, radius, threshold, s.dimension, bound=self.bound, formula=s.formula)

    def field_of(self, network):
        s = self.settings
        field = attribution_field(network, s.attribution, ig_steps=s.ig_steps)
        if s.normalization == "unit":
            self.bound = 1.0
            return unit_field(field)
        if s.normalization == "clip":
            self.bound = s.attribution_bound
            return clipped_field(field, s.attribution_bound)
        if s.attribution != "saliency":
            raise UsageError(
                f"normalization=lipschitz bounds saliency maps only: {name_of(s.attribution)} has no finite "
                "bound M, choose unit or clip"
            )
        self.bound = gradient_bound(network)
        return field

    def directions_of(self, network):
        bound = self.bound
        field = attribution_field(network, self.settings.attribution, ig_steps=self.settings.ig_steps)
        return unit_field(field) if self.settings.normalization == "unit" else clipped_field(field, bound)

    def promise(self, estimate, radius):
        s = self.settings
        low = estimate.foreseen(s.num_samples, self.level, s.interval)
        return overlap.largest_epsilon(
            max(low, 0.0), radius, min(s.threshold), s.dimension, bound=self.bound, formula=s.formula
        )

    @classmethod
    def columns(cls, settings):
        return [
            "radius",
            "num_samples",
            "norm",
            "norm_low",
            "certified_cosine",
            "certified",
            *(f"cosine_at_{epsilon:g}" for epsilon in settings.certify_epsilons),
            *(f"largest_epsilon_{threshold:g}" for threshold in settings.threshold),
            "label_epsilon",
            "joint",
            "interval_width",
            *(f"smallest_radius_{threshold:g}" for threshold in settings.threshold),
            "attack_epsilon",
            "attack_bound",
            "attack_cosine",
            "attack_inside",
            "violation",
            "attack_seconds",
        ]

    def record(self):
        return {**super().record(), "bound": self.bound}

    def rows(self, image, label, index, attack):
        s = self.settings
        radii = self.radii(image, label, index)
        if not self.arrays:
            self.arrays["maps.npz"] = self._maps(image, label, index, radii)
        rows = [self._row(image, label, index, radius) for radius in radii]
        if s.largest_radius > 0:
            for threshold in s.threshold:
                rows[0][f"smallest_radius_{threshold:g}"] = self.smoother.smallest_radius(
                    image,
                    label,
                    s.epsilon,
                    threshold,
                    s.num_samples,
                    confidence=self.level,
                    seed=s.seed,
                    index=index,
                    largest=s.largest_radius,
                    least=least_radius(s),
                    formula=s.formula,
                    interval=s.interval,
                )
        if attack:
            for row in rows:
                row.update(self._attacked(image, label, index, row))
        return rows

    def _maps(self, image, label, index, radii):
        """The plain map of an image and its smoothed maps by both noises, at most 1,000 samples of each."""
        s = self.settings
        found = {
            "image": image,
            "plain": self.field(image[None], np.array([label])).numpy()[0],
            "radii": np.array(radii),
        }
        for name, noise in smoothing.NOISES.items():
            smoother = smoothing.Smoother(self.field, bound=self.bound, batch_size=self.batch, noise=noise)
            found[name] = np.array(
                [
                    smoother.estimate(
                        image, label, radius, min(s.num_samples, 1000), seed=s.seed, index=index, purpose=80
                    ).mean
                    for radius in radii
                ]
            )
        return found

    def _decided(self, radius):
        """Whether the highest threshold is certified at ε, or seems out of reach: the biased length is too short."""
        s = self.settings
        if not s.stop_early:
            return None
        needed = self._needed(s.epsilon, radius, max(s.threshold))
        return lambda estimate: (
            needed > self.bound
            or (estimate.num_samples >= s.num_samples // 10 and estimate.norm < needed)
            or estimate.norm_low(self.level, s.interval) >= needed
        )

    def _row(self, image, label, index, radius):
        s = self.settings
        estimate = self.estimate(image, label, index, radius, decided=self._decided(radius))
        found = smoothing.certificate(
            estimate,
            radius,
            epsilon=s.epsilon,
            thresholds=s.threshold,
            confidence=self.level,
            formula=s.formula,
            interval=s.interval,
        )
        row = {
            "radius": radius,
            "num_samples": estimate.num_samples,
            **found,
            "certified": int(found["certified_cosine"] >= min(s.threshold)),
            **self.label(estimate, radius),
        }
        if s.certify_label:
            row["joint"] = int(row["certified"] and row["label_epsilon"] >= s.epsilon)
        for epsilon in s.certify_epsilons:
            row[f"cosine_at_{epsilon:g}"] = float(
                overlap.certified_cosine(
                    row["norm_low"], epsilon, radius, s.dimension, bound=self.bound, formula=s.formula
                )
            )
        if s.interval == "chi_square" and estimate.norm > 0:
            row["interval_width"] = smoothing.interval_width(estimate, radius, s.epsilon, self.level, formula=s.formula)
        return row

    def _attacked(self, image, label, index, row):
        """Attack just within the largest ε that is certified for the lowest threshold, below which nothing may go."""
        s, threshold, began = self.settings, min(self.settings.threshold), tf.timestamp()
        epsilon = CLOSE * row[f"largest_epsilon_{threshold:g}"]
        if epsilon <= 0:
            return {}
        worst = attacks.worst_of(
            {"cosine": self.attack},
            self.smoother,
            image,
            label,
            epsilon,
            row["radius"],
            num_samples=s.num_samples,
            seed=s.seed,
            index=index,
        )["cosine"]
        return {
            "attack_epsilon": epsilon,
            "attack_bound": threshold,
            "attack_cosine": worst.score,
            "attack_inside": worst.inside,
            "violation": int(worst.score < threshold),
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
            f"The exact smoothed {s.normalization}-normalised {name_of(s.attribution)} of the label's logit keeps the "
            "stated cosine under every l2 perturbation of at most epsilon, of any pixel value. "
            + said_of_samples(s, "this is stated and wrong")
            + " It says nothing of the plain map, or of a map that is estimated from samples"
            + (
                "; up to label_epsilon the class that most noisy images get stays the label, within that probability."
                if s.certify_label
                else ", or of the label."
            )
        )

    @classmethod
    def plots(cls, rows, record, folder):
        dimension, bound = int(np.prod(record["image_shape"])), record["bound"]
        curves = {}
        for radius in record["radius"]:
            low = np.array([row["norm_low"] for row in rows if row["radius"] == radius])
            if not len(low):
                continue  # the best radius of no image
            reach = overlap.largest_epsilon(1.0, radius, 1e-3, dimension)
            epsilons = np.linspace(reach / 100, 1.05 * reach, 100)
            # An image that is not certified at ε counts as 0: the mean never looks better for losing images.
            cosine = overlap.certified_cosine(
                low[:, None], epsilons, radius, dimension, bound=bound, formula=record["formula"]
            )
            curves[f"r = {radius:g}"] = (epsilons, np.nan_to_num(cosine).mean(0))
        largest, radii = {}, sorted({row["radius"] for row in rows})
        for threshold in record["threshold"]:
            values = [
                np.mean([row[f"largest_epsilon_{threshold:g}"] for row in rows if row["radius"] == radius])
                for radius in radii
            ]
            largest[f"T = {threshold:g}"] = (np.array(radii), np.array(values))
        found = {
            "certified_cosine.png": figures.curves_figure(curves, "l2 perturbation ε", "certified cosine, mean"),
            "largest_epsilon.png": figures.curves_figure(largest, "smoothing radius r", "largest certified ε, mean"),
        }
        if (folder / "maps.npz").is_file():
            with np.load(folder / "maps.npz") as archive:
                found["maps.png"] = maps_figure(**archive)
        attacked = [row for row in rows if "attack_cosine" in row]
        if attacked:
            points = tuple(np.array([row[name] for row in attacked]) for name in ("attack_bound", "attack_cosine"))
            found["attack.png"] = plots.against_bound(
                {"attack": points}, "certified cosine", "lowest cosine attacked", from_below=True
            )
        return found


def maps_figure(
    image: np.ndarray, plain: np.ndarray, radii: np.ndarray, uniform: np.ndarray, gaussian: np.ndarray
) -> Figure:
    """Draw an image, its map, and the map smoothed by normal and by uniform noise, a row for each radius (Fig. 3).

    Shape: image, plain [H, W, C], radii [R], uniform, gaussian [R, H, W, C].
    """
    size = lambda maps: np.abs(maps).sum(-1)
    return figures.grid_figure(
        {
            "image": np.repeat(image[None], len(radii), 0),
            "map": np.repeat(size(plain)[None], len(radii), 0),
            "normal noise": size(gaussian),
            "uniform noise": size(uniform),
        },
        maps_from=1,
        bounds=(float(image.min()), float(image.max())),
        captions=[f"r = {radius:g}" for radius in radii],
    )
