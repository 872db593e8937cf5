"""One page about several evaluations: what was measured beside what the papers print, with pictures.

It reads what `rar_tf.evaluation.files` wrote and runs no network. The same blocks become Markdown, its pictures beside
it, and HTML that holds everything in one file.
"""

import base64
import html
import importlib.resources
import io
import json
import pathlib
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rar_tf import figures, metrics
from rar_tf.errors import UsageError
from rar_tf.evaluation.files import read_examples, read_rows
from rar_tf.evaluation.summary import Examples
from rar_tf.files import atomic_write
from rar_tf.results import read_json

MEASURED = (
    "natural_accuracy",
    "adversarial_accuracy",
    "topk_intersection",
    "kendall",
    "kendall_support",
    "spearman",
    "cosine",
    "lens_recall",
    "lens_precision",
    "reference_spearman",
)
PRINTED = (
    "natural_accuracy",
    "adversarial_accuracy",
    "adversarial_accuracy_fgsm",
    "adversarial_accuracy_pgd20",
    "adversarial_accuracy_cw",
    "topk_intersection",
    "kendall",
    "reference_spearman",
)


class Evaluated(NamedTuple):
    """An evaluation's files as they were read: name, summary, attacked rows and a few maps."""

    name: str
    summary: dict
    rows: list[dict]
    examples: Examples | None

    def column(self, name: str) -> np.ndarray:
        return np.array([row[name] for row in self.rows if name in row], np.float64)


class Block(NamedTuple):
    """A piece of the page: a heading, a paragraph, a table (header, rows) or a figure (name, picture, caption)."""

    kind: str
    content: object


def published() -> list[dict]:
    """Return the papers' tables: paper, table, title, columns, rows, and a note where a number is no target."""
    return json.loads((importlib.resources.files("rar_tf") / "published.json").read_text())


def published_rows(dataset: str, method: str) -> list[tuple[dict, dict]]:
    """Return (table, row by column) of every printed row about a method on a data set."""
    return [
        (table, values)
        for table in published()
        for row in table["rows"]
        if (values := dict(zip(table["columns"], row)))["dataset"] == dataset and values["method"] == method
    ]


def read(folders: list) -> list[Evaluated]:
    """Return every evaluation in model directories or evaluation folders.

    Raises: UsageError where a folder holds no finished evaluation, or files that cannot be read.
    """
    found = []
    for folder in map(pathlib.Path, folders):
        places = (
            [folder]
            if (folder / "summary.json").is_file()
            else sorted(
                place.parent for place in folder.glob("*/summary.json") if (place.parent / "examples.csv").is_file()
            )
        )
        if not places:
            raise UsageError(f"{folder}: no finished evaluation (summary.json); run scripts/evaluate.py first")
        for place in places:
            name = folder.name if len(places) == 1 else f"{folder.name}/{place.name}"
            rows = [row for row in read_rows(place / "examples.csv")[0] if row["correct"]]
            examples = read_examples(place / "maps.npz") if (place / "maps.npz").is_file() else None
            found.append(Evaluated(name, read_json(place / "summary.json"), rows, examples))
    return found


def write(evaluations: list[Evaluated], folder) -> tuple[pathlib.Path, pathlib.Path]:
    """Write report.md, its pictures and report.html; return the paths of the two pages."""
    folder = pathlib.Path(folder)
    blocks = build(evaluations)
    markdown, page = folder / "report.md", folder / "report.html"
    pictures = {name: _png(picture) for kind, content in blocks if kind == "figure" for name, picture, _ in [content]}
    for name, data in pictures.items():
        with atomic_write(folder / "report_figures" / f"{name}.png") as temporary:
            temporary.write_bytes(data)
    for path, render in ((markdown, _markdown), (page, _html)):
        with atomic_write(path) as temporary:
            temporary.write_text(render(blocks, pictures), encoding="utf-8")
    return markdown, page


