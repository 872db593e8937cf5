"""Scores and accuracies of several evaluations over a number that differs between them."""

from collections.abc import Mapping

import numpy as np

from rar_tf import figures
from rar_tf.evaluation.words import accuracies, mean_of
from rar_tf.figures import Figure
from rar_tf.statistics import over_runs

SCORES = {
    "topk_intersection": "top-k intersection",
    "kendall": "Kendall",
    "kendall_support": "Kendall over the support",
    "kendall_foreground": "Kendall over the foreground",
    "spearman": "Spearman",
    "cosine": "cosine",
}


def curves_figure(points: Mapping[str, Mapping[float, list[dict]]], x_label: str) -> Figure:
    """Draw every accuracy and score over a number, a line for each name.

    Args:
      points: name -> number -> summaries, of several seeds where there are such.
    """
    summaries = [summary for line in points.values() for group in line.values() for summary in group]
    panels = {}
    for name in ("natural_accuracy", *dict.fromkeys(n for s in summaries for n in accuracies(s)), *SCORES):
        lines = {label: _line(values, name) for label, values in points.items()}
        lines = {label: line for label, line in lines.items() if len(line[0])}
        if lines:
            panels[SCORES.get(name, name.replace("_", " "))] = lines
    return figures.settings_figure(panels, x_label)


def _line(points, name):
    """(x, mean, low, high, median) of a score: its interval over images, with several seeds ± their deviation."""
    found = []
    for x, group in sorted(points.items()):
        values = [summary[name] for summary in group if mean_of(summary.get(name)) is not None]
        if not values:
            continue
        mean, deviation = over_runs([mean_of(value) for value in values])
        low, high = mean - deviation, mean + deviation
        if len(values) == 1 and isinstance(values[0], dict):
            low, high = values[0]["ci95"]
        median = over_runs([value["median"] for value in values])[0] if isinstance(values[0], dict) else np.nan
        found.append((x, mean, low, high, median))
    if not found:
        return (np.array([]),) * 5
    x, mean, low, high, median = np.array(found).T
    return x, mean, low, high, None if np.isnan(median).any() else median
