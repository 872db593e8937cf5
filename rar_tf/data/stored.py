"""Images that stay where they are stored and are decoded when rows are asked for: data sets larger than memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import logging

from rar_tf.errors import UsageError

IN_MEMORY = 2.0  # GiB of decoded images up to which a data set is held in memory


class Stored:
    """Images of files, indexed as an array [N, H, W, C] uint8 is; every indexing decodes anew.

    Args:
      read: number of a stored image -> [H, W, C] uint8; raises UsageError for one that cannot be read.
      name: number of a stored image -> what errors call it.
      image_shape: (H, W, C) that every image must have.
      numbers: [N] of the stored images, in the order of the rows.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        name: Callable[[int], str],
        image_shape: tuple[int, ...],
        numbers: np.ndarray,
    ):
        self._read, self._name = read, name
        self.image_shape, self.numbers = tuple(image_shape), np.asarray(numbers, np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.numbers), *self.image_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all images once they are decoded."""
        return len(self.numbers) * int(np.prod(self.image_shape))

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(int(number)) for number in self.numbers)

    def __getitem__(self, rows) -> np.ndarray:
        """Return one image [H, W, C], or those of a slice, of indices or of a mask. Raises: UsageError."""
        numbers = self.numbers[rows]
        if numbers.ndim == 0:
            return self.read(int(numbers))
        images = np.empty((len(numbers), *self.image_shape), np.uint8)
        for row, number in enumerate(numbers):
            images[row] = self.read(int(number))
        return images

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        images, _ = self.load()
        return images if dtype is None else images.astype(dtype)

    def read(self, number: int) -> np.ndarray:
        """Return a stored image [H, W, C]. Raises: UsageError for one that cannot be read, or of another shape."""
        image = self._read(number)
        if image.shape != self.image_shape:
            size, first = image.shape[:2], self.image_shape[:2]
            raise UsageError(
                f"{self._name(number)}: this image is {size}, the first one {first}; give --image_size=HEIGHT,WIDTH"
            )
        return image

    def take(self, rows) -> "Stored":
        """Return the images of these rows (indices, a slice or a mask), none of them read."""
        return Stored(self._read, self._name, self.image_shape, self.numbers[rows])

    def load(self, *, skip_corrupt: bool = False, progress: Callable = iter) -> tuple[np.ndarray, np.ndarray]:
        """Return all images, decoded in parallel, and a mask [N] of those that could be read.

        Args:
          skip_corrupt: leave out images that cannot be decoded, with a warning, instead of raising.
          progress: wraps the iteration over images, for example tqdm.

        Raises: UsageError for an image that cannot be read.
        """

        def read(number):
            try:
                return self.read(int(number))
            except UsageError as error:
                if not skip_corrupt:
                    raise
                logging.warning("skipped: %s", error)
                return None

        images, kept = np.empty(self.shape, np.uint8), np.zeros(len(self), bool)
        with ThreadPoolExecutor() as pool:
            for row, image in enumerate(progress(pool.map(read, self.numbers))):
                if image is not None:
                    images[row], kept[row] = image, True
        return (images if kept.all() else images[kept]), kept
