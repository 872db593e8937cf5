"""A reference of Chen et al. (2019) in float64, written to be read: one image, one path point and one step at a time.

It computes what golden files hold, of a small convolutional network on real 8×8 digits, from the formulas alone;
nothing of the package is used. `python tests/reference.py FILE` writes what tests/golden_digits.npz holds.
"""

import sys

import numpy as np
import tensorflow as tf
from scipy import stats
from sklearn.datasets import load_digits

SETTINGS = {
    "pixel_max": 1.0,
    "epsilon": 0.3,
    "step_size": 0.01,
    "m": 10,
    "m_attack": 5,
    "lambda_ar": 1.0,
    "beta_adv_ar": 0.1,
    "pgd_steps": 5,
    "train_attack_steps": 2,
    "weight_decay": 0.0,
    "ifia_ig_steps": 8,
    "ifia_step_size": 0.01,
    "ifia_steps": 4,
    "attack_k": 16,
    "metric_k": 12,
}
SHAPES = [(5, 5, 1, 8), (8,), (5, 5, 8, 16), (16,), (64, 256), (256,), (256, 10), (10,)]
COUNT, TRAINING_STEPS, RATE = 4, 6, 1e-4
METHODS = ("nat", "adv", "ar", "adv_ar")
ATTACKS = (("topK", "kendall"), ("topK", "intersection"), ("mass_center", "mass_center"), ("target", "spearman"))


def initial_weights(seed):
    """Weights as golden files' readers rebuild them: float32 normal numbers of a seed."""
    generator, deviations = np.random.RandomState(seed), {4: 0.1, 2: 0.03, 1: 0.05}
    drawn = [(generator.standard_normal(shape) * deviations[len(shape)]).astype(np.float32) for shape in SHAPES]
    return [tf.constant(each, tf.float64) for each in drawn]


def logits(weights, x, activation=tf.nn.relu):
    """conv 5×5×8, pool, conv 5×5×16, pool, dense 256, dense 10. Shape: [N, 8, 8, 1] -> [N, 10]."""
    for kernel, bias in (weights[0:2], weights[2:4]):
        x = tf.nn.max_pool2d(activation(tf.nn.conv2d(x, kernel, 1, "SAME") + bias), 2, 2, "SAME")
    x = activation(tf.reshape(x, [-1, 64]) @ weights[4] + weights[5])
    return x @ weights[6] + weights[7]


def cross_entropy(weights, x, y):
    """Σ over images."""
    return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits(weights, x)))


def log_loss(weights, x, y):
    """−log p_y [N], what the training's integrated gradients attribute."""
    return -tf.math.log(tf.clip_by_value(tf.gather(tf.nn.softmax(logits(weights, x)), y, batch_dims=1), 1e-10, 1.0))


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


def path_gradients(score, start, end, steps):
    """(end − start) ⊙ 1/m Σ_k ∇score at start + k/m (end − start): the right Riemann sum."""
    total = tf.zeros_like(end)
    for k in range(1, steps + 1):
        total += gradient(lambda z: tf.reduce_sum(score(z)), start + k / steps * (end - start))
    return (end - start) * total / steps


def loss_attribution(weights, x, perturbed, y, steps):
    return path_gradients(lambda z: log_loss(weights, z, y), x, perturbed, steps)


def objective(key, weights, x, perturbed, y, steps):
    """What a method minimises, with m path points, and its adversary maximises, with m'."""
    loss = cross_entropy(weights, x if key in ("nat", "ar") else perturbed, y)
    weight = {"ar": SETTINGS["lambda_ar"], "adv_ar": SETTINGS["beta_adv_ar"]}.get(key)
    if weight is None:
        return loss
    return loss + weight * tf.reduce_sum(tf.abs(loss_attribution(weights, x, perturbed, y, steps)))


def climbed(key, weights, x, y):
    if key == "adv":
        return lambda z: cross_entropy(weights, z, y)
    return lambda z: objective(key, weights, x, z, y, SETTINGS["m_attack"])


def pgd(function, x, start, steps):
    """Signed ascent in the ℓ∞ ball and the pixel range."""
    for _ in range(steps):
        start += SETTINGS["step_size"] * tf.sign(gradient(function, start))
        start = tf.clip_by_value(tf.clip_by_value(start, x - SETTINGS["epsilon"], x + SETTINGS["epsilon"]), 0.0, 1.0)
    return start


