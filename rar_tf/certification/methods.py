"""The three certificates as makers of rows: from settings and a network to one or more rows of numbers an image.

A maker has `columns`, `groups` (rows an image), `rows(image, label, index)` and `describe()`, what its numbers
guarantee. A number that does not exist is absent from a row.
"""

import math

import numpy as np
import tensorflow as tf
from absl import logging
from scipy.sparse.linalg import aslinearoperator

from rar_tf import checks, metrics
from rar_tf.attacks.balls import get as get_ball
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.targets import Target
from rar_tf.certification import attack, jacobian, overlap, smoothing, upper_bound
from rar_tf.certification.center_smoothing import CenterSmoother
from rar_tf.certification.field import attribution_field, clipped_field, unit_field
from rar_tf.certification.lipschitz import gradient_bound
from rar_tf.config import Settings
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import softplus_surrogate

METHODS = ("upper_bound", "uniform_smoothing", "center_smoothing")
NORMALIZATIONS = ("unit", "clip", "lipschitz")


def smooth_network(network, settings: Settings):
    """Return the smooth network with the same weights, or the network itself, with a warning, where there is none."""
    checks.positive(certify_softplus_beta=settings.certify_softplus_beta)
    try:
        return softplus_surrogate(
            network, settings.certify_softplus_beta, smooth_pooling=settings.certify_smooth_pooling
        )
    except UsageError as error:
        logging.warning(
            "%s; the network itself takes its place (of a ReLU network neither bounds nor the attack's "
            "directions mean anything)",
            error,
        )
        return network


