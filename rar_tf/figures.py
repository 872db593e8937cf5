"""Pictures, as matplotlib figures that need no display. They are made from arrays only; nothing here runs a network."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure


def maps_figure(
    images: np.ndarray,
    perturbed: np.ndarray,
    maps: np.ndarray,
    perturbed_maps: np.ndarray,
    scores: np.ndarray,
    *,
    bounds: tuple[float, float] | None = None,
    title: str = "Kendall",
) -> Figure:
    """Draw one row per image: it, its perturbed version and both maps (Chen et al. 2019, Figs. 3 to 6).

    Shape: images, perturbed [N, H, W, C]; maps, perturbed_maps [N, H, W] or [N, H, W, C] (drawn as absolute values
      summed over channels); scores [N].

    Args:
      bounds: pixel range of the images; None takes theirs.
    """
    bounds = bounds or (min(images.min(), perturbed.min()), max(images.max(), perturbed.max()))
    figure = grid_figure(
        {"image": images, "perturbed image": perturbed, "map": maps, "perturbed map": perturbed_maps},
        maps_from=2,
        bounds=bounds,
    )
    for row, score in enumerate(scores):
        axis = figure.axes[4 * row + 3]
        axis.set_title((axis.get_title() + "\n" if row == 0 else "") + f"{title} {score:.2f}", fontsize=7)
    return figure


def grid_figure(columns: dict[str, np.ndarray], *, maps_from: int, bounds: tuple[float, float] = (0.0, 1.0)) -> Figure:
    """Draw one row per sample and one column per title; columns from `maps_from` on are maps, those before are images.

    Shape: each column [N, H, W, C] or, for maps, [N, H, W].
    """
    rows = len(next(iter(columns.values())))
    figure = Figure(figsize=(1.9 * len(columns), 1.8 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, values) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=7)
        for row in range(rows):
            axis = axes[row, column]
            axis.set_axis_off()
            if column < maps_from:
                axis.imshow(_pixels(values[row], *bounds), cmap="gray", vmin=0, vmax=1)
            else:
                axis.imshow(_without_outliers(values[row]), cmap="inferno", vmin=0)
    return figure


def over_maps_figure(
    columns: list[tuple[str, np.ndarray, np.ndarray]], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """Draw each (title, image [H, W, C], map [H, W] or [H, W, C]) as a column (Wang and Kong 2022, Fig. 1)."""
    figure = Figure(figsize=(1.9 * len(columns), 4.2), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)
    for (above, below), (title, image, values) in zip(axes.T, columns):
        above.set_title(title, fontsize=7)
        above.imshow(_pixels(image, *bounds), cmap="gray", vmin=0, vmax=1)
        below.imshow(_without_outliers(values), cmap="inferno", vmin=0)
        for axis in (above, below):
            axis.set_axis_off()
    return figure


def _without_outliers(values):
    """A map as [H, W], cut at its 99th percentile so that one pixel does not darken all others."""
    grid = np.abs(values).sum(axis=-1) if values.ndim == 3 else np.abs(values)
    return np.minimum(grid, max(np.quantile(grid, 0.99), 1e-12))


def _pixels(image, low, high):
    image = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return image[..., 0] if image.shape[-1] == 1 else image


def box_plot(series: dict[str, np.ndarray], label: str) -> Figure:
    """Draw a score's spread over images, one box a model (Sarkar et al. 2021, Fig. 2)."""
    figure = Figure(figsize=(1.6 + 1.1 * len(series), 3), layout="constrained")
    axis = figure.subplots()
    axis.boxplot(list(series.values()), showmeans=True, widths=0.6)
    axis.set_xticks(range(1, len(series) + 1), list(series), rotation=20, ha="right", fontsize=8)
    axis.set_ylabel(label)
    axis.grid(axis="y", alpha=0.3)
    return figure


def curves_figure(curves: dict[str, tuple[np.ndarray, ...]], x_label: str, y_label: str) -> Figure:
    """Draw lines (x [T], y [T], and more y that are dashed) by name: the attack's curve over iterations."""
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axis = figure.subplots()
    for name, (x, y, *more) in curves.items():
        (line,) = axis.plot(x, y, label=name, marker="." if len(x) < 30 else None)
        for dashed in more:
            axis.plot(x, dashed, linestyle="--", linewidth=1, color=line.get_color())
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.grid(alpha=0.3)
    if len(curves) > 4:  # they would hide the curves
        figure.set_figwidth(8)
        figure.legend(fontsize=8, loc="outside right upper")
    else:
        axis.legend(fontsize=8)
    return figure


def settings_figure(panels: dict[str, dict[str, tuple[np.ndarray, ...]]], x_label: str) -> Figure:
    """Draw scores over a setting: one panel a score, in it one line a name.

    Shape: panels[score][name] is (x, mean, low, high, median), each [T]; the band from low to high is shaded, the
      median dashed. None in place of a median draws none.
    """
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (score, lines) in zip(axes, panels.items()):
        for number, (name, (x, mean, low, high, median)) in enumerate(lines.items()):
            color = f"C{number % 10}"
            axis.plot(x, mean, marker=".", color=color, label=name)
            axis.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
            if median is not None:
                axis.plot(x, median, linestyle="--", linewidth=1, color=color)
        axis.set(xlabel=x_label, title=score)
        axis.grid(alpha=0.3)
    if len(next(iter(panels.values()))) > 1:
        axes[0].legend(fontsize=7)
    return figure


def scatter_figure(panels: dict[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str) -> Figure:
    """Draw one scatter of (x [N], y [N]) a panel, titled by its name (Wang and Kong 2022, Figs. 1, 2 and 5)."""
    figure = Figure(figsize=(3.2 * len(panels), 3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, (x, y)) in zip(axes, panels.items()):
        axis.scatter(x, y, s=6, alpha=0.6)
        axis.set(xlabel=x_label, ylabel=y_label)
        axis.set_title(name, fontsize=8)
        axis.grid(alpha=0.3)
    return figure


def bar_figure(values: dict[str, float], label: str) -> Figure:
    """Draw one bar a model (Wang and Kong 2022, Fig. 4)."""
    figure = Figure(figsize=(1.6 + 0.9 * len(values), 3), layout="constrained")
    axis = figure.subplots()
    axis.bar(list(values), list(values.values()), color=matplotlib.colormaps["tab10"](0), width=0.6)
    axis.set_ylabel(label)
    axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    return figure
