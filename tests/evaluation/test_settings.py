"""Settings of evaluations that make no sense are refused in one line."""

import pytest

from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import EvaluationSettings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"ball": "wasserstein"}, r"unknown ball \(--ifia_ball\) 'wasserstein'; known: linf, l2"),
        ({"attribution": "gradcam"}, "unknown attribution 'gradcam'; known: integrated_gradients"),
        ({"prediction_attacks": ("pgd", "nothing")}, "unknown prediction_attacks 'nothing'; known: "),
        ({"steps": 0}, r"steps \(--ifia_steps\) must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UsageError, match=message) as refusal:
        EvaluationSettings(**settings)
    assert "\n" not in str(refusal.value)
