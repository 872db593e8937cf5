"""What constructors and functions check about their settings; every message names the setting and its value."""

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
