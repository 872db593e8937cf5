"""How robust a network's attributions are: predictions and maps under attack, image by image, then in sum.

Protocol: Chen et al. 2019, Section 5. The first N images in file order; only those that are classified correctly are
attacked; an image for which no iterate keeps the label and lowers the measure scores 1 in every metric and counts as
a fallback.
"""

import numpy as np

from rar_tf import inputs
from rar_tf.evaluation.measurement import Batch
from rar_tf.evaluation.measurements import explainer_of, measurements_of
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject
from rar_tf.evaluation.summary import Examples, plain_number
from rar_tf.results import fingerprint, images_digest


class Evaluator:
    """Evaluates one network; compiles its attacks once, so that it can be called again as the network's weights change.

    Args:
      network, surrogate: those of `Subject`.
      reference_network: another network whose clean maps the network's are compared with.
    """

    def __init__(self, network, settings: EvaluationSettings, *, surrogate=None, reference_network=None):
        self.settings = settings.resolved()
        other = reference_network
        self.reference_network = None if other is None else inputs.evaluation_mode(inputs.unwrapped(other))
        self.subject = Subject(network, surrogate, split=self.settings.evaluation_protocol == "ours")
        if self.settings.attack != "none":
            explainer_of(self.settings).check(network)
        self.measurements = measurements_of(self.subject, self.settings, self.reference_network)

    @property
    def columns(self) -> list[str]:
        """The names of all values that a row can have, in order."""
        return ["index", "label", "prediction", "correct", *(name for m in self.measurements for name in m.columns)]

    def digests(self, images: np.ndarray, labels: np.ndarray) -> dict:
        """Return digests of what else decides the numbers, beside the settings: weights and images."""
        record = {"weights_digest": fingerprint(self.subject.network), "images_digest": images_digest(images, labels)}
        target = self.settings.wanted()
        if target is not None:
            record["target_digest"] = images_digest(target)
        if self.subject.source is not self.subject.network:
            record["surrogate_weights_digest"] = fingerprint(self.subject.source)
        if self.reference_network is not None:
            record["reference_weights_digest"] = fingerprint(self.reference_network)
        return record

    def evaluate_group(
        self, index: np.ndarray, images: np.ndarray, labels: np.ndarray, predictions: np.ndarray, *, maps: bool = True
    ) -> tuple[list[dict], Examples | None]:
        """Return one row per image, and the maps of the attacked ones; with maps=False only predictions are attacked.

        Shape: index, labels, predictions [B]; images [B, H, W, C]. The index, not the place in the batch, seeds an
        image's random starts.
        """
        correct = labels == predictions
        rows = [
            {"index": int(i), "label": int(y), "prediction": int(p), "correct": int(y == p)}
            for i, y, p in zip(index, labels, predictions)
        ]
        for row in rows:
            if not row["correct"]:
                row.update(dict.fromkeys(self.measurements[0].columns, 0))
        if not correct.any():
            return rows, None
        batch = Batch(index[correct], images[correct].astype(np.float32), labels[correct].astype(np.int64))
        attacked = [row for row in rows if row["correct"]]
        for measurement in self.measurements if maps else self.measurements[:1]:
            values = measurement(batch)
            for i, row in enumerate(attacked):
                row.update({name: plain_number(values[name][i]) for name in measurement.columns})
        if batch.maps is None or batch.perturbed is None or batch.perturbed_maps is None:
            return rows, None
        shape = self.map_shape(images.shape[1:])
        clean, perturbed = (each.reshape(-1, *shape) for each in (batch.maps, batch.perturbed_maps))
        kendall = np.array([row["kendall"] for row in attacked])
        return rows, Examples(batch.index, batch.images, batch.perturbed, clean, perturbed, kendall)

    def maps(self, images: np.ndarray, labels: np.ndarray, batch_size: int = 16) -> np.ndarray:
        """Return the maps that are compared. Shape: images [N, H, W, C], labels [N] -> [N, H, W] or [N, H, W, C]."""
        explainer = explainer_of(self.settings)
        explain = self.subject.compiled("explain", lambda x, y: explainer(self.subject.explained, x, y))
        parts = [slice(i, i + batch_size) for i in range(0, len(images), batch_size)]
        found = [explain(images[part].astype(np.float32), labels[part].astype(np.int64)) for part in parts]
        shape = self.map_shape(images.shape[1:])
        return np.concatenate([np.empty((0, *shape), np.float32), *(each.reshape(-1, *shape) for each in found)])

    def map_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a map of an image [H, W, C]: by pixel, or by pixel and channel."""
        return self.settings.map_shape(image_shape)

    def predict(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the predicted labels [N]. Raises: UsageError where network, images, labels and settings do not fit."""
        predictions = self.subject.predict(images, labels, self.settings.bounds)
        self.settings.check_images(images.shape[1:])
        return predictions
