"""A smooth network's own attribution, certified without samples: one row per image and ε."""

import math

import numpy as np
import tensorflow as tf

from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.attributions.path_integral import quadrature
from rar_tf.attributions.settings import name_of
from rar_tf.certification import attack as attacks
from rar_tf.certification import curvature, plots, ranks, settings
from rar_tf.certification.certificate import Certificate
from rar_tf.certification.field import attribution_field
from rar_tf.errors import UsageError
from rar_tf.metrics import top_k_set


class Curvature(Certificate):
    """Cosine, top-k intersection and Kendall's tau-a that no perturbation of the ball can undercut."""

    Settings = settings.Curvature
    key, counted = ("epsilon",), ("certified", "violation")
    shown = ("certified", "lipschitz", "largest_epsilon", "attack_cosine", "attack_topk", "violation", "seconds")

    def __init__(self, network, settings: settings.Curvature):
        super().__init__(network, settings)
        s, self.attacks = self.settings, self.settings.certificate_attack
        if s.attribution not in ("saliency", "input_x_gradient", "integrated_gradients"):
            raise UsageError(
                f"curvature certifies saliency, input_x_gradient and integrated_gradients, not {name_of(s.attribution)}"
            )
        s.check_k()
        kind = ATTRIBUTIONS[s.attribution]
        self.proportional = kind.proportional
        points, weights = quadrature("right", s.ig_steps) if kind.takes_path else (np.ones(1), np.ones(1))
        self.path = list(zip(weights, points))
        self.curvature = curvature.Curvature(network)
        self.channels = s.image_shape[2]
        self.k = s.k
        field = attribution_field(network, s.attribution, ig_steps=s.ig_steps)
        ranked = lambda images, labels: tf.reduce_sum(tf.abs(field(images, labels)), axis=-1, keepdims=True)
        self.searches = {}
        if self.attacks:
            options = dict(k=self.k, restarts=s.certificate_attack_restarts, restarts_at_once=20)
            self.searches = {
                "cosine": attacks.SmoothedMapAttack(field, field, **options),
                "topk": attacks.SmoothedMapAttack(
                    ranked, ranked, objective="topk_soft", score=attacks.top_k_score(self.k), **options
                ),
            }

    @classmethod
    def columns(cls, settings):
        return [
            "epsilon",
            "attribution_norm",
            "change",
            "lipschitz",
            "certified_cosine",
            "certified",
            "certified_topk",
            "certified_kendall",
            "pixels_in",
            "pixels_out",
            *(f"largest_epsilon_{threshold:g}" for threshold in settings.threshold),
            "attack_cosine",
            "attack_topk",
            "violation",
            "attack_seconds",
        ]

    @property
    def per_image(self):
        return len(self.settings.epsilons)

    def rows(self, image, label, index, attack):
        s = self.settings
        points = [(weight, at, self.curvature.at(at * image, label)) for weight, at in self.path]

        def change(epsilon):
            return curvature.attribution_change(
                points, image, epsilon, proportional=self.proportional, kind=s.gradient_bound
            )

        found = {epsilon: change(epsilon) for epsilon in s.epsilons}
        norm = float(np.linalg.norm(next(iter(found.values()))[0]))
        known = [(epsilon, bound.length) for epsilon, (_, bound) in found.items()]
        largest = {f"largest_epsilon_{t:g}": self._largest(known, norm, t, change) for t in s.threshold}
        rows = []
        for epsilon, (values, bound) in found.items():
            cosine = curvature.certified_cosine(norm, bound.length) if norm > 0 else math.nan
            row = {
                "epsilon": epsilon,
                "attribution_norm": norm,
                "change": bound.length,
                "lipschitz": bound.length / epsilon,
                "certified_cosine": cosine,
                "certified": int(cosine >= min(s.threshold)),
                **self._ranks(values, bound),
                **largest,
            }
            if attack:
                row.update(self._attacked(image, label, index, row))
            rows.append(row)
        return rows

    def _largest(self, known, norm, threshold, change):
        """The largest ε with that cosine that is found in four trials beside the known pairs ε, B(ε).

        Between two of them B is taken for a power of ε; and B(ε)/ε grows.
        """
        reach = norm * math.sqrt((1 - threshold) * (1 + threshold))
        if norm == 0:
            return 0.0
        below, above = ([pair for pair in known if (pair[1] <= reach) == inside] for inside in (True, False))
        for _ in range(4):
            if not below:
                epsilon, length = min(above)
                trial = epsilon * reach / length
            elif not above:
                epsilon, length = max(below)
                trial = epsilon * math.sqrt(reach / max(length, 1e-30))
            else:
                epsilon, length = max(below)
                low = np.log((epsilon, max(length, 1e-6 * reach)))  # where nothing is bent B is 0, or next to nothing
                high = np.log(min(above))
                share = (math.log(reach) - low[1]) / (high[1] - low[1])
                trial = float(np.exp(low[0] + min(share, 0.99) * (high[0] - low[0])))
            length = change(trial)[1].length
            (below if length <= reach else above).append((trial, length))
        return max(below, default=(0.0, 0.0))[0]

    def _ranks(self, values, bound):
        """Of the rar map, whose ranks its scale does not change."""
        grid = lambda each: np.abs(each).reshape(-1, self.channels).sum(1)
        mean, length = grid(values), math.sqrt(self.channels) * bound.length
        spread = np.minimum(grid(bound.features), length)
        limits = mean - spread, mean + spread
        inside, outside = ranks.certain_pixels(*limits, self.k)
        chosen = top_k_set(mean[None], self.k)[0]
        missing = min(ranks.changed_members(*limits, chosen), ranks.changed_members_of_length(mean, chosen, length))
        return {
            "certified_topk": 1 - missing / self.k,
            "certified_kendall": ranks.kendall(*limits, mean=mean, change=length),
            "pixels_in": int(inside.sum()),
            "pixels_out": int(outside.sum()),
        }

    def _attacked(self, image, label, index, row):
        """The least cosine and top-k intersection of the plain map that attacks find at the row's own ε."""
        began, s, found = tf.timestamp(), self.settings, {}
        for name, search in self.searches.items():
            _, scores = search.attack(image, label, row["epsilon"], None, seed=s.seed, index=index)
            found[f"attack_{name}"] = float(scores[0])
        cosine = row["certified_cosine"]
        below = found["attack_cosine"] < cosine - 1e-6 or found["attack_topk"] < row["certified_topk"] - 1e-6
        return {**found, "violation": int(below), "attack_seconds": round(float(tf.timestamp() - began), 2)}

    def guarantee(self):
        return (
            f"The network's own {self.settings.attribution} of the label's logit keeps the stated cosine, and its "
            f"rar map the stated share of the top {self.k} pixels, tau-a and certain pixels, under every l2 "
            "perturbation of at most epsilon, of any pixel value: a proof without samples, up to the rounding of "
            "float32. It says nothing of the label."
        )

    @classmethod
    def plots(cls, rows, record, folder):
        return {"certified.png": plots.over_epsilon({"cosine": (rows, "cosine"), "top-k intersection": (rows, "topk")})}
