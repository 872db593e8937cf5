"""What is measured of correctly classified images: each measurement has its columns and gives their values.

A later measurement may use what an earlier one left in the batch: the clean maps and the attacked images.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from rar_tf import metrics
from rar_tf.attacks import BALLS, PREDICTION_ATTACKS, ensemble
from rar_tf.attacks.ifia import Explainer, Ifia, keeps_label
from rar_tf.attacks.pgd import random_starts
from rar_tf.attacks.predictions import Terms, standing_after
from rar_tf.attributions.gradients import gradient
from rar_tf.evaluation.activity import ActivityCounter
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject
from rar_tf.evaluation.summary import SCORES, accuracy_column, kept_scores, lower, thin
from rar_tf.losses import cross_entropy, logit


@dataclasses.dataclass
class Batch:
    """Images that the network classifies as their labels, and what measurements leave of them.

    Shape: index, labels [B]; images, perturbed [B, H, W, C]; maps, perturbed_maps [B, D]. The index, not the place in the
    batch, seeds an image's random starts.
    """

    index: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    maps: np.ndarray | None = None
    perturbed: np.ndarray | None = None
    perturbed_maps: np.ndarray | None = None


class Measurement:
    """A function of a batch with one value per image for each of its `columns`."""

    columns: tuple[str, ...]

    def __init__(self, subject: Subject, settings: EvaluationSettings):
        self.subject, self.settings = subject, settings

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return the values [B] by column."""
        raise NotImplementedError


class Predictions(Measurement):
    """Whether predictions withstand each of the prediction attacks; of those with several members, also each member."""

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        self.attacks = {name: PREDICTION_ATTACKS[name] for name in settings.prediction_attacks}
        self.columns = tuple(column for name in self.attacks for column in (accuracy_column(name), *self._parts(name)))
        self._terms: Terms | None = None
        shape = getattr(subject.network, "output_shape", None)
        if shape is not None:  # now, so that a continued evaluation warns as one in one go does
            self._agree(shape[-1])

    def __call__(self, batch):
        if self._terms is None:
            self._agree(self.subject.network(tf.constant(batch.images[:1]), training=False).shape[-1])
        columns = {}
        for name, members in self.attacks.items():
            after = self._attack(name, members, batch)
            columns[accuracy_column(name)] = after[-1]
            columns.update(zip(self._parts(name), after))
        return columns

    def _parts(self, name):
        members = self.attacks[name]
        return [f"{accuracy_column(name)}:{member.name}" for member in members] if len(members) > 1 else []

    def _agree(self, classes):
        """Fix the terms, and warn about members that are not what they are under others."""
        s = self.settings
        self._terms = Terms(s.pgd_epsilon, s.bounds, classes, s.pgd_steps, s.pgd_step_size, s.pgd_restarts)
        cautions = (member.caution(self._terms) for members in self.attacks.values() for member in members)
        for caution in filter(None, cautions):
            self.subject.warn(caution)

    def _attack(self, name, members, batch):
        """Which images stand after each member, int [M, B]."""
        network, terms = self.subject.network, self._terms

        def survives(member, which, seed, run):
            def keep(images, labels, index, seed, run):
                perturbed = member.perturb(network, images, labels, indices=index, seed=seed, run=run, terms=terms)
                return keeps_label(network, perturbed, labels)

            compiled = self.subject.compiled(f"predictions {name} {member.name}", keep)
            return compiled(batch.images[which], batch.labels[which], batch.index[which], seed, run)

        seed = self.settings.seed * 1009 + 500
        after = standing_after(members, terms, survives, count=len(batch.labels), seed=seed)
        return np.array(list(after.values())).astype(int)


class Diagnosis(Measurement):
    """Signs that scores mean little: a loss without a gradient, integrated gradients that are not complete."""

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        self.explainer = plain_attack(settings).explainer
        self.integrates = settings.attribution == "integrated_gradients"
        self.columns = ("gradient_vanished", *(["completeness_error"] if self.integrates else []))

    def __call__(self, batch):
        return dict(zip(self.columns, self.subject.compiled("diagnose", self._diagnose)(batch.images, batch.labels)))

    def _diagnose(self, images, labels):
        network = self.subject.network
        slope = gradient(lambda x: cross_entropy(network(x, training=False), labels), images)
        vanished = tf.cast(tf.reduce_max(tf.abs(slope), axis=[1, 2, 3]) < 1e-12, tf.int32)
        if not self.integrates:
            return (vanished,)
        total = tf.reduce_sum(self.explainer.attributions(network, images, labels), axis=[1, 2, 3])
        black = network(tf.zeros_like(images), training=False)
        change = logit(network(images, training=False), labels) - logit(black, labels)
        return vanished, tf.abs(total - change) / tf.maximum(tf.abs(change), 1e-6)


