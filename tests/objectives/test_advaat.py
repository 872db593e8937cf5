"""AAT and AdvAAT: Pearson's correlation of attributions, by scipy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rar_tf import objectives

from by_hand import terms
from tiny_networks import linear, pixels

pytestmark = pytest.mark.usefixtures("float64")


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
