"""Robust attributions in TensorFlow: train, attack, bound and certify saliency maps.

model = rar_tf.IGSumNorm(network, epsilon=8 / 255, steps=7)
model.compile("adam")
model.fit(images, labels)
rar_tf.evaluate(network, test_images, test_labels, bounds=(0, 1), epsilon=8 / 255)
rar_tf.certify(network, test_images, test_labels, method="uniform_smoothing", bounds=(0, 1), radius=1, epsilon=0.05)
"""

from rar_tf.objectives import METHODS
from rar_tf.registry import on_first_use
from rar_tf.version import __version__  # noqa: F401

# On first use, so that `--help` and a mistyped flag need not wait for TensorFlow; type checkers read __init__.pyi.
__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        **METHODS.modules(),
        "RobustModel": "rar_tf.objectives.robust_model",
        "IGR": "rar_tf.objectives.igr",
        "Align": "rar_tf.objectives.align",
        "UsageError": "rar_tf.errors",
        "attack": "rar_tf.evaluation.job",
        "load": "rar_tf.zoo",
        "list_models": "rar_tf.zoo",
        "evaluate": "rar_tf.evaluation.job",
        "explain": "rar_tf.attributions.explainer",
        "plot_maps": "rar_tf.figures",
        "certify": "rar_tf.certification.run",
        "integrated_gradients": "rar_tf.attributions.path_integral",
        "saliency_map": "rar_tf.attributions.gradients",
        "input_x_gradient": "rar_tf.attributions.gradients",
        "Target": "rar_tf.attributions.targets",
        "softplus_surrogate": "rar_tf.models.surrogate",
        "smoothed": "rar_tf.models.conversion",
    },
)
