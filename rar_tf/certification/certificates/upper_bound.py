"""Upper bounds of the linear model of a smooth network (Wang and Kong 2023): one row per image and budget."""

import numpy as np
import tensorflow as tf
from absl import logging
from scipy.sparse.linalg import aslinearoperator

from rar_tf import metrics
from rar_tf.attacks import BALLS
from rar_tf.attributions import ATTRIBUTIONS
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.settings import name_of
from rar_tf.attributions.targets import Target
from rar_tf.certification import attack as attacks
from rar_tf.certification import jacobian, plots, settings, upper_bound
from rar_tf.certification.certificate import Certificate, smooth_network
from rar_tf.certification.field import attribution_field
from rar_tf.certification.settings import parse_budget
from rar_tf.errors import UsageError
from rar_tf.models.surrogate import is_smooth


class UpperBound(Certificate):
    """How far the linear model of a smooth network can move an attribution: one row per image and budget."""

    Settings = settings.UpperBound
    key = ("ball", "epsilon")
    counted = ("exceeded", "corrected_exceeded", "plus_keeps_label", "minus_keeps_label", "dense")
    shown = ("largest_epsilon", "bound", "angle", "observed", "exceeded", "cosine_distance", "seconds")
    files = ("jacobian.npz",)

    def __init__(self, network, settings: settings.UpperBound):
        super().__init__(network, settings)
        kind = self.settings.attribution
        if callable(kind) or not ATTRIBUTIONS[kind].smooth:
            has = "may have" if callable(kind) else "has"
            raise UsageError(
                f"--attribution={name_of(kind)} {has} kinks of its own, which no bound of a linear model covers: give "
                "another attribution, or --method=uniform_smoothing"
            )
        s, self.attacks = self.settings, self.settings.certificate_attack
        self.budgets = [parse_budget(text) for text in s.budgets]
        self.smooth = smooth_network(network, s, bounds=True)
        pools = [name for name in _layer_kinds(self.smooth) if "MaxPool" in name]
        self.jumps = any(not name.startswith("Smooth") for name in pools)
        assumed = s.assume_smooth and not is_smooth(self.smooth, pooling=s.certify_smooth_pooling)
        self.subject = "the network, which is assumed to be smooth" if assumed else "the network"
        if self.smooth is not network:
            stand_ins = self.smooth.stand_ins()
            named = ", ".join(words for kind, words in _STAND_INS.items() if any(kind in name for name in stand_ins))
            with_beta = stand_ins - {"SmoothInputStem"}  # whose sharpness is its own
            beta = f", inverse temperature {s.certify_softplus_beta:g}" if with_beta else ""
            self.subject = (
                f"the smooth network with the trained weights ({named}{beta}), not of the network, whose maps jump"
            )
        if self.jumps:
            logging.warning(
                "the network has max-pooling: its attributions jump where another pixel wins, which no bound of "
                "a linear model covers"
            )
        field, own = (attribution_field(each, s.attribution, ig_steps=s.ig_steps) for each in (self.smooth, network))
        self._own = tf.function(own, autograph=False, reduce_retracing=True)
        self.differentials = jacobian.Differentials(field, proportional=ATTRIBUTIONS[s.attribution].proportional)
        self.searches = {name: self._searches(name, field) for name, _, _ in self.budgets}

        @tf.function(autograph=False, reduce_retracing=True)
        def logit_gradients(image):
            logits = self.smooth(image, training=False)
            count = logits.shape[-1]
            labels = tf.range(count, dtype=tf.int64)
            images = tf.repeat(image, count, 0)
            return gradient(Target(self.smooth, labels), images), logits[0]

        self._logit_gradients = logit_gradients

    def _searches(self, name, field):
        """PGD-20 on the loss and IFIA-200, as in the paper, and a direct ascent of the change, which is stronger.

        There are none in balls of other norms.
        """
        make = {
            "l2": [("loss", 20, 0.25), ("distance", 20, 0.25)],
            "linf": [("top_k", 200, 0.1), ("distance", 20, 0.25)],
        }
        return [
            attacks.LargestChange(
                field,
                self.smooth,
                objective=objective,
                ball=BALLS[name],
                steps=steps,
                relative_step=share,
                bounds=self.settings.bounds,
                k=self.settings.k,
            )
            for objective, steps, share in make.get(name, [])
        ]

    @classmethod
    def columns(cls, settings):
        return [
            "ball",
            "epsilon",
            "attribution_norm",
            "network_cosine",
            "xi",
            "xi_residual",
            "xi_probable_factor",
            "dense",
            "gram_sum",
            "diagonal_bound",
            "sign_change",
            "bound",
            "angle",
            "cosine_distance",
            *(f"largest_epsilon_{threshold:g}" for threshold in settings.threshold),
            *(f"largest_epsilon_change_{change:g}" for change in settings.certify_changes),
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

    @property
    def per_image(self):
        return len(self.budgets)

    def rows(self, image, label, index, attack):
        s = self.settings
        block = jacobian.block_size(self.smooth, image.shape, s.ig_steps, s.memory_limit * 2**30)
        operator = jacobian.Jacobian(self.differentials, image, label, block=block)
        if not np.all(np.isfinite(operator.attribution)):
            logging.warning("image %d: its attribution is not finite, nothing can be bounded", index)
            return [{"ball": name, "epsilon": epsilon} for name, _, epsilon in self.budgets]
        facts, vector, matrix = self._spectrum(operator)
        own = self._own(operator.image, operator.label).numpy().reshape(1, -1)
        facts["network_cosine"] = float(metrics.cosine(own, operator.attribution[None])[0])
        gradients, logits = (value.numpy().astype(np.float64) for value in self._logit_gradients(operator.image))
        others = np.arange(len(logits)) != label
        cuts = gradients[others].reshape(others.sum(), -1) - gradients[label].ravel()
        margins = logits[label] - logits[others]
        if matrix is not None and not self.arrays:
            self.arrays["jacobian.npz"] = _picture(matrix)
        linear = operator if matrix is None else aslinearoperator(matrix.astype(np.float64))
        rows = []
        for name, norm_p, epsilon in self.budgets:
            found = self._bounds(operator, linear, matrix, facts, vector, cuts, margins, name, norm_p, epsilon)
            row = {**facts, **found}
            if attack and self.searches[name]:
                row.update(self._observed(image, label, index, name, epsilon, row))
            rows.append(row)
        return rows

    def _spectrum(self, operator):
        """ξ and what comes with it; a matrix only where a bound needs it and it is small enough."""
        size = operator.shape[0]
        infinite = any(norm_p > 2 for _, norm_p, _ in self.budgets)
        facts, matrix = {"attribution_norm": float(np.linalg.norm(operator.attribution))}, None
        if size <= 1000 or (infinite and size <= jacobian.DENSE_LIMIT):
            matrix = operator.dense()
            facts["gram_sum"] = jacobian.gram_sum(matrix)
            if infinite:
                facts.update(self._diagonal(matrix.astype(np.float64)))
            facts.update(upper_bound.diagonal_dominance(matrix))
        elif infinite:
            self.weights = jacobian.column_norms(operator, seed=self.settings.seed)
            facts["diagonal_bound"] = self._weighted(operator, np.inf)
            if self.settings.blockwise:
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

    def _diagonal(self, matrix):
        """The l_inf bound by the best weights that are found, and the largest change by a vector of signs."""
        moving = np.any(matrix != 0, axis=0)  # a pixel that nothing depends on needs no weight
        self.weights = np.zeros(matrix.shape[1])
        if not moving.any():
            return {"diagonal_bound": 0.0, "sign_change": 0.0}
        part = matrix[:, moving]
        self.weights[moving], signs = upper_bound.sign_relaxation(part.T @ part, seed=self.settings.seed)
        return {"diagonal_bound": self._weighted(matrix, np.inf), "sign_change": float(np.linalg.norm(part @ signs))}

    def _weighted(self, linear, norm_p):
        """The diagonal bound of the ball for ε = 1: between ℓ2, where equal weights are best, and ℓ∞ by their power."""
        moving, power = self.weights > 0, 1.0 if np.isinf(norm_p) else 1 - 2 / norm_p
        if not moving.any():
            return 0.0
        weights = self.weights[moving] ** power
        if isinstance(linear, np.ndarray):
            norm, _ = jacobian.dense_norm(linear[:, moving] / np.sqrt(weights))
        else:
            _, norm, _ = jacobian.lanczos_norm(jacobian.weighted(linear, weights), seed=self.settings.seed)
        return upper_bound.diagonal_bound(norm, weights, norm_p)

    def _bounds(self, operator, linear, matrix, facts, vector, cuts, margins, name, norm_p, epsilon):
        size, norm, xi = operator.shape[0], facts["attribution_norm"], facts["xi"]
        column = None if matrix is None else float(np.linalg.norm(matrix.astype(np.float64), axis=0).max())
        at_one = upper_bound.euclidean_bound(
            xi, 1.0, size, norm_p=norm_p, gram_sum=facts.get("gram_sum"), column=column
        )
        if name == "linf":
            at_one = min(at_one, facts["diagonal_bound"])
        elif norm_p > 2:
            at_one = min(at_one, self._weighted(operator if matrix is None else matrix.astype(np.float64), norm_p))
        bound = at_one * epsilon
        row = {
            "ball": name,
            "epsilon": epsilon,
            "bound": bound,
            "angle": float(upper_bound.angle_bound(bound, norm)),
            "cosine_distance": float(upper_bound.cosine_distance_bound(bound, norm)),
        }
        for threshold in self.settings.threshold:
            row[f"largest_epsilon_{threshold:g}"] = upper_bound.largest_epsilon(
                at_one, cosine_distance=1 - threshold, attribution_norm=norm
            )
        for change in self.settings.certify_changes:
            row[f"largest_epsilon_change_{change:g}"] = upper_bound.largest_epsilon(at_one, distance=change)
        if name == "l2":
            row["corrected_bound"], row["factor"] = upper_bound.corrected_bound(operator, xi, vector, epsilon)
        extreme = epsilon * upper_bound.steepest(vector, norm_p)
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

    def guarantee(self):
        return (
            f"A bound of the linear model g(x + δ) = g(x) + Jδ of {self.subject}. Where d > 1000 the largest singular "
            "value is Lanczos' plus its residual norm, an upper bound as long as Lanczos has met the largest one. "
            "`corrected_bound` and `exceeded` are observations."
            + (" Max-pooling is left in it: expect larger changes than the bound." if self.jumps else "")
        )

    @classmethod
    def plots(cls, rows, record, folder):
        found, panels, differences = {}, {}, {}
        for ball, epsilon in dict.fromkeys((row["ball"], row["epsilon"]) for row in rows):
            name = f"{ball}, ε = {epsilon:g}"
            group = [r for r in rows if (r["ball"], r["epsilon"]) == (ball, epsilon) and "observed" in r]
            if group:
                bound, observed = (np.array([row[key] for row in group]) for key in ("bound", "observed"))
                panels[name], differences[name] = (bound, observed), bound - observed
        if panels:
            found["observed.png"] = plots.against_bound(panels, "bound of the change", "largest change observed")
            found["differences.png"] = plots.histogram(differences, "bound − observed")
        if (folder / "jacobian.npz").is_file():
            with np.load(folder / "jacobian.npz") as archive:
                found["jacobian.png"] = plots.heatmaps(dict(archive))
        return found


# What stands in for what, by what the names of classes hold.
_STAND_INS = {
    "SmoothInputStem": "a smooth input stem",
    "Softplus": "softplus for rectifiers",
    "MaxPooling": "a smooth maximum for max-pooling",
}


def _layer_kinds(network):
    """Names of the classes of a Keras network's layers, or of a surrogate's clone's; none of another network."""
    return [type(layer).__name__ for layer in getattr(getattr(network, "clone", network), "_flatten_layers", list)()]


def _picture(matrix):
    """|J| for plots: its first 100 rows and columns, and all of it averaged to at most 256 x 256 cells."""
    absolute, size = np.abs(matrix), len(matrix)
    edges = np.unique(np.linspace(0, size, min(size, 256) + 1).astype(int))
    cells = np.add.reduceat(np.add.reduceat(absolute, edges[:-1], 0), edges[:-1], 1)
    return {"first": absolute[:100, :100], "whole": cells / np.outer(np.diff(edges), np.diff(edges))}
