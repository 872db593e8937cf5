"""The integrated gradients regulariser: by hand, and added to each base method."""

import numpy as np
import pytest

from by_hand import terms
from tiny_networks import linear

pytestmark = pytest.mark.usefixtures("float64")


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
