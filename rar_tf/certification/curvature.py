"""How far the gradient of a smooth network can move in an ℓ2 ball: a certificate of the network's own map, no sampling.

For a chain z_1 = A_1 x + b_1, a_l = σ(z_l), z_{l+1} = A_{l+1} a_l + b_{l+1}, f = wᵀa_n + b the gradient is the product
A_1ᵀD_1 A_2ᵀD_2 … w with D_l = diag(σ'(z_l)). With ψ_l = ∂f/∂a_l at x and J_l = ∂z_l/∂x it changes by

    g(x̃) − g(x) = Σ_l J_l(x̃)ᵀ diag(ψ_l ⊙ s_l) (z̃_l − z_l),

where s_l are slopes of chords of σ', within the range of σ''. Each z̃_l − z_l is J̄_l δ with a mean J̄_l of Jacobians in
the ball, and J_l(x̃) and J̄_l lie within E_l of J_l(x), which is known: ‖g(x̃) − g(x)‖ is at most

    ε(‖Σ_l J_lᵀ diag(ψ_l ⊙ s_l) J_l‖ + Σ_l c_l E_l (2‖J_l‖ + E_l)),    c_l = max|ψ_l ⊙ s_l|.

E_1 is 0, so that for two layers this is the bound of Singla and Feizi (2020), with the slopes of the ball in place of
those of the line. docs/certification.md has the proof. For the rounding of float32 every bound is made 1e-5 larger.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import linalg, sparse

from rar_tf import checks
from rar_tf.certification import GRADIENT_BOUNDS
from rar_tf.models.chain import stages_of

ROUNDING = 1 + 1e-5


class Change(NamedTuple):
    """Bounds of g(x̃) − g(x) over the ball: of its length, and of each of its features [d]."""

    length: float
    features: np.ndarray


class Curvature:
    """Bounds of how far a network's gradient moves; what does not depend on the image is computed once.

    Args:
      network: see `stages_of`. batch: rows of a Jacobian that are pushed through a layer at once.
    """

    def __init__(self, network: keras.Model, *, batch: int = 256):
        self.stages, self.batch = stages_of(network), batch
        self.norms = [stage.norm for stage in self.stages]

    def at(self, image: np.ndarray, label: int) -> "Point":
        """Return what is known of one image [H, W, C] and label."""
        return Point(self, image, label)


class Point:
    """A network at one image: pre-activations, ψ_l, J_l, and bounds of its gradient's change for any ε."""

    def __init__(self, of: Curvature, image: np.ndarray, label: int):
        self.of = of
        values, self.before, self.inputs = tf.constant(image, tf.float32)[None], [], []
        hidden = of.stages[:-1]
        basis = tf.reshape(tf.eye(image.size, dtype=tf.float32), [image.size, *image.shape])
        self.jacobians: list[np.ndarray] = []  # J_lᵀ [d, units]
        for stage in hidden:
            self.inputs.append(values.shape[1:])
            pre = stage.affine(values)
            basis = tf.concat([stage.linear(basis[n : n + of.batch]) for n in range(0, image.size, of.batch)], 0)
            self.before.append(pre.numpy().astype(np.float64))
            self.jacobians.append(tf.reshape(basis, [image.size, -1]).numpy())
            slope = stage.curve.first(self.before[-1])
            basis *= tf.constant(slope, tf.float32)
            values = stage.activation(pre)
        self.slopes = self._backward(values, label)
        if hidden:
            first = self.slopes[0] * hidden[0].curve.first(self.before[0])
            self.gradient = self.jacobians[0].astype(np.float64) @ first.ravel()
        else:
            self.gradient = of.stages[-1].linear(basis).numpy().astype(np.float64)[:, label]
        # In a basis of what the layers see of the image, where they see less than all of it, matrices are smaller.
        matrices = [jacobian.astype(np.float64) for jacobian in self.jacobians]
        self.pixels = [np.linalg.norm(matrix, axis=1) for matrix in matrices]  # ‖J_l e_i‖
        self.frame, units = None, np.cumsum([matrix.shape[1] for matrix in matrices])
        if len(units) and units[-1] < image.size:
            self.frame, seen = np.linalg.qr(np.concatenate(matrices, 1))
            matrices = np.split(seen, units[:-1], axis=1)
        self.rows = [np.linalg.norm(matrix, axis=0) for matrix in matrices]  # of J_l
        # A unit of an early convolution sees few pixels.
        self.seen = [sparse.csr_array(each) if np.mean(each != 0) < 0.1 else each for each in matrices]
        self.spectral = [_weighted_norm(each, np.ones(each.shape[1])) for each in self.seen]

    def _backward(self, values, label):
        """ψ_l = ∂f/∂a_l of every hidden layer."""
        stages, found = self.of.stages, []
        upstream = tf.one_hot([label], stages[-1].linear(values).shape[-1])
        for number in range(len(stages) - 1, 0, -1):
            found.append(stages[number].transposed(upstream).numpy().astype(np.float64))
            upstream = tf.constant(found[-1] * stages[number - 1].curve.first(self.before[number - 1]), tf.float32)
        return found[::-1]

    def change(self, epsilon: float, kind: str = "curvature") -> Change:
        """Return bounds of g(x̃) − g(x) for ‖x̃ − x‖₂ ≤ ε: by the formula above, or by intervals, for comparison.

        Raises: UsageError for a kind that is not of `GRADIENT_BOUNDS`.
        """
        checks.one_of(GRADIENT_BOUNDS, gradient_bound=kind)
        if kind == "curvature":
            return self.by_curvature(epsilon)
        features = self.by_intervals(epsilon)
        return Change(float(np.linalg.norm(features)), features)

    def by_intervals(self, epsilon: float, ball: str = "l2") -> np.ndarray:
        """Return bounds of |g_i(x̃) − g_i(x)| by interval arithmetic, forwards and backwards (Wicker et al. 2023).

        What enters and leaves a layer lies within `off` of its value at x, moved by `shift`. Shape: -> [d].

        Args:
          ball: l2, whose first pre-activations have exact intervals, or linf, the cube of half-width ε around x.
        """
        hidden = self.of.stages[:-1]
        ranges: list[tuple[np.ndarray, np.ndarray]] = []
        if not hidden:
            return np.zeros(self.gradient.size)
        if ball == "l2":
            off, shift = epsilon * self.rows[0].reshape(self.before[0].shape), 0.0
        else:
            off, shift = _through(hidden[0].linear, np.full([1, *self.inputs[0]], epsilon))
        for stage, before in zip(hidden, self.before):
            if ranges:
                off, shift = _through(stage.linear, off, shift)
            low, high = before + shift - off * ROUNDING, before + shift + off * ROUNDING
            least, most = stage.curve.first_range(low, high)
            ranges.append((least, most))
            here, *ends = (stage.activation(tf.constant(z, tf.float32)).numpy() for z in (before, low, high))
            # Where σ may fall within the interval, its slope bounds it.
            farthest = np.maximum(np.abs(least), np.abs(most)) * np.maximum(high - before, before - low)
            below, above = (np.where(least >= 0, end - here, side * farthest) for end, side in zip(ends, (-1, 1)))
            off, shift = (above - below) / 2 + 1e-6 * np.abs(here), (above + below) / 2
        off = shift = np.zeros_like(self.slopes[-1])
        for number in range(len(hidden) - 1, -1, -1):
            psi, stage = self.slopes[number], hidden[number]
            ends = [(psi + shift + side * off) * slope for side in (-1, 1) for slope in ranges[number]]
            low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
            here = psi * stage.curve.first(self.before[number])
            off, shift = _through(stage.transposed, (high - low) / 2, (high + low) / 2 - here)
        return (np.abs(shift) + off).ravel() * ROUNDING

    def by_curvature(self, epsilon: float) -> Change:
        """Return bounds of g(x̃) − g(x) for ‖x̃ − x‖₂ ≤ ε by the formula above."""
        hidden, norms = self.of.stages[:-1], self.of.norms
        if not hidden:
            return Change(0.0, np.zeros(self.gradient.size))
        rank = self.seen[0].shape[0]
        rise, fall = np.zeros((rank, rank)), np.zeros((rank, rank))  # the quadratic forms of the largest, least slopes
        extra, extra_features = 0.0, np.zeros(self.gradient.size)
        moved, moved_each, off = epsilon, None, 0.0  # of what enters the layer: its length, its entries; and E_l
        longest = 1.0  # of all Jacobians in the ball: the layers' norms and slopes
        for number, stage in enumerate(hidden):
            before, jacobian = self.before[number], self.seen[number]
            rows = self.rows[number].reshape(before.shape)
            each, reach = (rows + off) * epsilon, min(norms[number] * moved, (self.spectral[number] + off) * epsilon)
            if number > 0:
                interval = stage.linear(tf.constant(moved_each, tf.float32), absolute=True).numpy()
                each = np.minimum(each, interval.astype(np.float64))
            each = np.minimum(each, reach) * ROUNDING
            reach = min(reach, float(np.linalg.norm(each)))
            low, high = before - each, before + each
            least, most = stage.curve.second_range(low, high)
            psi = self.slopes[number]
            ends = np.stack([psi * least, psi * most])
            top, bottom = ends.max(0).ravel(), ends.min(0).ravel()
            rise += _form(jacobian, top)
            fall += _form(jacobian, bottom)
            steepest = float(np.abs(ends).max())
            longest *= norms[number]
            extra += steepest * min(off * (2 * self.spectral[number] + off), longest**2 + self.spectral[number] ** 2)
            extra_features += steepest * off * (self.spectral[number] + off + self.pixels[number])
            slopes = np.stack(stage.curve.first_range(low, high))
            steep = np.abs(slopes).max(0)
            turned = (np.maximum(np.abs(least), np.abs(most)) * each).ravel()  # how far σ' can have moved
            turned = np.minimum(turned, np.abs(slopes - stage.curve.first(before)).max(0).ravel())
            moved, moved_each = float(steep.max()) * reach, steep * each
            longest *= float(steep.max())
            following = norms[number + 1]
            off = following * (float(steep.max()) * off + _weighted_norm(jacobian, turned))
        # The slopes lie between: the form is between `fall` and `rise`, and around their middle within their half.
        middle, half = (rise + fall) / 2, (rise - fall) / 2
        spread = max(_largest_eigenvalue(half), 0.0)
        main = max(_largest_eigenvalue(rise), _largest_eigenvalue(-fall), 0.0)
        if self.frame is None:
            rows, own = np.linalg.norm(middle, axis=1), np.diag(half)
        else:
            rows, own = np.linalg.norm(self.frame @ middle, axis=1), np.sum((self.frame @ half) * self.frame, axis=1)
        rows = rows + np.sqrt(np.maximum(own, 0.0) * spread)
        length = epsilon * (main + extra) * ROUNDING
        features = np.minimum(epsilon * (rows + extra_features) * ROUNDING, length)
        return Change(length, features)


