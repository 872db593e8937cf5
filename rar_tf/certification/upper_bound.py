"""Upper bounds of how far a small perturbation can move an attribution (Wang and Kong 2023).

For a map g that is linear near x, g(x + δ) = g(x) + Jδ, the change is at most T_e: ξε in the ℓ2 ball (Theorem 1), with
ξ the largest singular value of J; d^{1/2 − 1/p} ξε in an ℓp ball with p > 2 (Corollary 1); ε·sqrt(Σ|JᵀJ|) in the ℓ∞
ball (Theorem 2), or less by a weight for each pixel (`diagonal_bound`, of this package). For p < 2 it lies between ξε
and ε times the longest column of J, which is exact for p = 1. Angles follow by Corollary 2.
All of it speaks of the linear model; how far the network departs from it is reported beside the bounds
(`corrected_bound`, `linearity_residual`) and is no part of any guarantee.
"""

import numpy as np

from rar_tf import checks
from rar_tf.errors import UsageError

TINY = np.finfo(np.float64).tiny


def euclidean_bound(
    xi: float,
    epsilon: float,
    dimension: int,
    *,
    norm_p: float = 2.0,
    gram_sum: float | None = None,
    column: float | None = None,
) -> float:
    """Return T_e, the largest ‖Jδ‖₂ over ‖δ‖_p ≤ ε: exact for p = 2 and, with `column`, p = 1, else bounded above.

    Below p = 2 it is column^{2/p − 1}·ξ^{2 − 2/p} (M. Riesz' convexity theorem), or ξ, since ‖δ‖₂ ≤ ‖δ‖_p.

    Args:
      xi: largest singular value of J. norm_p: p ≥ 1, infinity included.
      gram_sum: Σ_ij |(JᵀJ)_ij|; with it the ℓ∞ bound is the smaller of the two, neither of which dominates.
      column: the length of J's longest column, of use for p < 2.

    Raises: UsageError for ε not positive or p < 1.
    """
    checks.positive(epsilon=epsilon)
    if not norm_p >= 1:
        raise UsageError(f"upper bounds need an l_p ball with p >= 1, got p = {norm_p:g}")
    if norm_p < 2:
        return epsilon * (xi if column is None else column ** (2 / norm_p - 1) * xi ** (2 - 2 / norm_p))
    bound = dimension ** (0.5 - 1.0 / norm_p) * xi
    if np.isinf(norm_p) and gram_sum is not None:
        bound = min(bound, float(np.sqrt(gram_sum)))
    return epsilon * bound


def diagonal_bound(scaled_norm: float, weights: np.ndarray, norm_p: float = np.inf) -> float:
    """Return an upper bound of ‖Jδ‖₂ over ‖δ‖_p ≤ 1, p > 2, for any positive weights: σ(J·diag(w)^−½)·‖w‖^½.

    ‖Jδ‖² ≤ σ²·Σ w_i δ_i², by Hölder's inequality at most σ²·‖w‖ with the norm of index p/(p − 2): the sum for p = ∞,
    where the row sums of |JᵀJ| give at most Theorem 2; equal weights give Corollary 1. The least over w is, for p = ∞,
    the dual of the semidefinite relaxation, whose root is at most sqrt(π/2) = 1.2533 times the truth (Nesterov 1998).
    Shape: [d].

    Args:
      scaled_norm: σ, the largest singular value of J with its columns divided by sqrt(w).
    """
    index = 1.0 if np.isinf(norm_p) else norm_p / (norm_p - 2.0)
    return float(scaled_norm * np.sqrt(np.linalg.norm(np.asarray(weights, np.float64), index)))


def steepest(vector: np.ndarray, norm_p: float) -> np.ndarray:
    """Return the δ with ‖δ‖_p ≤ 1 and the largest ⟨vector, δ⟩; zeros for zeros. Shape: [d] -> [d]."""
    size = np.abs(vector)
    if np.isinf(norm_p) or not size.any():
        return np.sign(vector)
    if norm_p == 1:
        found = np.zeros(len(vector))
        found[np.argmax(size)] = np.sign(vector[np.argmax(size)])
        return found
    powers = np.sign(vector) * (size / size.max()) ** (1 / (norm_p - 1))
    return powers / np.linalg.norm(powers, norm_p)


