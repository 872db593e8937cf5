"""Pictures, as matplotlib figures that need no display. They are made from arrays only; nothing here runs a network."""

import io
from collections.abc import Sequence

import matplotlib
import matplotlib.figure
import matplotlib.text
import numpy as np

TITLE, CELL = 10, 1.7  # points and inches: letters that can be read where four cells share a phone's width


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook shows where pyplot, which would see to that, was never imported.

    A name with dollars is drawn as it is, not as a formula; the powers that axes write remain.
    """

    def draw(self, renderer):
        for text in self.findobj(matplotlib.text.Text):
            if "$" in text.get_text() and "\\mathdefault" not in text.get_text():
                text.set_parse_math(False)
        super().draw(renderer)

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def plot_maps(
    images: np.ndarray,
    perturbed: np.ndarray,
    maps: np.ndarray,
    perturbed_maps: np.ndarray,
    scores: np.ndarray | None = None,
    *,
    bounds: tuple[float, float] | None = None,
    captions: Sequence[str] = (),
    title: str = "",
    score_name: str = "Kendall",
) -> Figure:
    """Draw one row per image: it, its perturbed version and both maps (Chen et al. 2019, Figs. 3 to 6).

    The two maps of a row share one scale. Signed maps have a diverging palette, white at zero; others are dark there.

    Shape: images, perturbed [N, H, W, C]; maps, perturbed_maps [N, H, W] or [N, H, W, C] (drawn as sums over channels);
      scores [N], of the two maps.

    Args:
      bounds: pixel range of the images; None takes theirs.
      captions: what is said over each image. title: what is said over all of them.
    """
    bounds = bounds or (min(images.min(), perturbed.min()), max(images.max(), perturbed.max()))
    figure, axes = _grid(len(images), 4, title)
    for row, line in enumerate(axes):
        changed = np.max(np.abs(perturbed[row] - images[row]))
        score = "" if scores is None else f"\n{score_name} {scores[row]:.2f}"
        _draw_image(line[0], images[row], bounds, captions[row] if row < len(captions) else "image")
        _draw_image(line[1], perturbed[row], bounds, f"perturbed\nby up to {changed:.2g}" if changed else "")
        shown = _draw_maps(
            line[2:],
            [maps[row], perturbed_maps[row]],
            ["map", f"perturbed map{score}" if changed else f"no change found{score}"],
        )
        _color_bar(figure, shown, line[2:])
    return figure


def grid_figure(
    columns: dict[str, np.ndarray],
    *,
    maps_from: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    captions: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw one row per sample and one column per title; columns from `maps_from` on are maps, those before are images.

    Shape: each column [N, H, W, C] or, for maps, [N, H, W].
    """
    names, values = list(columns), list(columns.values())
    figure, axes = _grid(len(values[0]), len(names), title)
    for row, line in enumerate(axes):
        for axis, name, column in zip(line, names[:maps_from], values):
            _draw_image(axis, column[row], bounds, captions[row] if captions and axis is line[0] else name)
        shown = _draw_maps(line[maps_from:], [column[row] for column in values[maps_from:]], names[maps_from:])
        _color_bar(figure, shown, line[maps_from:])
    return figure


def panel_figure(
    names: list[str],
    columns: list[tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray, str]]]],
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    title: str = "",
) -> Figure:
    """Draw each image once and under it, one row a network, its map and the attacked one's on one scale of the two.

    Shape: columns hold an image [H, W, C] and for each name its map, the attacked map, [H, W] or [H, W, C], and what is
      said over the latter.
    """
    figure, axes = _grid(1 + len(names), 2 * len(columns), title)
    for number, (image, cells) in enumerate(columns):
        pairs = axes[:, 2 * number : 2 * number + 2]
        _draw_image(pairs[0, 0], image, bounds, "image")
        for pair, (values, attacked, said) in zip(pairs[1:], cells):
            _draw_maps(pair, [values, attacked], ["map", said])
    for axis, name in zip(axes[1:, 0], names):
        place = {"rotation": 90, "ha": "right", "va": "center", "transform": axis.transAxes}
        axis.text(-0.06, 0.5, name.replace(",", ",\n"), fontsize=TITLE, **place)
    return figure


def over_maps_figure(
    columns: list[tuple[str, np.ndarray, np.ndarray]], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """Draw each (title, image [H, W, C], map [H, W] or [H, W, C]) as a column (Wang and Kong 2022, Fig. 1)."""
    figure, axes = _grid(2, len(columns))
    for (above, below), (title, image, values) in zip(axes.T, columns):
        _draw_image(above, image, bounds, title)
        _draw_maps([below], [values], [""])
    return figure


def _grid(rows, columns, title=""):
    figure = Figure(figsize=(CELL * columns, (CELL + 0.25) * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=TITLE)
    return figure, axes


def _draw_image(axis, image, bounds, title):
    axis.imshow(_pixels(image, *bounds), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=TITLE)


def _draw_maps(axes, maps, titles):
    """Draw maps on one scale, cut where one pixel would darken all others; return what a colour bar needs."""
    grids = [each.sum(axis=-1) if each.ndim == 3 else each for each in maps]
    signed = any(grid.min() < 0 for grid in grids)
    limit = max(*(np.quantile(np.abs(grid), 0.99) for grid in grids), 1e-12)
    for axis, grid, title in zip(axes, grids, titles):
        shown = axis.imshow(grid, cmap="RdBu_r" if signed else "inferno", vmin=-limit if signed else 0, vmax=limit)
        axis.set_title(title, fontsize=TITLE)
    return shown


def _color_bar(figure, shown, axes):
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02, extend="both" if shown.get_clim()[0] else "max")
    bar.ax.tick_params(labelsize=8)
    bar.set_label("attribution", fontsize=8)


def _pixels(image, low, high):
    image = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return image if image.shape[-1] == 3 else image.mean(axis=-1)


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
    axis.ticklabel_format(useOffset=False)
    axis.locator_params(axis="x", nbins=6)
    axis.grid(alpha=0.3)
    if len(curves) > 4 or any(len(name) > 20 for name in curves):  # they would hide the curves
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
        axis.scatter(x, y, s=14, alpha=0.6)
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
