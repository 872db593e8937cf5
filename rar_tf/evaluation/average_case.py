"""How much maps change where nobody attacks them: uniform noise of the same budget, and common corruptions."""

import numpy as np
import tensorflow as tf

from rar_tf.attacks import BALLS
from rar_tf.attacks.ifia import keeps_label
from rar_tf.attacks.pgd import random_starts
from rar_tf.attributions.explainer import Explainer
from rar_tf.data.corruptions import CORRUPTIONS, corrupted
from rar_tf.evaluation.measurement import Measurement
from rar_tf.evaluation.summary import AVERAGE_SCORES, map_scores

NOISE, DRAWS, PURPOSE = "uniform_noise", 4, 700
CHANGES = (NOISE, *CORRUPTIONS)


class AverageCase(Measurement):
    """Scores beside the worst case: of random points of the attack's ball, a mean over a few, and of corruptions.

    Images count whether or not they keep their label; the map is that of their label. `label_kept` is the share that
    keep it.

    Args:
      explainer: how the maps come about that are compared.
    """

    def __init__(self, subject, settings, explainer: Explainer):
        super().__init__(subject, settings)
        self.explainer = explainer
        self.columns = tuple(f"{change}:{name}" for change in CHANGES for name in (*AVERAGE_SCORES, "label_kept"))

    def __call__(self, batch):
        compiled = self.subject.compiled("average case", self._maps)
        clean, _ = compiled(batch.images, batch.labels)
        columns = {}
        for change in CHANGES:
            found = [self._scores(clean, *compiled(images, batch.labels)) for images in self._changed(change, batch)]
            columns.update({f"{change}:{name}": np.mean([each[name] for each in found], axis=0) for name in found[0]})
        return columns

    def _changed(self, change, batch):
        s = self.settings
        if change != NOISE:
            return [corrupted(change, batch.images, s.bounds, batch.index, s.seed)]
        return [
            np.clip(
                random_starts(
                    tf.constant(batch.images),
                    tf.constant(batch.index),
                    epsilon=s.epsilon,
                    ball=BALLS[s.ball],
                    seed=tf.constant(s.seed * 1009 + PURPOSE + draw, tf.int64),
                ),
                *s.bounds,
            )
            for draw in range(DRAWS)
        ]

    def _maps(self, images, labels):
        explained = self.subject.explained
        return self.explainer(explained, images, labels), keeps_label(explained, images, labels)

    def _scores(self, clean, maps, kept):
        return {**map_scores(clean, maps, self.settings.metric_k), "label_kept": kept.astype(float)}
