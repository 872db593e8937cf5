"""Objectives, gradients, attacks and training steps against golden values; `golden` says how near they have to be."""

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
from golden import assert_agrees, unequal

METHODS = {"nat": "natural", "adv": "madry", "ar": "ig_norm", "adv_ar": "ig_sum_norm"}


@pytest.fixture(params=golden.cases())
def case(request):
    return golden.load(request.param), golden.network(request.param)


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
    y = tf.constant(values["y"])

    def agrees(function, name, of="x"):
        assert_agrees(function, network, [values[of]], values[name])

    agrees(network, "logits_relu")
    agrees(lambda x: softplus_surrogate(network)(tf.constant(x)), "logits_softplus")
    agrees(lambda x: tf.reduce_sum(losses.cross_entropy(network(x), y)), "xent_sum")
    agrees(lambda x: tf.reduce_sum(losses.cross_entropy(network(x), y)), "adv_xent_sum", "x_adv")
    if setting(values, "weight_decay"):
        decay = sum(tf.nn.l2_loss(v.value) for v in network.trainable_variables if len(v.shape) > 1)
        assert golden.relative(decay, values["weight_decay_loss"]) < golden.ROUNDING


def test_attributions_of_the_loss(case):
    values, network = case
    target = Target(network, tf.constant(values["y"]), losses.log_loss)
    assert_agrees(lambda x: gradient(target, tf.constant(x)), network, [values["x"]], values["grad_xent_input"])
    for steps, key, norm in (("m", "ig_loss", "reg"), ("m_attack", "ig_loss_approx", "reg_approx")):

        def attribution(x, x_adv):
            found = integrated_gradients(target, tf.constant(x_adv), tf.constant(x), steps=setting(values, steps))
            return found, tf.reduce_sum(tf.abs(found))

        assert_agrees(attribution, network, [values["x"], values["x_adv"]], (values[key], values[norm]))


@pytest.mark.parametrize("key", ["ar", "adv_ar"])
def test_objectives_and_their_gradients(case, key):
    values, network = case
    arrays, y = [values["x"], values["x_adv"]], tf.constant(values["y"])
    model = model_of(values, network, key)

    def climbed(x, x_adv):
        found = gradient(model.adversary(tf.constant(x), y), tf.constant(x_adv))
        return found / setting(values, "lambda_ar") if key == "ar" else found  # files have that of the norm alone

    assert_agrees(climbed, network, arrays, values[f"grad_{key}_approx_adv_input"])

    @tf.function
    def weight_gradients(x, x_adv):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(term) for term in model.loss_terms(x, x_adv, y).values()])
        return loss, tape.gradient(loss, network.trainable_variables)

    def trained(x, x_adv):
        """The loss, and of each weight the norm and some entries of its gradient."""
        loss, slopes = weight_gradients(tf.constant(x), tf.constant(x_adv))
        flat = [slope.numpy().ravel().astype(np.float64) for slope in slopes]  # sums of 3 million squares
        return loss, *map(np.linalg.norm, flat), *(slope[golden.sample_entries(slope.size)] for slope in flat)

    count = range(len(network.trainable_variables))
    known = [values[f"wgrad_{key}_{i:02d}_{what}"] for what in ("norm", "sample") for i in count]
    assert_agrees(trained, network, arrays, (values[f"loss_{key}"], *known))


@pytest.mark.parametrize("key,name", [("adv", "xent"), ("ar", "ar_approx"), ("adv_ar", "adv_ar_approx")])
def test_pgd(case, key, name):
    values, network = case
    y = tf.constant(values["y"])
    perturb = tf.function(model_of(values, network, key, steps=setting(values, "pgd_steps")).perturb)

    def attacked(x, noise):
        return perturb(tf.constant(x), y, tf.constant(x + noise)).numpy()

    differs = unequal(1e-5 * setting(values, "pixel_max"))
    assert_agrees(
        attacked, network, [values["x"], values["pgd_noise"]], values[f"pgd5_{name}"], distance=differs, least=0
    )


@pytest.mark.parametrize("key", list(METHODS))
def test_six_training_steps(case, key):
    values, network = case
    model = model_of(values, network, key)
    rates = [1e-4] if "setting_train_learning_rates" not in values else values["setting_train_learning_rates"].tolist()
    changes = [i for i in range(1, len(rates)) if rates[i] != rates[i - 1]]
    optimizer = optimizers.build(
        RunSettings(
            optimizer="adam" if len(rates) == 1 else "momentum",
            learning_rate=[rates[0], *(rates[i] for i in changes)],
            learning_rate_boundaries=[i - 1 for i in changes],
        )
    )
    model.compile(optimizer)
    optimizer.build(network.trainable_variables)
    state = [variable.numpy() for variable in optimizer.variables]

    @tf.function
    def step(x, y, noise):
        return model.minimise(x, model.perturb(x, y, x + noise), y)["loss"]

    def run(x, noise):
        """Losses, norms of the weights, and of their change; network and optimizer are left as they were."""
        start = network.get_weights()
        for variable, value in zip(optimizer.variables, state):
            variable.assign(value)
        found = [float(step(tf.constant(a), b, tf.constant(c))) for a, b, c in zip(x, values["train_y"], noise)]
        after = network.get_weights()
        network.set_weights(start)
        return found, norms(after), norms([a - b for a, b in zip(after, start)])

    def norms(arrays):
        return [np.linalg.norm(array.astype(np.float64)) for array in arrays]

    known = (values[f"train_{name}_{key}"] for name in ("losses", "final_norms", "delta_norms"))
    assert_agrees(run, network, [values["train_x"], values["train_noise"]], tuple(known))
