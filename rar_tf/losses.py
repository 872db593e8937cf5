"""Losses and scores of logits, one value per sample."""

import tensorflow as tf


def logit(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the logit of each sample's label. Shape: logits [N, K], labels int [N] -> [N]."""
    # Not by tf.gather: its gradient, and the gradient of that, are dozens of operations that each graph is built of.
    return tf.reduce_sum(tf.where(_own(logits, labels), logits, tf.zeros_like(logits)), axis=1)


def probability(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the softmax probability of each sample's label. Shape: logits [N, K], labels int [N] -> [N]."""
    return logit(tf.nn.softmax(logits), labels)


def log_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return −log(clip(p_y, 1e-10, 1)), the loss that Chen et al. (2019) attribute.

    Shape: logits [N, K], labels int [N] -> [N].
    """
    return -tf.math.log(tf.clip_by_value(probability(logits, labels), 1e-10, 1.0))


def log_probability(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return log p_y. Shape: logits [N, K], labels int [N] -> [N]."""
    return logit(tf.nn.log_softmax(logits), labels)


def strongest_rival(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return max_{k≠y} p_k, the probability of the most confusing wrong class.

    Shape: logits [N, K], labels int [N] -> [N].
    """
    return tf.reduce_max(without_label(tf.nn.softmax(logits), labels), axis=1)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the softmax cross-entropy. Shape: logits [N, K], labels int [N] -> [N]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return max_{k≠y} f_k − f_y, the loss of Carlini and Wagner (2017): positive where the label is lost.

    Shape: logits [N, K], labels int [N] -> [N].
    """
    return tf.reduce_max(without_label(logits, labels), axis=1) - logit(logits, labels)


def without_label(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the scores with the label's own put below all others. Shape: scores [N, K], labels int [N] -> [N, K]."""
    return tf.where(_own(scores, labels), scores.dtype.min, scores)


def _own(scores, labels):
    """Which scores [N, K] are the label's own."""
    return tf.one_hot(labels, tf.shape(scores)[1], on_value=True, off_value=False)


def kl_divergence(logits_p: tf.Tensor, logits_q: tf.Tensor) -> tf.Tensor:
    """Return KL(softmax(logits_p) ‖ softmax(logits_q)). Shape: both [N, K] -> [N]."""
    log_p, log_q = tf.nn.log_softmax(logits_p), tf.nn.log_softmax(logits_q)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


def divergence_from_uniform(scores: tf.Tensor) -> tf.Tensor:
    """Return KL(U ‖ softmax(scores)) = log mean exp(s − mean s), to full relative precision for small scores too.

    Shape: scores [N, D] -> [N], in nats.
    """
    centred = scores - tf.reduce_mean(scores, axis=1, keepdims=True)
    count = tf.cast(tf.shape(scores)[1], scores.dtype)
    small = tf.math.log1p(tf.reduce_mean(tf.math.expm1(tf.minimum(centred, 1.0)), axis=1))
    large = tf.reduce_logsumexp(centred, axis=1) - tf.math.log(count)
    return tf.where(tf.reduce_max(centred, axis=1) < 1.0, small, large)