def build(evaluations: list[Evaluated]) -> list[Block]:
    """Return the page's blocks; sections that an evaluation has no data for are left out."""
    blocks = [
        Block("heading", "Attribution robustness"),
        *_measured(evaluations),
        *_beside_papers(evaluations),
        *_members(evaluations),
    ]
    attacked = [e for e in evaluations if e.rows]
    for name, label in (("topk_intersection", "top-k intersection"), ("kendall", "Kendall")):
        if attacked:
            picture = figures.box_plot({e.name: e.column(name) for e in attacked}, label)
            blocks.append(
                Block(
                    "figure",
                    (
                        f"box_{name}",
                        picture,
                        f"{label} over the attacked images; the triangle is the mean (as Sarkar et al. 2021, Fig. 2).",
                    ),
                )
            )
    blocks += _curves(attacked) + _maps(attacked) + _pairs(attacked) + _activity(attacked) + _concordance(attacked)
    return blocks


def _measured(evaluations):
    names = [name for name in MEASURED if any(e.summary.get(name) is not None for e in evaluations)]
    header = ["", "attack", "images", *(n.replace("_", " ") for n in names), "fallbacks"]
    rows = [
        [
            e.name,
            e.summary.get("attack", ""),
            e.summary["num_examples"],
            *(_cell(e.summary.get(n)) for n in names),
            _percent(e.summary["fallback_rate"]),
        ]
        for e in evaluations
    ]
    blocks = [
        Block("heading2", "Measured"),
        Block("table", (header, rows)),
        Block(
            "text",
            "Scores: mean over the attacked images with the 95 % bootstrap interval of the mean, and the "
            "median. Accuracies: share of all images. A fallback is an image for which the attack found "
            "nothing; it scores 1.",
        ),
    ]
    for e in evaluations:
        blocks += [Block("text", f"Warning ({e.name}): {warning}") for warning in e.summary["warnings"]]
    return blocks


def _cell(value):
    if value is None:
        return "-"
    if not isinstance(value, dict):
        return f"{value:.4f}"
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.4f} [{value['ci95'][0]:.4f}, {value['ci95'][1]:.4f}]; median {value['median']:.4f}"


def _percent(value):
    return "-" if value is None else f"{value:.1%}"


def _beside_papers(evaluations):
    rows = []
    for e in evaluations:
        for table, values in published_rows(e.summary.get("dataset", ""), e.summary.get("method", "")):
            printed = [name for name in PRINTED if name in values]
            if not printed or table.get("attribution", "integrated_gradients") != e.summary["attribution"]:
                continue
            setting = ", ".join(f"{k} {v}" for k, v in values.items() if k not in (*PRINTED, "dataset", "method"))
            source = f"{table['paper']}, Table {table['table']}" + (f" ({setting})" if setting else "")
            rows += [
                [e.name, source, name.replace("_", " "), f"{values[name]:.4f}", *_ours(e, name), table.get("note", "")]
                for name in printed
            ]
    if not rows:
        return []
    return [
        Block("heading2", "Beside the papers"),
        Block(
            "text",
            "What the papers print for the same data set and method, however their networks, images and "
            "steps differed from these.",
        ),
        Block("table", (["", "source", "value", "printed", "mean here", "median here", "note"], rows)),
    ]


def _ours(evaluated, name):
    value = evaluated.summary.get(name)
    if isinstance(value, dict):
        return [f"{value['mean']:.4f}", f"{value['median']:.4f}"] if value["mean"] is not None else ["-", "-"]
    return ["-" if value is None else f"{value:.4f}", ""]


def _members(evaluations):
    rows = [
        [e.name, name, f"{m['kendall']:.4f}", _percent(m["lowest_on"])]
        for e in evaluations
        for name, m in e.summary.get("members", {}).items()
    ]
    if not rows:
        return []
    return [
        Block("heading2", "Members of the ensemble"),
        Block("table", (["", "member", "mean Kendall alone", "lowest of all on"], rows)),
    ]


def _curves(evaluations):
    curves = {}
    for e in evaluations:
        values = np.array([[float(v) for v in row["curve"].split()] for row in e.rows if row.get("curve")])
        if len(values):
            steps = e.summary.get("ifia_steps") or e.summary.get("steps") or values.shape[1]
            curves[e.name] = (np.linspace(steps / values.shape[1], steps, values.shape[1]), values.mean(axis=0))
    if not curves:
        return []
    picture = figures.curves_figure(curves, "iteration", "lowest measure so far, mean")
    return [
        Block("heading2", "The attack's course"),
        Block("figure", ("curves", picture, "A curve that still falls at its end asks for more iterations.")),
    ]


