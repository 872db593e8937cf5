"""Attributions of a network's output to its input, and the maps that are compared."""

from rar_tf.registry import Registry

ATTRIBUTIONS = Registry(
    "attribution",
    {
        "integrated_gradients": "rar_tf.attributions.path_integral:INTEGRATED_GRADIENTS",
        "saliency": "rar_tf.attributions.gradients:SALIENCY",
        "input_x_gradient": "rar_tf.attributions.gradients:INPUT_X_GRADIENT",
        "smooth_grad": "rar_tf.attributions.perturbation:SMOOTH_GRAD",
        "occlusion": "rar_tf.attributions.perturbation:OCCLUSION",
        "grad_cam": "rar_tf.attributions.grad_cam:GRAD_CAM",
    },
)
PROTOCOLS = Registry("protocol", {"rar": "rar_tf.attributions.maps:rar_map", "wk": "rar_tf.attributions.maps:wk_map"})
RULES = ("right", "left", "midpoint", "trapezoid", "gauss_legendre")
