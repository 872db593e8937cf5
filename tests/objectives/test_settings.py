"""Settings of methods that make no sense are refused in one line."""

import pytest

from rar_tf import objectives
from rar_tf.errors import UsageError

from by_hand import W
from tiny_networks import linear

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(
    "method,settings,message",
    [
        ("ig_norm", {"epsilon": 0.0}, "epsilon must be positive"),
        ("ig_norm", {"steps": 0}, r"steps \(--attack_steps\) must be at least 1"),
        ("ig_norm", {"step_size": -1.0}, "step_size"),
        ("ig_norm", {"ig_steps": 0}, "at least 1"),
        ("ig_norm", {"ig_steps": 50, "attack_ig_steps": 7}, "must divide"),
        ("ig_norm", {"size": "l7"}, "unknown size"),
        ("ig_norm", {"reduction": "max"}, "unknown reduction"),
        ("ig_norm", {"constraint": "l3"}, "unknown constraint"),
        ("ig_norm", {"bounds": (1.0, 0.0)}, "bounds"),
        ("ig_norm", {"weight_decay": -1.0}, "weight_decay"),
        ("ig_norm", {"gamma": 0.0}, "gamma"),
        ("ig_norm", {"attribution_weight": -1.0}, "attribution_weight"),
        ("ig_norm", {"epsilon": float("nan")}, "epsilon must be finite"),
        ("ig_norm", {"random_start": False}, "random_start must be true for IGNorm"),
        ("trades", {"beta": 0.0}, "beta must be positive"),
        ("trades", {"random_start": False}, "random_start must be true for TRADES"),
        ("mart", {"beta": -1.0}, "beta must be positive"),
        ("igr_at", {"attribution_weight": -1.0}, "attribution_weight must not be negative"),
        ("igr_at", {"adversary": "other"}, "unknown adversary 'other'; known: base, igr"),
        ("igr_mart", {"adversary": "igr", "random_start": False}, "random_start must be true for IGRMART"),
        ("igr_trades", {"ig_steps": 10, "attack_ig_steps": 3}, "attack_ig_steps must divide"),
        ("aat", {"random_start": False}, "random_start must be true for AAT"),
        ("align_at", {"align_steps": -1}, "align_steps must not be negative"),
        ("align_at", {"align_warmup": -1}, "align_warmup must not be negative"),
        ("align_at", {"distance_weight": -1.0}, "distance_weight must not be negative"),
        ("align_at", {"curvature_weight": -1.0}, "curvature_weight must not be negative"),
        ("align_mart", {"linearity_weight": float("nan")}, "linearity_weight must be finite"),
        ("align_trades", {"aligned": "other"}, "unknown aligned 'other'; known: integrated_gradients"),
        ("align_at", {"aligned_protocol": "other"}, "unknown aligned_protocol 'other'; known: rar, wk"),
        ("align_trades", {"random_start": False}, "random_start must be true for AlignTRADES"),
        ("art", {"attribution_weight": -0.5}, "attribution_weight must not be negative"),
        ("art", {"softplus_beta": -1.0}, "softplus_beta must not be negative"),
        ("ssr", {"attribution_weight": -0.5}, "attribution_weight must not be negative"),
        ("r2et", {"curvature_weight": -0.5}, "curvature_weight must not be negative"),
        ("r2et", {"top_k": 0}, "top_k must be at least 1"),
        ("r2et", {"top_k": 2}, "top_k must be at most half of the 2 pixels"),
        ("cacr_wacr", {"variant": "other"}, "unknown variant 'other'; known: paper, code"),
        ("cacr_wacr", {"delta_attribution": "other"}, "unknown delta_attribution 'other'; known: path, difference"),
        ("cacr_wacr", {"cacr_weight": -1.0}, "cacr_weight must not be negative"),
        ("cacr_wacr", {"wacr_weight": -1.0}, "wacr_weight must not be negative"),
        ("cacr_wacr", {"attribution_scale": 0.0}, "attribution_scale must be positive"),
        ("cacr_wacr", {"cacr_limit": 0.0}, "cacr_limit must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method, settings, message):
    with pytest.raises(UsageError, match=message):
        objectives.METHODS[method](linear(W), **settings)


def test_adversaries_that_climb_a_loss_may_start_at_the_image():
    for method, settings in (("ig_sum_norm", {}), ("rar", {"size": "sum"}), ("madry", {})):
        objectives.METHODS[method](linear(W), random_start=False, **settings)


def test_unknown_method_and_mistyped_setting():
    with pytest.raises(UsageError, match="unknown method 'igg_norm'; known: natural"):
        objectives.METHODS["igg_norm"]
    with pytest.raises(UsageError, match="unknown setting epsilonn; known: bounds"):
        objectives.METHODS["madry"](linear(W), epsilonn=0.1)
