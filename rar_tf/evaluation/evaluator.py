"""How robust a network's attributions are: predictions and maps under attack, image by image, then in sum.

Protocol: Chen et al. 2019, Section 5. The first N images in file order; only those that are classified correctly are
attacked; an image for which no iterate keeps the label and lowers the measure scores 1 in every metric and counts as
a fallback.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from absl import logging

from rar_tf import metrics
from rar_tf.attacks import BALLS, PREDICTION_ATTACKS, ensemble
from rar_tf.attacks.ifia import Explainer, Ifia
from rar_tf.attacks.pgd import pgd, random_starts
from rar_tf.attributions.gradients import gradient
from rar_tf.errors import UsageError
from rar_tf.evaluation.activity import ActivityCounter
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.summary import (
    SCORES,
    Evaluation,
    Examples,
    accuracy_column,
    kept_scores,
    lower,
    plain_number,
    thin,
)
from rar_tf.losses import cross_entropy, logit
from rar_tf.models.surrogate import Surrogate, softplus_surrogate


class Evaluator:
    """Evaluates one network; compiles its attacks once, so that it can be called again as the network's weights change.

    Args:
      network: a Keras model of logits, a `Surrogate`, or any callable (images, training=False) -> logits.
      surrogate: where directions come from; None clones the network with softplus, or, where it cannot be cloned, takes
        the network itself, with a warning.
      reference_network: another network whose clean maps the network's are compared with (Sarkar et al. 2021, Table 11).
    """

    def __init__(self, network, settings: EvaluationSettings, *, surrogate=None, reference_network=None):
        self.network = network
        self.settings = settings.resolved()
        self.reference_network = reference_network
        self.warnings: list[str] = []
        self._surrogates: dict = {1.0: surrogate} if surrogate is not None else {}
        self._compiled: dict = {}
        self._activity = ActivityCounter.of(network)
        self.runs = self._plan()
        for _, _, beta in self.runs:  # now, so that a continued evaluation warns as one in one go does
            self.surrogate(beta)

    def _plan(self) -> list[tuple[str, Ifia, float]]:
        """The attacks on attributions as (name, attack, the surrogate's inverse temperature)."""
        plain = plain_attack(self.settings)
        runs = [("plain", plain, 1.0)]
        if self.settings.attack == "auto":
            plain = dataclasses.replace(plain, track=ensemble.TRACKED)
            runs = [("plain", plain, 1.0)] + [
                (member.name, ensemble.member_attack(plain, member), member.beta) for member in ensemble.MEMBERS
            ]
        return runs

    def surrogate(self, beta: float):
        """Return the network that directions come from, at an inverse temperature where the network can be cloned."""
        if beta not in self._surrogates:
            try:
                self._surrogates[beta] = (
                    self.network if isinstance(self.network, Surrogate) else softplus_surrogate(self.network, beta)
                )
            except UsageError as error:
                self._warn(f"attack directions come from the network itself ({str(error).split(' (')[0]})")
                self._surrogates[beta] = self.network
        return self._surrogates[beta]

    def _warn(self, message):
        if message not in self.warnings:
            self.warnings.append(message)
            logging.warning("%s", message)

    def predict(self, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
        """Return the predicted labels [N] of images [N, H, W, C]."""
        predict = self._function("predict", lambda x: self.network(x, training=False))
        try:
            logits = np.concatenate([predict(images[i : i + batch_size]) for i in range(0, len(images), batch_size)])
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise UsageError(
                f"the network does not take images of shape {images.shape[1:]} "
                f"({str(error).strip().splitlines()[-1].strip()[:200]})"
            ) from error
        if logits.ndim != 2:
            raise UsageError(f"the network must give one row of logits an image, it gives shape {logits.shape}")
        if np.all(logits >= 0) and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
            self._warn("the network seems to return probabilities; attributions and attacks expect logits")
        return np.argmax(logits, axis=1)

    def _function(self, name, function):
        """`function` compiled once under its name, for any number of images."""

        def call(*arrays):
            tensors = [tf.convert_to_tensor(array) for array in arrays]
            if name not in self._compiled:
                self._compiled[name] = tf.function(
                    function,
                    input_signature=[
                        tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype) for t in tensors
                    ],
                )
            return tf.nest.map_structure(lambda t: t.numpy(), self._compiled[name](*tensors))

        return call

    def groups(self, correct: np.ndarray, batch_size: int) -> Iterator[slice]:
        """Give runs of consecutive images with `batch_size` correctly classified ones each (fewer in the last)."""
        begin, count = 0, 0
        for i, each in enumerate(correct):
            count += bool(each)
            if count == batch_size:
                yield slice(begin, i + 1)
                begin, count = i + 1, 0
        if begin < len(correct):
            yield slice(begin, len(correct))

    def evaluate_group(
        self, index: np.ndarray, images: np.ndarray, labels: np.ndarray, predictions: np.ndarray
    ) -> tuple[list[dict], Examples | None]:
        """Return one row an image, and the maps of the attacked ones.

        Shape: index, labels, predictions [B]; images [B, H, W, C]. The index, not the place in the batch, seeds
        an image's random starts.
        """
        rows = [
            {"index": int(i), "label": int(y), "prediction": int(p), "correct": int(y == p)}
            for i, y, p in zip(index, labels, predictions)
        ]
        correct = labels == predictions
        if not correct.any():
            for row in rows:
                row.update({accuracy_column(name): 0 for name in self.settings.prediction_attacks})
            return rows, None
        columns, examples = self._attack(
            index[correct], images[correct].astype(np.float32), labels[correct].astype(np.int64)
        )
        position = np.cumsum(correct) - 1
        for i, row in enumerate(rows):
            for name, values in columns.items():
                if correct[i]:
                    row[name] = plain_number(values[position[i]])
                elif name.startswith("adversarial_correct"):
                    row[name] = 0
        return rows, examples

    @property
    def columns(self) -> list[str]:
        """The names of all values that a row can have, in order."""
        names = [
            "index",
            "label",
            "prediction",
            "correct",
            *map(accuracy_column, self.settings.prediction_attacks),
            *SCORES,
            "fallback",
        ]
        if self.settings.attack == "auto":
            names += [f"plain:{name}" for name in (*SCORES, "fallback")]
            names += [f"kendall:{name}" for name, *_ in self.runs]
        names += ["gradient_vanished"]
        if self.settings.attribution == "integrated_gradients":
            names += ["completeness_error"]
        if self._activity:
            names += ["active", "active_perturbed", "active_both"]
        if self.reference_network is not None:
            names += ["reference_spearman"]
        return [*names, "curve"]

    def digests(self, images: np.ndarray, labels: np.ndarray) -> dict:
        """Return digests of what else decides the numbers, beside the settings: weights and images."""
        record = {"weights_digest": fingerprint(self.network), "images_digest": images_digest(images, labels)}
        if self.reference_network is not None:
            record["reference_weights_digest"] = fingerprint(self.reference_network)
        return record

    def _attack(self, index, images, labels):
        columns = {}
        for name in self.settings.prediction_attacks:
            columns[accuracy_column(name)] = self._predictions_survive(name, index, images, labels).astype(int)
        self._diagnose(columns, images, labels)
        clean, best, scores = None, None, {}
        for number, (name, attack, beta) in enumerate(self.runs):
            restarts = self.settings.restarts if number == 0 else 1
            kept, clean = self._run(name, attack, beta, index, images, labels, restarts, number)
            found = kept_scores(attack, clean, kept, images.shape[1:3], self.settings.metric_k)
            if self.settings.attack == "auto":
                columns[f"kendall:{name}"] = found["kendall"]
                if number == 0:
                    columns.update({f"plain:{key}": value for key, value in found.items()})
                    columns["plain:fallback"] = (kept.score >= 1).astype(int)
            scores = {key: np.minimum(value, scores.get(key, 1.0)) for key, value in found.items()} if number else found
            best = kept if best is None else lower(kept, best)
        columns.update(scores)
        columns["fallback"] = (best.score >= 1).astype(int)
        columns["curve"] = [" ".join(f"{v:.4f}" for v in curve) for curve in thin(best.curve).T]
        columns.update(self._activity.columns(images, best.images) if self._activity else {})
        if self.reference_network is not None:
            other = self._maps("reference", self.reference_network)(images, labels)
            columns["reference_spearman"] = metrics.spearman(clean, other)
        shape = images.shape[1:3] + ((images.shape[3],) if self.settings.protocol == "wk" else ())
        examples = Examples(
            index, images, best.images, clean.reshape(-1, *shape), best.maps.reshape(-1, *shape), columns["kendall"]
        )
        return columns, examples

    def _predictions_survive(self, name, index, images, labels):
        s, attack = self.settings, PREDICTION_ATTACKS[name]
        steps, step_size = attack.schedule(s.pgd_epsilon, s.pgd_steps, s.pgd_step_size)
        ball = BALLS[attack.ball]

        def survive(images, labels, index, seed):
            start = random_starts(images, index, epsilon=s.pgd_epsilon, ball=ball, seed=seed)
            perturbed = pgd(
                self.network,
                images,
                labels,
                epsilon=s.pgd_epsilon,
                step_size=step_size,
                steps=steps,
                bounds=s.bounds,
                loss=attack.loss,
                ball=ball,
                start=start if attack.random_start else None,
            )
            return tf.argmax(self.network(perturbed, training=False), axis=1) == labels

        survives = self._function(f"predictions {name}", survive)
        return np.all(
            [
                survives(images, labels, index, np.int64(self.settings.seed * 1009 + 500 + restart))
                for restart in range(s.pgd_restarts if attack.random_start else 1)
            ],
            axis=0,
        )

    def _diagnose(self, columns, images, labels):
        def diagnose(images, labels):
            explainer = self._explainer()
            loss_gradient = gradient(lambda x: cross_entropy(self.network(x, training=False), labels), images)
            vanished = tf.reduce_max(tf.abs(loss_gradient), axis=[1, 2, 3]) < 1e-12
            if explainer.attribution != "integrated_gradients":
                return vanished, tf.zeros_like(vanished, tf.float32)
            total = tf.reduce_sum(explainer.attributions(self.network, images, labels), axis=[1, 2, 3])
            change = logit(self.network(images, training=False), labels) - logit(
                self.network(tf.zeros_like(images), training=False), labels
            )
            return vanished, tf.abs(total - change) / tf.maximum(tf.abs(change), 1e-6)

        vanished, incomplete = self._function("diagnose", diagnose)(images, labels)
        columns["gradient_vanished"] = vanished.astype(int)
        if self.settings.attribution == "integrated_gradients":
            columns["completeness_error"] = incomplete

    def _explainer(self):
        return self.runs[0][1].explainer

    def _maps(self, name, network):
        return self._function(f"maps {name}", lambda x, y: self._explainer()(network, x, y))

    def _run(self, name, attack, beta, index, images, labels, restarts, number):
        """All restarts of one attack on attributions: the kept iterates and the clean maps."""
        surrogate = self.surrogate(beta)
        attack = self._bounded(attack, images.shape)

        def run(images, labels, index, seed):
            # On a black background the top-k objective has no gradient at the image itself: its k features hold the whole
            # map where fewer than k attributions differ from zero. So every attack but the reference's starts beside it.
            start = (
                None
                if attack.reference
                else random_starts(images, index, epsilon=attack.epsilon, ball=attack.ball, seed=seed)
            )
            return attack(self.network, surrogate, images, labels, start)

        compiled = self._function(f"attack {name}", run)
        best = None
        for restart in range(restarts):
            kept = compiled(images, labels, index, np.int64(self.settings.seed * 1009 + 20 * number + restart))
            best = kept if best is None else lower(kept, best)
        return best, self._maps("clean", self.network)(images, labels)

    def _bounded(self, attack, shape):
        """Give an attack chunk sizes that bound its memory, unless the settings name one."""
        if self.settings.ig_chunk is not None:
            return attack
        pixels = int(np.prod(shape))  # second-order directions hold about four times as much as scores
        return dataclasses.replace(
            attack,
            explainer=dataclasses.replace(attack.explainer, chunk=max(1, 2**21 // pixels)),
            directions=dataclasses.replace(attack.directions, chunk=max(1, 2**22 // pixels)),
        )


def plain_attack(settings: EvaluationSettings) -> Ifia:
    """Return the attack on attributions that resolved settings describe, the ensemble's first member."""
    s = settings
    return Ifia(
        epsilon=s.epsilon,
        step_size=s.step_size,
        steps=s.steps,
        bounds=s.bounds,
        k=s.k,
        metric_k=s.metric_k,
        objective=s.objective,
        measure=s.measure,
        explainer=Explainer(s.attribution, s.protocol, s.ig_steps, s.ig_chunk),
        directions=Explainer(s.attribution, s.protocol, s.attack_ig_steps, s.ig_chunk),
        ball=BALLS[s.ball],
        reference=s.reference,
        seed=s.seed,
    )


def evaluate(
    network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    bounds: tuple[float, float],
    epsilon: float,
    surrogate=None,
    reference_network=None,
    batch_size: int = 16,
    progress: Callable | None = None,
    num_figures: int = 8,
    **settings,
) -> Evaluation:
    """Attack a network's predictions and attributions on images and measure what is left of them.

    Shape: images [N, H, W, C] in `bounds`, labels int [N].

    Args:
      bounds, epsilon, settings: those of `EvaluationSettings`.
      network, surrogate, reference_network: those of `Evaluator`.
      batch_size: images attacked together; changes no number beyond rounding.
      progress: called with the number of images finished, each time some are.
      num_figures: attacked images whose maps `Evaluation.examples` keeps.

    Raises: UsageError for settings that cannot be, and for k larger than a map.
    """
    chosen = EvaluationSettings.make({"bounds": bounds, "epsilon": epsilon, **settings})
    return run(
        Evaluator(network, chosen, surrogate=surrogate, reference_network=reference_network),
        images,
        labels,
        batch_size=batch_size,
        progress=progress,
        num_figures=num_figures,
    )


def run(
    evaluator: Evaluator,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    index: np.ndarray | None = None,
    batch_size: int = 16,
    progress: Callable | None = None,
    num_figures: int = 8,
    results=None,
    strict: bool = False,
) -> Evaluation:
    """Evaluate images with a given evaluator: `evaluate`, for callers that keep the evaluator or the rows.

    Args:
      index: the images' places in their data set [N]; None counts from 0.
      strict: raise UsageError where no image is classified correctly, instead of a warning.
      results: a `rar_tf.results.Results` that has the rows of an earlier run and gets the new ones.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    index = np.arange(len(images)) if index is None else np.asarray(index)
    check_images(images, labels, evaluator.settings.bounds)
    _check_k(images.shape, evaluator.settings)
    predictions = evaluator.predict(images)
    if strict and not (predictions == labels).any():
        raise UsageError(f"none of the {len(images)} images is classified correctly: there is nothing to attack")
    groups = list(evaluator.groups(predictions == labels, batch_size))
    rows, examples, begun = results.resume(groups) if results else [], None, time.monotonic()
    done = len(rows)
    if done and progress:
        progress(done)
    for group in groups:
        if group.start < done:
            continue
        new, shown = evaluator.evaluate_group(index[group], images[group], labels[group], predictions[group])
        rows += new
        if results:
            results.append(new, shown)
        if shown is not None and (examples is None or len(examples.index) < num_figures):
            examples = shown if examples is None else examples + shown
            examples = examples.take(np.arange(min(num_figures, len(examples.index))))
        if progress:
            progress(len(new))
    evaluation = Evaluation(rows, evaluator.settings.record(), examples, list(evaluator.warnings))
    evaluation.settings["seconds"] = round(time.monotonic() - begun, 1)
    return evaluation


def check_images(images: np.ndarray, labels: np.ndarray, bounds: tuple[float, float]) -> None:
    """Raise a UsageError where these are not images [N, H, W, C] in the pixel range `bounds` and labels [N]."""
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise UsageError(f"images must be [N, H, W, C] and labels [N], got {images.shape} and {labels.shape}")
    if len(images) == 0:
        raise UsageError("there are no images")
    low, high = bounds
    if not np.isfinite(images).all() or images.min() < low or images.max() > high:
        raise UsageError(
            f"images must be finite and in the pixel range {low:g} … {high:g}; "
            f"they are in {images.min():g} … {images.max():g}"
        )


def _check_k(shape, settings):
    features = int(np.prod(shape[1:3])) * (shape[3] if settings.protocol == "wk" else 1)
    metrics.check_k(settings.k, features, "the attack's k")
    metrics.check_k(settings.metric_k, features, "the metric's k")


def fingerprint(network) -> str:
    """Return a digest of a network's variables: equal for equal weights, and of use where it has any."""
    digest = hashlib.sha256()
    network = getattr(network, "model", network) if not hasattr(network, "weights") else network
    variables = getattr(network, "weights", None) or getattr(network, "variables", None) or []
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:16]


def images_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Return a digest of images and labels."""
    content = np.ascontiguousarray(images).tobytes() + np.ascontiguousarray(labels).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
