"""One page about several evaluations: what was measured beside what the papers print, with pictures.

It reads what `rar_tf.evaluation.job` wrote and runs no network.
"""

import pathlib

import numpy as np

from rar_tf import figures
from rar_tf.evaluation import comparison, consistency, correlation, page
from rar_tf.evaluation.evaluated import Certified, Evaluated, read
from rar_tf.evaluation.outcome import examples_figure
from rar_tf.evaluation.summary import FAITHFULNESS, SCORES
from rar_tf.evaluation.words import accuracies, attack_of, cell, images_of, predictions_of, setting_of

__all__ = ["build", "read", "write"]

BOXES = ("topk_intersection", "kendall", "kendall_support", "spearman", "cosine")


def write(found: list[Evaluated | Certified], folder) -> tuple[pathlib.Path, pathlib.Path]:
    """Write report.md, its pictures and report.html; return the paths of the two pages."""
    return page.write("Attribution robustness", build(found), folder)


def build(found: list[Evaluated | Certified]) -> list[page.Block]:
    """Return the page's blocks; sections that an evaluation has no data for are left out."""
    evaluations = [each for each in found if isinstance(each, Evaluated)]
    attacked = [e for e in evaluations if e.attacked]
    return [
        *_measured(evaluations),
        *_made(evaluations),
        *comparison.beside_papers(evaluations),
        *comparison.pairs(evaluations),
        *_members(attacked),
        *_boxes(attacked),
        *_curves(attacked),
        *_maps(attacked),
        *_with_igr(attacked),
        *_activity(attacked),
        *(correlation.blocks(attacked) if attacked else []),
        *_certifications([each for each in found if isinstance(each, Certified)]),
    ]


def _made(evaluations):
    """What each evaluation is: data, network, attack, and by which command it was made when."""
    if not evaluations:
        return []
    rows = []
    for e in evaluations:
        s, made = e.summary, e.summary.get("made", {})
        network = e.training.get("model") or s.get("keras_model") or s.get("saved_model")
        versions = made.get("versions", {})
        rows.append(
            [
                e.name,
                ", ".join(str(part) for part in (s.get("dataset"), s.get("split")) if part) or "-",
                ", ".join(str(part) for part in (network, s.get("method")) if part) or "-",
                s.get("attribution", "-"),
                attack_of(s),
                predictions_of(s),
                made.get("command", "-"),
                (made.get("git_revision") or "-")[:10],
                made.get("date", "-"),
                f"rar_tf {versions['rar_tf']}, TensorFlow {versions['tensorflow']}" if versions else "-",
            ]
        )
    header = ["", "data", "network", "attribution", "attack on maps", "attack on predictions"]
    return [
        page.heading("What was evaluated"),
        page.table([*header, "command", "commit", "date", "versions"], rows),
    ]


def _alike(evaluations):
    """Evaluations whose numbers can stand in one table: of the same data under attacks with the same budgets."""
    groups: dict[tuple, list[Evaluated]] = {}
    for e in evaluations:
        s = e.summary
        key = (s.get("dataset"), s.get("attribution"), setting_of(s, "ifia_epsilon"), setting_of(s, "ifia_steps"))
        groups.setdefault((*key, s.get("protocol"), predictions_of(s)), []).append(e)
    return list(groups.values())


def _measured(evaluations):
    if not evaluations:
        return []
    blocks = [page.heading("Measured")]
    groups = _alike(evaluations)
    for group in groups:
        if len(groups) > 1:
            first = group[0].summary
            said = [str(first[name]) for name in ("dataset", "attribution") if first.get(name)]
            blocks.append(page.text(f"{', '.join(said)}; {attack_of(first)}; predictions: {predictions_of(first)}."))
        blocks.append(_table(group))
    blocks.append(
        page.text(
            "Scores: mean over the attacked images with the 95 % bootstrap interval of the mean, and the median. "
            "Accuracies: share of all images; of two numbers the first is of maps, the second of predictions. "
            "A fallback is an image for which the attack found nothing; it scores 1. Attainable: the mean that the "
            "same attack leaves of maps whose gradients never change, no bound."
        )
    )
    if len(groups) > 1:
        blocks.append(page.text("Other data, attributions or budgets have a table of their own: do not compare them."))
    blocks += [page.text(f"Warning ({e.name}): {w}") for e in evaluations for w in e.summary.get("warnings", ())]
    return blocks + _faithfulness(evaluations)


