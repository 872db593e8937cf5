"""Evaluations and certifications read back from their folders."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rar_tf.errors import UsageError
from rar_tf.evaluation.outcome import read_rows
from rar_tf.evaluation.summary import Examples
from rar_tf.results import read_json


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation's files as they were read.

    source: the folder that was asked for. training: the flags that the network was trained with, as far as they are
    known. settings: what decided the numbers.
    """

    name: str
    source: pathlib.Path
    summary: dict
    settings: dict
    rows: list[dict]
    examples: Examples | None
    training: Mapping[str, Any]

    @functools.cached_property
    def attacked(self) -> list[dict]:
        """The rows of the images whose maps were attacked."""
        return [row for row in self.rows if row["correct"] and "kendall" in row]

    def column(self, name: str) -> np.ndarray:
        return np.array([row[name] for row in self.attacked if name in row], np.float64)


@dataclasses.dataclass(frozen=True)
class Certified:
    """A certification's summary, and its pictures by name: PNG files."""

    name: str
    summary: dict
    pictures: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)


def read(folders: list) -> list[Evaluated | Certified]:
    """Return what lies in model directories, evaluation and certification folders, each under a name of its own.

    Raises: UsageError where a folder holds nothing finished, or files that cannot be read.
    """
    places: dict[pathlib.Path, tuple[pathlib.Path, tuple[str, ...]]] = {}
    for folder in map(pathlib.Path, folders):
        inside = [folder] if (folder / "summary.json").is_file() else sorted(_finished(folder))
        if not inside:
            raise UsageError(f"{folder}: no finished evaluation (summary.json); run scripts/evaluate.py first")
        for place in inside:
            last = () if len(inside) == 1 else (place.name,)
            places.setdefault(place.resolve(), (folder, (*folder.resolve().parts, *last)))
    names = _names([(parts, len(parts) - len(f.resolve().parts)) for f, parts in places.values()])
    return [_read(place, name, source) for (place, (source, _)), name in zip(places.items(), names)]


def _finished(folder) -> Iterator[pathlib.Path]:
    for path in folder.glob("*/summary.json"):
        if (path.parent / "examples.csv").is_file():
            yield path.parent


def _names(paths: list[tuple[tuple[str, ...], int]]) -> list[str]:
    """The shortest ends of paths that are all different; each longer than its second number."""
    lengths = [least + 1 for _, least in paths]
    while True:
        names = ["/".join(parts[-length:]) for (parts, _), length in zip(paths, lengths)]
        longer = [
            names.count(name) > 1 and length < len(parts) for name, length, (parts, _) in zip(names, lengths, paths)
        ]
        if not any(longer):
            return names
        lengths = [length + more for length, more in zip(lengths, longer)]


def _read(place, name, source):
    summary = read_json(place / "summary.json")
    if "guarantee" in summary:
        return Certified(name, summary, {path.stem: path for path in sorted(place.glob("*.png"))})
    if "natural_accuracy" not in summary or not summary.get("bounds"):
        raise UsageError(f"{place / 'summary.json'} is not an evaluation's: natural_accuracy or bounds is missing")
    examples = Examples.read(place / "maps.npz") if (place / "maps.npz").is_file() else None
    settings = read_json(place / "settings.json") if (place / "settings.json").is_file() else {}
    rows = read_rows(place / "examples.csv")[0]
    if any(not {"index", "correct"} <= row.keys() for row in rows):
        raise UsageError(f"{place / 'examples.csv'} is not an evaluation's: index or correct is missing")
    return Evaluated(name, source, summary, settings, rows, examples, summary.get("training", {}))