def _maps(evaluations):
    blocks = []
    for number, e in enumerate(evaluations):
        if e.examples is None:
            continue
        x = e.examples.take(np.arange(min(4, len(e.examples.index))))
        picture = figures.maps_figure(
            x.images, x.perturbed, x.maps, x.perturbed_maps, x.scores, bounds=tuple(e.summary["bounds"])
        )
        blocks.append(
            Block(
                "figure",
                (
                    f"maps_{number}",
                    picture,
                    f"{e.name}: images and maps before and after the attack; "
                    "the label is kept (as Chen et al. 2019, Figs. 3 to 6).",
                ),
            )
        )
    return [Block("heading2", "Maps before and after the attack"), *blocks] if blocks else []


def _pairs(evaluations):
    """Each baseline beside the same baseline with IGR, on images that both were attacked on."""

    def key(e):
        return e.summary.get("dataset"), e.summary.get("attack"), e.summary.get("method")

    baselines = {"at": ("at", "madry"), "trades": ("trades",), "mart": ("mart",)}
    blocks = []
    for number, robust in enumerate(evaluations):
        data, attack, method = key(robust)
        names = baselines.get(str(method).removeprefix("igr_"), ()) if str(method).startswith("igr_") else ()
        for base in (e for e in evaluations if key(e) in [(data, attack, name) for name in names]):
            if base.examples is None or robust.examples is None:
                continue
            shared = np.intersect1d(base.examples.index, robust.examples.index)[:4]
            if not len(shared):
                continue
            a, b = (
                e.examples.take(np.array([np.flatnonzero(e.examples.index == i)[0] for i in shared]))
                for e in (base, robust)
            )
            picture = figures.grid_figure(
                {
                    "image": a.images,
                    "attacked": a.perturbed,
                    f"{base.name}: clean": a.maps,
                    "attacked ": a.perturbed_maps,
                    f"{robust.name}: attacked": b.perturbed_maps,
                },
                maps_from=2,
                bounds=tuple(base.summary["bounds"]),
            )
            blocks.append(
                Block(
                    "figure",
                    (
                        f"igr_{number}",
                        picture,
                        f"{base.name} beside {robust.name} (as Wang and Kong 2022, Figs. 3, 6 and 7).",
                    ),
                )
            )
    return [Block("heading2", "With and without IGR"), *blocks] if blocks else []


def _activity(evaluations):
    values = {e.name: e.summary["activation_consistency"] for e in evaluations if "activation_consistency" in e.summary}
    if not values:
        return []
    return [
        Block("heading2", "Activation consistency"),
        Block("table", (["", "P(A∩B)/sqrt(P(A)P(B))"], [[name, f"{value:.4f}"] for name, value in values.items()])),
        Block(
            "figure",
            (
                "activity",
                figures.bar_figure(values, "activation consistency"),
                "Rectifiers active before and after the attack (as Wang and Kong 2022, Fig. 4).",
            ),
        ),
    ]


