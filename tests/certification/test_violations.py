"""No certificate is violated: 300 attacked cases of real images over three networks, with the full attack."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

import rar_tf

METHODS = {
    "natural": lambda network: rar_tf.Natural(network, epsilon=0.1, bounds=(0, 1)),
    "adversarial": lambda network: rar_tf.Madry(network, epsilon=0.1, steps=5, bounds=(0, 1)),
    "ig_sum_norm": lambda network: rar_tf.IGSumNorm(
        network, epsilon=0.1, steps=5, ig_steps=10, attack_ig_steps=5, bounds=(0, 1), attribution_weight=0.1
    ),
}


def trained(method):
    """A network of two hidden layers, trained on all digits but the last 297; those as images and labels."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    images, labels = (digits.images[..., None] / 16).astype(np.float32), digits.target
    network = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )
    model = METHODS[method](network)
    model.compile(keras.optimizers.Adam(2e-3))
    model.fit(images[:1500], labels[:1500], batch_size=50, epochs=15, verbose=0)
    return network, images[1500:], labels[1500:]


def attacked(network, images, labels, count, **settings):
    found = rar_tf.certify(
        network,
        images,
        labels,
        method="uniform_smoothing",
        bounds=(0, 1),
        radius=1.0,
        threshold=0.8,
        num_samples=3000,
        sample_batch=300,
        certificate_attack=count,
        **settings,
    )
    return [row for row in found.rows if "attack_cosine" in row]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("attribution", ["saliency", "input_x_gradient"])
def test_full_attacks_within_half_a_percent_of_the_certified_epsilon_find_no_violation(method, attribution):
    network, images, labels = trained(method)
    rows = attacked(network, images[:70], labels[:70], 50, attribution=attribution)
    print(
        f"{method}, {attribution}: {len(rows)} cases, "
        f"largest epsilon {np.mean([r['largest_epsilon_0.8'] for r in rows]):.4f}, "
        f"lowest cosine {min(r['attack_cosine'] for r in rows):.4f}, "
        f"{np.mean([r['attack_seconds'] for r in rows]):.1f} s each"
    )
    assert len(rows) >= 50 and not any(row["violation"] for row in rows)
    for row in rows:
        assert row["attack_epsilon"] == pytest.approx(0.995 * row["largest_epsilon_0.8"])
        assert row["attack_cosine"] < 1 - 1e-6  # the attack moves the map


def test_attacks_find_no_violation_on_a_few_images():
    network, images, labels = trained("natural")
    rows = attacked(network, images[:4], labels[:4], 2, attribution="saliency", certificate_attack_restarts=2)
    assert len(rows) == 2 and not any(row["violation"] for row in rows)
