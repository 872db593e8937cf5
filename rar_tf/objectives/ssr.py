"""Smooth surface regularisation (Wang et al. 2020): the loss shall curve little around each image.

H = W(diag(p) − ppᵀ)Wᵀ, W [d, K] the Jacobian of the logits, is the Hessian of the cross-entropy of a piecewise linear
network. With A = diag(√p) − p√pᵀ, AAᵀ = diag(p) − ppᵀ, so the K×K matrix AᵀWᵀWA has H's eigenvalues other than zero.
"""

import tensorflow as tf

from rar_tf import similarity
from rar_tf.attributions.gradients import saliency_map
from rar_tf.attributions.targets import Target
from rar_tf.objectives import settings
from rar_tf.objectives.robust_model import RobustModel


class SSR(RobustModel):
    """Minimise l_y(x) + λ·(largest eigenvalue of the cross-entropy's Hessian by the image); there is no adversary.
    λ is `attribution_weight`, for pixels in [0, 1]: the eigenvalue falls with the square of the pixels' range.
    """

    Settings = settings.SSR

    terms = ("cross_entropy", "eigenvalue")

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            **super().loss_terms(images, perturbed, labels),
            "eigenvalue": self.settings.attribution_weight * largest_eigenvalue(self.network, images),
        }


def largest_eigenvalue(network, images: tf.Tensor) -> tf.Tensor:
    """Return the largest eigenvalue of W(diag(p) − ppᵀ)Wᵀ, NaN where that is not finite.

    Shape: images [B, H, W, C] -> [B].
    """
    logits = network(images, training=False)
    classes, batch = logits.shape[1], tf.shape(images)[0]
    each_class = tf.repeat(tf.range(classes), batch)
    repeated = tf.tile(images, [classes, 1, 1, 1])
    jacobian = similarity.flatten(saliency_map(Target(network, each_class), repeated))
    jacobian = tf.transpose(tf.reshape(jacobian, [classes, batch, -1]), [1, 0, 2])  # Wᵀ, [B, K, d]
    # The root of p as half the logarithm's exponential: it has a gradient at p = 0 too.
    root = tf.exp(0.5 * tf.nn.log_softmax(logits))
    mean = tf.einsum("bk,bkd->bd", tf.square(root), jacobian)
    rows = root[:, :, None] * (jacobian - mean[:, None])  # AᵀWᵀ
    matrices = tf.matmul(rows, rows, transpose_b=True)
    finite = tf.reduce_all(tf.math.is_finite(matrices), axis=[1, 2])
    # The decomposition of what is not finite would end the program, where other methods have a loss that is NaN.
    values = tf.linalg.eigvalsh(tf.where(finite[:, None, None], matrices, 0.0))[:, -1]
    return tf.where(finite, values, float("nan"))
