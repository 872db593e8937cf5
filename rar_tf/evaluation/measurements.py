"""What is measured of correctly classified images under attack: predictions, maps, and signs to distrust them by."""

import dataclasses

import numpy as np
import tensorflow as tf

from rar_tf import metrics
from rar_tf.attacks import BALLS, PREDICTION_ATTACKS, ensemble
from rar_tf.attacks.balls import LINF
from rar_tf.attacks.ensemble import Member
from rar_tf.attacks.ifia import Ifia, Pool, keeps_label
from rar_tf.attacks.objectives import Clean
from rar_tf.attacks.pgd import random_starts
from rar_tf.attacks.predictions import Terms, standing_after
from rar_tf.attacks.steps import where_each
from rar_tf.attributions.explainer import Explainer
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.maps import by_feature
from rar_tf.evaluation.activity import ActivityCounter
from rar_tf.evaluation.average_case import AverageCase
from rar_tf.evaluation.faithfulness import Faithfulness
from rar_tf.evaluation.measurement import Measurement
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.evaluation.subject import Subject
from rar_tf.evaluation.summary import SCORES, accuracy_column, kept_scores, thin
from rar_tf.losses import cross_entropy, logit
from rar_tf.models.surrogate import stems


class Predictions(Measurement):
    """Whether predictions withstand each of the prediction attacks; of those with several members, also each member."""

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        self.attacks = {name: PREDICTION_ATTACKS[name] for name in settings.prediction_attacks}
        self.columns = tuple(column for name in self.attacks for column in (accuracy_column(name), *self._parts(name)))
        self._terms: Terms | None = None
        self.climbed = subject.climbed  # now, so that a continued evaluation warns as one in one go does
        shape = getattr(subject.network, "output_shape", None)
        if shape is not None:  # now, likewise
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
        self._terms = Terms(
            s.pgd_epsilon, s.bounds, classes, s.pgd_steps, s.pgd_step_size, s.pgd_restarts, BALLS[s.ball]
        )
        cautions = (member.caution(self._terms) for members in self.attacks.values() for member in members)
        for caution in filter(None, cautions):
            self.subject.warn(caution)

    def _attack(self, name, members, batch):
        """Which images stand after each member, int [M, B]."""
        network, climbed, terms = self.subject.network, self.climbed, self._terms

        def survives(member, which, seed, run):
            def keep(images, labels, index, seed, run):
                perturbed = member.perturb(climbed, images, labels, indices=index, seed=seed, run=run, terms=terms)
                return keeps_label(network, perturbed, labels)

            compiled = self.subject.compiled(f"predictions {name} {member.name}", keep)
            return compiled(batch.images[which], batch.labels[which], batch.index[which], seed, run)

        seed = self.settings.seed * 1009 + 500
        after = standing_after(members, terms, survives, count=len(batch.labels), seed=seed)
        return np.array(list(after.values())).astype(int)


class Diagnosis(Measurement):
    """Signs that scores mean little: constant maps, attacked maps that are rounding in part, a loss without a gradient,
    integrated gradients that are not complete."""

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        self.explainer = explainer_of(settings)
        self.integrates = settings.attribution == "integrated_gradients"
        last = ["completeness_error"] if self.integrates else []
        self.columns = ("constant_map", "unresolved", "gradient_vanished", *last)

    def __call__(self, batch):
        found = self.subject.compiled("diagnose", self._diagnose)(batch.images, batch.labels)
        constant = (np.ptp(batch.maps, axis=1) == 0).astype(int)
        unresolved = metrics.unresolved(batch.perturbed_maps, batch.perturbed, self.settings.baseline)
        return dict(zip(self.columns, (constant, unresolved, *found)))

    def _diagnose(self, images, labels):
        network = self.subject.network
        slope = gradient(lambda x: cross_entropy(network(x, training=False), labels), images)
        vanished = tf.cast(tf.reduce_max(tf.abs(slope), axis=[1, 2, 3]) < 1e-12, tf.int32)
        if not self.integrates:
            return (vanished,)
        total = tf.reduce_sum(self.explainer.attributions(network, images, labels), axis=[1, 2, 3])
        start = network(tf.fill(tf.shape(images), self.settings.baseline), training=False)
        change = tf.cast(logit(network(images, training=False), labels) - logit(start, labels), total.dtype)
        return vanished, tf.abs(total - change) / tf.maximum(tf.abs(change), 1e-6)


