"""Every method: parameter gradients against finite differences, batches against samples, adversaries that climb."""

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import objectives

import tiny_networks
from gradcheck import check_parameter_gradient

pytestmark = pytest.mark.usefixtures("float64")

METHODS = {
    "natural": {},
    "natural, weight decay": {"weight_decay": 0.1},
    "madry": {},
    "ig_norm": {"ig_steps": 3},
    "ig_sum_norm": {"ig_steps": 3},
    "trades": {"beta": 2.0},
    "trades, perturbed first term": {"beta": 2.0, "clean_term": False},
    "mart": {"beta": 3.0},
    "igr_at": {"ig_steps": 3},
    "igr_trades": {"ig_steps": 3, "beta": 2.0},
    "igr_mart": {"ig_steps": 3},
    "igr_at, own adversary": {"ig_steps": 3, "adversary": "igr"},
    "align_at": {"distance_weight": 0.5},
    "align_trades": {"beta": 2.0, "aligned": "saliency", "aligned_protocol": "wk"},
    "align_mart": {"aligned": "integrated_gradients", "ig_steps": 3},
    "align_at, own adversary": {"align_steps": 2},
    "align_at, one path point": {"aligned": "path_point"},
    "align_at, curvature and linearity": {"curvature_weight": 0.5, "linearity_weight": 2.0},
    "art": {"softplus_beta": 0.0},
    "aat": {"ig_steps": 3},
    "advaat": {"ig_steps": 3},
    "ssr": {},
    "r2et": {"top_k": 4},
    "cacr_wacr": {"ig_steps": 3, "attribution_scale": 50.0},
    "cacr_wacr, code": {"ig_steps": 3, "attribution_scale": 50.0, "variant": "code"},
    "cacr_wacr, difference": {
        "ig_steps": 3,
        "delta_attribution": "difference",
        "cacr_contrast": False,
        "wacr_base": False,
    },
}
WITHOUT_ADVERSARY = ("natural", "natural, weight decay", "ssr", "r2et")
# Random numbers of a step are drawn for its batch as a whole.
DRAWN = ("align_at, one path point", "align_at, curvature and linearity")
WITH_IG = ("igr_at", "igr_trades", "advaat", "cacr_wacr")


def settings(case, **changes):
    chosen = {"epsilon": 0.2, "steps": 4, **METHODS[case], **changes}
    return {**chosen, "attack_ig_steps": chosen["ig_steps"]} if "ig_steps" in chosen else chosen


def build(case, network, **changes):
    return objectives.METHODS[case.split(",")[0]](network, **settings(case, **changes))


def total(model, images, perturbed, labels):
    return tf.add_n([tf.reduce_sum(term) for term in model.loss_terms(images, perturbed, labels).values()])


def parameter_gradient(model, *data):
    with tf.GradientTape() as tape:
        loss = total(model, *data)
    return tape.gradient(loss, [variable.value for variable in model.network.trainable_variables])


def check(case, network, seed=1, **changes):
    check_parameter_gradient(
        case.split(",")[0], settings(case, **changes), *tiny_networks.batch(seed=seed), network=network
    )


@pytest.mark.parametrize("case", METHODS)
def test_parameter_gradient_equals_finite_differences(case):
    # ‖IG‖₁ has a kink and WACR jumps where an attribution changes its sign: a seed without one within the difference's
    # reach.
    check(case, tiny_networks.convolutional(), seed=2 if case.startswith(("ig_", "cacr_wacr")) else 1)


@pytest.mark.parametrize("case", ["igr_trades", "art", "ssr", "advaat"])
def test_parameter_gradient_with_batch_norm(case):
    check(case, tiny_networks.convolutional(batch_norm=True))


def test_parameter_gradient_through_the_softplus_surrogate():
    check("art", tiny_networks.convolutional("relu"), softplus_beta=5.0)


@pytest.mark.parametrize("case", [case for case in METHODS if case not in DRAWN])
def test_a_batch_is_its_samples_one_by_one(case):
    model = build(case, tiny_networks.convolutional())
    images, perturbed, labels = tiny_networks.batch()
    together = model.loss_terms(images, perturbed, labels)
    alone = [model.loss_terms(images[i : i + 1], perturbed[i : i + 1], labels[i : i + 1]) for i in range(3)]
    assert tuple(together) == model.terms
    for name, values in together.items():
        assert values.shape == (3,)
        np.testing.assert_allclose(values, [float(each[name][0]) for each in alone], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", WITH_IG)
def test_chunks_of_the_path_change_nothing(case):
    data = tiny_networks.batch()
    whole = build(case, tiny_networks.convolutional(), ig_steps=5)
    chunked = build(case, whole.network, ig_steps=5, ig_chunk=2)
    np.testing.assert_allclose(total(chunked, *data), total(whole, *data), rtol=1e-12)
    for found, expected in zip(parameter_gradient(chunked, *data), parameter_gradient(whole, *data)):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in METHODS if case not in WITHOUT_ADVERSARY])
def test_the_adversary_climbs_inside_its_ball(case):
    model = build(case, tiny_networks.convolutional(), seed=3)
    images, _, labels = tiny_networks.batch()
    start = model.start(images, tf.constant(7, tf.int64))
    objective = model.adversary(images, labels)
    perturbed = model.perturb(images, labels, start)
    assert float(tf.reduce_max(tf.abs(perturbed - images))) <= 0.2 + 1e-12
    assert float(tf.reduce_sum(objective(perturbed))) > float(tf.reduce_sum(objective(start)))


@pytest.mark.parametrize("case", WITHOUT_ADVERSARY)
def test_methods_without_an_adversary_leave_the_images(case):
    model = build(case, tiny_networks.convolutional())
    images, _, labels = tiny_networks.batch()
    assert model.perturb(images, labels, model.start(images, tf.constant(0, tf.int64))) is images


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_training_step_takes_the_sum_or_the_mean_of_the_samples(reduction):
    model = build("igr_mart", tiny_networks.convolutional(), reduction=reduction)
    model.compile("sgd")
    images, perturbed, labels = tiny_networks.batch()
    terms = model.loss_terms(images, perturbed, labels)
    reduce = tf.reduce_sum if reduction == "sum" else tf.reduce_mean
    logged = model.minimise(images, perturbed, labels)
    assert list(logged) == ["loss", *model.terms]
    for name, value in terms.items():
        assert float(logged[name]) == pytest.approx(float(reduce(value)), rel=1e-12)
    assert float(logged["loss"]) == pytest.approx(sum(float(reduce(value)) for value in terms.values()), rel=1e-12)
