"""What the certificates of maps that are averaged over noise have in common: sampling, radii, attacks, labels."""

import math

import numpy as np
from absl import logging

from rar_tf.certification import attack as attacks
from rar_tf.certification import ranks, smoothing
from rar_tf.certification import settings as records
from rar_tf.certification.certificate import Certificate, smooth_network
from rar_tf.certification.field import Field
from rar_tf.certification.jacobian import block_size
from rar_tf.certification.limits import binomial_limits
from rar_tf.errors import UsageError

LARGEST_BATCH = 250  # larger ones are no faster on a CPU


class SmoothedCertificate(Certificate):
    """A certificate of maps that are averaged over noise of the lengths `settings.radius`.

    A subclass supplies `field_of`, what is sampled, and `promise`, by which radii are compared.
    """

    settings: records.Smoothed
    noise_name: str = "uniform"
    bound: float = 1.0
    map_channels: int | None = None

    def __init__(self, network, settings: records.Smoothed):
        super().__init__(network, settings)
        s, self.attacks = self.settings, self.settings.certificate_attack
        self.all_radii: tuple[float, ...] = s.radius or ()
        for radius in self.all_radii:
            check_float32(radius, s)
        self.field = self.field_of(network)
        self.batch = sample_batch(network, s)
        self.smoother = smoothing.Smoother(
            self.field,
            bound=self.bound,
            batch_size=self.batch,
            noise=smoothing.NOISES[self.noise_name],
            network=network if s.certify_label else None,
            channels=self.map_channels,
        )

    def field_of(self, network) -> Field:
        """Return the field that is smoothed, no longer than `bound`."""
        raise NotImplementedError

    def promise(self, estimate: smoothing.Estimate, radius: float) -> float:
        """Return about how much would be certified with fresh samples; the radius with the most is the best one."""
        raise NotImplementedError

    def attack_of(self, **options) -> attacks.SmoothedMapAttack:
        """Return the attack on the smoothed maps. options: of `SmoothedMapAttack`."""
        s = self.settings
        return attacks.SmoothedMapAttack(
            self.field,
            self.directions_of(smooth_network(self.network, s)),
            k=s.k,
            restarts=s.certificate_attack_restarts,
            # Several restarts share a batch as long as it is no larger than a batch of samples.
            restarts_at_once=max(1, self.batch // 32),
            noise=smoothing.NOISES[self.noise_name],
            **options,
        )

    def directions_of(self, network) -> Field:
        """Return the field that attacks follow, of a network without kinks."""
        return self.field_of(network)

    @property
    def per_radius(self) -> int:
        """How many radii are certified for each image."""
        return 1 if self.settings.best_radius else len(self.all_radii)

    @property
    def per_image(self):
        return self.per_radius

    @property
    def level(self) -> float:
        """The confidence of the map alone: half of what may fail is the label's, where that is certified too."""
        s = self.settings
        return 1 - (1 - s.level) / 2 if s.certify_label else s.level

    def radii(self, image, label, index) -> list[float]:
        """Return the radii that are certified for an image; the best one by samples that serve nothing else."""
        s = self.settings
        if self.per_radius == len(self.all_radii):
            return list(self.all_radii)
        pilots = [
            self.smoother.estimate(
                image, label, radius, max(s.num_samples // 10, 1), seed=s.seed, index=index, purpose=90
            )
            for radius in self.all_radii
        ]
        promises = [self.promise(pilot, radius) for pilot, radius in zip(pilots, self.all_radii)]
        return [self.all_radii[int(np.argmax(promises))]]

    def estimate(self, image, label, index, radius, **options) -> smoothing.Estimate:
        """Return the samples of a radius, which are its own: far from those of searches and attacks."""
        s = self.settings
        found = self.smoother.estimate(
            image,
            label,
            radius,
            s.num_samples,
            seed=s.seed,
            index=index,
            purpose=200 + self.all_radii.index(radius),
            **options,
        )
        if not np.isfinite(found.norm):
            logging.warning("image %d: its attribution is not finite, nothing can be certified", index)
        elif found.norm == 0:
            logging.warning("image %d: its attribution is zero, nothing can be certified", index)
        return found

    def label(self, estimate: smoothing.Estimate, radius: float) -> dict:
        """Return up to which ε the smoothed prediction, the class that most noisy images get, stays the label."""
        if not self.settings.certify_label:
            return {}
        (low,), _ = binomial_limits([estimate.kept], estimate.num_samples, self.level)
        return {"label_epsilon": ranks.label_epsilon(float(low), radius, self.settings.dimension, self.noise_name)}


def sample_batch(network, settings: records.Sampled) -> int:
    """Return how many samples are held in memory at once."""
    s = settings
    if s.sample_batch is not None:
        return max(1, min(s.sample_batch, s.num_samples // 4))
    fitting = block_size(network, s.image_shape, s.ig_steps, s.memory_limit * 2**30)
    return max(1, min(LARGEST_BATCH, fitting, s.num_samples // 20))


def least_radius(settings: records.Smoothed) -> float:
    """Return the least radius whose noise in a pixel is not lost in the rounding of float32."""
    ulp = float(np.spacing(np.float32(max(abs(bound) for bound in settings.bounds))))
    return 16 * ulp * math.sqrt(settings.dimension)


def check_float32(radius: float, settings: records.Smoothed) -> None:
    """Raise UsageError where the noise in a pixel is lost in the rounding of float32."""
    if radius < least_radius(settings):
        raise UsageError(
            f"radius {radius:g} is {radius / math.sqrt(settings.dimension):.1g} in each of {settings.dimension} "
            f"features, which float32 pixels of {max(settings.bounds):g} cannot hold: give at least "
            f"{least_radius(settings):.2g}"
        )


def said_of_samples(settings: records.Sampled, event: str) -> str:
    """Return with what probability over the samples a statement may be wrong."""
    share = 1 - settings.confidence
    if settings.simultaneous:
        return f"The probability that {event} for any image or radius of the run is at most {share:.3g}."
    return f"For each image and radius on its own the probability that {event} is at most {share:.3g}."