def sign_relaxation(
    gram: np.ndarray, *, seed: int = 0, rank: int = 16, steps: int = 500, tolerance: float = 1e-6
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights for `diagonal_bound`, close to the best, and a sign vector δ with a large ‖Jδ‖.

    max tr(G·VVᵀ) over rows of V of length 1 (the relaxation by matrices of low rank; Burer and Monteiro 2003) climbs by
    V ← rows of GV made unit; where it ends, the lengths of those rows are the dual's weights. Signs of V's projections
    climb on as δ ← sign(Gδ), which never lowers δᵀGδ. Shape: G = JᵀJ [d, d] -> [d], [d].
    """
    rng, size = np.random.default_rng((seed, len(gram))), len(gram)
    vectors, before = rng.normal(size=(size, min(rank, size))), 0.0
    for _ in range(steps):
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)
        vectors = gram @ vectors
        lengths = np.linalg.norm(vectors, axis=1)
        if lengths.sum() <= before * (1 + tolerance):
            break
        before = lengths.sum()
    signs = np.sign(vectors @ rng.normal(size=(vectors.shape[1], 32))) + (vectors[:, :1] == 0)
    for _ in range(50):
        signs = np.where(gram @ signs >= 0, 1.0, -1.0)
    values = np.einsum("ij,ij->j", signs, gram @ signs)
    return np.maximum(lengths, 1e-6 * lengths.mean() + TINY), signs[:, np.argmax(values)]


def cosine_distance_bound(change, attribution_norm):
    """Return D_c ≤ 1 − sqrt(1 − (T/‖g‖)²) (Corollary 2); NaN, no statement, where T ≥ ‖g‖.

    Shape: both broadcast.
    """
    sine = _sine(change, attribution_norm)
    # 1 − sqrt(1 − s²) without its cancellation
    return (np.square(sine) / (1.0 + np.sqrt(1.0 - np.square(sine))))[()]


def angle_bound(change, attribution_norm):
    """Return the angle arcsin(T/‖g‖) in degrees; NaN, no statement, where T ≥ ‖g‖. Shape: both broadcast."""
    return np.degrees(np.arcsin(_sine(change, attribution_norm)))[()]


def _sine(change, attribution_norm):
    change, norm = np.broadcast_arrays(np.asarray(change, np.float64), np.asarray(attribution_norm, np.float64))
    stated = (norm > 0) & (change < norm)
    return np.divide(change, norm, out=np.full(change.shape, np.nan), where=stated)


def largest_epsilon(
    bound_at_one: float,
    *,
    distance: float | None = None,
    cosine_distance: float | None = None,
    attribution_norm: float | None = None,
) -> float:
    """Return the largest ε whose bound stays within a threshold: the inverse problem (Appendix E).

    ε ≤ ω/T_e(1) for a Euclidean distance ω, ε ≤ (‖g‖/T_e(1))·sqrt(1 − (1 − ω)²) for a cosine distance ω; the printed
    Eq. 51–52 lack the squares.

    Args:
      bound_at_one: T_e for ε = 1, as ξ in the ℓ2 ball. Exactly one of the two distances, the cosine's in (0, 1).

    Raises: UsageError for a threshold out of its range.
    """
    if distance is not None and cosine_distance is None:
        checks.positive(distance=distance)
        reach = distance
    elif distance is None and cosine_distance is not None and attribution_norm is not None:
        checks.between_0_and_1(cosine_distance=cosine_distance)
        reach = attribution_norm * np.sqrt(cosine_distance * (2.0 - cosine_distance))
    else:
        raise UsageError("largest_epsilon needs either a distance, or a cosine_distance and the attribution_norm")
    if reach <= 0 or not np.isfinite(reach):
        return 0.0  # a map that is zero, or no number, has no direction to keep
    return float(reach / bound_at_one) if bound_at_one > 0 else float("inf")


def corrected_bound(jacobian, xi: float, direction: np.ndarray, epsilon: float) -> tuple[float, float]:
    """Return T'_e = c·ξε and Theorem 3's factor c = max(1, ‖g(x ± εv) − g(x)‖/(ξε)) (Eq. 11, 39).

    An empirical correction at the two points where the linear model is extreme, not a certificate.

    Shape: direction [d], the unit right singular vector v.
    """
    steps = epsilon * np.stack([direction, -direction])
    observed = float(np.max(np.linalg.norm(jacobian.change(steps), axis=1)))
    corrected = max(xi * epsilon, observed)
    return corrected, corrected / (xi * epsilon) if xi > 0 else 1.0


def linearity_residual(jacobian, linear, deltas: np.ndarray) -> np.ndarray:
    """Return η = ‖g(x + δ) − g(x) − Jδ‖ of each δ (Fig. 3). Shape: [n, d] -> [n].

    Args:
      linear: J as an operator, `jacobian` itself or its matrix.
    """
    return np.linalg.norm(jacobian.change(deltas) - np.stack([linear.matvec(delta) for delta in deltas]), axis=1)


def random_deltas(count: int, dimension: int, epsilon: float, *, norm_p: float, seed: int) -> np.ndarray:
    """Return random points of the sphere of an ℓp ball, for ℓ∞ corners of the cube. Shape: [count, dimension]."""
    rng = np.random.default_rng((seed, count, dimension))
    if np.isinf(norm_p):
        return epsilon * rng.choice([-1.0, 1.0], size=(count, dimension))
    normal = rng.normal(size=(count, dimension))
    return epsilon * normal / np.linalg.norm(normal, norm_p, axis=1, keepdims=True)


def keeps_label(delta: np.ndarray, cuts: np.ndarray, margins: np.ndarray) -> bool:
    """Return whether δ satisfies all cuts (∇f_k − ∇f_y)ᵀδ < f_y − f_k (Proposition 1).

    Shape: delta [d], cuts [k − 1, d], margins [k − 1].
    """
    return bool(np.all(cuts @ delta < margins))


def constrained_estimate(
    operator,
    start: np.ndarray,
    cuts: np.ndarray,
    margins: np.ndarray,
    epsilon: float,
    *,
    norm_p: float,
    steps: int = 30,
) -> float:
    """Return the largest ‖Jδ‖ met by a projected power iteration over the ball and the label's cuts: from below.

    ‖Jδ‖ is even in δ and every margin is positive, so no single cut lowers the maximum of the linear model; where
    neither εv nor −εv satisfies all of them, the truth lies between this estimate and T_e.

    Shape: start [d], cuts [k − 1, d], margins [k − 1], all positive.
    """
    norms = np.maximum(np.linalg.norm(cuts, axis=1), 1e-30)

    def into_ball(delta):
        if np.isinf(norm_p):
            return np.clip(delta, -epsilon, epsilon)
        return delta * min(1.0, epsilon / max(np.linalg.norm(delta, norm_p), 1e-30))

    def feasible(delta):
        for _ in range(20):
            excess = cuts @ delta - margins
            worst = int(np.argmax(excess / norms))
            if excess[worst] <= 0:
                break
            delta = into_ball(delta - excess[worst] / norms[worst] ** 2 * cuts[worst])
        reach = np.max(cuts @ delta / margins)
        return delta / reach if reach > 1 else delta  # 0 is inside, so shrinking always ends inside

    best = 0.0
    for sign in (1.0, -1.0):
        delta = feasible(into_ball(sign * start))
        for _ in range(steps):
            image = operator.matvec(delta)
            best = max(best, float(np.linalg.norm(image)))
            ascent = operator.rmatvec(image)
            if not ascent.any():
                break
            delta = feasible(epsilon * steepest(ascent, norm_p))
    return best


def diagonal_dominance(matrix: np.ndarray) -> dict:
    """Return how far a Jacobian is from diagonal (Appendix C.1).

    `dominant_rows`: share of the rows with |J_ii| ≥ Σ_{j≠i} |J_ij|; `diagonal_share`: share of Σ|J_ij| on the diagonal;
    `diagonal_ratio`: mean |J_ii| over mean |J_ij|, i ≠ j; NaN of a single feature. Shape: [d, d].
    """
    size = len(matrix)
    absolute = np.abs(matrix)
    diagonal, rows = np.diag(absolute), absolute.sum(1, dtype=np.float64)
    total, off = rows.sum(), max(rows.sum() - diagonal.sum(), 1e-30)
    return {
        "dominant_rows": float(np.mean(2 * diagonal >= rows)),
        "diagonal_share": float(diagonal.sum() / total) if total > 0 else float("nan"),
        "diagonal_ratio": float(diagonal.mean() / (off / (size * (size - 1)))) if size > 1 else float("nan"),
    }
