"""Natural training: the cross-entropy of the image, whatever the perturbation."""

import numpy as np
import pytest

from by_hand import CLEAN, cross_entropy, terms

pytestmark = pytest.mark.usefixtures("float64")


def test_natural_equals_numpy():
    np.testing.assert_allclose(terms("natural")["cross_entropy"], cross_entropy(CLEAN), atol=1e-12)
