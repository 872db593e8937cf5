"""Whether maps say anything of the network that they explain; robust maps need not."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
from scipy import integrate, special

from rar_tf import metrics
from rar_tf.evaluation.measurement import Batch, Measurement
from rar_tf.evaluation.summary import FAITHFULNESS
from rar_tf.results import variables_of


class Faithfulness(Measurement):
    """Whether the clean maps say anything of the network: a map that is always the same is robust and worthless.

    insertion, deletion (Petsiuk et al. 2018): the area under the label's probability as pixels, those that the map
    ranks first before the others, come into an image of the baseline's value, or leave the image for it; the larger the
    one and the smaller the other, the better. randomisation_spearman (after Adebayo et al. 2018): Spearman's
    correlation with the map of the same network, the entries of each weight tensor shuffled, over the features whose
    clean attribution is not zero: on a black background every map agrees. sparseness: Gini's index.
    relative_input_stability, relative_output_stability (Agarwal et al. 2022): of the attacked image, the map's relative
    change over the image's relative change, and over the change of the logits.

    Args:
      maps: batch -> the network's maps [B, D].
    """

    STEPS, SMALLEST = 20, 1e-6

    def __init__(self, subject, settings, maps: Callable[[Batch], np.ndarray]):
        super().__init__(subject, settings)
        self.maps, self.variables = maps, variables_of(subject.network)
        names = [name for name in FAITHFULNESS if self.variables or name != "randomisation_spearman"]
        self.columns = tuple(names)

    def __call__(self, batch):
        nothing = np.full_like(batch.images, self.settings.baseline)
        ranks = self._ranks(batch)
        moved = np.linalg.norm(self.subject.logits(batch.images) - self.subject.logits(batch.perturbed), axis=1)
        change = metrics.relative_change(batch.maps, batch.perturbed_maps, self.SMALLEST)
        of_image = metrics.relative_change(batch.images, batch.perturbed, self.SMALLEST)
        columns = {
            "insertion": self._area(batch.labels, ranks, nothing, batch.images),
            "deletion": self._area(batch.labels, ranks, batch.images, nothing),
            "sparseness": metrics.gini(batch.maps),
            "relative_input_stability": change / np.maximum(of_image, self.SMALLEST),
            "relative_output_stability": change / np.maximum(moved, self.SMALLEST),
        }
        if self.variables:
            with shuffled(self.variables, self.settings.seed):
                other = np.nan_to_num(self.maps(batch))
            columns["randomisation_spearman"] = metrics.spearman_support(batch.maps, other)
        return columns

    def _ranks(self, batch):
        """The place of each pixel, in parts of all, in the order of the map, the highest first. Shape: [B, H, W, 1]."""
        values = batch.maps.reshape(len(batch.maps), np.prod(batch.images.shape[1:3]), -1).sum(axis=-1)
        order = np.argsort(-values, axis=1, kind="stable")
        ranks = np.empty(order.shape)
        np.put_along_axis(ranks, order, np.broadcast_to(np.arange(order.shape[1]) / order.shape[1], order.shape), 1)
        return ranks.reshape(*batch.images.shape[:3], 1)

    def _area(self, labels, ranks, start, end):
        shares = np.linspace(0, 1, self.STEPS + 1)
        found = []
        for share in shares:
            logits = self.subject.logits(np.where(ranks < share, end, start)).astype(np.float64)
            found.append(special.softmax(logits, axis=1)[np.arange(len(labels)), labels])
        return integrate.trapezoid(found, shares, axis=0)


@contextlib.contextmanager
def shuffled(variables: list, seed: int) -> Iterator[None]:
    """Give each variable its own entries in a random order, and all of them back at the end."""
    kept, generator = [variable.numpy() for variable in variables], np.random.default_rng(seed)
    try:
        for variable, value in zip(variables, kept):
            variable.assign(generator.permutation(value.ravel()).reshape(value.shape))
        yield
    finally:
        for variable, value in zip(variables, kept):
            variable.assign(value)
