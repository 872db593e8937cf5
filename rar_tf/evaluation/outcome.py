"""What evaluations and attacks give back in Python: rows, maps and statistics, as tables, files and pictures."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rar_tf import figures, files, provenance, results
from rar_tf.errors import UsageError
from rar_tf.evaluation.curves import curves_figure
from rar_tf.evaluation.summary import SCORES, Examples, summarize
from rar_tf.evaluation.words import attack_of, setting_of
from rar_tf.figures import Figure
from rar_tf.files import atomic_write

TEXT = ("curve",)

read_rows = functools.partial(results.read_rows, text=TEXT)


@dataclasses.dataclass
class Evaluation:
    """The rows of an evaluation, one per image, and what they were made with.

    examples: images, attacked images and maps of the first attacked ones.
    """

    rows: list[dict]
    settings: dict
    examples: Examples | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)

    def summary(self) -> dict:
        """Return the record that `summary.json` holds."""
        return summarize(self.rows, self.settings, self.warnings)

    def to_dataframe(self):
        """Return the rows as a pandas DataFrame, one per image; scores of images that were not attacked are NaN.

        Raises: UsageError where pandas is not installed.
        """
        return _dataframe(self.rows)

    def save(self, folder) -> pathlib.Path:
        """Write what the command `evaluate` writes, for reports to read; return the folder.

        That is settings.json, examples.csv, maps.npz, maps.png and summary.json.

        Raises: UsageError where the folder belongs to another evaluation.
        """
        record = {name: value for name, value in self.settings.items() if name != "seconds"}
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        table = results.Table(folder, record, columns, TEXT)
        files.claim(folder, "evaluate")
        table.write(self.rows)
        if self.examples is not None:
            self.examples.write(table.folder / "maps.npz")
        self.save_pictures(table.folder)
        results.write_json(table.folder / "summary.json", {**self.summary(), "made": provenance.made()})
        return table.folder

    def save_pictures(self, folder: pathlib.Path) -> None:
        """Write maps.png where maps were kept."""
        if self.examples is not None:
            _save(self.plot_maps(), folder / "maps.png")

    def plot(self) -> Figure:
        """Return a picture of every score over the attacked images: boxes, means as triangles."""
        attacked = [row for row in self.rows if "kendall" in row]
        if not attacked:
            raise UsageError("no image was attacked: there are no scores to draw")
        series = {name.replace("_", " "): np.array([row[name] for row in attacked]) for name in SCORES}
        picture = figures.box_plot(series, "score")
        picture.suptitle(f"{attack_of(self.settings)}\n{len(attacked)} attacked images", fontsize=8)
        return picture

    def plot_maps(self) -> Figure:
        """Return a picture of the kept images and their maps before and after the attack.

        Raises: UsageError where none were kept.
        """
        if self.examples is None:
            raise UsageError("no maps were kept: nothing was attacked, or num_figures was 0")
        return examples_figure(self.examples, self.rows, self.settings)


@dataclasses.dataclass
class Curve:
    """Evaluations of one network on the same images, each with another budget of the attack."""

    evaluations: list[Evaluation]

    @property
    def epsilons(self) -> list[float]:
        """The budgets, in the order in which they were given."""
        return [setting_of(each.settings, "ifia_epsilon") for each in self.evaluations]

    def summary(self) -> list[dict]:
        """Return the summary of each evaluation."""
        return [each.summary() for each in self.evaluations]

    def to_dataframe(self):
        """Return all rows with their budget as column `epsilon`. Raises: UsageError where pandas is not installed."""
        return _dataframe(
            [{"epsilon": budget, **row} for budget, each in zip(self.epsilons, self.evaluations) for row in each.rows]
        )

    def save(self, folder) -> pathlib.Path:
        """Write each evaluation to a folder of its own, epsilon=…, and curves.png; return the folder."""
        folder = pathlib.Path(folder)
        for budget, each in zip(self.epsilons, self.evaluations):
            each.save(folder / f"epsilon={budget:g}")
        _save(self.plot(), folder / "curves.png")
        return folder

    def plot(self) -> Figure:
        """Return a picture of every accuracy and score over the budget; intervals shaded, medians dashed."""
        return curves_figure({"": {budget: [s] for budget, s in zip(self.epsilons, self.summary())}}, "epsilon")


class Attacked(NamedTuple):
    """What an attack on attributions found, in the order of the images that were given.

    perturbed [N, H, W, C]: the attacked images, in the ball and the pixel range, with their label kept; the image
    itself where nothing was found or nothing was attacked. maps, perturbed_maps [N, H, W] (of the protocol wk
    [N, H, W, C]): the label's map at the image and at the attacked one. scores: name -> [N], of the two maps, NaN where
    the image was not attacked; with attack="auto" each is the lowest of many attacked images, of which `perturbed` is
    the one with the lowest measure. attacked [N]: whether the network classifies the image as its label. found [N]:
    whether the attack lowered the measure.
    """

    perturbed: np.ndarray
    maps: np.ndarray
    perturbed_maps: np.ndarray
    scores: dict[str, np.ndarray]
    attacked: np.ndarray
    found: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, evaluation: Evaluation, others: np.ndarray, maps: np.ndarray) -> "Attacked":
        """Return what an evaluation found that kept every attacked image.

        Shape: images [N, H, W, C]; others int [M], the images that were not attacked, and their maps as above.
        """
        perturbed, rows, kept = images.copy(), evaluation.rows, evaluation.examples
        clean = np.empty((len(images), *maps.shape[1:]), np.float32)
        clean[others] = maps
        if kept is not None:
            perturbed[kept.index], clean[kept.index] = kept.perturbed, kept.maps
        perturbed_maps = clean.copy()
        if kept is not None:
            perturbed_maps[kept.index] = kept.perturbed_maps
        return cls(
            perturbed,
            clean,
            perturbed_maps,
            {name: np.array([row.get(name, np.nan) for row in rows], np.float64) for name in SCORES},
            np.array([bool(row["correct"]) for row in rows]),
            np.array([row.get("fallback") == 0 for row in rows]),
        )


def examples_figure(examples: Examples, rows: list[dict], settings: Mapping[str, Any], title: str = "") -> Figure:
    """Return a picture of images and maps that says what each is, from an evaluation's rows and settings."""
    known = {row["index"]: row for row in rows}
    captions = [
        f"image {i}: label {known[i]['label']},\npredicted {known[i]['prediction']}" if i in known else f"image {i}"
        for i in map(int, examples.index)
    ]
    e, said = examples, [title] if title else []
    said += [", ".join(str(settings[name]) for name in ("dataset", "method") if settings.get(name))]
    said += [f"{settings.get('attribution', 'attribution')}; {attack_of(settings)}"]
    said += [provenance.in_words(settings)]
    return figures.plot_maps(
        e.images,
        e.perturbed,
        e.maps,
        e.perturbed_maps,
        e.scores,
        bounds=tuple(settings["bounds"]),
        captions=captions,
        title="\n".join(filter(None, said)),
    )


def _dataframe(rows):
    try:
        import pandas
    except ImportError:
        raise UsageError("to_dataframe needs pandas: pip install 'rar_tf[pandas]', or pip install pandas") from None
    return pandas.DataFrame(rows)


def _save(picture, path):
    with atomic_write(path) as temporary:
        picture.savefig(temporary, dpi=110)
