"""A table as it was measured, beside what its paper prints; and the index of all tables."""

import math
from collections.abc import Sequence
from typing import Any

from rar_tf.certification.upper_bound import euclidean_bound
from rar_tf.data.records import RECORDS
from rar_tf.evaluation import comparison
from rar_tf.evaluation.page import markdown_table
from rar_tf.evaluation.protocols import EVALUATION_PROTOCOLS
from rar_tf.evaluation.words import median_of
from rar_tf.experiment import flagfile
from rar_tf.experiment.settings import Experiment
from rar_tf.reproduction.index import PAPERS, TABLES, Row, Table
from rar_tf.reproduction.networks import Network
from rar_tf.reproduction.work import ACCURACY, AUTO
from rar_tf.statistics import over_runs

TITLES = {"topk_intersection": "top-k", "kendall": "Kendall", "kendall_support": "over the support"}
UNDER_AUTO = ("topk_intersection", "kendall", "kendall_support", "cosine")


def listing() -> str:
    """Return one line a table or figure: PAPER:NAME, its title, and how many networks it needs."""
    lines = []
    for table in TABLES.values():
        networks = len({row.network for row in table.rows})
        what = table.absent or f"{networks} network{'s' * (networks != 1)}"
        lines.append(f"{table.key:<16} {table.title} ({what})")
    return "\n".join(lines)


def printed(table: Table, row: Row) -> dict[str, Any]:
    """Return the printed row that a row stands beside; nothing where the paper has none, or where several fit."""
    tables = [t for t in comparison.published() if (t["paper"], t["table"]) == (PAPERS.get(table.paper), table.name)]
    if not tables:
        return {}
    settings, found = Experiment.of(Network.of(row.network).given()).flags(), []
    for known in tables:
        for values in (dict(zip(known["columns"], values)) for values in known["rows"]):
            needed = {"dataset": values["dataset"], "method": values["method"]}
            needed.update(comparison.training_settings(known, values))
            if all(comparison.equal(settings.get(flag), value) for flag, value in needed.items()):
                found.append(values)
    return found[0] if len(found) == 1 else {}


def measured(table: Table, lines: Sequence[tuple[Row, Network, dict]]) -> str:
    """Return what was measured of rows (row, network, record), and what the paper prints of them."""
    if lines[0][0].certificate is None:
        return scores(table, lines)
    beside = printed_bounds(table)
    return bounds(lines) + (f"\nAs printed:\n\n{beside}" if beside else "")


def scores(table: Table, lines: Sequence[tuple[Row, Network, dict]]) -> str:
    """Return a table of evaluated rows (row, network, record), each figure beside the printed one.

    Columns are what the paper prints and what the evaluations measured of that kind.
    """
    besides = [printed(table, row) for row, _, _ in lines]
    measured = [record["evaluations"] for _, _, record in lines]
    found = {name for beside in besides for name in beside}
    found |= {name for each in measured for name in each.get(ACCURACY, {}).get("accuracies", {})}
    found |= {name for each in measured for name in papers_own(each).get("scores", {}) if name in comparison.ATTACKED}
    names = [name for name in comparison.PRINTED if name in found]
    header = ["network", "images", *(part for name in names for part in (title(name), "printed"))]
    header += [*(f"auto: {title(name)}" for name in UNDER_AUTO), "minutes"]
    cells = []
    for (row, network, record), beside, evaluations in zip(lines, besides, measured):
        accuracy, paper, auto = evaluations.get(ACCURACY, {}), papers_own(evaluations), evaluations.get(AUTO, {})
        counts = (paper.get("examples"), auto.get("examples"), accuracy.get("accuracy_examples"))
        cells.append(
            [
                label(row, network),
                " / ".join(str(count) for count in counts if count is not None),
                *(part for name in names for part in _pair(name, accuracy, paper, beside, table.statistic)),
                *(score(auto, name) for name in UNDER_AUTO),
                minutes(record),
            ]
        )
    return markdown_table(header, cells)


def title(name: str) -> str:
    return TITLES.get(name, name.replace("_", " ").replace(" accuracy", ""))


def papers_own(evaluations: dict[str, dict]) -> dict:
    """Return the evaluation under a paper's protocol, the first of them; empty where there is none."""
    return next((evaluations[name] for name in EVALUATION_PROTOCOLS if name in evaluations), {})


def minutes(record: dict) -> str:
    """Return what all stages of a training took; of one that went on after a stop only the last part is known."""
    cost = record["cost"]
    return ("> " if cost["resumed"] else "") + f"{cost['minutes_of_all_stages']:.1f}"


