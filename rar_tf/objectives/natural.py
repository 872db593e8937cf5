"""Natural training: the plain cross-entropy."""

from rar_tf.objectives.robust_model import RobustModel


class Natural(RobustModel):
    """Minimise l_y(x); the budget serves only the adversarial accuracy that `evaluate` reports."""