def _table(evaluations):
    names = ["natural_accuracy", *dict.fromkeys(name for e in evaluations for name in accuracies(e.summary))]
    names += [n for n in (*SCORES, "reference_spearman") if any(cell(e.summary.get(n)) != "-" for e in evaluations)]
    header = ["", "attack", "images", *(n.replace("_", " ") for n in names), "fallbacks"]
    rows = [
        [
            e.name,
            attack_of(e.summary),
            images_of(e.summary),
            *(cell(e.summary.get(n), attainable=True) for n in names),
            _percent(e.summary.get("fallback_rate")),
        ]
        for e in evaluations
    ]
    return page.table(header, rows)


def _faithfulness(evaluations):
    measured = [e for e in evaluations if any(name in e.summary for name in FAITHFULNESS)]
    if not measured:
        return []
    names = [name for name in FAITHFULNESS if any(name in e.summary for e in measured)]
    rows = [[e.name, *(_rounded(e.summary.get(name)) for name in names)] for e in measured]
    return [
        page.heading("Whether the maps say anything"),
        page.table(["", *(name.replace("_", " ") for name in names)], rows),
        page.text(
            "Means; of relative stabilities medians. A map that never changes is robust and worthless: insertion "
            "should be above deletion, and shuffled weights should give another map (Spearman near 0)."
        ),
    ]


def _rounded(value):
    return "-" if value is None else f"{value['median' if value['mean'] > 10 else 'mean']:.3g}"


def _percent(value):
    return "-" if value is None else f"{value:.1%}"


def _members(evaluations):
    rows = [
        [
            e.name,
            attack_of(e.summary),
            name,
            f"{member['kendall']:.4f}",
            cell(np.median(e.column(f"kendall:{name}"))) if len(e.column(f"kendall:{name}")) else "-",
            _percent(member["lowest_on"]),
        ]
        for e in evaluations
        for name, member in e.summary.get("members", {}).items()
    ]
    if not rows:
        return []
    header = ["", "attack", "member", "mean Kendall alone", "median Kendall alone", "lowest of all on"]
    return [page.heading("Members of the ensemble"), page.table(header, rows)]


def _boxes(evaluations):
    if not evaluations:
        return []
    blocks = [page.heading("Spread over images")]
    for number, group in enumerate(_alike(evaluations)):
        blocks += _boxes_of(group, "" if number == 0 else f"_{number}")
    return blocks


def _boxes_of(evaluations, suffix):
    blocks = []
    for name in BOXES:
        label = {"topk_intersection": "top-k intersection", "kendall_support": "Kendall over the support"}.get(
            name, name.capitalize()
        )
        caption = f"{label} over the attacked images of {evaluations[0].summary.get('dataset', 'unknown data')}, "
        caption += f"{attack_of(evaluations[0].summary)}; the line is the median, the triangle the mean"
        picture = figures.box_plot({e.name: e.column(name) for e in evaluations}, label)
        blocks.append(page.figure(f"box_{name}{suffix}", picture, f"{caption} (as Sarkar et al. 2021, Fig. 2)."))
    return blocks


def _curves(evaluations):
    curves = {}
    for e in evaluations:
        values = np.array([[float(v) for v in row["curve"].split()] for row in e.attacked if row.get("curve")])
        if len(values):
            share = np.linspace(1 / values.shape[1], 1, values.shape[1])
            curves[e.name] = (share, values.mean(axis=0), np.median(values, axis=0))
    if not curves:
        return []
    picture = figures.curves_figure(curves, "share of the iterations, of all members", "lowest measure so far")
    caption = "Means, and dashed medians. A curve that still falls at its end asks for more iterations."
    return [page.heading("The attack's course"), page.figure("curves", picture, caption)]