class UniformSmoothing:
    """SmoothSM, SmoothIG: one row an image and radius."""

    def __init__(self, network, settings: Settings, bounds):
        checks.positive(epsilon=settings.epsilon, radius=settings.radius)
        checks.between_0_and_1(threshold=settings.threshold, confidence=settings.confidence)
        checks.one_of(NORMALIZATIONS, normalization=settings.normalization)
        checks.one_of(smoothing.INTERVALS, interval=settings.interval)
        checks.one_of(overlap.FORMULAS, formula=settings.formula)
        self.settings, self.groups, self.attacks_left = settings, len(settings.radius), settings.certificate_attack
        field, self.bound = self._bounded(network)
        self.smoother = smoothing.Smoother(
            field, bound=self.bound, batch_size=min(settings.sample_batch, settings.num_samples)
        )
        self.attack = None
        if self.attacks_left:
            directions, _ = self._bounded(smooth_network(network, settings), self.bound)
            # Several restarts share a batch as long as it is no larger than a batch of samples.
            self.attack = attack.SmoothedMapAttack(
                field,
                directions,
                k=settings.ifia_metric_k,
                restarts=settings.certificate_attack_restarts,
                restarts_at_once=max(1, settings.sample_batch // 32),
            )

    def _bounded(self, network, bound=None):
        """The field that is smoothed, and M."""
        settings = self.settings
        field = attribution_field(network, settings.attribution, ig_steps=settings.certify_ig_steps)
        if settings.normalization == "unit":
            return unit_field(field), 1.0
        if settings.normalization == "clip":
            return clipped_field(field, settings.attribution_bound), settings.attribution_bound
        if settings.attribution != "saliency":
            raise UsageError(
                f"normalization=lipschitz bounds saliency maps only: {settings.attribution} has no finite "
                "bound M, choose unit or clip"
            )
        return field, gradient_bound(network) if bound is None else bound

    @property
    def columns(self):
        largest = [f"largest_epsilon_{threshold:g}" for threshold in self.settings.threshold]
        smallest = [f"smallest_radius_{threshold:g}" for threshold in self.settings.threshold]
        return [
            "radius",
            "norm",
            "norm_low",
            "certified_cosine",
            "certified",
            *largest,
            "interval_width",
            *smallest,
            "attack_epsilon",
            "attack_bound",
            "attack_cosine",
            "attack_inside",
            "violation",
            "attack_seconds",
        ]

    def rows(self, image, label: int, index: int) -> list[dict]:
        """Return the certificates of one image, one row a radius."""
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
        if self.attacks_left > 0:
            self.attacks_left -= 1
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
        worst = attack.worst_of(
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

    def describe(self) -> str:
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
            "l2 perturbation of at most epsilon, of any pixel value. It says nothing of the plain map, of a map that is "
            "estimated from samples, or of the label."
        )


class UpperBound:
    """Bounds of the linear model of a smooth network: one row an image and budget."""

    def __init__(self, network, settings: Settings, bounds):
        checks.between_0_and_1(threshold=settings.threshold)
        self.settings, self.attacks_left, self.pictured = settings, settings.certificate_attack, None
        self.budgets = [_budget(text) for text in settings.budgets or [f"{settings.constraint}:{settings.epsilon}"]]
        self.groups = len(self.budgets)
        self.network = smooth_network(network, settings)
        pools = [name for name in _layer_kinds(self.network) if "MaxPool" in name]
        self.jumps = any(not name.startswith("Smooth") for name in pools)
        self.subject = "the network"
        if self.network is not network:
            pooling = " and a smooth maximum for max-pooling" if pools and not self.jumps else ""
            self.subject = (
                f"the smooth network with the trained weights (softplus for rectifiers{pooling}, inverse "
                f"temperature {settings.certify_softplus_beta:g}), not of the network, whose maps jump"
            )
        if self.jumps:
            logging.warning(
                "the network has max-pooling: its attributions jump where another pixel wins, which no bound of "
                "a linear model covers"
            )
        field, own = (
            attribution_field(each, settings.attribution, ig_steps=settings.certify_ig_steps)
            for each in (self.network, network)
        )
        self._own = tf.function(own, reduce_retracing=True)
        self.differentials = jacobian.Differentials(field, proportional=settings.attribution != "saliency")
        self.searches = {name: self._searches(name, field, bounds) for name, _ in self.budgets}

        @tf.function(reduce_retracing=True)
        def logit_gradients(image):
            count = self.network(image, training=False).shape[-1]
            labels = tf.range(count, dtype=tf.int64)
            images = tf.repeat(image, count, 0)
            return gradient(Target(self.network, labels), images), self.network(image, training=False)[0]

        self._logit_gradients = logit_gradients

    def _searches(self, name, field, bounds):
        """PGD-20 on the loss and IFIA-200, as in the paper, and a direct ascent of the change, which is stronger."""
        make = {
            "l2": [("loss", 20, 0.25), ("distance", 20, 0.25)],
            "linf": [("top_k", 200, 0.1), ("distance", 20, 0.25)],
        }
        return [
            attack.LargestChange(
                field,
                self.network,
                objective=objective,
                ball=get_ball(name),
                steps=steps,
                relative_step=share,
                bounds=bounds,
                k=self.settings.ifia_metric_k,
            )
            for objective, steps, share in make[name]
        ]

    @property
    def columns(self):
        largest = [f"largest_epsilon_{threshold:g}" for threshold in self.settings.threshold]
        return [
            "linf",
            "epsilon",
            "attribution_norm",
            "network_cosine",
            "xi",
            "xi_residual",
            "xi_probable_factor",
            "dense",
            "gram_sum",
            "bound",
            "angle",
            "cosine_distance",
            *largest,
            "corrected_bound",
            "factor",
            "residual_mean",
            "residual_max",
            "plus_keeps_label",
            "minus_keeps_label",
            "constrained_estimate",
            "dominant_rows",
            "diagonal_share",
            "diagonal_ratio",
            "observed",
            "observed_angle",
            "observed_loss_or_top_k",
            "observed_keeping_label",
            "exceeded",
            "corrected_exceeded",
            "attack_seconds",
        ]

    def rows(self, image, label: int, index: int) -> list[dict]:
        """Return the bounds of one image, one row a budget."""
        s = self.settings
        block = jacobian.block_size(self.network, image.shape, s.certify_ig_steps, s.memory_limit * 2**30)
        operator = jacobian.Jacobian(self.differentials, image, label, block=block)
        facts, vector, matrix = self._spectrum(operator)
        own = self._own(operator.image, operator.label).numpy().reshape(1, -1)
        facts["network_cosine"] = float(metrics.cosine(own, operator.attribution[None])[0])
        gradients, logits = (value.numpy().astype(np.float64) for value in self._logit_gradients(operator.image))
        others = np.arange(len(logits)) != label
        cuts = gradients[others].reshape(others.sum(), -1) - gradients[label].ravel()
        margins = logits[label] - logits[others]
        attacked, self.attacks_left = self.attacks_left > 0, self.attacks_left - 1
        if matrix is not None and self.pictured is None:
            self.pictured = _picture(matrix)
        linear = operator if matrix is None else aslinearoperator(matrix.astype(np.float64))
        rows = []
        for name, epsilon in self.budgets:
            row = {**facts, **self._bounds(operator, linear, facts, vector, cuts, margins, name, epsilon)}
            if attacked:
                row.update(self._observed(image, label, index, name, epsilon, row))
            rows.append(row)
        return rows

    def _spectrum(self, operator):
        """ξ and what comes with it; a matrix only where a bound needs it and it is small enough."""
        size = operator.shape[0]
        infinite = any(name == "linf" for name, _ in self.budgets)
        facts, matrix = {"attribution_norm": float(np.linalg.norm(operator.attribution))}, None
        if size <= 1000 or (infinite and size <= jacobian.DENSE_LIMIT):
            matrix = operator.dense()
            facts["gram_sum"] = jacobian.gram_sum(matrix)
            facts.update(upper_bound.diagonal_dominance(matrix))
        elif infinite and self.settings.blockwise:
            facts["gram_sum"] = operator.abs_gram_sum()
        if matrix is not None and size <= 1000:
            xi, vector = jacobian.dense_norm(matrix)
            facts.update(xi=xi, xi_residual=0.0, xi_probable_factor=1.0)
        else:
            source = operator if matrix is None else aslinearoperator(matrix.astype(np.float64))
            sigma, high, vector = jacobian.lanczos_norm(source, seed=self.settings.seed)
            facts.update(
                xi=high,
                xi_residual=high - sigma,
                xi_probable_factor=jacobian.lanczos_factor(size, self.settings.confidence),
            )
        return {**facts, "dense": int(matrix is not None)}, vector, matrix

    def _bounds(self, operator, linear, facts, vector, cuts, margins, name, epsilon):
        size, norm, xi = operator.shape[0], facts["attribution_norm"], facts["xi"]
        norm_p = 2.0 if name == "l2" else np.inf
        at_one = upper_bound.euclidean_bound(xi, 1.0, size, norm_p=norm_p, gram_sum=facts.get("gram_sum"))
        bound = at_one * epsilon
        row = {
            "linf": int(name == "linf"),
            "epsilon": epsilon,
            "bound": bound,
            "angle": float(upper_bound.angle_bound(bound, norm)),
            "cosine_distance": float(upper_bound.cosine_distance_bound(bound, norm)),
        }
        for threshold in self.settings.threshold:
            row[f"largest_epsilon_{threshold:g}"] = upper_bound.largest_epsilon(
                at_one, cosine_distance=1 - threshold, attribution_norm=norm
            )
        if name == "l2":
            row["corrected_bound"], row["factor"] = upper_bound.corrected_bound(operator, xi, vector, epsilon)
        extreme = epsilon * (vector if name == "l2" else np.sign(vector))
        row["plus_keeps_label"] = int(upper_bound.keeps_label(extreme, cuts, margins))
        row["minus_keeps_label"] = int(upper_bound.keeps_label(-extreme, cuts, margins))
        if np.all(margins > 0):
            row["constrained_estimate"] = upper_bound.constrained_estimate(
                linear, extreme, cuts, margins, epsilon, norm_p=norm_p, steps=10
            )
        deltas = upper_bound.random_deltas(4, size, epsilon, norm_p=norm_p, seed=self.settings.seed)
        residual = upper_bound.linearity_residual(operator, linear, deltas)
        return {**row, "residual_mean": float(residual.mean()), "residual_max": float(residual.max())}

    def _observed(self, image, label, index, name, epsilon, row):
        began = tf.timestamp()
        found = [search(image, label, epsilon, seed=self.settings.seed, index=index) for search in self.searches[name]]
        change = max(each["change"] for each in found)
        cosine = np.clip(min(each["cosine"] for each in found), -1, 1)
        seen = {
            "observed": change,
            "observed_angle": float(np.degrees(np.arccos(cosine))),
            "observed_loss_or_top_k": found[0]["change"],
            "observed_keeping_label": max(each["change_kept"] for each in found),
            "exceeded": int(change > row["bound"]),
            "attack_seconds": round(float(tf.timestamp() - began), 2),
        }
        if "corrected_bound" in row:
            seen["corrected_exceeded"] = int(change > row["corrected_bound"])
        return seen

    def describe(self) -> str:
        return (
            f"A bound of the linear model g(x + δ) = g(x) + Jδ of {self.subject}. Where d > 1000 the largest singular "
            "value is Lanczos' plus its residual norm, an upper bound as long as Lanczos has met the largest one. "
            "`corrected_bound` and `exceeded` are observations."
            + (" Max-pooling is left in it: expect larger changes than the bound." if self.jumps else "")
        )


class CenterSmoothing:
    """The comparison: one row an image."""

    columns = ["epsilon", "angle_bound", "cosine_distance_bound", "relaxed_bound", "abstained"]
    groups = 1

    def __init__(self, network, settings: Settings, bounds):
        checks.positive(epsilon=settings.epsilon)
        checks.between_0_and_1(confidence=settings.confidence)
        self.settings = settings
        field = attribution_field(network, settings.attribution, ig_steps=settings.certify_ig_steps)
        failing = (1 - settings.confidence) / 2
        self.smoother = CenterSmoother(
            field,
            batch_size=max(settings.sample_batch, 30),
            alpha_1=failing,
            alpha_2=failing,
            center_samples=settings.num_samples,
            radius_samples=settings.num_samples,
        )

    def rows(self, image, label: int, index: int) -> list[dict]:
        """Return the certificate of one image."""
        epsilon = self.settings.epsilon
        return [
            {
                "epsilon": epsilon,
                **self.smoother.certify(image, label, epsilon=epsilon, seed=self.settings.seed, index=index),
            }
        ]

    def describe(self) -> str:
        return (
            f"For each image without abstention: the direction that center smoothing outputs (noise of standard deviation "
            f"epsilon) moves by at most the stated angle under every l2 perturbation of at most epsilon, with probability "
            f"{self.settings.confidence:g} over the samples at the image and as much over those at the perturbed one. "
            "A cosine distance of 1 or more says nothing."
        )


def _layer_kinds(network):
    """Names of the classes of a Keras network's layers, or of a surrogate's clone's; none of another network."""
    return [type(layer).__name__ for layer in getattr(getattr(network, "clone", network), "_flatten_layers", list)()]


def _budget(text):
    name, _, value = text.partition(":")
    try:
        epsilon = float(value)
    except ValueError:
        epsilon = math.nan
    if name not in ("l2", "linf") or not epsilon > 0 or math.isinf(epsilon):
        raise UsageError(f"budgets are l2:EPSILON or linf:EPSILON with positive numbers, got {text!r}")
    return name, epsilon


def _picture(matrix):
    """|J| for plots: its first 100 rows and columns, and all of it averaged to at most 256 x 256 cells."""
    absolute, size = np.abs(matrix), len(matrix)
    edges = np.unique(np.linspace(0, size, min(size, 256) + 1).astype(int))
    cells = np.add.reduceat(np.add.reduceat(absolute, edges[:-1], 0), edges[:-1], 1)
    return {"first": absolute[:100, :100], "whole": cells / np.outer(np.diff(edges), np.diff(edges))}


def make(network, settings: Settings, bounds):
    """Return the maker that settings.method names. Raises: UsageError for another name."""
    makers = dict(zip(METHODS, (UpperBound, UniformSmoothing, CenterSmoothing)))
    if settings.method not in makers:
        raise UsageError(f"--method={settings.method} is no certificate; known: {', '.join(METHODS)}")
    return makers[settings.method](network, settings, bounds)
