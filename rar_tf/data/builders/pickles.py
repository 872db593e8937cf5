"""The pickled train.p, valid.p and test.p of GTSRB that Chen et al. 2019 start from, read without being run.

Only plain containers and numpy arrays are admitted. Even numpy's own constructors are not called: the pickle's calls
to them are answered by the small stand-ins below, which make an array of numbers from bytes and can do nothing else.
"""

import os
import pathlib
import pickle

import numpy as np

from rar_tf.data.splits import Split, check_split
from rar_tf.errors import UsageError, brief


class _Array:
    """Stands in for an array that numpy's `_reconstruct` begins and its `__setstate__` fills."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        data = data.encode("latin1") if isinstance(data, str) else data
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """Stands in for a dtype of booleans, integers or floats."""

    def __init__(self, code, *_):
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state):
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.code = (order if order in "<>" else "") + self.code.lstrip("<>=|")


def _array(data, dtype, shape, order="C"):
    real = np.dtype(dtype.code)
    if real.kind not in "biuf":
        raise pickle.UnpicklingError(f"an array of {real}")
    return np.frombuffer(data, real).reshape(shape, order=order)


def _from_buffer(data, dtype, shape, order="C"):
    result = _Array()
    result.value = _array(data, dtype, shape, order)
    return result


def _encode(text, encoding="latin1"):
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding}")
    return text.encode("latin1")


_ADMITTED = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype, ("_codecs", "encode"): _encode}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is neither an array nor a plain container")
        return _ADMITTED[module, name]

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("a persistent reference")


def read_pickle(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return a pickled dictionary of arrays.

    Raises: UsageError for a missing, truncated or corrupt file, or one that has anything else in it.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"a {type(content).__name__}, not a dictionary")
        arrays = {str(key): value.value for key, value in content.items() if isinstance(value, _Array)}
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except Exception as error:  # a hostile or truncated pickle can raise anything; nothing of it has been run
        raise UsageError(f"{path}: truncated, corrupt or refused pickle ({brief(error)})") from error
    return {key: value for key, value in arrays.items() if value is not None}


def read_pickled_split(path: str | os.PathLike, image_shape: tuple[int, int, int], num_classes: int) -> Split:
    """Return `features` and `labels` of a pickled split, checked by `splits.check_split`."""
    arrays = read_pickle(path)
    missing = [key for key in ("features", "labels") if key not in arrays]
    if missing:
        raise UsageError(f"{path}: no array {', '.join(missing)}")
    return check_split(arrays["features"], arrays["labels"], path, image_shape, num_classes)
