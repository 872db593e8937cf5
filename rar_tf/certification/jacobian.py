"""The Jacobian J_ij = ∂g_i/∂x_j of an attribution at one image, matrix-free or, where it fits, as a matrix.

Wang and Kong (2023) bound attribution changes by J. Theirs is written P = HHᵀ; for integrated gradients and
input×gradient J is not symmetric, and the matrix that bounds ‖Jδ‖ is JᵀJ.

Rows come by reverse over reverse; J·v is the derivative by u of the linear u ↦ ⟨Jᵀu, v⟩, which on a CPU is faster than
forward over reverse. The passes through the network are shared by all rows of a block.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from rar_tf import checks
from rar_tf.certification.field import Field

DENSE_LIMIT = 3072
BYTES_PER_ACTIVATION = 24  # of one row: its derivatives and the copies that vectorisation makes; 15 were measured


class Differentials:
    """The compiled products J·v and Jᵀ·u of an attribution field, for any image of one shape: made once a network.

    Args:
      proportional: whether g_i is a multiple of x_i, as input×gradient and integrated gradients from black have it.
    """

    def __init__(self, field: Field, *, proportional: bool = False):
        @tf.function(autograph=False, reduce_retracing=True)
        def value(images, labels):
            return field(images, labels)

        @tf.function(autograph=False, reduce_retracing=True)
        def vjp(image, label, vectors):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(image)
                maps = field(image, label)

            def row(vector):
                return tape.gradient(maps, image, vector[None], unconnected_gradients="zero")[0]

            return tf.vectorized_map(row, vectors)

        @tf.function(autograph=False, reduce_retracing=True)
        def jvp(image, label, vectors):
            with tf.GradientTape(persistent=True) as outer:
                dual = tf.zeros_like(image)
                outer.watch(dual)
                with tf.GradientTape() as inner:
                    inner.watch(image)
                    maps = field(image, label)
                pulled = inner.gradient(maps, image, dual, unconnected_gradients="zero")

            def column(vector):
                return outer.gradient(pulled, dual, vector[None], unconnected_gradients="zero")[0]

            return tf.vectorized_map(column, vectors)

        self.value, self.vjp, self.jvp, self.proportional = value, vjp, jvp, proportional


class Jacobian(LinearOperator):
    """J at one image as a SciPy operator on flat vectors of length d = H·W·C.

    Shape: image [H, W, C].

    Args:
      block: rows or columns that are computed at once.
    """

    def __init__(self, differentials: Differentials, image: np.ndarray, label: int, *, block: int = 64):
        self.image = tf.constant(image, tf.float32)[None]
        self.label = tf.constant([label], tf.int64)
        self._of = differentials
        self.block = max(1, int(block))
        self.attribution = differentials.value(self.image, self.label).numpy().astype(np.float64).ravel()
        size = self.attribution.size
        super().__init__(np.float64, (size, size))

    def change(self, delta: np.ndarray) -> np.ndarray:
        """Return g(x + δ) − g(x) for flat δ [d] or [n, d]."""
        moved = self.image + self._shaped(np.atleast_2d(delta))
        values = [self._of.value(moved[n : n + 1], self.label).numpy().ravel() for n in range(moved.shape[0])]
        return (np.array(values, np.float64) - self.attribution).reshape(np.shape(delta))

    def forward(self, vectors: np.ndarray) -> np.ndarray:
        """Return the rows J·v of flat vectors. Shape: [n, d] -> [n, d]."""
        return self._apply(self._of.jvp, vectors)

    def backward(self, vectors: np.ndarray) -> np.ndarray:
        """Return the rows Jᵀ·u of flat vectors. Shape: [n, d] -> [n, d]."""
        return self._apply(self._of.vjp, vectors)

    def dense(self, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Return J [d, d] in float32, block by block.

        Where g_i = x_i·s_i(x), the row of a zero pixel has nothing but its diagonal s_i, and the sum of all such rows,
        one product, holds them all.
        """
        size = self.shape[0]
        matrix = np.zeros((size, size), np.float32)
        zero = self._of.proportional & (self.image.numpy().ravel() == 0)
        rows = np.flatnonzero(~zero)
        if zero.any():
            matrix[zero, zero] = self.backward(zero[None].astype(np.float32))[0][zero]
            if progress is not None:
                progress(size - len(rows))
        for begin in range(0, len(rows), self.block):
            part = rows[begin : begin + self.block]
            vectors = np.zeros((len(part), size), np.float32)
            vectors[np.arange(len(part)), part] = 1
            matrix[part] = self.backward(vectors)
            if progress is not None:
                progress(len(part))
        return matrix

    def abs_gram_sum(self, progress: Callable[[int], None] | None = None) -> float:
        """Return Σ_ij |(JᵀJ)_ij| column block by column block, Jᵀ(J e_j), with no matrix in memory."""
        size, total = self.shape[0], 0.0
        for begin in range(0, size, self.block):
            part = np.arange(begin, min(begin + self.block, size))
            vectors = np.zeros((len(part), size), np.float32)
            vectors[np.arange(len(part)), part] = 1
            total += float(np.sum(np.abs(self.backward(self.forward(vectors))), dtype=np.float64))
            if progress is not None:
                progress(len(part))
        return total

    def _shaped(self, vectors):
        return tf.reshape(tf.constant(vectors, tf.float32), [-1, *self.image.shape[1:]])

    def _apply(self, product, vectors):
        """A product of vectors that are scaled by a power of two: J(Jᵀv) of small gradients is zero in float32."""
        vectors = np.asarray(vectors, np.float64)
        scale = np.exp2(np.frexp(np.abs(vectors).max(axis=1, keepdims=True))[1])
        return scale * product(self.image, self.label, self._shaped(vectors / scale)).numpy().reshape(len(vectors), -1)

    def _matvec(self, vector):
        return self.forward(np.reshape(vector, (1, -1)))[0]

    def _rmatvec(self, vector):
        return self.backward(np.reshape(vector, (1, -1)))[0]


