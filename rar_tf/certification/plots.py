"""Plots of a certification, from its rows alone."""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from rar_tf import figures
from rar_tf.certification import overlap


def draw(rows: list[dict], record: dict, folder) -> dict[str, Figure]:
    """Return the plots of a method by file name."""
    rows = [row for row in rows if row["correct"]]
    if record["method"] == "uniform_smoothing":
        return _uniform(rows, record)
    if record["method"] == "upper_bound":
        return _upper(rows, pathlib.Path(folder) / "jacobian.npz")
    values = np.array([row["cosine_distance_bound"] for row in rows if "cosine_distance_bound" in row])
    return {"bounds.png": _histogram({"1 − cosine": values}, "certified cosine distance (from 1: says nothing)")}


def _uniform(rows, record):
    dimension, bound = int(np.prod(record["image_shape"])), record["bound"]
    curves = {}
    for radius in record["radius"]:
        low = np.array([row["norm_low"] for row in rows if row["radius"] == radius])
        reach = overlap.largest_epsilon(1.0, radius, 1e-3, dimension)
        epsilons = np.linspace(reach / 100, 1.05 * reach, 100)
        # An image that is not certified at ε counts as 0: the mean never looks better for losing images.
        cosine = overlap.certified_cosine(
            low[:, None], epsilons, radius, dimension, bound=bound, formula=record["formula"]
        )
        curves[f"r = {radius:g}"] = (epsilons, np.nan_to_num(cosine).mean(0))
    largest = {}
    for threshold in record["threshold"]:
        values = [
            np.mean([row[f"largest_epsilon_{threshold:g}"] for row in rows if row["radius"] == radius])
            for radius in record["radius"]
        ]
        largest[f"T = {threshold:g}"] = (np.array(record["radius"]), np.array(values))
    found = {
        "certified_cosine.png": figures.curves_figure(curves, "l2 perturbation ε", "certified cosine, mean"),
        "largest_epsilon.png": figures.curves_figure(largest, "smoothing radius r", "largest certified ε, mean"),
    }
    attacked = [row for row in rows if "attack_cosine" in row]
    if attacked:
        x, y = (np.array([row[name] for row in attacked]) for name in ("attack_bound", "attack_cosine"))
        found["attack.png"] = _below_diagonal(
            {"attack": (x, y)}, "certified cosine", "lowest cosine attacked", above=True
        )
    return found


def _upper(rows, jacobian):
    found, panels, differences = {}, {}, {}
    for linf, epsilon in dict.fromkeys((row["linf"], row["epsilon"]) for row in rows):
        name = f"{'linf' if linf else 'l2'}, ε = {epsilon:g}"
        group = [r for r in rows if (r["linf"], r["epsilon"]) == (linf, epsilon) and "observed" in r]
        if group:
            bound, observed = (np.array([row[key] for row in group]) for key in ("bound", "observed"))
            panels[name], differences[name] = (bound, observed), bound - observed
    if panels:
        found["observed.png"] = _below_diagonal(panels, "bound of the change", "largest change observed")
        found["differences.png"] = _histogram(differences, "bound − observed")
    if jacobian.is_file():
        with np.load(jacobian) as archive:
            found["jacobian.png"] = _heatmaps(dict(archive))
    return found


def _below_diagonal(panels, x_label, y_label, above=False):
    """Bound against observation with the line that must not be crossed."""
    figure = figures.scatter_figure(panels, x_label, y_label)
    for axis, (x, y) in zip(figure.axes, panels.values()):
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.fill_between(ends, ends, ends.min() if above else ends.max(), color="tab:red", alpha=0.08)
    return figure


def _histogram(values, label):
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axis = figure.subplots()
    for name, each in values.items():
        axis.hist(each, bins=20, alpha=0.5, label=name)
    axis.set(xlabel=label, ylabel="images")
    axis.legend(fontsize=8)
    return figure


def _heatmaps(picture):
    """|J| of one image on a logarithmic scale (Wang and Kong 2023, Figs. 4 to 7)."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, 2), (("first", "first features"), ("whole", "all, averaged"))):
        values = picture[name]
        floor = max(values.max() * 1e-5, 1e-30)
        shown = axis.imshow(np.log10(np.maximum(values, floor)), cmap="inferno")
        axis.set_title(f"log₁₀ |∂g_i/∂x_j|, {title}", fontsize=8)
        figure.colorbar(shown, ax=axis)
    return figure
