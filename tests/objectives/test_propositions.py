"""Why the cosine of attributions is regularised (Wang and Kong 2022): Theorem 1 and Proposition 1, simulated."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from rar_tf import similarity
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target


def cosine(x, y):
    return y @ x / (np.linalg.norm(x) * np.linalg.norm(y, axis=1))


def kendall(x, y):
    """τ-a of x [d] and each row of y [n, d]."""
    first, second = np.triu_indices(len(x), 1)
    return np.mean(np.sign(x[first] - x[second]) * np.sign(y[:, first] - y[:, second]), axis=1)


def exchange(x, generator):
    p, q = generator.choice(len(x), 2, replace=False)
    x = x.copy()
    x[[p, q]] = x[[q, p]]
    return x


def shrink(x, generator):
    x = x.copy()
    x[generator.integers(len(x))] *= generator.uniform()
    return x


@pytest.mark.parametrize("operation", [exchange, shrink])
@pytest.mark.parametrize("seed", range(5))
def test_theorem_1_a_greater_cosine_means_a_greater_expected_kendall(operation, seed):
    generator = np.random.default_rng(seed)
    x = generator.exponential(size=8)
    changed = operation(x, generator)
    attributions = generator.exponential(size=(20_000, 8))
    attributions = attributions[cosine(x, attributions) >= cosine(changed, attributions)]
    assert len(attributions) > 1000
    differences = kendall(x, attributions) - kendall(changed, attributions)
    assert differences.mean() >= -4 * differences.std() / np.sqrt(len(differences))
    if not np.array_equal(np.argsort(x), np.argsort(changed)):
        assert differences.mean() > 0


def test_proposition_1_cosine_is_about_the_consistency_of_activations():
    # One layer of Gaussian units, images of low contrast: cos(IG(x), IG(x')) ≈ P(A∩B)/sqrt(P(A)P(B)).
    generator = np.random.default_rng(0)
    pixels, units = 400, 20_000
    network = keras.Sequential(
        [
            layers.Input((20, 20, 1)),
            layers.Flatten(),
            layers.Dense(units, activation="relu", use_bias=False),
            layers.Dense(1, use_bias=False),
        ]
    )
    weights = generator.normal(size=(pixels, units))
    network.set_weights([weights, generator.normal(size=(units, 1))])
    found, expected = [], []
    for contrast in (0.02, 0.1, 0.2):
        x, changed = (1 + contrast * generator.normal(size=(1, 20, 20, 1)) for _ in range(2))
        a, b = (image.reshape(-1) @ weights > 0 for image in (x, changed))
        expected.append(np.mean(a & b) / np.sqrt(a.mean() * b.mean()))
        target = Target(network, tf.constant([0]))
        attributions = [integrated_gradients(target, tf.constant(image, tf.float32), steps=2) for image in (x, changed)]
        found.append(float(similarity.cosine_similarity(*attributions)[0]))
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert found == sorted(found, reverse=True) and expected == sorted(expected, reverse=True)