def block_size(network, image_shape, ig_steps: int, memory_limit: float) -> int:
    """Return how many rows of a Jacobian fit into `memory_limit` bytes, at least 1.

    Counts the activations of a Keras network's layers; of another network 64 values per feature are assumed.

    Raises: UsageError where the limit is not positive.
    """
    checks.positive(memory_limit=memory_limit)
    features = int(np.prod(image_shape))
    network = getattr(network, "network", network)
    try:
        activations = _activations(network)
    except (AttributeError, TypeError):
        activations = 64 * features
    return int(np.clip(memory_limit / (BYTES_PER_ACTIVATION * ig_steps * max(activations, features)), 1, 1024))


def _activations(network):
    """How many numbers the layers give for one image, those of networks among them included."""
    return sum(
        _activations(layer) if hasattr(layer, "layers") else int(np.prod(layer.output.shape[1:]))
        for layer in network.layers
    )


def gram_sum(matrix: np.ndarray) -> float:
    """Return Σ_ij |(JᵀJ)_ij| of a matrix. Shape: [d, d]."""
    matrix = matrix.astype(np.float64)  # squares of small entries are zero in float32
    return float(np.sum(np.abs(matrix.T @ matrix)))


def dense_norm(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest singular value of a matrix and its right singular vector, by a direct decomposition of JᵀJ."""
    matrix = matrix.astype(np.float64)
    size = matrix.shape[1]
    _, vectors = linalg.eigh(matrix.T @ matrix, subset_by_index=[size - 1, size - 1])
    return float(np.linalg.norm(matrix @ vectors[:, 0])), vectors[:, 0]


def weighted(operator, weights: np.ndarray) -> LinearOperator:
    """Return J·diag(w)^−½ as an operator. Shape: w [d], positive."""
    root = 1.0 / np.sqrt(weights)
    return LinearOperator(
        operator.shape,
        matvec=lambda v: operator.matvec(root * np.ravel(v)),
        rmatvec=lambda u: root * operator.rmatvec(u),
        dtype=np.float64,
    )


def column_norms(operator: "Jacobian", *, probes: int = 32, seed: int = 0) -> np.ndarray:
    """Return estimates of the lengths of J's columns, from random probes: E(Jᵀz)_j² = Σ_i J_ij² for random signs z.

    None is less than a hundredth of their mean, so that they can serve as weights. Shape: [d].
    """
    signs = np.random.default_rng((seed, operator.shape[0], 1)).choice([-1.0, 1.0], size=(probes, operator.shape[0]))
    parts = [operator.backward(signs[begin : begin + operator.block]) for begin in range(0, probes, operator.block)]
    lengths = np.sqrt(np.mean(np.square(np.concatenate(parts), dtype=np.float64), axis=0))
    return np.maximum(lengths, 0.01 * lengths.mean() + 1e-30)


def lanczos_norm(
    operator, *, seed: int = 0, vectors: int = 40, tolerance: float = 1e-6
) -> tuple[float, float, np.ndarray]:
    """Return (σ, σ_high, v): the largest singular value by Lanczos on JᵀJ, the same with the residual added, and v.

    σ = ‖Jv‖ never exceeds the truth. With ρ = ‖JᵀJv − θv‖ an eigenvalue of JᵀJ lies within ρ of θ = σ²; so
    σ_high = sqrt(θ + ρ) is an upper bound if that eigenvalue is the largest one, to which Lanczos converges from a
    random start. It is not a proof; `lanczos_factor` gives the probability.
    """
    size = operator.shape[1]
    start = np.random.default_rng((seed, size)).normal(size=size)
    gram = LinearOperator((size, size), matvec=lambda v: operator.rmatvec(operator.matvec(v)), dtype=np.float64)
    if size <= 2:
        return _with_residual(operator, dense_norm(np.array([operator.matvec(row) for row in np.eye(size)]).T)[1])
    if not gram.matvec(start).any():
        return 0.0, 0.0, start / np.linalg.norm(start)
    _, found = eigsh(gram, k=1, which="LA", v0=start, ncv=min(vectors, size), tol=tolerance)
    return _with_residual(operator, found[:, 0])


def _with_residual(operator, vector):
    image = operator.matvec(vector)
    square = float(image @ image)
    residual = float(np.linalg.norm(operator.rmatvec(image) - square * vector))
    return float(np.sqrt(square)), float(np.sqrt(square + residual)), vector


def lanczos_factor(size: int, confidence: float, *, vectors: int = 40) -> float:
    """Return the factor by which the true norm may exceed Lanczos' σ, with probability `confidence` over the start.

    After k steps from a random start P(σ²_true > σ²/(1 − e)) ≤ 1.648·√d·exp(−√e(2k − 1)) (Kuczyński and Woźniakowski
    1992, Theorem 4.2); restarts only raise σ. Infinite where so few steps say nothing.
    """
    checks.between_0_and_1(confidence=confidence)
    root = np.log(1.648 * np.sqrt(size) / (1 - confidence)) / (2 * min(vectors, size) - 1)
    return float(1 / np.sqrt(1 - root**2)) if root < 1 else float("inf")