def _maps(evaluations):
    blocks = []
    for number, e in enumerate(evaluations):
        if e.examples is None:
            continue
        x = e.examples.take(np.arange(min(4, len(e.examples.index))))
        picture = examples_figure(x, e.rows, e.summary, title=e.name)
        caption = f"{e.name}: images and maps before and after the attack, {attack_of(e.summary)}; the label is kept"
        blocks.append(page.figure(f"maps_{number}", picture, f"{caption} (as Chen et al. 2019, Figs. 3 to 6)."))
    return [page.heading("Maps before and after the attack"), *blocks] if blocks else []


def _with_igr(evaluations):
    """Each baseline beside the same baseline with IGR, on images that both were attacked on."""

    def key(e):
        return e.summary.get("dataset"), e.summary.get("attack"), e.summary.get("method")

    baselines = {"igr_at": "madry", "igr_trades": "trades", "igr_mart": "mart"}
    blocks = []
    for number, robust in enumerate(evaluations):
        data, attack, method = key(robust)
        for base in (e for e in evaluations if key(e) == (data, attack, baselines.get(method, ""))):
            if base.examples is None or robust.examples is None:
                continue
            shared = np.intersect1d(base.examples.index, robust.examples.index)[:4]
            if not len(shared):
                continue
            a, b = (
                e.examples.take(np.array([np.flatnonzero(e.examples.index == i)[0] for i in shared]))
                for e in (base, robust)
            )
            columns = {
                "image": a.images,
                "attacked": a.perturbed,
                f"{base.name}: clean": a.maps,
                "attacked ": a.perturbed_maps,
                f"{robust.name}: attacked": b.perturbed_maps,
            }
            picture = figures.grid_figure(columns, maps_from=2, bounds=tuple(base.summary["bounds"]))
            caption = f"{base.name} beside {robust.name} (as Wang and Kong 2022, Figs. 3, 6 and 7)."
            blocks.append(page.figure(f"igr_{number}_{len(blocks)}", picture, caption))
    return [page.heading("With and without IGR"), *blocks] if blocks else []


def _activity(evaluations):
    active = [e for e in evaluations if "activation_consistency" in e.summary]
    if not active:
        return []
    values = {e.name: e.summary["activation_consistency"] for e in active}
    rows = [[e.name, attack_of(e.summary), f"{values[e.name]:.4f}"] for e in active]
    caption = "Rectifiers active before and after the attack (as Wang and Kong 2022, Fig. 4)."
    return [
        page.heading("Activation consistency"),
        page.table(["", "attack", "P(A∩B)/sqrt(P(A)P(B))"], rows),
        page.figure("activity", figures.bar_figure(values, "activation consistency"), caption),
        page.figure(
            "activity_simulated",
            figures.scatter_figure(
                {"random networks of one layer": consistency.simulated()},
                "activation consistency",
                "relative change of the gradient",
            ),
            "The fewer rectifiers change their state, the less the gradient moves (Wang and Kong 2022, Proposition 2).",
        ),
    ]


def _certifications(certified):
    if not certified:
        return []
    blocks = [page.heading("Certifications")]
    for number, each in enumerate(certified):
        s, settings, made = each.summary, each.summary.get("settings", {}), each.summary.get("made", {})
        said = [f"{s.get('num_certifiable')} of {s.get('num_examples')} images"]
        said += [f"{name} {settings[name]}" for name in ("dataset", "attribution", "seed") if name in settings]
        said += [made[name] for name in ("command", "date") if name in made]
        blocks.append(page.text(f"{each.name}: {s.get('method')}, {'; '.join(said)}. {s['guarantee']}"))
        results = s.get("results", [])
        names = list(dict.fromkeys(name for entry in results for name in entry if name != "seconds"))
        rows = [[_certified_value(entry.get(name)) for name in names] for entry in results]
        # Beside each other they would be too wide: a line a value, a column a radius or budget.
        lines = [[name.replace("_", " "), *column] for name, column in zip(names, zip(*rows))]
        if lines:
            blocks.append(page.table(lines[0], lines[1:]))
        for name, path in each.pictures.items():
            blocks.append(page.picture(f"certified_{number}_{name}", path.read_bytes(), f"{each.name}: {name}"))
    return blocks


def _certified_value(value):
    if isinstance(value, dict):
        if "share" in value:
            return f"{value['count']} of {value['of']} ({value['share']:.0%})"
        return f"{value['mean']:.4g} ({value['count']} images)" if value.get("mean") is not None else "-"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
