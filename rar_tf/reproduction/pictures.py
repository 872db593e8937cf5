"""Pictures across networks: the same images under all of them, and the courses of their trainings."""

import textwrap

import numpy as np

from rar_tf import figures
from rar_tf.evaluation.evaluated import Evaluated
from rar_tf.evaluation.words import attack_of
from rar_tf.figures import Figure
from rar_tf.reproduction.networks import Network

SAMPLES = 3
ACROSS, WIDTH = 4, 42  # pictures in a row, letters in a line of their titles


def label(network, dataset: str) -> str:
    """Return a network's name without its data set's, with room to break after each flag."""
    return str(network).removeprefix(f"{dataset}_").replace(",", ", ")


def panel(evaluations: list[Evaluated]) -> Figure | None:
    """Return the first images that all networks were attacked on, their maps before and after, and both scores.

    None where fewer than one image is known of all networks.
    """
    known = [(e, e.examples) for e in evaluations if e.examples is not None]
    shared = sorted(set.intersection(*(set(map(int, x.index)) for _, x in known)))[:SAMPLES] if known else []
    if not shared:
        return None
    columns = []
    for index in shared:
        cells = []
        for e, x in known:
            place = int(np.flatnonzero(x.index == index)[0])
            row = next(row for row in e.rows if row["index"] == index)
            found = "no change found" if row["fallback"] else "attacked"
            said = f"{found}\ntop-k {row['topk_intersection']:.2f}\nKendall {row['kendall']:.2f}"
            cells.append((x.maps[place], x.perturbed_maps[place], said))
        first = known[0][1]
        columns.append((first.images[int(np.flatnonzero(first.index == index)[0])], cells))
    names = [e.source.parent.name for e, _ in known]
    summary = known[0][0].summary
    title = f"{summary.get('dataset')}: {summary.get('attribution')}; {attack_of(summary)}"
    return figures.panel_figure(names, columns, bounds=tuple(summary["bounds"]), title=title)


def courses(records: list[dict]) -> Figure:
    """Return the losses over the steps, one picture a network with all its seeds: what they sum differs by method."""
    curves: dict[str, list[dict]] = {}
    for record in records:
        if record["history"].get("step"):
            network = Network.of(record["network"], record["recipe"]).without("seed")
            name = "\n".join(textwrap.wrap(label(network, record["dataset"]), WIDTH))
            curves.setdefault(name, []).append(record["history"])
    rows = max(1, -(-len(curves) // ACROSS))
    figure = Figure(figsize=(3 * ACROSS, 2.6 * rows), layout="constrained")
    for place, (name, histories) in enumerate(curves.items(), start=1):
        axis = figure.add_subplot(rows, ACROSS, place)
        for history in histories:
            axis.plot(history["step"], history["loss"], marker="." if len(history["step"]) < 5 else None)
        axis.set_title(name, fontsize=7)
        axis.tick_params(labelsize=7)
        losses = [loss for history in histories for loss in history["loss"]]
        axis.set_ylim(min(0, *losses), 1.08 * max(losses))  # a high flat curve stays inside
        axis.grid(alpha=0.3)
    figure.supxlabel("step", fontsize=8)
    figure.supylabel("training loss, of each method its own", fontsize=8)
    return figure
