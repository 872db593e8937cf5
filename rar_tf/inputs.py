"""What training, evaluation and certification require of a network, its images and its labels: said once, for all.

A network maps images [N, H, W, C] in a pixel range to logits [N, K], one for each of K ≥ 2 classes.
"""

import inspect
import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from rar_tf import checks
from rar_tf.errors import UsageError, brief

ROUNDING = 1e-6  # of the pixel range: what scaling to it may leave beyond its ends in float32


def unwrapped(network):
    """Return the network that a `RobustModel` trains; any other network itself.

    Raises: UsageError for what is no network: neither a Keras model nor a function of images.
    """
    if not callable(network):
        read = ": rar_tf.load reads a file" if isinstance(network, (str, os.PathLike)) else ""
        raise UsageError(f"a network is a Keras model or a function of images, got {type(network).__name__}{read}")
    inner = getattr(network, "network", None)
    return inner if isinstance(network, keras.Model) and isinstance(inner, keras.Model) else network


def evaluation_mode(network: Callable) -> Callable:
    """Return a network that takes `training`, as Keras models do, for any function of images.

    A network that takes it is returned as it is.
    """
    try:
        parameters = inspect.signature(network).parameters.values()
    except (TypeError, ValueError):
        return network
    if any(each.name == "training" or each.kind is each.VAR_KEYWORD for each in parameters):
        return network
    return lambda images, training=False: network(images)


def check_network(network, image_shape: tuple[int, ...] | None = None) -> int | None:
    """Return the number of classes of a Keras network, None where it cannot be known without running it.

    Args:
      image_shape: (H, W, C) of the images that it is to take.

    Raises: UsageError for several inputs or outputs, another input shape, inputs that are no floats, channels first,
      half precision, or an output that is not one logit for each of two classes or more.
    """
    if isinstance(network, keras.Model):
        for layer in network._flatten_layers(include_self=False):
            if getattr(layer, "data_format", None) == "channels_first":
                raise UsageError(f"layer {layer.name!r} has channels first: images and maps are [N, H, W, C] here")
            if layer.compute_dtype == "float16":
                raise UsageError(
                    f"layer {layer.name!r} computes in float16, in which gradients of attributions vanish: build the "
                    "network with the policy float32"
                )
        inputs = getattr(network, "inputs", None) or ()
        if len(inputs) > 1:
            raise UsageError(f"a network takes one input, the images; this one has {len(inputs)}")
        if inputs and not tf.as_dtype(inputs[0].dtype).is_floating:
            raise UsageError(
                f"the network takes images of dtype {inputs[0].dtype}, which has no derivatives: give its "
                "Input dtype='float32'"
            )
        if len(getattr(network, "outputs", None) or ()) > 1:
            raise _several_outputs(len(network.outputs))
    takes = getattr(network, "input_shape", None)
    if isinstance(takes, tuple) and image_shape is not None:
        own = tuple(takes[1:])
        if len(own) != len(image_shape) or any(a not in (None, b) for a, b in zip(own, image_shape)):
            raise UsageError(f"the network takes images of shape {own}, and these have the shape {tuple(image_shape)}")
    output = (getattr(network, "outputs", None) or (None,))[0]
    if output is None or not hasattr(output, "shape"):
        return None
    if output.dtype not in ("float32", "float64"):
        raise UsageError(f"the logits are {output.dtype}: give the network's last layer dtype='float32'")
    _check_logits(output.shape)
    return output.shape[1]


def _several_outputs(what):
    return UsageError(
        f"a network gives one output, the logits; this one has {what}: take one of them, for example "
        "keras.Model(network.inputs, network.outputs[0])"
    )


def _check_logits(shape):
    if len(shape) != 2:
        raise UsageError(f"the network must give one row of logits per image, it gives shape {tuple(shape)}")
    if shape[1] == 1:
        raise UsageError(
            "the network gives one logit an image, and attributions are of a class's logit: make it two classes, for "
            "example with the logits [0, z] of z"
        )


def gives_probabilities(network) -> bool:
    """Return whether the last layer of a Keras network, or of the one that it ends with, is a softmax or sigmoid."""
    layers = getattr(network, "layers", None) or [None]
    last = layers[-1]
    if isinstance(last, keras.Model):
        return gives_probabilities(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )


def check_images(images, labels, bounds: tuple[float, float], classes: int | None = None) -> list[str]:
    """Return warnings about images [N, H, W, C] in the pixel range `bounds` and labels [N], class numbers.

    Raises: UsageError where they cannot be that.
    """
    check_arrays(images, labels)
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1 and len(labels) == len(images):
        raise UsageError(
            f"labels must be class numbers [N], got {labels.shape}: of one-hot rows take labels.argmax(1); several "
            "labels an image are not supported"
        )
    if images.ndim != 4 or labels.shape not in (images.shape[:1], (*images.shape[:1], 1)):
        raise UsageError(f"images must be [N, H, W, C] and labels [N], got {images.shape} and {labels.shape}")
    if len(images) == 0:
        raise UsageError("there are no images")
    checks.channels_last(images=images.shape)
    _check_labels(labels, classes)
    return [*_check_pixels(images, bounds), *_one_class(labels), *_few_classes(labels, classes)]


