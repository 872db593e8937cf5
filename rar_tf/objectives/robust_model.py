"""`RobustModel`: any Keras network of logits, trained against an adversary of predictions or attributions.

One train_step serves every method: perturb the batch, then minimise a sum of terms. A method is a subclass in
`rar_tf.objectives` that says what its adversary maximises and which terms the network minimises.
"""

import functools
import re

import keras
import tensorflow as tf
from absl import logging

from rar_tf import arithmetic, checks, inputs, losses, randomness, similarity
from rar_tf.attacks import BALLS
from rar_tf.attacks.ascent import ascend
from rar_tf.attacks.balls import FREE
from rar_tf.attributions.targets import Target
from rar_tf.data import pipeline
from rar_tf.errors import UsageError
from rar_tf.models.pooling import uses_max_pooling
from rar_tf.models.surrogate import climbed
from rar_tf.objectives.curvature import log_gradient_lipschitz, penalised_stages
from rar_tf.objectives.settings import Method

START, EVALUATION, TERMS = 0, 1, 2  # purposes of random numbers


class RobustModel(keras.Model):
    """A network and how it is trained; `compile` and `fit` are Keras's own.

    Subclasses override `adversary` and `loss_terms`, name their terms in `terms` and their settings in `Settings`.

    Args:
      network: a Keras model that maps images [B, H, W, C] to logits [B, K]; save and export this one.
      settings: the fields of the class's `Settings`, those of `rar_tf.objectives.settings.Method` and the method's own.

    Raises: UsageError for settings that are unknown or make no sense.
    """

    Settings: type[Method] = Method
    terms: tuple[str, ...] = ("cross_entropy",)

    def __init__(self, network: keras.Model, **settings):
        super().__init__(name=_snake_case(type(self).__name__), dtype=keras.backend.floatx())  # of images and budgets
        arithmetic.settle()
        self.settings = self.Settings.make(settings).resolved()
        if not isinstance(network, keras.Model):
            raise UsageError(f"{type(self).__name__} trains a keras.Model, got {type(network).__name__}")
        self.classes = inputs.check_network(network)
        output = (getattr(network, "outputs", None) or (None,))[0]
        if output is not None and output.dtype != self.compute_dtype:
            raise UsageError(
                f"the logits are {output.dtype}, and images and losses {self.compute_dtype}: build the network in "
                f"{self.compute_dtype}, or call keras.config.set_floatx({output.dtype!r}) first"
            )
        if inputs.gives_probabilities(network):
            raise UsageError(
                "the network ends with a softmax or sigmoid, and logits are trained here: leave its last activation "
                "out (of keras.applications: classifier_activation=None)"
            )
        checks.budget(self.settings.bounds, self.settings.constraint, epsilon=self.settings.epsilon)
        self.network, self.built = network, network.built
        self.ball = FREE if self.settings.constraint == "wasserstein" else BALLS[self.settings.constraint]
        weighted = [name for name in ("weight_decay", "curvature_penalty") if getattr(self.settings, name)]
        layers = list(network._flatten_layers(include_self=False))
        weighted += ["regularization"] if self._regularized() or any(map(_will_be_regularized, layers)) else []
        for layer in layers:
            if getattr(layer, "activity_regularizer", None) is not None:
                logging.warning("%s: its activity regulariser is no part of the loss here", layer.name)
        self._stages = penalised_stages(network) if self.settings.curvature_penalty else []
        names = ("loss", *self.terms, *weighted)
        self._trackers = {name: keras.metrics.Mean(name) for name in names}
        self._accuracies = {
            name: keras.metrics.SparseCategoricalAccuracy(name) for name in ("natural_accuracy", "adversarial_accuracy")
        }

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of the settings that the constructor takes besides the network."""
        return sorted(cls.Settings.__dataclass_fields__)

    # What a method overrides.

    def adversary(self, images: tf.Tensor, labels: tf.Tensor):
        """Return what the adversary makes large, perturbed images [B, H, W, C] -> [B]; None for no adversary."""
        return None

    def start(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Return where the adversary starts at a step of training; the start is not clipped to the pixel range."""
        if not self.settings.random_start:
            return images
        return self._random_start(images, step, START, self.share(step))

    def loss_terms(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the terms that are minimised, by the names in `terms`: weighted, one value per sample [B]."""
        return {"cross_entropy": self.cross_entropy(images, labels)}

    # What every method uses.

    def call(self, images, training=None):
        return self.network(images, training=training)

    def cross_entropy(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return the cross-entropy [B] of the network in training mode."""
        return losses.cross_entropy(self.network(images, training=True), labels)

    @property
    def step(self) -> tf.Tensor:
        """How many steps of training were made, int64 []; 0 before `compile`."""
        optimizer = getattr(self, "optimizer", None)
        return tf.constant(0, tf.int64) if optimizer is None else tf.cast(optimizer.iterations, tf.int64)

    def share(self, step: tf.Tensor) -> float | tf.Tensor:
        """Return the part of the budget that the adversary has at a step of training."""
        return self.ramp(step, self.settings.epsilon_warmup)

    def ramp(self, step: tf.Tensor, steps: int) -> float | tf.Tensor:
        """Return what grows linearly from 1/steps at step 0 to 1; without steps it is 1 from the beginning."""
        return tf.minimum(tf.cast(step + 1, self.compute_dtype) / steps, 1.0) if steps else 1.0

    def perturb(
        self, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor, share: float | tf.Tensor = 1.0
    ) -> tf.Tensor:
        """Return the adversary's images, climbing from `start`; the images themselves without an adversary.

        Args:
          share: the part of its budget that it has.
        """
        objective = self.adversary(images, labels)
        return images if objective is None else self._ascend(objective, images, start, share)

    def minimise(self, images: tf.Tensor, perturbed: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Make one optimizer step on given perturbed images; return the terms as they entered the global loss."""
        return self._apply(*self._gradients(images, perturbed, labels))

    def _apply(self, terms, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_variables))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return {name: value * replicas for name, value in {"loss": tf.add_n(list(terms.values())), **terms}.items()}

    def _gradients(self, images, perturbed, labels, part: float | tf.Tensor = 1.0):
        """The terms, and their sum's gradients, of what is that part of the replica's batch.

        The optimizer adds gradients up over replicas, so a mean over the global batch is divided by their number.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        share = part / replicas if self.settings.reduction == "mean" else 1.0
        reduce = tf.reduce_mean if self.settings.reduction == "mean" else tf.reduce_sum
        with tf.GradientTape() as tape:
            terms = {
                name: share * reduce(term)
                for name, term in self.loss_terms(images, tf.stop_gradient(perturbed), labels).items()
            }
            if self.settings.weight_decay:
                kernels = [v for v in self.network.trainable_variables if len(v.shape) > 1]
                squares = tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])
                terms["weight_decay"] = part * (self.settings.weight_decay / replicas) * squares
            if self.settings.curvature_penalty:
                weight = part * (self.settings.curvature_penalty / replicas)
                terms["curvature_penalty"] = weight * log_gradient_lipschitz(self._stages)
            regularized = self._regularized()
            if regularized:
                terms["regularization"] = part / replicas * tf.add_n([v.regularizer(v) for v in regularized])
            loss = tf.add_n(list(terms.values()))
        return terms, tape.gradient(loss, self.network.trainable_variables)

    def _regularized(self):
        """The weights for which the network's layers have regularisers."""
        return [v for v in self.network.trainable_variables if getattr(v, "regularizer", None) is not None]

    def _in_parts(self, images, labels, start, share):
        """Perturb and minimise `micro_batch` samples after the other, then make one optimizer step for all of them."""
        size, count = self.settings.micro_batch, tf.shape(images)[0]
        if not self.network.built:
            self.network(images, training=False)  # whose variables are needed before the first part is computed
        equal = images.shape[0] is not None and images.shape[0] % size == 0
        if self.jit_compile and not equal:
            raise UsageError(f"micro_batch={size} must divide the batch of a device under jit_compile")

        def part(begin, images, labels, start):
            with randomness.part_of_batch(begin, count):
                perturbed = self.perturb(images, labels, start, share)
                fraction = tf.cast(tf.shape(images)[0], images.dtype) / tf.cast(count, images.dtype)
                terms, gradients = self._gradients(images, perturbed, labels, fraction)
                zeros = [tf.zeros(v.shape, v.dtype) if g is None else g for v, g in zip(variables, gradients)]
                return [terms[name] for name in names], zeros

        # As a function of its own, in a loop that takes one turn at a time, a part's passes are gone before the next.
        one = tf.function(part, autograph=False, experimental_attributes={"_noinline": True}, reduce_retracing=True)

        def body(begin, totals):
            rows = begin + tf.range(size) if equal else tf.range(begin, tf.minimum(begin + size, count))
            new = one(begin, *(tf.gather(each, rows) for each in (images, labels, start)))
            return begin + size, tf.nest.map_structure(tf.add, totals, new)

        variables = self.network.trainable_variables
        names = [name for name in self._trackers if name != "loss"]
        totals = [tf.zeros([], images.dtype) for _ in names], [tf.zeros(v.shape, v.dtype) for v in variables]
        _, (terms, gradients) = tf.while_loop(lambda begin, _: begin < count, body, (0, totals), parallel_iterations=1)
        return self._apply(dict(zip(names, terms)), gradients)

    def needs_random_start(self) -> None:
        """Raise UsageError for an adversary that would never leave the image: its objective has no gradient there."""
        if not self.settings.random_start:
            raise UsageError(
                f"random_start must be true for {type(self).__name__}: what its adversary maximises has no "
                "gradient at the image itself"
            )

    # What Keras calls.

    def compile(self, optimizer="rmsprop", loss=None, *args, jit_compile: bool = False, **kwargs):
        """As `keras.Model.compile`, with XLA off unless asked for.

        Raises: UsageError for a loss, since the method has its own; and for XLA with a Keras max-pool, whose
          second-order gradients XLA gets wrong.
        """
        if loss is not None:
            raise UsageError(f"compile takes no loss here: {type(self).__name__} has its own; leave it out")
        if jit_compile and uses_max_pooling(self.network):
            raise UsageError(
                "XLA's second-order gradients of max-pool are wrong: train "
                "rar_tf.models.pooling.with_exact_pooling(network), or leave jit_compile off"
            )
        super().compile(optimizer, None, *args, jit_compile=jit_compile, **kwargs)

    def fit(self, x=None, y=None, batch_size=None, *args, validation_data=None, **kwargs):
        """As `keras.Model.fit`; images [N, H, W, C] in the settings' bounds, labels [N], or a data set of such batches.

        Raises: UsageError for images, labels or a batch size that cannot be, see `rar_tf.inputs`, and for weights of
          samples or classes.
        """
        given = [name for name in ("sample_weight", "class_weight") if kwargs.get(name) is not None]
        if given:
            raise UsageError(f"{' and '.join(given)}: weights of samples or classes are no part of these objectives")
        valid_size = kwargs.get("validation_batch_size") or batch_size
        share = kwargs.get("validation_split") if validation_data is None else None
        if share and hasattr(x, "shape"):
            first = int(len(x) * (1 - share))
            self._check_batches(x[:first], batch_size)
            self._check_batches(x[first:], valid_size)
        else:
            self._check_batches(x, batch_size)
        self._check_data(x, y)
        if isinstance(validation_data, (tuple, list)):
            self._check_batches(validation_data[0], valid_size)
            self._check_data(*validation_data[:2])
        elif validation_data is not None:
            self._check_data(validation_data)
        x, validation_data = self._watched(x), self._watched(validation_data)
        with pipeline.mistakes():
            return super().fit(x, y, batch_size, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """As `keras.Model.evaluate`, of the natural cross-entropy and the accuracies; the data as for `fit`.

        Raises: UsageError for images, labels or a batch size that cannot be, see `rar_tf.inputs`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # Keras's own call from `fit`, which has looked at them
            self._check_batches(x, batch_size)
            self._check_data(x, y)
        with pipeline.mistakes():
            return super().evaluate(self._watched(x), y, batch_size, *args, **kwargs)

    def save(self, filepath, *args, **kwargs):
        """Save the network, as `keras.Model.save` does: what is trained here is the network, and nothing else is kept.

        So does `keras.callbacks.ModelCheckpoint`, which calls this. `save_weights` is Keras's own and keeps the state
        of training, the optimizer's with it; for the network's weights alone there is `network.save_weights`.
        """
        self.network.save(filepath, *args, **kwargs)

    def export(self, filepath, *args, **kwargs):
        """Export the network, as `keras.Model.export` does."""
        self.network.export(filepath, *args, **kwargs)

    def _check_batches(self, images, batch_size):
        """Check the size of the batches of arrays: replicas have parts of the same size of each."""
        if batch_size is not None:
            checks.of_kind(int, batch_size=batch_size)
            checks.at_least_one(batch_size=batch_size)
        replicas, size = self.distribute_strategy.num_replicas_in_sync, batch_size or 32
        if replicas > 1 and hasattr(images, "shape") and (size % replicas or len(images) % size % replicas):
            raise UsageError(
                f"{replicas} replicas share each batch in equal parts: {len(images)} images in batches of {size} leave "
                "them unequal ones; give a number of images that fits, or a tf.data data set with drop_remainder"
            )

    def _watched(self, data):
        """The same, but a data set that several replicas share says so where its next batch is no multiple of them."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas == 1 or not isinstance(data, tf.data.Dataset):
            return data

        def check(size):
            if size % replicas:
                raise UsageError(
                    f"{replicas} replicas share each batch in equal parts, and the data set has one of {size} images: "
                    "give batches that fit, with drop_remainder=True"
                )
            return size

        def watched(images, labels):
            with tf.control_dependencies([tf.numpy_function(check, [tf.shape(images)[0]], tf.int32)]):
                return tf.identity(images), labels

        return data.map(watched)

    def _check_data(self, images, labels=None):
        """Check arrays, or the first batch of a data set; of generators nothing is known before they run."""
        if isinstance(images, tf.data.Dataset):
            if tf.data.experimental.cardinality(images) == 0:
                raise UsageError("the data set is empty")
            first = next(iter(images.take(1)))
            if not isinstance(first, (tuple, list)) or len(first) != 2:
                raise UsageError("training data must be pairs (images, labels), without sample weights")
            images, labels = first
        if hasattr(images, "shape") and hasattr(labels, "shape"):
            for caution in inputs.check_images(images, labels, self.settings.bounds, self.classes):
                logging.warning("%s", caution)
            inputs.check_network(self.network, tuple(images.shape[1:]))

    def make_test_function(self, *args, **kwargs):
        self._climbed  # noqa: B018  made now, since traced functions make no variables
        return super().make_test_function(*args, **kwargs)

    @functools.cached_property
    def _climbed(self):
        """What the accuracy under attack climbs: the network, its gradients without the dead zone of an input stem."""
        return climbed(self.network, logging.warning)

    def train_step(self, data):
        images, labels = self._unpack(data)
        step = self.optimizer.iterations
        start, share = self.start(images, step), self.share(step)
        if self.settings.micro_batch is None:
            terms = self.minimise(images, self.perturb(images, labels, start, share), labels)
        else:
            terms = self._in_parts(images, labels, start, share)
        for name, value in terms.items():
            self._trackers[name].update_state(value)
        results = {name: tracker.result() for name, tracker in self._trackers.items()}
        return {**results, **self._compiled(labels, lambda: self.network(images, training=False))}

    def test_step(self, data):
        """Report the natural cross-entropy, and the accuracy on natural and on PGD images of the training budget."""
        images, labels = self._unpack(data)
        natural = self.network(images, training=False)
        self._trackers["loss"].update_state(losses.cross_entropy(natural, labels))
        start = self._random_start(images, tf.constant(0, tf.int64), EVALUATION)
        perturbed = self._ascend(Target(self._climbed, labels, losses.cross_entropy), images, start)
        for name, logits in (("natural", natural), ("adversarial", self.network(perturbed, training=False))):
            self._accuracies[f"{name}_accuracy"].update_state(labels, logits)
        results = {metric.name: metric.result() for metric in (self._trackers["loss"], *self._accuracies.values())}
        return {**results, **self._compiled(labels, lambda: natural)}

    def _compiled(self, labels, logits):
        """The metrics that `compile` was given, of natural images."""
        if self._compile_metrics is None:
            return {}
        self._compile_metrics.update_state(labels, logits())
        return self._compile_metrics.result()

    @property
    def metrics(self):
        compiled = [self._compile_metrics] if getattr(self, "_compile_metrics", None) is not None else []
        return [*self._trackers.values(), *self._accuracies.values(), *compiled]

    def _unpack(self, data):
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if labels is None or weights is not None:
            raise UsageError("training data must be pairs (images, labels): labels are missing or sample weights given")
        if labels.shape.rank != 1:
            labels = tf.reshape(labels, [-1])  # Keras hands a column where arrays were given
        return tf.cast(images, self.compute_dtype), tf.cast(labels, tf.int64)

    def _random_start(self, images, step, purpose, share=1.0):
        seed, epsilon = randomness.step_seed(self.settings.seed, step, purpose), share * self.settings.epsilon
        return randomness.for_replica(lambda zeros: self.ball.start(zeros, epsilon, seed), images) + images

    def _ascend(self, objective, images, start, share=1.0, steps=None):
        s, step_size = self.settings, share * self.settings.step_size
        if s.constraint == "wasserstein":
            climb = objective
            objective = lambda x: climb(x) - s.gamma * tf.reduce_sum(tf.square(similarity.flatten(x - images)), axis=1)
            step_size = lambda step: tf.math.rsqrt(tf.cast(step + 1, images.dtype)) / (2 * s.gamma)
        return ascend(
            objective,
            images,
            start,
            epsilon=share * s.epsilon,
            step_size=step_size,
            steps=s.steps if steps is None else steps,
            bounds=s.bounds,
            ball=self.ball,
        )[0]


def _will_be_regularized(layer) -> bool:
    """Whether a layer that has no weights yet, since no image was seen, will have regularisers of them."""
    kinds = {name: kind for name, kind in vars(layer).items() if name.endswith("_regularizer")}
    kinds.pop("activity_regularizer", None)
    return layer.trainable and not layer.built and any(kind is not None for kind in kinds.values())


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
