"""Common corruptions: changes of an image that nobody chose to do harm (Hendrycks and Dietterich 2019, severity 1).

A corruption is a function (images [B, H, W, C] in units of the pixel range, generator) -> [B, H, W, C], not clipped.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def gaussian_noise(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation 0.08."""
    return images + 0.08 * generator.standard_normal(images.shape)


def gaussian_blur(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A Gaussian filter of one pixel."""
    return ndimage.gaussian_filter(images, sigma=(0, 1, 1, 0))


def brightness(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A tenth of the range brighter."""
    return images + 0.1


def contrast(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every channel's distance from its mean times 0.4."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + 0.4 * (images - mean)


CORRUPTIONS: dict[str, Corruption] = {
    each.__name__: each for each in (gaussian_noise, gaussian_blur, brightness, contrast)
}


def corrupted(name: str, images: np.ndarray, bounds: tuple[float, float], indices: np.ndarray, seed: int) -> np.ndarray:
    """Return images with a corruption of `CORRUPTIONS`, clipped to the pixel range.

    Shape: images [B, H, W, C] in `bounds`, indices int [B] -> [B, H, W, C]. An image's noise depends on (seed, its
    index) alone.
    """
    low, high = bounds
    parts = [
        CORRUPTIONS[name]((image[None] - low) / (high - low), np.random.default_rng((seed, int(index))))
        for image, index in zip(images, indices)
    ]
    return (low + (high - low) * np.clip(np.concatenate(parts), 0, 1)).astype(images.dtype)