class AttributionAttack(Measurement):
    """Every score of the maps under attack: one attack's kept iterate, or the lowest of the ensemble's.

    An image for which no iterate keeps the label and lowers the measure scores 1 in every metric: a fallback.
    `attainable` is what the same attack leaves of the maps that the images would have if the network's gradients were
    everywhere those at the image: what this network would reach if its gradients never changed, no bound.
    """

    def __init__(self, subject, settings):
        super().__init__(subject, settings)
        self.plain = plain_attack(settings, subject.explained)
        self.members: tuple[Member, ...] = ()
        self.patches = settings.attack == "auto" and self.plain.ball is LINF  # squares go to its corners
        columns = [*SCORES, "fallback"]
        if settings.attack == "auto":
            self.plain = dataclasses.replace(self.plain, track=ensemble.TRACKED, settle_too=ensemble.SETTLED_TOO)
            self.members = ensemble.MEMBERS
            columns += [f"plain:{name}" for name in (*SCORES, "fallback")]
            last = [ensemble.PATCHES] if self.patches else []
            columns += [f"kendall:{name}" for name in ("plain", *(m.name for m in (*self.members, *last)))]
        self.reaches = not callable(settings.attribution)  # functions have no gradients that could be held fixed
        columns += [f"attainable:{name}" for name in SCORES] if self.reaches else []
        columns += ["target_cosine", "target_cosine_clean"] if self.plain.region is not None else []
        self.columns = (*columns, "curve")
        subject.surrogate  # noqa: B018  now, so that a continued evaluation warns as one in one go does
        for stem in stems(subject.network):
            if settings.epsilon <= stem.epsilon:  # in any ball: that of ℓ∞ holds all others of its radius
                subject.warn(
                    f"an input stem hides the background from budgets up to {stem.epsilon:g}, and Kendall over all "
                    "pixels counts what is hidden: read the scores over the support, or give a larger budget"
                )

    def __call__(self, batch):
        auto, columns = bool(self.members), {}
        batch.maps, smooth = self.maps(batch)
        clean = (batch.images, batch.labels, batch.maps, smooth)
        curves = []
        for name, own, curve, pool in self._searches(batch, clean):
            curves += [] if curve is None else [curve]
            if auto:
                columns[f"kendall:{name}"] = own.scores[:, self.plain.tracked.index("kendall")].min(axis=1)
            if auto and name == "plain":
                kept, alone = self._scores(batch, clean, pool)[1], dataclasses.replace(self.plain, track=())
                plain = kept_scores(alone, batch.images, batch.maps, kept, self.settings.metric_k)
                columns.update({f"plain:{score}": value for score, value in plain.items()})
                columns["plain:fallback"] = (own.scores[:, 0].min(axis=1) >= 1).astype(int)
        scores, kept = self._scores(batch, clean, pool)
        # Scores that are not tracked are those of kept iterates: the plain attack's or the ensemble's.
        columns.update({name: np.minimum(value, columns.get(f"plain:{name}", 1.0)) for name, value in scores.items()})
        columns["fallback"] = (kept.score >= 1).astype(int)
        curve = thin(np.minimum.accumulate(np.concatenate(curves)))
        columns["curve"] = [" ".join(f"{v:.4f}" for v in each) for each in curve.T]
        if self.reaches:
            *_, (_, _, _, reached) = self._searches(batch, clean, frozen=True)
            scores = self._scores(batch, clean, reached, frozen=True)[0]
            columns.update({f"attainable:{name}": value for name, value in scores.items()})
        batch.perturbed, batch.perturbed_maps = kept.images, kept.maps
        if self.plain.region is not None:
            columns["target_cosine"] = self._likeness(batch.perturbed_maps)
            columns["target_cosine_clean"] = self._likeness(batch.maps)
        return columns

    def _likeness(self, maps):
        """The cosine of maps [B, D] with the target, [B]."""
        wanted = by_feature(self.plain.region, maps.shape[1])
        return metrics.cosine(maps, np.broadcast_to(wanted, maps.shape))

    def _searches(self, batch, clean, frozen=False):
        """Give for each attack in turn its name, what it finds alone, its curve, and what all have found so far."""
        own, curve = self._searched(batch, clean, frozen)
        pool = own
        yield "plain", own, curve, pool
        for number, member in enumerate(self.members, start=1):
            own, curve = self._member(number, member, batch, clean, pool, frozen)
            pool = merged(pool, own)
            yield member.name, own, curve, pool
        if self.patches:
            own = self._patches(batch, clean, pool, frozen)
            yield ensemble.PATCHES.name, own, None, merged(pool, own)

    def maps(self, batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the clean maps of network and surrogate [B, D]; only the reference's mass centre needs the latter."""
        return self.subject.compiled("maps", self._maps)(batch.images, batch.labels)

    def _maps(self, images, labels):
        maps = self.plain.explainer(self.subject.explained, images, labels)
        return maps, self.plain.explainer(self.subject.surrogate, images, labels) if self.plain.reference else maps

    def _searched(self, batch, clean, frozen=False):
        """Pool and curve of the plain attack, over all its restarts."""
        self.subject.beta.assign(1.0)
        moving = self._moving(clean, frozen)
        if moving.all():
            return self._restarts(batch.index, clean, frozen)
        pool = Pool(*map(np.array, self.plain.empty(tf.constant(batch.images))))
        curve = np.ones((self.plain.steps, len(moving)), np.float32)
        if moving.any():
            found, curve[:, moving] = self._restarts(batch.index[moving], [each[moving] for each in clean], frozen)
            for whole, part in zip(pool, found):
                whole[moving] = part
        return pool, curve

    def _moving(self, clean, frozen):
        """Which images [B] the plain attack can move; one that begins where its objective has no gradient scores 1."""
        # An image that stays has a measure of 1, but for the mass centre, whose distance to itself is 0.
        if self.settings.start == "random" or self.plain.wanders or self.plain.measure == "mass_center":
            return np.ones(len(clean[0]), bool)

        def moves(images, labels, maps, smooth):
            found = Clean(images, labels, maps, smooth)
            attack, network = self._attack(found, frozen)
            return attack.moves(network, found, images)

        return self._nudged(clean[2]) | self.subject.compiled(f"moves {frozen}", moves)(*clean)

    def _nudged(self, maps):
        """Which images [B] an attack from the image itself begins a step beside."""
        s = self.settings
        constant_sum = s.objective == "topk" and s.protocol == "rar"
        return topk_holds_all(maps, s.k) & (s.start == "image" and constant_sum)

    def _restarts(self, index, clean, frozen):
        """Pool and curve of images by their index [B], over all restarts."""
        pool, curve, nudged = None, None, self._nudged(clean[2])

        def search(images, labels, maps, smooth, index, seed, nudged):
            found, empty = Clean(images, labels, maps, smooth), self.plain.empty(images)
            attack, network = self._attack(found, frozen)
            start = random_starts(images, index, epsilon=attack.epsilon, ball=attack.ball, seed=seed)
            if self.settings.start == "image":
                beside = images + self.settings.step_size * attack.ball.direction(start - images)
                start = where_each(nudged, tf.clip_by_value(beside, *attack.bounds), images)
            return attack.search(self.subject.explained, network, found, start, empty)

        compiled = self.subject.compiled(f"plain {frozen}", search)
        for restart in range(self.settings.restarts):
            found, own = compiled(*clean, index, np.int64(self.settings.seed * 1009 + restart), nudged)
            pool = found if pool is None else merged(pool, found)
            curve = own if curve is None else np.minimum(curve, own)
        return pool, curve

    def _member(self, number, member, batch, clean, pool, frozen=False):
        """Pool and curve of one member of the ensemble; `pool` is what has been found so far."""
        self.subject.beta.assign(member.beta)
        seed = np.int64(self.settings.seed * 1009 + 20 * number)

        def search(images, labels, maps, smooth, start, choice, sharpness, size):
            found = Clean(images, labels, maps, smooth)
            attack, network = self._attack(found, frozen)
            attack = ensemble.member_attack(attack, choice, sharpness, size)
            return attack.search(self.subject.explained, network, found, start, self.plain.empty(images))

        start = ensemble.begin(
            self.plain, member, tf.constant(batch.images), batch.index, tf.constant(seed), Pool(*map(tf.constant, pool))
        )
        return self.subject.compiled(f"member {frozen}", search)(
            *clean,
            start,
            np.int32(ensemble.OBJECTIVES.index(member.objective)),
            np.float32(member.sharpness),
            np.float32(member.size),
        )

    def _patches(self, batch, clean, pool, frozen=False):
        """The pool of the random search."""
        images, seed = tf.constant(batch.images), np.int64(self.settings.seed * 1009 + 19)
        start = ensemble.begin(self.plain, ensemble.PATCHES, images, batch.index, seed, Pool(*map(tf.constant, pool)))

        def search(images, labels, maps, smooth, start, index, seed):
            found = Clean(images, labels, maps, smooth)
            attack, _ = self._attack(found, frozen)
            queries = ensemble.QUERIES * ensemble.member_steps(attack)
            return attack.search_patches(self.subject.explained, found, start, index, seed, queries)

        return self.subject.compiled(f"patches {frozen}", search)(*clean, start, batch.index, seed)

    def _scores(self, batch, clean, pool, frozen=False):
        """The scores by name of the best candidates, and what is kept."""

        def settle(images, labels, maps, smooth, scores, candidates):
            found = Clean(images, labels, maps, smooth)
            attack, _ = self._attack(found, frozen)
            return attack.settle(self.subject.explained, found, Pool(scores, candidates))

        kept = self.subject.compiled(f"settle {frozen}", settle)(*clean, *pool)
        return kept_scores(self.plain, batch.images, batch.maps, kept, self.settings.metric_k), kept

    def _attack(self, clean, frozen):
        """The plain attack, and the network that its directions come from: no surrogate where gradients are frozen."""
        attack = self._chunked(clean.images.shape)
        if not frozen:
            return attack, self.subject.surrogate
        maps = attack.explainer.frozen(self.subject.explained, clean.images, clean.labels)
        return dataclasses.replace(attack, explainer=maps, directions=None, screen=None), self.subject.explained

    def _chunked(self, shape):
        """The plain attack with chunks that bound its memory, and on a CPU fit its caches, unless the settings say."""
        if self.settings.ig_chunk is not None:
            return self.plain
        pixels = int(np.prod([size or 16 for size in shape]))
        scored = 2**21 if tf.config.list_physical_devices("GPU") else 2**17

        def chunked(explainer, numbers):
            return explainer and dataclasses.replace(explainer, chunk=max(1, numbers // pixels))

        return dataclasses.replace(
            self.plain,
            explainer=chunked(self.plain.explainer, scored),
            screen=chunked(self.plain.screen, scored),
            directions=chunked(self.plain.directions, 2**22),
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
        self.reference, self.explainer = reference, explainer_of(settings)

    def __call__(self, batch):
        maps = self.subject.compiled("reference maps", lambda x, y: self.explainer(self.reference, x, y))
        return {"reference_spearman": metrics.spearman(batch.maps, maps(batch.images, batch.labels))}


def merged(first: Pool, second: Pool) -> Pool:
    """Return the best candidates of two pools of arrays."""
    best = Pool(*map(tf.constant, first)).merge(Pool(*map(tf.constant, second)))
    return Pool(*(value.numpy() for value in best))


def explainer_of(settings: EvaluationSettings) -> Explainer:
    """Return how the maps come about that settings compare."""
    s = settings.resolved()
    return Explainer(s.attribution, s.protocol, s.ig_steps, s.ig_chunk, baseline=s.baseline)


def topk_holds_all(maps: np.ndarray, k: int) -> np.ndarray:
    """Return whether the k largest features of maps [B, D] hold all that is not zero; bool [B].

    Of absolute maps that add up to a constant the top k then add up to it, so that the top-k objective has no gradient
    at the image: what is computed is rounding, or zero, and by that an attack from there would move or not.
    """
    return np.count_nonzero(maps, axis=1) <= k


def plain_attack(settings: EvaluationSettings, network) -> Ifia:
    """Return the attack on attributions that resolved settings describe, the ensemble's first member."""
    s, explainer = settings.resolved(), explainer_of(settings)
    screen = explainer.coarse(network, s.screen_ig_steps, s.bounds[1])
    return Ifia(
        epsilon=s.epsilon,
        step_size=s.step_size,
        steps=s.steps,
        bounds=s.bounds,
        k=s.k,
        metric_k=s.metric_k,
        objective=s.objective,
        measure=s.measure,
        explainer=explainer,
        directions=explainer.coarse(network, s.attack_ig_steps, s.bounds[1]),
        screen=None if screen == explainer else screen,
        candidates=s.candidates,
        ball=BALLS[s.ball],
        on_device=bool(tf.config.list_physical_devices("GPU")),
        reference=s.reference,
        seed=s.seed,
        region=s.wanted(),
    )


def measurements_of(subject: Subject, settings: EvaluationSettings, reference=None) -> list[Measurement]:
    """Return what an evaluation measures, in order, predictions first."""
    if settings.attack == "none":
        return [Predictions(subject, settings)]
    attack = AttributionAttack(subject, settings)
    found: list[Measurement] = [Predictions(subject, settings), attack, Diagnosis(subject, settings)]
    if settings.faithfulness:
        found.append(Faithfulness(subject, settings, lambda batch: attack.maps(batch)[0]))
    if settings.average_case:
        found.append(AverageCase(subject, settings, attack.plain.screen or attack.plain.explainer))
    counter = ActivityCounter.of(subject.network)
    if counter is not None:
        found.append(Activity(subject, settings, counter))
    if reference is not None:
        found.append(ReferenceMaps(subject, settings, reference))
    return found