class AttributionAttack(Measurement):
    """Every score of the maps under attack: one attack's kept iterate, or the lowest of the ensemble's.

    An image for which no iterate keeps the label and lowers the measure scores 1 in every metric: a fallback.
    """

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        plain = plain_attack(settings)
        self.runs: list[tuple[str, Ifia, float]] = [("plain", plain, 1.0)]
        columns = [*SCORES, "fallback"]
        if settings.attack == "auto":
            plain = dataclasses.replace(plain, track=ensemble.TRACKED)
            self.runs = [
                ("plain", plain, 1.0),
                *((member.name, ensemble.member_attack(plain, member), member.beta) for member in ensemble.MEMBERS),
            ]
            columns += [f"plain:{name}" for name in (*SCORES, "fallback")]
            columns += [f"kendall:{name}" for name, *_ in self.runs]
        self.columns = (*columns, "curve")
        for _, _, beta in self.runs:  # now, so that a continued evaluation warns as one in one go does
            subject.surrogate(beta)

    def __call__(self, batch):
        columns, best, scores = {}, None, {}
        clean = self.subject.compiled("maps", lambda x, y: self.runs[0][1].explainer(self.subject.network, x, y))
        batch.maps = clean(batch.images, batch.labels)
        for number, (name, attack, beta) in enumerate(self.runs):
            kept = self._run(number, name, attack, beta, batch)
            found = kept_scores(attack, batch.maps, kept, batch.images.shape[1:3], self.settings.metric_k)
            if self.settings.attack == "auto":
                columns[f"kendall:{name}"] = found["kendall"]
                if number == 0:
                    columns.update({f"plain:{key}": value for key, value in found.items()})
                    columns["plain:fallback"] = (kept.score >= 1).astype(int)
            scores = {key: np.minimum(value, scores.get(key, 1.0)) for key, value in found.items()} if number else found
            best = kept if best is None else lower(kept, best)
        batch.perturbed, batch.perturbed_maps = best.images, best.maps
        columns.update(scores)
        columns["fallback"] = (best.score >= 1).astype(int)
        columns["curve"] = [" ".join(f"{v:.4f}" for v in curve) for curve in thin(best.curve).T]
        return columns

    def _run(self, number, name, attack, beta, batch):
        """The kept iterates of all restarts of one attack."""
        surrogate = self.subject.surrogate(beta)
        attack = self._chunked(attack, batch.images.shape)

        def run(images, labels, index, seed):
            # On a black background the top-k objective has no gradient at the image itself: its k features hold the
            # whole map where fewer than k attributions differ from zero. So attacks start beside it, but for the papers'.
            start = None
            if self.settings.start == "random":
                start = random_starts(images, index, epsilon=attack.epsilon, ball=attack.ball, seed=seed)
            return attack(self.subject.network, surrogate, images, labels, start)

        compiled, best = self.subject.compiled(f"attack {name}", run), None
        for restart in range(self.settings.restarts if number == 0 else 1):
            seed = np.int64(self.settings.seed * 1009 + 20 * number + restart)
            kept = compiled(batch.images, batch.labels, batch.index, seed)
            best = kept if best is None else lower(kept, best)
        return best

    def _chunked(self, attack, shape):
        """Give an attack chunk sizes that bound its memory, unless the settings name one."""
        if self.settings.ig_chunk is not None:
            return attack
        pixels = int(np.prod(shape))  # second-order directions hold about four times as much as scores
        return dataclasses.replace(
            attack,
            explainer=dataclasses.replace(attack.explainer, chunk=max(1, 2**21 // pixels)),
            directions=dataclasses.replace(attack.directions, chunk=max(1, 2**22 // pixels)),
        )


class Activity(Measurement):
    """How many rectifiers are active at the image, at the attacked image and at both."""

    columns = ("active", "active_perturbed", "active_both")

    def __init__(self, subject, settings, counter: ActivityCounter):
        super().__init__(subject, settings)
        self.counter = counter

    def __call__(self, batch):
        return self.counter.columns(batch.images, batch.perturbed)


class ReferenceMaps(Measurement):
    """Spearman's correlation of the clean maps with another network's (Sarkar et al. 2021, Table 11)."""

    columns = ("reference_spearman",)

    def __init__(self, subject, settings, reference):
        super().__init__(subject, settings)
        self.reference, self.explainer = reference, plain_attack(settings).explainer

    def __call__(self, batch):
        maps = self.subject.compiled("reference maps", lambda x, y: self.explainer(self.reference, x, y))
        return {"reference_spearman": metrics.spearman(batch.maps, maps(batch.images, batch.labels))}


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


def measurements_of(subject: Subject, settings: EvaluationSettings, reference=None) -> list[Measurement]:
    """Return what an evaluation measures, in order."""
    found: list[Measurement] = [
        measurement(subject, settings) for measurement in (Predictions, AttributionAttack, Diagnosis)
    ]
    counter = ActivityCounter.of(subject.network)
    if counter is not None:
        found.append(Activity(subject, settings, counter))
    if reference is not None:
        found.append(ReferenceMaps(subject, settings, reference))
    return found