def label(row: Row, network: Network) -> str:
    return ", ".join([str(network), *(f"{flag} {value}" for flag, value in row.flags.items())])


def _pair(name, accuracy, paper, beside, statistic):
    """A figure as it was measured, with its interval, and as it is printed."""
    value = beside.get(name)
    if "accuracy" in name:
        return share(accuracy, name), "-" if value is None else f"{value:.2%}"
    return score(paper, name, statistic), "-" if value is None else f"{value:.4f}"


def share(evaluation: dict, name: str) -> str:
    """Return an accuracy with its interval, "-" where it was not measured."""
    found = evaluation.get("accuracies", {}).get(name)
    if found is None:
        return "-"
    return f"{found['share']:.2%} [{found['ci95'][0]:.1%}, {found['ci95'][1]:.1%}]"


def score(evaluation: dict, name: str, statistic: str = "mean") -> str:
    """Return a score's mean with its interval, after its median where that is the statistic; "-" without one.

    The interval of a median is its own, where the record has it.
    """
    known = evaluation.get("scores", {}).get(name)
    if known is None:
        return "-"
    low, high = known["ci95"]
    found = f"{known['mean']:.3f} [{low:.3f}, {high:.3f}]"
    return found if statistic == "mean" else f"{median_of(known, 3)}; {found}"


def over_seeds(groups: dict[str, list[dict]]) -> str:
    """Return means over seeds ± sample standard deviations; groups: the records of a network's seeds, by its name."""
    header = ["network", "seeds", "natural", "adversarial", *(f"auto: {title(name)}" for name in UNDER_AUTO)]
    cells = []
    for name, records in groups.items():
        accuracy = [record["evaluations"].get(ACCURACY, {}).get("accuracies", {}) for record in records]
        auto = [record["evaluations"].get(AUTO, {}).get("scores", {}) for record in records]
        values = [
            [each[key]["share"] for each in accuracy if key in each]
            for key in ("natural_accuracy", "adversarial_accuracy")
        ]
        values += [[each[key]["mean"] for each in auto if key in each] for key in UNDER_AUTO]
        cells.append([name, len(records), *(_over(each) for each in values)])
    return markdown_table(header, cells)


def _over(values):
    if not values:
        return "-"
    mean, deviation = over_runs(values)
    return f"{mean:.3f} ± {deviation:.3f}"


def bounds(lines: Sequence[tuple[Row, Network, dict]]) -> str:
    """Return what certifications measured: (row, network, record), one line a budget or radius.

    Means over images with the bootstrap's 95 % interval, and in brackets how many have a value.
    """
    entries = [
        (row, network, {**entry, **_corollary_1(network, entry)})
        for row, network, record in lines
        for certification in record["certifications"].values()
        for entry in certification["results"]
    ]
    names = list(dict.fromkeys(name for _, _, entry in entries for name in entry if not name.endswith("seconds")))
    cells = [
        [str(network), row.flags.get("attribution", ""), *(_entry(entry.get(name)) for name in names)]
        for row, network, entry in entries
    ]
    return markdown_table(["network", "attribution", *names], cells)


def _corollary_1(network, entry):
    """Wang and Kong (2023), Corollary 1: d^{1/2 − 1/p}·ξ·ε bounds the change in an ℓp ball, looser than `bound`."""
    ball = entry.get("ball", "l2")
    if ball in ("l1", "l2") or "mean" not in entry.get("xi", {}):
        return {}
    features, norm_p = math.prod(RECORDS[network.given()["dataset"]].image_shape), float(ball[1:])
    bound = euclidean_bound(entry["xi"]["mean"], entry["epsilon"], features, norm_p=norm_p)
    return {"Corollary 1": bound} if norm_p > 2 else {}


def _entry(value):
    if isinstance(value, dict):
        if "share" in value:
            return f"{value['count']} of {value['of']}"
        low, high = value.get("ci95", (math.nan, math.nan))
        interval = f" [{low:.3g}, {high:.3g}]" if low < high else ""
        return f"{value['mean']:.4g}{interval} ({value['count']})" if "mean" in value else "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, (int, float)) else flagfile.text(value)


def printed_bounds(table: Table) -> str:
    """Return the paper's own rows of a table of bounds or certificates."""
    for known in comparison.published():
        if known["paper"] == PAPERS.get(table.paper) and known["table"] == table.name:
            rows = [["-" if value is None else value for value in row] for row in known["rows"]]
            return markdown_table(known["columns"], rows) + (f"\n{known['note']}\n" if "note" in known else "")
    return ""
