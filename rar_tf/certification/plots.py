"""Kinds of plots that certificates draw of their rows."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from rar_tf import figures
from rar_tf.figures import Figure


def against_bound(panels, x_label: str, y_label: str, *, from_below: bool = False) -> Figure:
    """Draw observations [N] over bounds [N], a panel (bounds, observations) a name, and the line not to be crossed.

    Args:
      from_below: whether the bounds lie below what they bound.
    """
    figure = figures.scatter_figure(panels, x_label, y_label)
    for axis, (x, y) in zip(figure.axes, panels.values()):
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        beyond = ends.min() if from_below else ends.max()
        axis.fill_between(ends, ends, beyond, color="tab:red", alpha=0.08, label="the bound broken")
        axis.legend(fontsize=8, loc="lower right" if from_below else "upper left")
    return figure


def over_epsilon(lines: dict[str, tuple[list[dict], str]]) -> Figure:
    """Draw the mean of certified_<name> over ε, a line a label (rows, name), and dashed that of attack_<name>.

    Where images were attacked both are of those alone: means of different images say nothing of each other. What a row
    has not is nothing certified, 0.
    """
    curves: dict[str, tuple[np.ndarray, ...]] = {}
    for label, (rows, name) in lines.items():
        attacked = [row for row in rows if f"attack_{name}" in row]
        shown, kinds = (attacked, ("certified", "attack")) if attacked else (rows, ("certified",))
        epsilons = sorted({row["epsilon"] for row in shown})
        at = [[row for row in shown if row["epsilon"] == each] for each in epsilons]
        means = [
            np.array([np.mean([row.get(f"{kind}_{name}", 0.0) for row in group]) for group in at]) for kind in kinds
        ]
        curves[label] = (np.array(epsilons), *means)
    dashed = any(len(curve) > 2 for curve in curves.values())
    said = "mean certified; dashed: attacked" if dashed else "mean certified"
    return figures.curves_figure(curves, "l2 perturbation ε", said)


def histogram(values: dict[str, np.ndarray], label: str) -> Figure:
    """Draw how many images have which value [N], one colour a name."""
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axis = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins=20)
    for name, each in values.items():
        axis.hist(each, bins=edges.tolist(), alpha=0.5, label=f"{name}: {len(each)} images")
    axis.set(xlabel=label, ylabel="images")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8)
    return figure


def heatmaps(picture: dict[str, np.ndarray]) -> Figure:
    """Draw |J| of one image on a logarithmic scale (Wang and Kong 2023, Figs. 4 to 7): its `first` rows and `whole`."""
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, 2), (("first", "first features"), ("whole", "all, averaged"))):
        values = picture[name]
        floor = max(values.max() * 1e-5, 1e-30)
        shown = axis.imshow(np.log10(np.maximum(values, floor)), cmap="inferno")
        axis.set_title(title, fontsize=figures.TITLE)
        axis.set(xlabel="feature j of the image", ylabel="feature i of the attribution g")
        figure.colorbar(shown, ax=axis, label="log₁₀ |∂gᵢ/∂xⱼ|", shrink=0.8)
    return figure
