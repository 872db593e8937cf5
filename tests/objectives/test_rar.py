"""The RAR objectives: gradients, special cases of Chen et al. (2019), values by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses, objectives
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError

from gradcheck import check_parameter_gradient, smooth_network

IMAGES = np.random.RandomState(0).uniform(0.2, 0.8, [3, 4, 4, 1])
PERTURBED = IMAGES + np.random.RandomState(1).uniform(-0.1, 0.1, IMAGES.shape)
LABELS = tf.constant([0, 2, 1])
BUDGET = {"epsilon": 0.1, "step_size": 0.04, "steps": 5}
RAR_SETTINGS = [
    {},
    {"size": "sum"},
    {"size": "l1_squared"},
    {"size": "l2"},
    {"layer": "hidden"},
    {"layer": "output"},
    {"rule": "gauss_legendre"},
    {"ig_chunk": 2},
    {"constraint": "wasserstein"},
]


@pytest.mark.parametrize(
    "method,settings",
    [
        ("ig_norm", {"attribution_weight": 2.0}),
        ("ig_sum_norm", {}),
        ("ig_sum_norm", {"reduction": "sum"}),
        *(("rar", settings) for settings in RAR_SETTINGS),
    ],
)
def test_parameter_gradient_against_finite_differences(float64, method, settings):
    check_parameter_gradient(
        method, {**BUDGET, "ig_steps": 6, "attack_ig_steps": 3, **settings}, IMAGES, PERTURBED, LABELS
    )


@pytest.mark.parametrize("order", [1.5, 2.0])
def test_parameter_gradient_of_input_gradient_regularisation(float64, order):
    check_parameter_gradient("input_gradient", {**BUDGET, "gradient_order": order}, IMAGES, PERTURBED, LABELS)


def linear_network(weights):
    """Two classes with logits (0, w·x): the cross-entropy of label 1 is the soft-margin loss ln(1 + exp(−w·x))."""
    network = keras.Sequential([keras.layers.Input((2, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.layers[-1].set_weights([np.stack([np.zeros(2), weights], 1), np.zeros(2)])
    return network


def test_two_pixels_by_hand(float64):
    # IG(x→x') of the soft-margin loss along w = (2, −1): each pixel gets (x'−x)_i · mean_k of −σ(−z_k) w_i.
    model = objectives.METHODS["ig_sum_norm"](
        linear_network([2.0, -1.0]), ig_steps=2, attack_ig_steps=1, attribution_weight=0.5
    )
    x, perturbed = np.array([0.5, 0.25]), np.array([0.7, 0.15])
    margins = [(x + k / 2 * (perturbed - x)) @ [2.0, -1.0] for k in (1, 2)]
    slope = np.mean([1 / (1 + np.exp(z)) for z in margins])
    terms = model.loss_terms(
        tf.constant(x.reshape(1, 2, 1, 1)), tf.constant(perturbed.reshape(1, 2, 1, 1)), tf.constant([1])
    )
    assert float(terms["cross_entropy"][0]) == pytest.approx(np.log1p(np.exp(-margins[1])))
    assert float(terms["attribution"][0]) == pytest.approx(0.5 * slope * (0.2 * 2 + 0.1 * 1))


class TestSpecialCases:
    """Propositions 1 to 4 and Theorem 3 of Chen et al. (2019)."""

    def madry_loss(self, network):
        return losses.cross_entropy(network(PERTURBED), LABELS)

    def total(self, model):
        return tf.add_n(list(model.loss_terms(tf.constant(IMAGES), tf.constant(PERTURBED), LABELS).values()))

    def test_proposition_1_sum_gives_madry(self, float64):
        network = smooth_network()
        exact = objectives.METHODS["rar"](network, size="sum", rule="gauss_legendre", ig_steps=16, attack_ig_steps=16)
        np.testing.assert_allclose(self.total(exact), self.madry_loss(network), rtol=1e-6)

        def error(steps):
            model = objectives.METHODS["rar"](network, size="sum", ig_steps=steps, attack_ig_steps=steps)
            return np.abs(self.total(model) - self.madry_loss(network)).max()

        assert error(20) / error(40) == pytest.approx(2.0, rel=0.05)

    def test_proposition_1_for_a_hidden_layer(self, float64):
        network = smooth_network()
        model = objectives.METHODS["rar"](
            network, size="sum", layer="hidden", rule="gauss_legendre", ig_steps=16, attack_ig_steps=16
        )
        np.testing.assert_allclose(self.total(model), self.madry_loss(network), rtol=1e-6)

    def test_proposition_2_one_left_point_gives_the_input_gradient(self, float64):
        network = smooth_network()
        model = objectives.METHODS["rar"](network, rule="left", ig_steps=1, attack_ig_steps=1, size="l1_squared")
        x = tf.Variable(IMAGES)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(Target(network, LABELS, losses.log_loss)(x))
        expected = (PERTURBED - IMAGES) * tape.gradient(loss, x)
        np.testing.assert_allclose(
            model.path_attribution(tf.constant(IMAGES), tf.constant(PERTURBED), LABELS, 1), expected, rtol=1e-9
        )
        size = model.loss_terms(tf.constant(IMAGES), tf.constant(PERTURBED), LABELS)["attribution"]
        np.testing.assert_allclose(size, np.abs(expected).sum((1, 2, 3)) ** 2, rtol=1e-9)

    def gradient_of_the_loss(self, network):
        x = tf.Variable(IMAGES)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(Target(network, LABELS, losses.log_loss)(x))
        return np.abs(tape.gradient(loss, x).numpy()).reshape(len(IMAGES), -1)

    @pytest.mark.parametrize("size,constraint,order", [("l1_squared", "l2", 2), ("l1", "linf", 1)])
    def test_proposition_2_the_adversary_of_the_dual_ball_reaches_the_gradients_norm(
        self, float64, size, constraint, order
    ):
        network = smooth_network()
        settings = {"epsilon": 0.1, "attribution_weight": 3.0, "bounds": (-9.0, 9.0)}
        one_point = {"rule": "left", "ig_steps": 1, "attack_ig_steps": 1, "size": size, "constraint": constraint}
        model = objectives.METHODS["rar"](network, **settings, **one_point, steps=60, step_size=0.05)
        images = tf.constant(IMAGES)
        perturbed = model.perturb(images, LABELS, model.start(images, tf.constant(0, tf.int64)))
        reached = model.loss_terms(images, perturbed, LABELS)["attribution"]
        wanted = 3.0 * (0.1 * (self.gradient_of_the_loss(network) ** order).sum(1) ** (1 / order)) ** order
        np.testing.assert_allclose(reached, wanted, rtol=1e-4)
        closed = objectives.METHODS["input_gradient"](network, **settings, gradient_order=order)
        np.testing.assert_allclose(closed.loss_terms(images, images, LABELS)["gradient"], wanted, rtol=1e-9)

    @pytest.mark.parametrize("order", [1.5, 3.0])
    def test_proposition_2_for_a_general_order_is_hoelders_maximum(self, float64, order):
        network, dual = smooth_network(), order / (order - 1)
        g = self.gradient_of_the_loss(network)
        model = objectives.METHODS["input_gradient"](network, epsilon=0.1, gradient_order=order, attribution_weight=1.0)
        found = model.loss_terms(tf.constant(IMAGES), tf.constant(IMAGES), LABELS)["gradient"].numpy()
        best = g ** (order - 1)  # |x'| − x of the maximiser, in the ball of the dual norm
        best *= 0.1 / (best**dual).sum(1, keepdims=True) ** (1 / dual)
        np.testing.assert_allclose(found, (best * g).sum(1) ** order, rtol=1e-9)
        other = np.abs(np.random.default_rng(0).normal(size=(200, *g.shape)))
        other *= 0.1 / (other**dual).sum(-1, keepdims=True) ** (1 / dual)
        assert ((other * g).sum(-1) ** order <= found * (1 + 1e-9)).all()

    def test_proposition_3_the_output_layer_gives_the_change_of_the_loss(self, float64):
        network = smooth_network()
        model = objectives.METHODS["rar"](network, layer="output", attribution_weight=3.0)
        change = np.abs(self.madry_loss(network) - losses.cross_entropy(network(IMAGES), LABELS))
        found = model.loss_terms(tf.constant(IMAGES), tf.constant(PERTURBED), LABELS)["attribution"]
        np.testing.assert_allclose(found, 3 * change, rtol=1e-9)

    def test_proposition_4_wasserstein_with_sum_climbs_the_penalised_loss(self, float64):
        # The adversary maximises l(x') − l(x) − γ‖x'−x‖², so its x' beats the image and random neighbours in
        # l(x') − γ‖x'−x‖², the inner problem of distributionally robust training.
        network = smooth_network()
        model = objectives.METHODS["rar"](
            network,
            size="sum",
            constraint="wasserstein",
            gamma=2.0,
            epsilon=0.05,
            steps=15,
            rule="gauss_legendre",
            ig_steps=16,
            attack_ig_steps=16,
            bounds=(-9.0, 9.0),
        )
        images = tf.constant(IMAGES)
        found = model.perturb(images, LABELS, images)

        def penalised(x):
            return losses.cross_entropy(network(x), LABELS) - 2.0 * tf.reduce_sum((x - images) ** 2, [1, 2, 3])

        assert (penalised(found) > penalised(images)).numpy().all()
        for seed in range(20):
            other = found + 0.05 * tf.random.stateless_normal(found.shape, [seed, 0], dtype=tf.float64)
            assert (penalised(found) > penalised(other) - 1e-4).numpy().all()
        np.testing.assert_allclose(
            tf.add_n(list(model.loss_terms(images, found, LABELS).values())),
            losses.cross_entropy(network(found), LABELS),
            rtol=1e-6,
        )

    def test_theorem_3_on_linear_models_ig_norm_is_madry(self, float64):
        weights, epsilon = np.array([1.5, -0.7]), 0.2
        network = linear_network(weights)
        x = tf.constant(np.random.RandomState(3).uniform(0.3, 0.7, [4, 2, 1, 1]))
        labels = tf.constant([1, 0, 1, 0])
        sign = np.where(labels == 1, 1.0, -1.0).reshape(-1, 1, 1, 1)
        worst = x - sign * epsilon * np.sign(weights).reshape(1, 2, 1, 1)
        settings = {
            "ig_steps": 16,
            "attack_ig_steps": 16,
            "rule": "gauss_legendre",
            "epsilon": epsilon,
            "steps": 40,
            "step_size": 0.02,
        }
        model = objectives.METHODS["ig_norm"](network, **settings)
        madry = losses.cross_entropy(network(worst), labels)
        np.testing.assert_allclose(tf.add_n(list(model.loss_terms(x, worst, labels).values())), madry, rtol=1e-6)
        # No other point of the ball has a larger norm: not its corners, not its inside.
        norm = model.loss_terms(x, worst, labels)["attribution"]
        others = [epsilon * np.array([a, b]) for a in (-1, 1) for b in (-1, 1)]
        others += list(np.random.RandomState(4).uniform(-epsilon, epsilon, [20, 2]))
        for other in others:
            size = model.loss_terms(x, x + other.reshape(1, 2, 1, 1), labels)["attribution"]
            assert (size <= norm + 1e-9).numpy().all()
        found = model.perturb(x, labels, x - 0.01 * sign * np.sign(weights).reshape(1, 2, 1, 1))
        np.testing.assert_allclose(found, worst, rtol=1e-9)


def test_a_hidden_layers_path_is_not_chunked_and_says_so():
    network = smooth_network()
    with pytest.raises(UsageError, match="ig_chunk=2: the path of a hidden layer"):
        objectives.METHODS["rar"](network, layer="hidden", ig_chunk=2)
    objectives.METHODS["rar"](network, layer="output", ig_chunk=2)