def trained(key, weights, batches):
    """Losses before each of six Adam steps, the weights after them."""
    first, second = ([tf.zeros_like(w) for w in weights] for _ in range(2))
    losses = []
    for step, (x, y, noise) in enumerate(batches, start=1):
        perturbed = x
        if key != "nat":
            perturbed = pgd(climbed(key, weights, x, y), x, x + noise, SETTINGS["train_attack_steps"])
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = objective(key, weights, x, perturbed, y, SETTINGS["m"])
        losses.append(float(loss))
        slopes = tape.gradient(loss, weights)
        first = [0.9 * a + 0.1 * g for a, g in zip(first, slopes)]
        second = [0.999 * b + 0.001 * g**2 for b, g in zip(second, slopes)]
        rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights = [w - rate * a / (tf.sqrt(b) + 1e-8) for w, a, b in zip(weights, first, second)]
    return losses, weights


def saliency(kind, weights, x, y, activation=tf.nn.relu):
    """The map of the label's logit: |attribution| over the channels, scaled to sum to H·W. Shape: [N, 64]."""

    def score(z):
        return tf.gather(logits(weights, z, activation), y, batch_dims=1)

    if kind == "ig":
        found = path_gradients(score, tf.zeros_like(x), x, SETTINGS["ifia_ig_steps"])
    else:
        found = gradient(lambda z: tf.reduce_sum(score(z)), x)
    found = tf.reshape(tf.reduce_sum(tf.abs(found), -1), [len(x), -1])
    return found.shape[1] * found / tf.reduce_sum(found, 1, keepdims=True)


def center(values):
    rows, columns = np.meshgrid(range(8), range(8), indexing="ij")
    grid = tf.constant(np.stack([rows, columns], -1).reshape(-1, 2), tf.float64)
    return values @ grid / tf.reduce_sum(values, 1, keepdims=True)


def ifia(kind, name, measure, weights, x, y, region):
    """(first direction, kept image, its map) of an attack on the map of one image."""
    clean, smooth = saliency(kind, weights, x, y), saliency(kind, weights, x, y, tf.nn.softplus)
    top, origin = np.argsort(clean[0])[::-1][: SETTINGS["attack_k"]], np.trunc(center(smooth))

    def climb(z):
        values = saliency(kind, weights, z, y, tf.nn.softplus)
        if name == "topK":
            return -tf.reduce_sum(tf.gather(values, top, axis=1))
        if name == "target":
            return tf.reduce_sum(values * region.reshape(1, -1))
        return tf.reduce_sum((center(values) - origin) ** 2)

    def score(values):
        if measure == "kendall":
            return stats.kendalltau(clean[0], values[0]).statistic
        if measure == "spearman":
            return stats.spearmanr(clean[0], values[0]).statistic
        if measure == "intersection":
            return intersection(clean, values, SETTINGS["attack_k"])
        return -np.linalg.norm(np.trunc(center(smooth)) - np.trunc(center(values)))

    direction, z, best, kept = None, x, 1.0, (x, clean)
    for _ in range(SETTINGS["ifia_steps"]):
        step = np.sign(gradient(climb, z))
        direction = step if direction is None else direction
        z = tf.clip_by_value(z + SETTINGS["ifia_step_size"] * step, x - SETTINGS["epsilon"], x + SETTINGS["epsilon"])
        z = tf.clip_by_value(z, 0.0, 1.0)
        values = saliency(kind, weights, z, y)
        if int(tf.argmax(logits(weights, z), 1)[0]) == int(y[0]) and score(values) < best:
            best, kept = score(values), (z, values)
    return direction, *kept, clean


def intersection(first, second, k):
    tops = [set(np.argsort(each[0])[::-1][:k]) for each in (first, second)]
    return len(tops[0] & tops[1]) / k


