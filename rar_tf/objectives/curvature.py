"""A penalty on the curvature of a smooth network: the logarithm of a bound of its gradients' Lipschitz constant.

‖∇f(x̃) − ∇f(x)‖ ≤ K‖x̃ − x‖ for every logit f, all x and x̃, with K = Σ_l Λ_l² h_l P_l over the hidden layers: Λ_l bounds
‖∂z_l/∂x‖, h_l |σ''|, P_l the entries of ∂f/∂a_l, by the layers' norms (as Singla and Feizi 2020, who train for theirs).
The certificates of `rar_tf.certification.curvature` are of one image each, and smaller.
"""

import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.models.chain import Stage, apply, stages_of

ITERATIONS = 10


def penalised_stages(network) -> list[Stage]:
    """Return the stages of a network whose curvature is to be small.

    Raises: UsageError where they are no chain, or logits are not those of one dense layer after the last activation:
      others before it could shrink the bound without changing the network.
    """
    stages = stages_of(network)
    dense = [getattr(part.layer, "kernel", None) is not None for part in stages[-1].parts]
    if dense[-1:] != [True] or any(dense[:-1]):
        raise UsageError("curvature_penalty needs a network that ends with an activation and one dense layer of logits")
    return stages


def log_gradient_lipschitz(stages: list[Stage]) -> tf.Tensor:
    """Return log K of a chain, differentiable by its kernels; 0 for a chain without activations.

    Norms come from ten power iterations each from a start of its own, so K is an estimate from below.
    """
    hidden, last = stages[:-1], stages[-1]
    norms = [_norm(stage, number) for number, stage in enumerate(stages)]
    steep = [max(map(abs, stage.curve.first_range(-1e3, 1e3))) for stage in hidden]
    bent = [max(map(abs, stage.curve.second_range(-1e3, 1e3))) for stage in hidden]
    terms = []
    for number in range(len(hidden)):
        reach = tf.reduce_prod([norms[0], *(steep[n] * norms[n + 1] for n in range(number))])
        rest = [norms[n] * steep[n] for n in range(number + 1, len(hidden))]
        kernel = last.parts[-1].layer.kernel
        entries = tf.reduce_max(tf.norm(kernel, axis=0)) if rest else tf.reduce_max(tf.abs(kernel))
        terms.append(tf.square(reach) * float(bent[number]) * tf.reduce_prod([*rest, entries]))
    return tf.math.log(tf.add_n(terms)) if terms else tf.zeros([])


def _norm(stage, number):
    """The norm of a stage's affine map, by power iterations on AᵀA; the vectors have no gradient."""
    vector = tf.random.stateless_normal([1, *stage.parts[0].shape], [number, 17])
    for _ in range(ITERATIONS):
        with tf.GradientTape() as tape:
            tape.watch(vector)
            half = tf.reduce_sum(tf.square(_linear(stage, vector, fixed=True))) / 2
        vector = tf.stop_gradient(tape.gradient(half, vector))
        vector /= tf.maximum(tf.norm(vector), 1e-12)
    return tf.norm(_linear(stage, vector, fixed=False))


def _linear(stage, values, fixed):
    for part in stage.parts:
        kernel = getattr(part.layer, "kernel", None)
        kernel = None if kernel is None else tf.convert_to_tensor(kernel)
        values = apply(part.layer, values, tf.stop_gradient(kernel) if fixed and kernel is not None else kernel)
    return values
