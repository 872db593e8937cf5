"""How far a command has come: a bar on a terminal, plain lines where its output is redirected."""

import sys
import time

from tqdm import tqdm

EVERY = 30.0  # seconds between two plain lines, at the least


def bar(total: int | None, what: str, unit: str = "image", done: int = 0):
    """Return something with `update(n)` and `close()`, a context, that shows how long the other units will take."""
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, unit=f" {unit}", desc=what, smoothing=0)
    return Lines(total, what, unit, done)


class Lines:
    """A plain line on stderr every so often; without a total it has no end to speak of."""

    def __init__(self, total: int | None, what: str, unit: str, done: int = 0):
        self.total, self.what, self.unit, self.first, self.done = total, what, unit, done, done
        self.began = self.said = time.monotonic()

    def update(self, count: int = 1) -> None:
        """Count units that are finished."""
        self.done += count
        now = time.monotonic()
        if now - self.said < EVERY and self.done != self.total:
            return
        self.said, took = now, now - self.began
        words = f"{self.what}: {self.done} {self.unit}s, {clock(took)} so far"
        if self.total is not None:
            left = took / max(self.done - self.first, 1) * (self.total - self.done)
            words = f"{self.what}: {self.done} of {self.total} {self.unit}s, {clock(took)} so far, {clock(left)} left"
        print(words, file=sys.stderr)

    def close(self) -> None:
        """Nothing is left to do."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def over(items, what: str, unit: str = "image"):
    """Give the items of an iterable, counting them."""
    with bar(len(items) if hasattr(items, "__len__") else None, what, unit) as counted:
        for item in items:
            yield item
            counted.update()


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