def compute(seed):
    """Everything that a golden file holds, in float64; images and noise are float32 numbers."""
    generator, data = np.random.default_rng(seed), load_digits()
    found = {f"setting_{name}": np.array(value) for name, value in SETTINGS.items()} | {"seed": np.array(seed)}
    found["weight_shapes"] = np.array([f"w{number} {shape}" for number, shape in enumerate(SHAPES)])
    weights = initial_weights(seed)

    def some(count):
        rows = generator.permutation(len(data.images))[:count]
        return (data.images[rows, ..., None] / 16).astype(np.float32), data.target[rows].astype(np.int64)

    def noise(x):
        return generator.uniform(-SETTINGS["epsilon"], SETTINGS["epsilon"], x.shape).astype(np.float32)

    images, labels = some(COUNT)
    found["x"], found["y"], found["pgd_noise"] = images, labels, noise(images)
    found["x_adv"] = np.clip(images + noise(images), 0, 1).astype(np.float32)
    x, x_adv, start = (tf.constant(found[name], tf.float64) for name in ("x", "x_adv", "pgd_noise"))
    y = tf.constant(labels)
    found["logits_relu"], found["logits_softplus"] = logits(weights, x), logits(weights, x, tf.nn.softplus)
    found["xent_sum"], found["adv_xent_sum"] = cross_entropy(weights, x, y), cross_entropy(weights, x_adv, y)
    found["grad_xent_input"] = gradient(lambda z: cross_entropy(weights, z, y), x)
    for suffix, steps in (("", SETTINGS["m"]), ("_approx", SETTINGS["m_attack"])):
        found[f"ig_loss{suffix}"] = loss_attribution(weights, x, x_adv, y, steps)
        found[f"reg{suffix}"] = tf.reduce_sum(tf.abs(found[f"ig_loss{suffix}"]))
    for key in ("ar", "adv_ar"):
        # For `ar` that of the norm alone, without its weight.
        weight = SETTINGS["lambda_ar"] if key == "ar" else 1.0
        found[f"grad_{key}_approx_adv_input"] = gradient(climbed(key, weights, x, y), x_adv) / weight
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = objective(key, weights, x, x_adv, y, SETTINGS["m"])
        found[f"loss_{key}"] = loss
        for number, slope in enumerate(tape.gradient(loss, weights)):
            flat = slope.numpy().ravel()
            places = np.unique(np.linspace(0, flat.size - 1, min(flat.size, 400)).astype(int))
            found[f"wgrad_{key}_{number:02d}_norm"] = np.linalg.norm(flat)
            found[f"wgrad_{key}_{number:02d}_sample"] = flat[places]
    for key, name in (("adv", "xent"), ("ar", "ar_approx"), ("adv_ar", "adv_ar_approx")):
        found[f"pgd5_{name}"] = pgd(climbed(key, weights, x, y), x, x + start, SETTINGS["pgd_steps"])
    batches = [some(COUNT) for _ in range(TRAINING_STEPS)]
    found["train_x"], found["train_y"] = (np.stack(parts) for parts in zip(*batches))
    found["train_noise"] = np.stack([noise(x) for x, _ in batches])
    batches = [
        (tf.constant(a, tf.float64), tf.constant(b), tf.constant(c, tf.float64))
        for a, b, c in zip(found["train_x"], found["train_y"], found["train_noise"])
    ]
    for key in METHODS:
        losses, after = trained(key, weights, batches)
        found[f"train_losses_{key}"] = np.array(losses)
        found[f"train_final_norms_{key}"] = np.array([np.linalg.norm(w) for w in after])
        found[f"train_delta_norms_{key}"] = np.array([np.linalg.norm(a - b) for a, b in zip(after, weights)])
    found.update(attacks(weights, x))
    return {name: np.asarray(value) for name, value in found.items()}


def attacks(weights, x):
    found = {"pred": tf.argmax(logits(weights, x), 1).numpy(), "target_map": np.zeros((8, 8), np.float32)}
    found["target_map"][2:5, 3:6] = 1
    for kind in ("ig", "simple_gradient"):
        for name, measure in ATTACKS:
            key, rows = f"{kind}_{name}_{measure}", []
            for i in range(2):
                y = tf.constant(found["pred"][i : i + 1])
                direction, kept, values, clean = ifia(
                    kind, name, measure, weights, x[i : i + 1], y, found["target_map"]
                )
                scores = (
                    intersection(clean, values, SETTINGS["metric_k"]),
                    stats.spearmanr(clean[0], values[0]).statistic,
                    stats.kendalltau(clean[0], values[0]).statistic,
                )
                rows.append((direction[0], kept[0], values[0], scores, clean[0]))
            parts = [np.array([np.asarray(part) for part in column]) for column in zip(*rows)]
            names = ("direction", "perturbed", "perturbed_saliency", "intersection_spearman_kendall")
            found.update({f"{key}_{each}": part for each, part in zip(names, parts)})
            found[f"{kind}_saliency"] = parts[4]
    return found


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **compute(seed=0))
