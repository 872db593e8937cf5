"""Center smoothing, the comparison: one row per image."""

import numpy as np

from rar_tf.certification import plots, settings
from rar_tf.certification.center_smoothing import CenterSmoother
from rar_tf.certification.certificate import Certificate
from rar_tf.certification.field import attribution_field
from rar_tf.certification.smoothed import sample_batch


class CenterSmoothing(Certificate):
    """How far the direction that center smoothing outputs can move."""

    Settings = settings.CenterSmoothing
    key, counted = ("epsilon",), ("abstained",)
    shown = ("angle", "cosine_distance", "abstained", "seconds")

    def __init__(self, network, settings: settings.CenterSmoothing):
        super().__init__(network, settings)
        s = self.settings
        failing = (1 - s.level) / 2
        self.smoother = CenterSmoother(
            attribution_field(network, s.attribution, ig_steps=s.ig_steps),
            batch_size=max(sample_batch(network, s), 30),
            alpha_1=failing,
            alpha_2=failing,
            center_samples=s.num_samples,
            radius_samples=s.num_samples,
        )

    @classmethod
    def columns(cls, settings):
        return ["epsilon", "angle_bound", "cosine_distance_bound", "relaxed_bound", "abstained"]

    def rows(self, image, label, index, attack):
        s = self.settings
        found = self.smoother.certify(image, label, epsilon=s.epsilon, seed=s.seed, index=index)
        return [{"epsilon": s.epsilon, **found}]

    def guarantee(self):
        return (
            "For each image without abstention: the direction that center smoothing outputs (noise of standard "
            "deviation epsilon) moves by at most the stated angle under every l2 perturbation of at most epsilon, with "
            f"probability {self.settings.confidence:g} over the samples at the image and as much over those at the "
            "perturbed one. "
            "A cosine distance of 1 or more says nothing."
        )

    @classmethod
    def plots(cls, rows, record, folder):
        values = np.array([row["cosine_distance_bound"] for row in rows if "cosine_distance_bound" in row])
        label = "certified cosine distance (from 1: says nothing)"
        return {"bounds.png": plots.histogram({"1 − cosine": values}, label)}