def _concordance(evaluations):
    """Cosine and Pearson against Kendall (Wang and Kong 2022, Figs. 1, 2 and 5)."""
    kendall, cosine, pearson = simulated_scores()
    panels = {
        f"simulated: cosine, γ = {metrics.goodman_kruskal_gamma(kendall, cosine):.3f}": (kendall, cosine),
        f"simulated: Pearson, γ = {metrics.goodman_kruskal_gamma(kendall, pearson):.3f}": (kendall, pearson),
    }
    blocks = [
        Block("heading2", "Cosine and Pearson against Kendall"),
        Block(
            "figure",
            (
                "simulated",
                figures.scatter_figure(panels, "Kendall", "score"),
                "Random vectors around a fixed one; γ is Goodman and Kruskal's.",
            ),
        ),
    ]
    for number, e in enumerate(evaluations):
        kendall, cosine, pearson = (e.column(name) for name in ("kendall", "cosine", "pearson"))
        if len(kendall) < 3:
            continue
        panels = {
            f"cosine, γ = {metrics.goodman_kruskal_gamma(kendall, cosine):.3f}": (kendall, cosine),
            f"Pearson, γ = {metrics.goodman_kruskal_gamma(kendall, pearson):.3f}": (kendall, pearson),
        }
        blocks.append(
            Block(
                "figure",
                (
                    f"concordance_{number}",
                    figures.scatter_figure(panels, "Kendall", "score"),
                    f"{e.name}: maps before and after the attack.",
                ),
            )
        )
    shown = next((e for e in evaluations if e.examples is not None), None)
    if shown is not None:
        names, maps = same_distance_maps(shown.examples)
        picture = figures.grid_figure({name: m[None] for name, m in zip(names, maps)}, maps_from=0)
        blocks.append(
            Block(
                "figure",
                (
                    "same_distance",
                    picture,
                    "Maps at the same ℓ1 distance from the first: the distance says little of the order.",
                ),
            )
        )
    return blocks


def simulated_scores(features: int = 10_000, vectors: int = 300, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return Kendall, cosine and Pearson between a fixed random vector and vectors at random distances from it."""
    rng = np.random.default_rng(seed)
    fixed = rng.standard_normal((1, features))
    share = rng.random((vectors, 1))
    others = (1 - share) * fixed + share * rng.standard_normal((vectors, features))
    repeated = np.broadcast_to(fixed, others.shape)
    return metrics.kendall(repeated, others), metrics.cosine(repeated, others), metrics.pearson(repeated, others)


def same_distance_maps(examples: Examples, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return a clean map and three others at one ℓ1 distance from it: the attack's, a noisy one, a scaled one."""
    clean = examples.maps[0].astype(np.float64)
    attacked = examples.perturbed_maps[0] - clean
    distance = np.abs(attacked).sum()
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    scaled = clean * distance / max(np.abs(clean).sum(), 1e-12)
    maps = [clean] + [
        clean + change * distance / max(np.abs(change).sum(), 1e-12) for change in (attacked, noise, scaled)
    ]
    flat = np.array(maps).reshape(4, -1)
    repeated = np.broadcast_to(flat[:1], flat.shape)
    scores = zip(metrics.kendall(repeated, flat), metrics.cosine(repeated, flat))
    return [
        f"{name}\nKendall {k:.2f}, cosine {c:.2f}"
        for name, (k, c) in zip(("clean", "attacked", "noise", "scaled"), scores)
    ], np.array(maps)


def _png(picture: Figure) -> bytes:
    data = io.BytesIO()
    picture.savefig(data, format="png", dpi=110)
    return data.getvalue()


def _markdown(blocks, pictures):
    lines = []
    for kind, content in blocks:
        if kind == "table":
            header, rows = content
            lines += [_line(header), _line(["---"] * len(header)), *map(_line, rows), ""]
        elif kind == "figure":
            name, _, caption = content
            lines += [f"![{caption}](report_figures/{name}.png)", "", caption, ""]
        else:
            lines += [{"heading": "# ", "heading2": "## "}.get(kind, "") + content, ""]
    return "\n".join(lines)


def _line(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;"
    "font-size:13px}td,th{border:1px solid #ccc;padding:.25em .5em;text-align:left}img{max-width:100%}"
    "figure{margin:1em 0}figcaption{color:#555;font-size:13px}"
)


def _html(blocks, pictures):
    tags = {"heading": "h1", "heading2": "h2", "text": "p"}
    parts = []
    for kind, content in blocks:
        if kind == "table":
            header, rows = content
            cells = [
                "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
                for tag, row in [("th", header), *(("td", row) for row in rows)]
            ]
            parts.append("<table>" + "".join(f"<tr>{row}</tr>\n" for row in cells) + "</table>")
        elif kind == "figure":
            name, _, caption = content
            source = base64.b64encode(pictures[name]).decode()
            parts.append(
                f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{source}">'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
        else:
            parts.append(f"<{tags[kind]}>{html.escape(content)}</{tags[kind]}>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Attribution robustness</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
