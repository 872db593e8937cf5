"""The Square attack on predictions, by random search alone, ℓ∞ (Andriushchenko et al. 2020)."""

import tensorflow as tf

from rar_tf import losses
from rar_tf.attacks.patches import patch_search, square_sides, uniform_draws
from rar_tf.attacks.predictions import Member

QUERIES = 5000


def square(
    network,
    images: tf.Tensor,
    labels: tf.Tensor,
    indices: tf.Tensor,
    *,
    epsilon: float,
    bounds: tuple[float, float],
    queries: int,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Return the images with the largest margin of a random search that begins with vertical stripes.

    Each query moves one square to a vertex of the ball, one sign a channel, and stays there if the margin grows. An
    image that has lost its label is left alone; the search ends with its queries, or when all images have.

    Shape: images [B, H, W, C] in `bounds`, labels int [B], indices int64 [B], seed int64 [] -> [B, H, W, C].
    """
    height, width, channels = images.shape[1:]
    stripes, draws = uniform_draws(indices, seed, (1, width, channels), (queries, 2 + channels))
    best, _ = patch_search(
        lambda candidates: losses.margin(network(candidates, training=False), labels),
        images,
        tf.clip_by_value(images + epsilon * tf.sign(stripes), *bounds),
        draws,
        epsilon=epsilon,
        bounds=bounds,
        sides=square_sides(queries, height, width),
        done=lambda margins: margins > 0,
    )
    return best


def member(name: str = "square", *, queries: int = QUERIES) -> Member:
    """Return the attack as a prediction attack, one run of it."""

    def perturb(network, images, labels, *, indices, seed, run, terms):
        return square(
            network,
            images,
            labels,
            indices,
            epsilon=terms.epsilon,
            bounds=terms.bounds,
            queries=queries,
            seed=seed,
        )

    return Member(name, perturb)


SQUARE = (member(),)
