"""Activation consistency and the change of the gradient, simulated (Wang and Kong 2022, Proposition 2).

In f(x) = Σ u_i·max(w_iᵀx, 0) with u_i ~ N(0, σ²), ∇f(x) − ∇f(x̃) = Σ_{i∈N} ±u_i w_i over the units N that change their
state, so E‖·‖² = σ²·Σ_{i∈N}‖w_i‖²: the fewer change, the less the gradient moves.
"""

import numpy as np

from rar_tf import metrics


def gradient_change(weights: np.ndarray, output: np.ndarray, active: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """Return ‖∇f(x) − ∇f(x̃)‖ of single-layer networks of rectifiers.

    Shape: weights [d, units]; output [..., units], the u_i; active, perturbed bool [units], the states -> [...].
    """
    return np.linalg.norm((output * (active.astype(float) - perturbed)) @ weights.T, axis=-1)


def simulated(networks: int = 300, units: int = 500, features: int = 100, seed: int = 0):
    """Return activation consistency and the gradient's relative change of random networks of one layer, [networks].

    Up to half of a network's units change their state, a share of each network's own.
    """
    rng = np.random.default_rng(seed)
    found = []
    for share in rng.uniform(0, 0.5, networks):
        weights, output = rng.standard_normal((features, units)), rng.standard_normal(units)
        active = rng.random(units) < 0.5
        perturbed = active ^ (rng.random(units) < share)
        size = gradient_change(weights, output, active, np.zeros_like(active))
        consistency = metrics.activation_consistency(active.sum(), perturbed.sum(), (active & perturbed).sum())
        found.append((consistency, gradient_change(weights, output, active, perturbed) / size))
    consistency, change = np.array(found).T
    return consistency, change
