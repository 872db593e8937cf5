"""Networks as chains of affine maps and smooth activations, for bounds of their curvature.

Average pooling, flattening and reshaping are affine maps too. Of an activation σ it is known between which values σ'
and σ'' lie on any interval; of an affine map a bound of its largest singular value.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy import optimize, special

from rar_tf.errors import UsageError
from rar_tf.models import graph
from rar_tf.models.activations import Gelu, Silu, Softplus
from rar_tf.models.split import with_kernel


class Curve(NamedTuple):
    """σ' and σ'' of an activation, and where each of them can turn."""

    first: Callable[[np.ndarray], np.ndarray]
    second: Callable[[np.ndarray], np.ndarray]
    turns_of_first: Sequence[float]
    turns_of_second: Sequence[float]

    def first_range(self, low, high):
        """Return the least and the largest σ' over intervals. Shape: two of one shape -> two of it."""
        return _range(self.first, self.turns_of_first, low, high)

    def second_range(self, low, high):
        """Return the least and the largest σ'' over intervals."""
        return _range(self.second, self.turns_of_second, low, high)


def _range(function, turns, low, high):
    """Extremes lie at the ends of an interval, or at a turn within it."""
    values = [function(low), function(high), *(function(np.clip(turn, low, high)) for turn in turns)]
    return np.minimum.reduce(values), np.maximum.reduce(values)


IDENTITY = Curve(np.ones_like, np.zeros_like, (), ())


def softplus_curve(beta: float = 1.0, slope: float = 0.0) -> Curve:
    """Return the curve of slope·x + (1 − slope)·log(1 + e^{βx})/β."""
    return Curve(
        lambda x: slope + (1 - slope) * special.expit(beta * x),
        lambda x: (1 - slope) * beta * special.expit(beta * x) * special.expit(-beta * x),
        (),
        (0.0,),
    )


def _leaky(curve, slope):
    return Curve(
        lambda x: slope + (1 - slope) * curve.first(x),
        lambda x: (1 - slope) * curve.second(x),
        curve.turns_of_first,
        curve.turns_of_second,
    )


def gelu_curve(beta: float = 1.0, slope: float = 0.0) -> Curve:
    """Return the curve of x·Φ(βx), with a leak."""

    def density(x):
        return np.exp(-np.square(beta * x) / 2) / math.sqrt(2 * math.pi)

    first = lambda x: special.ndtr(beta * x) + beta * x * density(x)
    second = lambda x: beta * density(x) * (2 - np.square(beta * x))
    root, turn = math.sqrt(2) / beta, 2 / beta
    return _leaky(Curve(first, second, (-root, root), (-turn, 0.0, turn)), slope)


def silu_curve(beta: float = 1.0, slope: float = 0.0) -> Curve:
    """Return the curve of x·sigmoid(βx), with a leak."""

    def parts(x):
        sigmoid = special.expit(beta * x)
        return beta * x, sigmoid, sigmoid * special.expit(-beta * x)

    def first(x):
        u, s, slope = parts(x)
        return s + u * slope

    def second(x):
        u, s, slope = parts(x)
        return beta * slope * (2 + u * (1 - 2 * s))

    def third(u):  # over its factor s(1 − s)
        s = special.expit(u)
        return 3 * (1 - 2 * s) + u * (1 - 2 * s) ** 2 - 2 * u * s * (1 - s)

    root = optimize.brentq(lambda u: 2 + u * (1 - 2 * special.expit(u)), 1.0, 5.0) / beta
    turn = optimize.brentq(third, 2.0, 8.0) / beta
    return _leaky(Curve(first, second, (-root, root), (-turn, 0.0, turn)), slope)


def _tanh_curve():
    turn = math.atanh(1 / math.sqrt(3))
    second = lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2)
    return Curve(lambda x: 1 - np.tanh(x) ** 2, second, (0.0,), (-turn, turn))


