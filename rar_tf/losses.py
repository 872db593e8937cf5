"""Losses and scores of logits, one value a sample."""
import tensorflow as tf


def logit(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the logit of each sample's label. Shape: logits [N, K], labels int [N] -> [N]."""
    return tf.gather(logits, labels, axis=1, batch_dims=1)


def probability(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the softmax probability of each sample's label. Shape: logits [N, K], labels int [N] -> [N]."""
    return logit(tf.nn.softmax(logits), labels)


def log_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return −log(clip(p_y, 1e-10, 1)), the loss that Chen et al. (2019) attribute.

    Shape: logits [N, K], labels int [N] -> [N].
    """
    return -tf.math.log(tf.clip_by_value(probability(logits, labels), 1e-10, 1.0))


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
    own = tf.one_hot(labels, tf.shape(scores)[1], on_value=True, off_value=False)
    return tf.where(own, scores.dtype.min, scores)


def kl_divergence(logits_p: tf.Tensor, logits_q: tf.Tensor) -> tf.Tensor:
    """Return KL(softmax(logits_p) ‖ softmax(logits_q)). Shape: both [N, K] -> [N]."""
    log_p, log_q = tf.nn.log_softmax(logits_p), tf.nn.log_softmax(logits_q)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


def cosine_similarity(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the cosine between the samples of two tensors, 0 where one of them is zero. Shape: both [N, ...] -> [N]."""
    a, b = (tf.math.l2_normalize(flatten(v), axis=1, epsilon=1e-24) for v in (a, b))
    return tf.reduce_sum(a * b, axis=1)


def flatten(x: tf.Tensor) -> tf.Tensor:
    """Return [N, ...] as [N, d]."""
    return tf.reshape(x, [tf.shape(x)[0], -1])
