"""Objectives, gradients, attacks and training steps against the values of the 2019 reference.

The files lie in GOLDEN_DIR. Sign steps flip where a gradient is within rounding of zero, and a path point can lie
within rounding of a switch of a (leaky) ReLU or a max-pool: images are compared by their share of equal pixels, and
what follows such a flip has a wider tolerance, said where it is used.
"""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import losses, objectives
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.experiment import optimizers
from rar_tf.experiment.settings import RunSettings
from rar_tf.models.surrogate import softplus_surrogate

import golden

METHODS = {"nat": "natural", "adv": "madry", "ar": "ig_norm", "adv_ar": "ig_sum_norm"}


@pytest.fixture(params=golden.NAMES)
def case(request):
    return golden.load(request.param), golden.network(request.param)


def relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30)


def setting(values, name):
    return values[f"setting_{name}"].item()


def model_of(values, network, key, **changes):
    """The training method behind a key of the file, with the file's settings."""
    method = objectives.METHODS[METHODS[key]]
    options = {
        "epsilon": setting(values, "epsilon"),
        "step_size": setting(values, "step_size"),
        "steps": setting(values, "train_attack_steps"),
        "bounds": (0.0, setting(values, "pixel_max")),
        "reduction": "sum",
        "weight_decay": setting(values, "weight_decay"),
        "ig_steps": setting(values, "m"),
        "attack_ig_steps": setting(values, "m_attack"),
        "attribution_weight": setting(values, "beta_adv_ar" if key == "adv_ar" else "lambda_ar"),
        **changes,
    }
    return method(network, **{name: value for name, value in options.items() if name in method.options()})


def test_logits_and_losses(case):
    values, network = case
    x, x_adv, y = (tf.constant(values[name]) for name in ("x", "x_adv", "y"))
    assert relative(network(x), values["logits_relu"]) < 1e-5
    assert relative(softplus_surrogate(network)(x), values["logits_softplus"]) < 1e-5
    assert relative(tf.reduce_sum(losses.cross_entropy(network(x), y)), values["xent_sum"]) < 1e-5
    assert relative(tf.reduce_sum(losses.cross_entropy(network(x_adv), y)), values["adv_xent_sum"]) < 1e-5
    if setting(values, "weight_decay"):
        decay = sum(tf.nn.l2_loss(v.value) for v in network.trainable_variables if len(v.shape) > 1)
        assert relative(decay, values["weight_decay_loss"]) < 1e-5


def test_attributions_of_the_loss(case):
    values, network = case
    x, x_adv, y = (tf.constant(values[name]) for name in ("x", "x_adv", "y"))
    target = Target(network, y, losses.log_loss)
    assert relative(gradient(target, x), values["grad_xent_input"]) < 1e-4
    for steps, key, norm in (("m", "ig_loss", "reg"), ("m_attack", "ig_loss_approx", "reg_approx")):
        found = integrated_gradients(target, x_adv, x, steps=setting(values, steps))
        assert relative(found, values[key]) < 3e-3  # a path point at a switch changes one image's map by 1e-3
        assert relative(tf.reduce_sum(tf.abs(found)), values[norm]) < 1e-4


@pytest.mark.parametrize("key", ["ar", "adv_ar"])
def test_objectives_and_their_gradients(case, key):
    values, network = case
    x, x_adv, y = (tf.constant(values[name]) for name in ("x", "x_adv", "y"))
    model = model_of(values, network, key)
    adversary = model.adversary(x, y)
    if key == "ar":  # the file has the gradient of the norm alone, without λ
        found = gradient(adversary, x_adv) / setting(values, "lambda_ar")
    else:
        found = gradient(adversary, x_adv)
    assert relative(found, values[f"grad_{key}_approx_adv_input"]) < 1e-3

    @tf.function
    def weight_gradients():
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(term) for term in model.loss_terms(x, x_adv, y).values()])
        return loss, tape.gradient(loss, network.trainable_variables)

    loss, found = weight_gradients()
    assert relative(loss, values[f"loss_{key}"]) < 1e-5
    for i, weight in enumerate(found):
        weight = weight.numpy().ravel()
        assert relative(np.linalg.norm(weight), values[f"wgrad_{key}_{i:02d}_norm"]) < 1e-4
        places = np.unique(np.linspace(0, weight.size - 1, min(weight.size, 400)).astype(int))
        assert relative(weight[places], values[f"wgrad_{key}_{i:02d}_sample"]) < 1e-3


@pytest.mark.parametrize("key,name", [("adv", "xent"), ("ar", "ar_approx"), ("adv_ar", "adv_ar_approx")])
def test_pgd(case, key, name):
    values, network = case
    x, y = tf.constant(values["x"]), tf.constant(values["y"])
    model = model_of(values, network, key, steps=setting(values, "pgd_steps"))
    found = tf.function(model.perturb)(x, y, x + values["pgd_noise"])
    close = np.abs(found - values[f"pgd5_{name}"]) < 1e-5 * setting(values, "pixel_max")
    assert close.mean() >= 0.99


@pytest.mark.parametrize("key", list(METHODS))
def test_six_training_steps(case, key):
    values, network = case
    before = network.get_weights()
    model = model_of(values, network, key)
    if "setting_train_learning_rates" in values:
        rates = values["setting_train_learning_rates"].tolist()
        changes = [i for i in range(1, len(rates)) if rates[i] != rates[i - 1]]
        optimizer = optimizers.build(
            RunSettings(
                optimizer="momentum",
                learning_rate=[rates[0], *(rates[i] for i in changes)],
                learning_rate_boundaries=[i - 1 for i in changes],
            )
        )
    else:
        optimizer = optimizers.build(RunSettings(optimizer="adam", learning_rate=1e-4))
    model.compile(optimizer)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(x, y, noise):
        return model.minimise(x, model.perturb(x, y, x + noise), y)["loss"]

    # Natural steps have no signs that could flip. With an adversary one flip in 10,000 moves the loss by some 1e-4,
    # and the next steps with it; the weights' change follows.
    loss_tolerance, change_tolerance = (1e-5, 1e-4) if key == "nat" else (2e-3, 2e-2)
    for x, y, noise, loss in zip(
        values["train_x"], values["train_y"], values["train_noise"], values[f"train_losses_{key}"]
    ):
        assert relative(step(x, y, noise), loss) < loss_tolerance
    after = network.get_weights()
    for name, arrays in (("final", after), ("delta", [a - b for a, b in zip(after, before)])):
        norms = np.array([np.linalg.norm(array) for array in arrays])
        np.testing.assert_allclose(
            norms, values[f"train_{name}_norms_{key}"], rtol=1e-4 if name == "final" else change_tolerance
        )