def _through(linear, off, shift=None):
    """What an affine map makes of `off` around `shift`, or around 0."""
    off = linear(tf.constant(off, tf.float32), absolute=True).numpy().astype(np.float64)
    return off, 0.0 if shift is None else linear(tf.constant(shift, tf.float32)).numpy().astype(np.float64)


def _form(jacobian, weights):
    """Jᵀ diag(w) J, of Jᵀ [d, units]. Shape: -> [d, d]."""
    if sparse.issparse(jacobian):
        return (jacobian.multiply(weights).tocsr() @ jacobian.T).toarray()
    return (jacobian * weights) @ jacobian.T


def _weighted_norm(jacobian, weights):
    """‖diag(w) J‖, by the smaller of the two Gram matrices."""
    if jacobian.shape[0] <= jacobian.shape[1]:
        gram = _form(jacobian, np.square(weights))
    else:
        weighted = jacobian * weights
        gram = weighted.T @ weighted
    return math.sqrt(max(_largest_eigenvalue(gram), 0.0))


def _largest_eigenvalue(matrix):
    last = len(matrix) - 1
    return float(linalg.eigh(matrix, eigvals_only=True, subset_by_index=[last, last])[0])


def attribution_change(
    points: Sequence[tuple[float, float, Point]],
    image: np.ndarray,
    epsilon: float,
    *,
    proportional: bool,
    kind: str = "curvature",
) -> tuple[np.ndarray, Change]:
    """Return an attribution and bounds of its change in the ball, from those of gradients along a path.

    The slope ḡ = Σ w_k ∇f(t_k x) moves by at most Σ w_k B(t_k x, t_k ε). What is x ⊙ ḡ moves with the image too:
    x̃ ⊙ ḡ̃ − x ⊙ ḡ = x ⊙ Δḡ + δ ⊙ ḡ̃, so by at most |x_i| b_i + ε(|ḡ_i| + b_i), and in length by at most
    min(‖x‖_∞ B, ‖x ⊙ b‖) + ε(‖ḡ‖_∞ + max b).

    Shape: image [H, W, C] -> [d].

    Args:
      points: (w_k, t_k, the network at t_k x). proportional: whether the attribution is the image times the slope.
      kind: of bound, see `Point.change`.
    """
    parts = [(weight, point.gradient, point.change(at * epsilon, kind)) for weight, at, point in points]
    slope = np.sum([weight * gradient for weight, gradient, _ in parts], axis=0)
    length = float(sum(weight * change.length for weight, _, change in parts))
    features = np.sum([weight * change.features for weight, _, change in parts], axis=0)
    if not proportional:
        return slope, Change(length, features)
    flat = np.asarray(image, np.float64).ravel()
    scaled = min(float(np.abs(flat).max()) * length, float(np.linalg.norm(flat * features)))
    moved = scaled + epsilon * (float(np.abs(slope).max()) + float(features.max()))
    each = np.abs(flat) * features + epsilon * (np.abs(slope) + features)
    return flat * slope, Change(moved, np.minimum(each, moved))


def certified_cosine(norm: float, change: float) -> float:
    """Return sqrt(1 − (B/‖g‖)²), the least cosine of vectors that differ by at most B; NaN where B ≥ ‖g‖."""
    return math.sqrt((1 - change / norm) * (1 + change / norm)) if 0 <= change < norm else math.nan
