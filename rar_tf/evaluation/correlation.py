"""How cosine and Pearson go with Kendall (Wang and Kong 2022, Figs. 1, 2a, 2b and 5).

A pair of scores belongs to one attacked image: of an ensemble, whose scores are each the lowest of many images, the
pairs are those of plain IFIA's kept iterate. Fallbacks, which score 1 in everything, are left out.
"""

import itertools
from typing import NamedTuple

import numpy as np

from rar_tf import figures, metrics
from rar_tf.evaluation import page
from rar_tf.evaluation.evaluated import Evaluated
from rar_tf.evaluation.words import attack_of

ALIKE = 1.1  # ratio of the largest to the smallest of distances that count as one


def blocks(evaluations: list[Evaluated]) -> list[page.Block]:
    """The figures' blocks: simulated vectors, each evaluation's images, maps at the same distance."""
    found = [
        page.heading("Cosine and Pearson against Kendall"),
        page.figure(
            "simulated",
            _scatter(*simulated_scores(), prefix="simulated: "),
            "Random vectors around a fixed one; γ is Goodman and Kruskal's (as Wang and Kong 2022, Fig. 2a).",
        ),
    ]
    for number, e in enumerate(evaluations):
        scores, of = one_iterate(e)
        if len(scores["kendall"]) < 3:
            continue
        found.append(
            page.figure(
                f"concordance_{number}",
                _scatter(scores["kendall"], scores["cosine"], scores["pearson"]),
                f"{e.name}: maps before and after the attack, {len(scores['kendall'])} images without fallbacks, one "
                f"perturbed image each, {of} (as Wang and Kong 2022, Figs. 2b and 5).",
            )
        )
    return found + _same_distance_blocks(evaluations)


def _scatter(kendall, cosine, pearson, *, prefix=""):
    panels = {
        f"{prefix}{name}, γ = {metrics.goodman_kruskal_gamma(kendall, scores):.3f}": (kendall, scores)
        for name, scores in (("cosine", cosine), ("Pearson", pearson))
    }
    return figures.scatter_figure(panels, "Kendall", "score")


def one_iterate(e: Evaluated) -> tuple[dict[str, np.ndarray], str]:
    """Return Kendall, cosine and Pearson of one perturbed image per image without fallbacks, and whose they are.

    Shape: each [N].
    """
    plain = any("plain:kendall" in row for row in e.attacked)
    prefix = "plain:" if plain else ""
    # Scores of an ensemble without plain IFIA's beside them are of no single image.
    rows = e.attacked if plain or e.summary.get("attack") != "auto" else []
    rows = [row for row in rows if not row.get(f"{prefix}fallback", 0)]
    scores = {
        name: np.array([row[prefix + name] for row in rows], np.float64) for name in ("kendall", "cosine", "pearson")
    }
    return scores, f"plain IFIA's of {attack_of(e.summary)}" if plain else attack_of(e.summary)


def simulated_scores(features: int = 10_000, vectors: int = 1000, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return Kendall, cosine and Pearson between a fixed random vector and vectors at random distances from it."""
    rng = np.random.default_rng(seed)
    fixed = rng.standard_normal((1, features))
    share = rng.random((vectors, 1))
    others = (1 - share) * fixed + share * rng.standard_normal((vectors, features))
    repeated = np.broadcast_to(fixed, others.shape)
    return metrics.kendall(repeated, others), metrics.cosine(repeated, others), metrics.pearson(repeated, others)


class Shown(NamedTuple):
    """An image, its perturbed version and both maps, and how far the map has moved: ℓ1, in parts of the clean map's."""

    number: int
    image: np.ndarray
    perturbed: np.ndarray
    map: np.ndarray
    perturbed_map: np.ndarray
    distance: float
    bounds: tuple[float, float]


def shown(e: Evaluated) -> list[Shown]:
    """Return the images with kept maps, those whose map has not moved left out."""
    if e.examples is None:
        return []
    found = []
    for place, index in enumerate(e.examples.index):
        image, perturbed, before, after = (
            getattr(e.examples, name)[place] for name in ("images", "perturbed", "maps", "perturbed_maps")
        )
        size = max(np.abs(before).sum(dtype=np.float64), 1e-12)
        distance = float(np.abs(after.astype(np.float64) - before).sum() / size)
        found.append(Shown(int(index), image, perturbed, before, after, distance, tuple(e.summary["bounds"])))
    return [each for each in found if each.distance > 0]


def same_distance(evaluations: list[Evaluated]) -> list[Shown]:
    """Return three attacks of one network whose maps moved equally far: of one image where there are such, as the paper
    shows them, else of three images.

    One image is attacked several times where a network has several evaluations, with other objectives or budgets.
    """
    networks: dict[str, list[Evaluated]] = {}
    for e in evaluations:
        networks.setdefault(e.summary.get("weights_digest") or e.name, []).append(e)
    one, several = [], []
    for members in networks.values():
        versions: dict[int, list[Shown]] = {}
        for each in itertools.chain.from_iterable(map(shown, members)):
            versions.setdefault(each.number, []).append(each)
        one += list(versions.values())
        several += [shown(e) for e in members]
    best: list[Shown] = min(map(_closest, one), key=_spread, default=[])
    return best if _spread(best) <= ALIKE else min(map(_closest, several), key=_spread, default=[])


def _closest(candidates):
    """The three at the least differing distances."""
    ordered = sorted(candidates, key=lambda each: each.distance)
    return min((ordered[i : i + 3] for i in range(len(ordered) - 2)), key=_spread, default=[])


def _spread(three):
    return three[-1].distance / three[0].distance if three else np.inf


def _same_distance_blocks(evaluations):
    three = same_distance(evaluations)
    if not three:
        return []
    before, after = (
        np.array([each.map for each in three]).reshape(3, -1),
        np.array([each.perturbed_map for each in three]).reshape(3, -1),
    )
    one = len({each.number for each in three}) == 1
    columns = [("image", three[0].image, three[0].map)] if one else []
    for each, k, c in zip(three, metrics.kendall(before, after), metrics.cosine(before, after)):
        columns += [] if one else [(f"image {each.number}", each.image, each.map)]
        title = f"attacked\nℓ1 distance {each.distance:.2f}\nKendall {k:.2f}\ncosine {c:.2f}"
        columns.append((title, each.perturbed, each.perturbed_map))
    attacks = "one image, attacked in three ways" if one else "three images, each attacked once"
    return [
        page.figure(
            "same_distance",
            figures.over_maps_figure(columns, bounds=three[0].bounds),
            "Maps that the attack moved by nearly the same ℓ1 distance, in parts of the clean map's ℓ1 norm "
            f"({attacks}): the distance does not tell how much of the order is left (as Wang and Kong 2022, Fig. 1).",
        )
    ]
