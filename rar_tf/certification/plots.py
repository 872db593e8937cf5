"""Kinds of plots that certificates draw of their rows."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rar_tf import figures


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


def histogram(values: dict[str, np.ndarray], label: str) -> Figure:
    """Draw how many images have which value [N], one colour a name."""
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axis = figure.subplots()
    for name, each in values.items():
        axis.hist(each, bins=20, alpha=0.5, label=name)
    axis.set(xlabel=label, ylabel="images")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8)
    return figure


def heatmaps(picture: dict[str, np.ndarray]) -> Figure:
    """Draw |J| of one image on a logarithmic scale (Wang and Kong 2023, Figs. 4 to 7): its `first` rows and `whole`."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, 2), (("first", "first features"), ("whole", "all, averaged"))):
        values = picture[name]
        floor = max(values.max() * 1e-5, 1e-30)
        shown = axis.imshow(np.log10(np.maximum(values, floor)), cmap="inferno")
        axis.set_title(title, fontsize=figures.TITLE)
        axis.set(xlabel="feature j of the image", ylabel="feature i of the attribution g")
        figure.colorbar(shown, ax=axis, label="log₁₀ |∂gᵢ/∂xⱼ|", shrink=0.9)
    return figure
