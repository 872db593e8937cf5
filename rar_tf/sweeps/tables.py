"""The tables and the curves of a sweep, from its rows' evaluations."""

from rar_tf.evaluation import words
from rar_tf.evaluation.curves import SCORES, curves_figure
from rar_tf.evaluation.page import markdown_table
from rar_tf.evaluation.words import accuracies, attack_of, cell, mean_of
from rar_tf.experiment import flagfile
from rar_tf.figures import Figure
from rar_tf.statistics import over_runs, paired_runs
from rar_tf.sweeps.plan import SEED, Axis, Row


def table(axes: list[Axis], rows: list[Row], summaries: list[dict]) -> str:
    """Return a Markdown table, a line a row; where there are several seeds, one over the seeds before it."""
    names = [axis.name for axis in axes]
    found = _table(names, rows, [[summary] for summary in summaries], summaries)
    others = [name for name in names if name != SEED]
    groups = _over_seeds(rows)
    attacks, said = set(map(attack_of, summaries)), ""
    if len(attacks) == 1:
        said = f"Attack: {attacks.pop()}.\n\n"
    if len(groups) == len(rows):
        return said + found
    firsts = [rows[where[0]] for where in groups]
    over = _table(others, firsts, [[summaries[i] for i in where] for where in groups], summaries)
    return f"{said}Means over seeds ± their sample standard deviation.\n\n{over}\nEach seed.\n\n{found}"


def differences(rows: list[Row], evaluated: list[list[dict]]) -> str:
    """Return a Markdown table of each row's scores less the first row's, image by image, with 95 % intervals.

    Of several seeds an image has the mean over those with which both attack it. evaluated: the rows of examples.csv.
    """
    groups, found = _over_seeds(rows), []
    for where in groups[1:]:
        labels = [f"{name}={value}" for name, value in rows[where[0]].labels.items() if name != SEED]
        less = [
            paired_runs(
                [(_by_image(evaluated[a], name), _by_image(evaluated[b], name)) for a, b in zip(groups[0], where)]
            )
            for name in SCORES
        ]
        found.append([", ".join(labels), max(each.images if each else 0 for each in less), *map(words.less, less)])
    said = "Less the first row, image by image on those that both attack: mean difference [95 % interval].\n\n"
    return said + markdown_table(["", "images", *SCORES.values()], found)


def _by_image(rows, name):
    return {row["index"]: row[name] for row in rows if row["correct"] and name in row}


def _over_seeds(rows):
    """The places of the rows that differ in the seed alone."""
    groups: dict[tuple, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(tuple(pair for pair in row.labels.items() if pair[0] != SEED), []).append(place)
    return list(groups.values())


def _table(names, rows, groups, summaries):
    measured = ["natural_accuracy", *dict.fromkeys(name for summary in summaries for name in accuracies(summary))]
    several, attacks = any(len(group) > 1 for group in groups), len(set(map(attack_of, summaries))) > 1
    header = [
        *names,
        *(["seeds"] if several else []),
        *(["attack"] if attacks else []),
        *(name.replace("_", " ") for name in measured),
        *(title if several else f"{title} [95 % interval]" for title in SCORES.values()),
    ]
    cells = [
        [
            *(row.labels.get(name, "-") for name in names),
            *([str(len(group))] if several else []),
            *(["; ".join(dict.fromkeys(map(attack_of, group)))] if attacks else []),
            *(_accuracy(group, name) for name in measured),
            *(_score(group, name) for name in SCORES),
        ]
        for row, group in zip(rows, groups)
    ]
    return markdown_table(header, cells)


def _accuracy(group, name):
    values = [summary[name] for summary in group if summary.get(name) is not None]
    if not values:
        return "-"
    mean, deviation = over_runs(values)
    return f"{mean:.1%}" + (f" ± {deviation:.1%}" if len(values) > 1 else "")


def _score(group, name):
    if len(group) == 1:
        return cell(group[0].get(name), digits=3)
    scores = [summary[name] for summary in group if mean_of(summary.get(name)) is not None]
    if not scores:
        return "-"
    mean, median = (over_runs([score[which] for score in scores]) for which in ("mean", "median"))
    return f"{mean[0]:.3f} ± {mean[1]:.3f}; median {median[0]:.3f} ± {median[1]:.3f}"


def curves(axes: list[Axis], rows: list[Row], summaries: list[dict]) -> Figure | None:
    """Return the scores over the first axis of numbers, a line for each combination of the others; None without one."""
    axis = next((axis for axis in axes if _is_number(axis.name) and len(axis.values) > 1), None)
    if axis is None:
        return None
    points: dict[str, dict[float, list[dict]]] = {}
    for row, summary in zip(rows, summaries):
        if axis.name in row.labels:
            others = [f"{k} {v}" for k, v in row.labels.items() if k not in (axis.name, SEED)]
            points.setdefault(", ".join(others), {}).setdefault(float(row.labels[axis.name]), []).append(summary)
    return curves_figure(points, axis.name)


def _is_number(name):
    item = flagfile.all_items().get(name)
    return item is not None and item.kind in (int, float) and not item.is_tuple and name != SEED
