"""The 1,797 digits that scikit-learn comes with, which need no download."""

import numpy as np
import tensorflow as tf

from rar_tf.data.records import Record, Request
from rar_tf.data.splits import Split, Splits


def read(record: Record, request: Request) -> Splits:
    """Return the digits, 1,437 for training and 360 for test, whatever the request.

    Shape: images [N, 28, 28, 1] float32 in [0, 1], bilinear from 8x8; `valid` is empty.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    with tf.device("CPU"):
        images = tf.image.resize(data.images[..., None].astype(np.float32) / 16, record.image_shape[:2]).numpy()
    labels = data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    every = Split(images, labels)
    return Splits(every.take(train), every.take([]), every.take(test))
