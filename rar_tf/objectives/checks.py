"""What methods check about their settings."""
from typing import Any

from rar_tf.errors import UsageError


def not_negative(**values: float) -> None:
    """Raise UsageError, naming the setting, where one of the values is negative."""
    for name, value in values.items():
        if value < 0:
            raise UsageError(f"{name} must not be negative, got {value}")


def positive(**values: float) -> None:
    """Raise UsageError, naming the setting, where one of the values is not positive."""
    for name, value in values.items():
        if value <= 0:
            raise UsageError(f"{name} must be positive, got {value}")


def one_of(known: tuple, **values: Any) -> None:
    """Raise UsageError, naming the setting, where one of the values is not among those known."""
    for name, value in values.items():
        if value not in known:
            raise UsageError(f"unknown {name} {value!r}; known: {', '.join(known)}")


def needs_random_start(model) -> None:
    """Raise UsageError for an adversary that would never leave the image, where its objective has no gradient."""
    if not model.random_start:
        raise UsageError(f"random_start must be true for {type(model).__name__}: what its adversary maximises has no "
                         "gradient at the image itself")
