"""ART: by hand, and on a softplus surrogate."""

import numpy as np
import pytest

import rar_tf

import tiny_networks
from by_hand import terms
from tiny_networks import linear

pytestmark = pytest.mark.usefixtures("float64")


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
    values = [rar_tf.ART(network, softplus_beta=beta).misalignment(*data).numpy() for beta in (0.0, 2.0, 1e4)]
    assert np.max(np.abs(values[1] - values[0])) > 1e-4
    np.testing.assert_allclose(values[2], values[0], atol=1e-3)