def arrays(images, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return images as float32 and labels [N] or [N, 1] as [N]. Raises: UsageError as `check_arrays` does."""
    check_arrays(images, labels)
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    return images, labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def check_arrays(images, labels) -> None:
    """Raise UsageError where images or labels are no arrays or tensors of numbers."""
    check_array("images", images)
    check_array("labels", labels)


def check_array(name: str, value) -> None:
    """Raise UsageError where a value is no array or tensor of numbers."""
    if isinstance(value, tf.data.Dataset) or not (hasattr(value, "shape") or isinstance(value, (list, tuple))):
        raise UsageError(f"{name} must be an array, got {type(value).__name__}: of a data set take its arrays")
    try:
        kind = np.asarray(value).dtype
    except ValueError as error:
        raise UsageError(f"{name} must be one array: its parts have different shapes") from error
    if kind.kind not in "iufb":
        raise UsageError(f"{name} must be numbers, got {kind}")


def _check_labels(labels, classes):
    if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
        raise UsageError(
            f"labels must be whole numbers, class numbers from 0 on, got {labels.dtype} {labels.ravel()[:3]}"
        )
    for index in np.flatnonzero((labels.ravel() < 0) | (labels.ravel() >= (classes or np.inf)))[:1]:
        has = f", the network has {classes} outputs" if classes else ""
        raise UsageError(f"image {index} has the label {labels.ravel()[index]}{has}")


def _check_pixels(images, bounds):
    low, high = map(float, bounds)
    lowest, highest, slack = float(images.min()), float(images.max()), ROUNDING * (high - low)
    if not np.isfinite(images).all() or lowest < low - slack or highest > high + slack:
        raise UsageError(
            f"images must be finite and in the pixel range {low:g} … {high:g} (bounds, --pixel_range); "
            f"they are in {lowest:g} … {highest:g}"
        )
    if high - low >= 100 and 0 <= lowest < highest <= 1:
        raise UsageError(
            f"images are in {lowest:g} … {highest:g}, and the pixel range is {low:g} … {high:g}: bounds "
            "(--pixel_range) seem to be 0, 1"
        )
    flat = int((images.reshape(len(images), -1).min(1) == images.reshape(len(images), -1).max(1)).sum())
    return [f"{flat} of {len(images)} images are of one colour: their maps mean nothing"] if flat else []


def _one_class(labels):
    first = labels.ravel()[0]
    return [f"all {len(labels)} labels are {first}"] if len(labels) > 1 and (labels == first).all() else []


def _few_classes(labels, classes):
    """A warning of images of several classes, but far fewer than as many random ones would be of."""
    found, count = len(np.unique(labels)), len(labels)
    if found > 1 and count >= 10 and classes and found < classes * (1 - (1 - 1 / classes) ** count) / 2:
        return [f"{count} images are of {found} of {classes} classes only: are they sorted by class?"]
    return []


def logits(logits_of, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """Return the logits [N, K] of images [N, H, W, C].

    Args:
      logits_of: the network as a function of arrays.

    Raises: UsageError where it does not take the images, or gives something else.
    """

    def one(batch):
        found = logits_of(batch)
        if isinstance(found, (dict, list, tuple)):
            raise _several_outputs(f"a {type(found).__name__} of {len(found)}")
        return np.asarray(found)

    try:
        parts = [one(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    except UsageError:
        raise
    except (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [brief(error)]
        raise UsageError(f"the network does not take images of shape {images.shape[1:]} ({lines[-1][:200]})") from error
    _check_logits(parts[0].shape)
    return np.concatenate(parts)


def predictions(network, logits_of, images, labels, bounds: tuple[float, float]) -> tuple[np.ndarray, list[str]]:
    """Return the predicted labels [N] of images [N, H, W, C] with labels [N], and warnings about all of them.

    Raises: UsageError where network, images and labels do not fit each other.
    """
    cautions = check_images(images, labels, bounds)
    classes = check_network(network, images.shape[1:])
    _check_labels(labels, classes)
    found = logits(logits_of, images)
    _check_labels(labels, found.shape[1])
    if not np.isfinite(found).all():
        raise UsageError("the network gives logits that are NaN or infinite: its training has diverged")
    return np.argmax(found, axis=1), [*cautions, *_few_classes(labels, found.shape[1]), *cautions_of(found)]


def cautions_of(logits: np.ndarray) -> list[str]:
    """Return a warning where logits [N, K] are none."""
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        return ["the network seems to return probabilities; attributions and attacks expect logits"]
    return []