def _sigmoid_curve():
    slope, turn = lambda x: special.expit(x) * special.expit(-x), math.log(2 + math.sqrt(3))
    return Curve(slope, lambda x: slope(x) * (1 - 2 * special.expit(x)), (0.0,), (-turn, turn))


def curve_of(activation, layer: str) -> Curve:
    """Return an activation's curve. Raises: UsageError where none is known, as of activations with a kink."""
    if graph.is_kind(activation, Softplus) and activation.ceiling is None:
        return softplus_curve(float(np.asarray(activation.beta)), activation.slope)
    if graph.is_kind(activation, Gelu, Silu):
        make = gelu_curve if isinstance(activation, Gelu) else silu_curve
        return make(float(np.asarray(activation.beta)), activation.slope)
    known = {"softplus": softplus_curve, "tanh": _tanh_curve, "sigmoid": _sigmoid_curve, "silu": silu_curve}
    name = getattr(activation, "__name__", type(activation).__name__)
    if name not in known or getattr(keras.activations, name, None) is not activation:
        raise UsageError(
            f"bounds of curvature need smooth activations whose curvature is known, as softplus; layer "
            f"{layer!r} has {name}"
        )
    return known[name]()


def apply(layer, values: tf.Tensor, kernel=None) -> tf.Tensor:
    """Return A·v of an affine layer without its bias, or with another kernel. Shape: [N, …] -> [N, …]."""
    if not isinstance(layer, (layers.Dense, layers.Conv2D)):
        return layer(values)
    return with_kernel(layer, values, tf.cast(layer.kernel if kernel is None else kernel, values.dtype))


def is_affine(layer: layers.Layer) -> bool:
    """Whether a layer is one that `Linear` bounds: a dense one, a convolution in one group, or average pooling without
    overlap; the last two with channels last.
    """
    if graph.is_kind(layer, layers.Dense):
        return True
    if getattr(layer, "data_format", None) != "channels_last":
        return False
    if type(layer) is layers.Conv2D:
        return layer.groups == 1
    return graph.is_kind(layer, layers.AveragePooling2D) and has_disjoint_windows(layer)


def has_disjoint_windows(pooling: layers.Layer) -> bool:
    """Whether no two windows of a pooling layer share a pixel."""
    return all(stride >= size for stride, size in zip(pooling.strides, pooling.pool_size))


class Linear:
    """An affine layer on images of one shape: its map, that of the absolute values, and a bound of its norm."""

    def __init__(self, layer, shape: tuple[int, ...]):
        self.layer, self.shape = layer, shape

    @functools.cached_property
    def norm(self) -> float:
        """An upper bound of the largest singular value, exact for dense layers."""
        layer = self.layer
        if isinstance(layer, layers.Dense):
            return float(np.linalg.norm(np.asarray(layer.kernel, np.float64), 2))
        if isinstance(layer, layers.Conv2D):
            return convolution_norm(np.asarray(layer.kernel, np.float64), self.shape[:2], layer.dilation_rate)
        if isinstance(layer, layers.AveragePooling2D) and self._windows_are_whole():
            return 1 / math.sqrt(math.prod(layer.pool_size))  # disjoint rows of as many equal entries
        return 1.0

    def _windows_are_whole(self):
        """Whether no window of a pooling reaches beyond the image, where it is a mean of fewer pixels."""
        pool, sides = tuple(self.layer.pool_size), self.shape[:2]
        tiled = tuple(self.layer.strides) == pool and all(n is not None and n % p == 0 for n, p in zip(sides, pool))
        return self.layer.padding == "valid" or tiled

    def __call__(self, values: tf.Tensor, *, absolute: bool = False) -> tf.Tensor:
        """Return A·v, or |A|·v with the entries' absolute values. Shape: [N, …] -> [N, …]."""
        kernel = getattr(self.layer, "kernel", None)
        return apply(self.layer, values, tf.abs(kernel) if absolute and kernel is not None else None)

    def affine(self, values: tf.Tensor) -> tf.Tensor:
        """Return A·v + b, what the layer does before its activation."""
        bias = getattr(self.layer, "bias", None)
        return self(values) if bias is None else self(values) + bias


