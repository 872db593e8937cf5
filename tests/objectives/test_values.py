"""Terms of every method by hand, by numpy or by scipy, on networks of a few pixels."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rar_tf import losses, objectives
from rar_tf.errors import UsageError
from rar_tf.objectives.r2et import ranking
from rar_tf.objectives.ssr import largest_eigenvalue

import tiny_networks
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")

W = np.array([[2.0, -1.0, 0.5], [-1.5, 1.0, 0.25]])  # two pixels, three classes
B = np.array([0.1, -0.2, 0.3])
CLEAN, CHANGED, LABELS = np.array([[0.8, 0.3], [0.0, 0.6]]), np.array([[0.6, 0.5], [0.2, 0.4]]), np.array([0, 1])


def terms(method, network=None, clean=CLEAN, changed=CHANGED, labels=LABELS, **settings):
    model = objectives.METHODS[method](network or linear(W, B), **settings)
    found = model.loss_terms(pixels(*clean), pixels(*changed), tf.constant(labels))
    return {name: value.numpy() for name, value in found.items()}


def probabilities(x):
    return scipy.special.softmax(x @ W + B, axis=-1)


def cross_entropy(x):
    return -np.log(probabilities(x)[np.arange(len(x)), LABELS])


def integrated(score_gradient, start, end, steps):
    """The right Riemann sum of one image, point by point."""
    points = [start + k / steps * (end - start) for k in range(1, steps + 1)]
    return (end - start) * np.mean([score_gradient(point) for point in points], axis=0)


def probability_gradient(label):
    def gradient(x):
        p = probabilities(x)
        return p[label] * (W[:, label] - W @ p)

    return gradient


@pytest.mark.parametrize("clean_term", [True, False])
def test_trades_equals_numpy(clean_term):
    found = terms("trades", beta=6.0, clean_term=clean_term)
    divergence = [scipy.stats.entropy(p, q) for p, q in zip(probabilities(CLEAN), probabilities(CHANGED))]
    np.testing.assert_allclose(found["cross_entropy"], cross_entropy(CLEAN if clean_term else CHANGED), atol=1e-12)
    np.testing.assert_allclose(found["kl"], 6.0 * np.array(divergence), atol=1e-12)


def test_mart_equals_numpy():
    found = terms("mart", beta=5.0)
    p, q, rows = probabilities(CLEAN), probabilities(CHANGED), np.arange(2)
    rivals = np.where(np.eye(3, dtype=bool)[LABELS], 0.0, q).max(axis=1)
    boosted = -np.log(q[rows, LABELS]) - np.log(1.0001 - rivals)
    divergence = np.sum(p * np.log(p / q), axis=1) * (1 - p[rows, LABELS])
    np.testing.assert_allclose(found["boosted_cross_entropy"], boosted, atol=1e-12)
    np.testing.assert_allclose(found["kl"], 5.0 * divergence, atol=1e-12)


def test_igr_by_hand():
    # f_0 = 3a − b, so IG(a, b) = (3a, −b): (3, −2) at (1, 2), (4.5, −1) at (1.5, 1).
    found = terms("igr_at", linear([[3.0, 0.0], [-1.0, 0.0]]), [[1.0, 2.0]], [[1.5, 1.0]], [0], attribution_weight=2.0)
    cosine = (3 * 4.5 + 2 * 1) / np.sqrt(13 * 21.25)
    np.testing.assert_allclose(found["attribution"], 2 * (1 - cosine), atol=1e-12)
    assert found["cross_entropy"][0] == pytest.approx(np.log(1 + np.exp(-3.5)))


def test_igr_is_added_to_the_base_method_unchanged():
    for base in ("madry", "trades", "mart"):
        alone = terms(base)
        both = terms({"madry": "igr_at"}.get(base, f"igr_{base}"))
        assert list(both) == [*alone, "attribution"]
        for name, value in alone.items():
            np.testing.assert_array_equal(both[name], value)


def test_aat_and_advaat_differ_in_the_first_term_and_the_adversary():
    # IG of the linear network's logit is x ⊙ w: Pearson's correlation of three features, by scipy.
    weights = np.array([[1.0, 0.0], [-2.0, 1.0], [0.5, 3.0]])
    clean, changed, label = np.array([0.2, 0.5, 0.9]), np.array([0.4, 0.6, 0.1]), [0]
    pcl = (1 - scipy.stats.pearsonr(clean * weights[:, 0], changed * weights[:, 0])[0]) / 2
    losses_at = [scipy.special.logsumexp(x @ weights) - (x @ weights)[0] for x in (clean, changed)]
    for method, loss in zip(("aat", "advaat"), losses_at):
        found = terms(method, linear(weights), [clean], [changed], label, attribution_weight=0.7)
        assert found["attribution"][0] == pytest.approx(0.7 * pcl, abs=1e-12)
        assert found["cross_entropy"][0] == pytest.approx(loss, abs=1e-12)
        model = objectives.METHODS[method](linear(weights), attribution_weight=0.7)
        climbed = model.adversary(pixels(clean), tf.constant(label))(pixels(changed))
        assert float(climbed[0]) == pytest.approx(0.7 * pcl + (loss if method == "advaat" else 0.0), abs=1e-12)


def test_art_by_hand():
    # The saliency maps are the columns of W; at (1, 1) class 1 beats class 2 and is the rival of class 0.
    network = linear([[3.0, 1.0, 0.0], [4.0, 2.0, 1.0]])
    found = terms("art", network, [[0.0, 1.0]], [[1.0, 1.0]], [0], softplus_beta=0.0, attribution_weight=0.5)
    own, rival = 4 / 5, 2 / np.sqrt(5)
    np.testing.assert_allclose(found["attribution"], 0.5 * np.log(1 + np.exp(rival - own)), atol=1e-12)


def test_art_takes_its_directions_from_the_softplus_surrogate():
    # Off the kink by more than 1/β a rectifier and its surrogate agree, on it they do not.
    data = tiny_networks.batch()
    network = tiny_networks.convolutional("relu")
    values = [objectives.ART(network, softplus_beta=beta).misalignment(*data).numpy() for beta in (0.0, 2.0, 1e4)]
    assert np.max(np.abs(values[1] - values[0])) > 1e-4
    np.testing.assert_allclose(values[2], values[0], atol=1e-3)


def test_ssr_eigenvalue_equals_numpys_on_the_full_matrix():
    network = tiny_networks.convolutional(shape=(5, 4, 2), classes=5)
    images = tiny_networks.batch()[0]
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network(images)
    jacobian = tape.batch_jacobian(logits, images).numpy().reshape(3, 5, 40)
    for found, rows, p in zip(largest_eigenvalue(network, images), jacobian, scipy.special.softmax(logits, axis=1)):
        hessian = rows.T @ (np.diag(p) - np.outer(p, p)) @ rows
        assert float(found) == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-10)


def test_ssr_of_a_certain_prediction_has_a_finite_gradient():
    network = linear(1e3 * W)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(objectives.SSR(network).loss_terms(pixels([1, 0]), None, tf.constant([0]))["eigenvalue"])
    for gradient in tape.gradient(loss, [variable.value for variable in network.trainable_variables]):
        assert np.all(np.isfinite(gradient))


def test_r2et_ranking_by_hand():
    # Sorted: 9 7 4 3 1 0; k = 3: edge 4, (4−9) + (4−7) = −8, (3−4) + (1−4) + (0−4) = −8.
    found = ranking(tf.constant([[3.0, 9.0, 0.0, 4.0, 7.0, 1.0]]), 3)
    assert found.numpy().tolist() == [-16.0]


def test_r2et_equals_numpy():
    def gradient(x):
        return W @ (probabilities(x) - np.eye(3)[0])

    x, h = CLEAN[0], 1e-3
    slope = gradient(x)
    curvature = np.linalg.norm(gradient(x + h * np.sign(slope)) - slope) / h
    found = terms("r2et", clean=[x], labels=[0], top_k=1, attribution_weight=0.1, curvature_weight=0.2)
    np.testing.assert_allclose(found["ranking"], 0.1 * (np.abs(slope).min() - np.abs(slope).max()), atol=1e-12)
    np.testing.assert_allclose(found["curvature"], 0.2 * curvature, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_cacr_equals_numpy(scale):
    found = terms("cacr_wacr", ig_steps=4, attack_ig_steps=2, cacr_weight=0.7, attribution_scale=scale)["cacr"]
    for value, changed, label in zip(found, CHANGED, LABELS):
        rival = np.argmax(np.where(np.arange(3) == label, -1, probabilities(changed)))
        p_true, p_rival = (
            scipy.special.softmax(scale * integrated(probability_gradient(c), 0 * changed, changed, 4))
            for c in (label, rival)
        )
        uniform = np.full(2, 0.5)
        expected = scipy.stats.entropy(uniform, p_rival) - scipy.stats.entropy(uniform, p_true)
        assert value == pytest.approx(0.7 * expected, rel=1e-9)


def test_cacr_of_the_code_chooses_the_rival_at_every_point():
    def rival_gradient(x):
        p = np.where(np.arange(3) == 0, -1, probabilities(x))
        return probability_gradient(np.argmax(p))(x)

    # Along this path the strongest wrong class of class 0 changes from 2 to 1.
    changed = np.array([0.1, 0.9])
    rivals = {int(np.argmax(probabilities(t * changed)[1:])) for t in (0.25, 1.0)}
    assert len(rivals) == 2
    network = {"clean": [changed], "changed": [changed], "labels": [0], "ig_steps": 4, "attack_ig_steps": 2}
    found = {
        variant: terms("cacr_wacr", variant=variant, attribution_scale=40.0, **network)["cacr"][0]
        for variant in ("paper", "code")
    }
    spread = scipy.special.softmax(40 * integrated(rival_gradient, 0 * changed, changed, 4))
    skewed = scipy.special.softmax(40 * integrated(probability_gradient(0), 0 * changed, changed, 4))
    uniform = np.full(2, 0.5)
    assert found["code"] == pytest.approx(scipy.stats.entropy(uniform, spread) - scipy.stats.entropy(uniform, skewed))
    assert abs(found["code"] - found["paper"]) > 1e-3


def test_cacr_without_contrast_and_its_limit():
    alone = terms("cacr_wacr", ig_steps=2, attack_ig_steps=2, attribution_scale=1e4, cacr_contrast=False)["cacr"]
    np.testing.assert_array_equal(alone, [-10.0, -10.0])
    free = terms("cacr_wacr", ig_steps=2, attack_ig_steps=2, attribution_scale=1e4, cacr_contrast=False, cacr_limit=1e9)
    assert np.all(free["cacr"] < -100.0) and np.all(np.isfinite(free["cacr"]))


def wacr(base, change):
    return sum(abs(a * d) if np.sign(a) == np.sign(d) else abs(d) for a, d in zip(base, change))


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("delta", ["path", "difference"])
@pytest.mark.parametrize("with_base", [True, False])
def test_wacr_equals_numpy(variant, delta, with_base):
    found = terms(
        "cacr_wacr",
        ig_steps=4,
        attack_ig_steps=2,
        wacr_weight=0.4,
        attribution_weight=2.0,
        variant=variant,
        delta_attribution=delta,
        wacr_base=with_base,
    )["wacr"]
    for value, clean, changed, label in zip(found, CLEAN, CHANGED, LABELS):

        def of_log(x, label=label):
            return probability_gradient(label)(x) / probabilities(x)[label]

        gradient = of_log if variant == "code" else probability_gradient(label)
        base = integrated(probability_gradient(label), 0 * clean, clean, 4)
        if delta == "path":
            change = integrated(gradient, clean, changed, 4)
        else:
            change = integrated(gradient, 0 * clean, changed, 4) - integrated(gradient, 0 * clean, clean, 4)
        expected = wacr(base, change) if with_base else np.abs(change).sum()
        assert value == pytest.approx(0.8 * expected, rel=1e-9)


def test_wacr_counts_a_pixel_without_base_attribution_as_changed():
    assert wacr([0.0, 1.0], [0.3, 0.2]) == pytest.approx(0.3 + 0.2)
    network = linear([[1.0, 0.0], [1.0, 0.0]])
    found = terms("cacr_wacr", network, [[0.0, 0.5]], [[0.1, 0.5]], [0], ig_steps=1, attack_ig_steps=1)["wacr"]
    p = 1 / (1 + np.exp(-0.6))
    assert found[0] == pytest.approx(0.1 * p * (1 - p))


def test_cacr_wacr_adversary_climbs_the_loss_and_the_size_of_its_attribution():
    model = objectives.CacrWacr(linear(W, B), ig_steps=4, attack_ig_steps=2, attribution_weight=0.0)
    found = model.adversary(pixels(*CLEAN), tf.constant(LABELS))(pixels(*CHANGED))
    for value, loss, clean, changed, label in zip(found, cross_entropy(CHANGED), CLEAN, CHANGED, LABELS):
        change = integrated(lambda x, y=label: W @ (probabilities(x) - np.eye(3)[y]), clean, changed, 2)
        assert float(value) == pytest.approx(loss + np.abs(change).sum(), rel=1e-12)


def test_divergences_equal_scipys():
    generator = np.random.default_rng(0)
    p, q = generator.normal(size=(2, 6, 10))
    np.testing.assert_allclose(
        losses.kl_divergence(p, q),
        scipy.stats.entropy(scipy.special.softmax(p, axis=1), scipy.special.softmax(q, axis=1), axis=1),
        atol=1e-12,
    )
    for scale in (1e-4, 1.0, 300.0):
        scores = scale * generator.normal(size=(3, 40))
        expected = -np.mean(np.log(40) + scipy.special.log_softmax(scores, axis=1), axis=1)
        np.testing.assert_allclose(losses.divergence_from_uniform(scores), expected, rtol=1e-7, atol=1e-15)


def test_divergence_from_uniform_of_tiny_scores_keeps_its_precision_in_float32():
    scores = 1e-3 * np.random.default_rng(0).normal(size=(2, 784))
    found = losses.divergence_from_uniform(tf.constant(scores, tf.float32))
    np.testing.assert_allclose(found, scores.var(axis=1) / 2, rtol=1e-2)  # about half the variance


def test_trades_starts_from_a_little_noise_in_parts_of_the_pixel_range():
    images = tf.zeros((4, 20, 20, 3))
    for bounds, scale in (((0, 1), 1e-3), ((0, 255), 0.255)):
        model = objectives.TRADES(linear(W), bounds=bounds, seed=5)
        noise = model.start(images, tf.constant(3, tf.int64)).numpy()
        assert noise.std() == pytest.approx(scale, rel=0.05) and abs(noise.mean()) < 0.05 * scale
        np.testing.assert_array_equal(noise, model.start(images, tf.constant(3, tf.int64)))
        assert np.any(noise != model.start(images, tf.constant(4, tf.int64)))


@pytest.mark.parametrize(
    "method, settings, message",
    [
        ("trades", {"beta": 0.0}, "beta must be positive"),
        ("trades", {"random_start": False}, "random_start must be true for TRADES"),
        ("mart", {"beta": -1.0}, "beta must be positive"),
        ("igr_at", {"attribution_weight": -1.0}, "attribution_weight must not be negative"),
        ("igr_at", {"adversary": "other"}, "unknown adversary 'other'; known: base, igr"),
        ("igr_mart", {"adversary": "igr", "random_start": False}, "random_start must be true for IGRMART"),
        ("igr_trades", {"ig_steps": 10, "attack_ig_steps": 3}, "attack_ig_steps must divide"),
        ("aat", {"random_start": False}, "random_start must be true for AAT"),
        ("art", {"attribution_weight": -0.5}, "attribution_weight must not be negative"),
        ("art", {"softplus_beta": -1.0}, "softplus_beta must not be negative"),
        ("ssr", {"attribution_weight": -0.5}, "attribution_weight must not be negative"),
        ("r2et", {"curvature_weight": -0.5}, "curvature_weight must not be negative"),
        ("r2et", {"top_k": 0}, "top_k must be positive"),
        ("r2et", {"top_k": 2}, "top_k must be at most half of the 2 pixels"),
        ("cacr_wacr", {"variant": "other"}, "unknown variant 'other'; known: paper, code"),
        ("cacr_wacr", {"delta_attribution": "other"}, "unknown delta_attribution 'other'; known: path, difference"),
        ("cacr_wacr", {"cacr_weight": -1.0}, "cacr_weight must not be negative"),
        ("cacr_wacr", {"wacr_weight": -1.0}, "wacr_weight must not be negative"),
        ("cacr_wacr", {"attribution_scale": 0.0}, "attribution_scale must be positive"),
        ("cacr_wacr", {"cacr_limit": 0.0}, "cacr_limit must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method, settings, message):
    with pytest.raises(UsageError, match=message):
        objectives.METHODS[method](linear(W), **settings)
