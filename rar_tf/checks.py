"""What constructors and functions check about their settings; every message names the setting and its value."""

import numbers
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from rar_tf.errors import UsageError


def positive(**values: Any) -> None:
    """Raise UsageError where a value, a number or several, is not positive and finite."""
    _each(values, lambda value: value > 0, "must be positive and finite")


def not_negative(**values: Any) -> None:
    """Raise UsageError where a value is negative or not finite."""
    _each(values, lambda value: value >= 0, "must not be negative")


def at_least_one(**values: Any) -> None:
    """Raise UsageError where a count is smaller than 1."""
    _each(values, lambda value: value >= 1, "must be at least 1")


def between_0_and_1(**values: Any) -> None:
    """Raise UsageError where a value is not inside (0, 1)."""
    _each(values, lambda value: (value > 0) & (value < 1), "must be between 0 and 1, both excluded")


def rising(**values: Any) -> None:
    """Raise UsageError where a value is not a pair (low, high) of finite numbers with low < high."""
    for name, value in values.items():
        if len(value) != 2 or not np.all(np.isfinite(np.asarray(value, np.float64))) or not value[0] < value[1]:
            raise UsageError(f"{name} must be (low, high) with low < high, got {tuple(value)}")


def seed_of_32_bits(**values: Any) -> None:
    """Raise UsageError where a seed is not in 0 … 2^31 − 1."""
    _each(values, lambda value: (value >= 0) & (value < 2**31), "must be in 0 … 2147483647")


def at_most(limit: int, words: str, **values: Any) -> None:
    """Raise UsageError where a value is greater than a limit; `words` say what that is."""
    for name, value in values.items():
        if value > limit:
            raise UsageError(f"{name} must be in 1 … {limit}, {words}; got {value}")


def budget(bounds: tuple[float, float], ball: str = "linf", **values: float | None) -> None:
    """Raise UsageError where an ℓ∞ budget is as large as the pixel range: it would allow every image."""
    low, high = bounds
    for name, value in values.items():
        if value is not None and ball == "linf" and value >= high - low:
            raise UsageError(
                f"{name} {value:g} is as large as the pixel range {low:g} … {high:g}: budgets are in the pixels' unit"
                + (f", 8 of 255 is {8 / 255 * (high - low):.3g}" if high - low <= 2 else "")
            )


def channels_last(**values: Any) -> None:
    """Raise UsageError where the shape of an array of images [N, H, W, C] is that of ones with their channels first."""
    for name, shape in values.items():
        if shape[1] in (1, 3) and shape[2] == shape[3] > 4:
            raise UsageError(f"{name} have their channels first, {tuple(shape)}: give [N, H, W, C]")


def shard(**values: Any) -> None:
    """Raise UsageError where a value is not i/n with whole numbers, i in 0 … n − 1."""
    for name, value in values.items():
        number, slash, count = value.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise UsageError(f"--{name} must be i/n with whole numbers, got {value!r}")
        if not int(number) < int(count):
            raise UsageError(f"--{name}={value}: i must be in 0 … n − 1")


def of_kind(kind: type, **values: Any) -> None:
    """Raise UsageError where a value is not of a kind: bool, int, float (any finite number) or str (or a path)."""
    for name, value in values.items():
        if kind is bool:
            fits, rule = isinstance(value, (bool, np.bool_)), "true or false"
        elif kind is int:
            fits, rule = isinstance(value, numbers.Integral) and not isinstance(value, bool), "a whole number"
        elif kind is float:
            fits, rule = isinstance(value, numbers.Real) and not isinstance(value, bool), "a number"
            if fits and not np.isfinite(value):
                raise UsageError(f"{name} must be finite, got {value}")
        else:
            fits, rule = isinstance(value, (str, os.PathLike)), "text"
        if not fits:
            raise UsageError(f"{name} must be {rule}, got {value!r}")


def path(**values: Any) -> str:
    """Return the value as a path, the home directory in place of `~`. Raises: UsageError for an empty one."""
    ((name, value),) = values.items()
    if not str(value).strip():
        raise UsageError(f"{name} is empty: give a path, or leave it out")
    return str(pathlib.Path(value).expanduser()) if str(value).startswith("~") else str(value)


def one_of(known: Iterable[str], **values: str) -> None:
    """Raise UsageError where a value is not among those known."""
    known = tuple(known)
    for name, value in values.items():
        if value not in known:
            raise UsageError(f"unknown {name} {value!r}; known: {', '.join(known)}")


def _each(values, holds, rule):
    for name, value in values.items():
        numbers = np.asarray(value, np.float64)
        if not np.all(np.isfinite(numbers) & holds(numbers)):
            raise UsageError(f"{name} {rule}, got {', '.join(f'{number:g}' for number in numbers.ravel()[:5])}")