def convolution_norm(kernel: np.ndarray, size: Sequence[int | None], dilation: Sequence[int] = (1, 1)) -> float:
    """Return an upper bound of a convolution's largest singular value on images of that size, of any stride.

    The smaller of two. With zeros around it, it is a part of the circular convolution on a torus that is larger by the
    kernel, whose singular values are those of the kernel's Fourier transform at each frequency (Sedghi et al. 2019).
    And of any matrix it is at most sqrt(‖K‖₁‖K‖_∞) (Schur's test): a row holds one output channel's kernel, a column at
    most one input channel's. That alone is known of images of no fixed size.

    Shape: kernel [h, w, in, out].
    """
    absolute = np.abs(kernel)
    schur = math.sqrt(absolute.sum((0, 1, 2)).max() * absolute.sum((0, 1, 3)).max())
    if None in size:
        return schur
    spread = np.zeros([(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation)] + list(kernel.shape[2:]))
    spread[:: dilation[0], :: dilation[1]] = kernel
    torus = [n + k - 1 for n, k in zip(size, spread.shape)]
    fourier = np.linalg.norm(np.fft.rfft2(spread, torus, axes=(0, 1)), 2, axis=(2, 3)).max()
    return min(schur, float(fourier))


class Stage(NamedTuple):
    """What comes before an activation, and the activation; before the logits there is none."""

    parts: list[Linear]
    activation: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    curve: Curve = IDENTITY

    def linear(self, values, *, absolute=False):
        for part in self.parts:
            values = part(values, absolute=absolute)
        return values

    def affine(self, values):
        for part in self.parts:
            values = part.affine(values)
        return values

    def transposed(self, values, *, absolute=False):
        """Return Aᵀ·v, or |A|ᵀ·v. Shape: [N, …] of what comes out -> [N, …] of what goes in."""
        into = tf.zeros([values.shape[0], *self.parts[0].shape])
        with tf.GradientTape() as tape:
            tape.watch(into)
            out = self.linear(into, absolute=absolute)
        return tape.gradient(out, into, tf.reshape(values, out.shape))

    @property
    def norm(self) -> float:
        return float(np.prod([part.norm for part in self.parts]))


_SHAPING = (layers.Flatten, layers.Reshape)
_NOTHING = (layers.InputLayer, layers.Dropout)


def stages_of(network: keras.Model) -> list[Stage]:
    """Return a network as a chain of affine maps and smooth activations, the last of which gives the logits.

    Raises: UsageError where the network is no `keras.Sequential` of dense, convolution, average pooling and smooth
    activation layers.
    """
    if not (isinstance(network, keras.Sequential) and graph.computes_its_graph(network)):
        raise UsageError(
            "bounds of curvature need a keras.Sequential network, of layers that follow each other, without a `call` "
            "of its own"
        )
    found: list[Stage] = []
    parts: list[Linear] = []
    for layer in network.layers:
        if graph.is_kind(layer, *_NOTHING):
            continue
        activation = getattr(layer, "activation", None)
        if not graph.is_kind(layer, layers.Activation):
            dilated = tuple(getattr(layer, "dilation_rate", (1, 1))) != (1, 1)
            if not graph.is_kind(layer, *_SHAPING) and (dilated or not is_affine(layer)):
                kind = type(layer).__name__
                raise UsageError(f"bounds of curvature are not known for layer {layer.name!r} ({kind})")
            parts.append(Linear(layer, graph.input_shape(network, layer)))
        if activation is not None and activation is not keras.activations.linear:
            found.append(Stage(parts, activation, curve_of(activation, layer.name)))
            parts = []
    if not parts:
        raise UsageError("bounds of curvature are of logits: the network's last layer has an activation")
    return [*found, Stage(parts)]
