"""What was measured beside what the papers print, and one network beside another on the same images."""

import importlib.resources
import json
import math

from rar_tf.evaluation import page
from rar_tf.evaluation.evaluated import Evaluated
from rar_tf.evaluation.protocols import EVALUATION_PROTOCOLS
from rar_tf.evaluation.summary import SCORES, accuracy_column
from rar_tf.evaluation.words import accuracies, attack_of, images_of, setting_of
from rar_tf.statistics import paired

ACCURACIES = ("adversarial_accuracy", *(f"adversarial_accuracy_{name}" for name in ("fgsm", "pgd20", "pgd40", "cw")))
ATTACKED = ("topk_intersection", "kendall")
PRINTED = ("natural_accuracy", *ACCURACIES, *ATTACKED, "reference_spearman")

# What differs between two networks' evaluations by right, or without a change of the numbers.
_OWN = (
    "method",
    "training",
    "weights_digest",
    "architecture_digest",
    "images_digest",
    "equalize",
    "eval_batch_size",
    "ig_chunk",
    "shard",
)


def published() -> list[dict]:
    """Return the papers' tables: paper, table, title, columns, rows, and a note where a number is no target.

    Further keys say what a figure belongs to. evaluation_protocol, attribution, protocol: whose attack on which maps.
    budget, network: ε and model by data set. settings: training flags that rows of a method, or of any, have and other
    tables' do not; in columns that are no figures the rows themselves have them. except: flags of other tables' rows.
    """
    return json.loads((importlib.resources.files("rar_tf") / "published.json").read_text())


def published_rows(dataset: str | None, method: str | None) -> list[tuple[dict, dict]]:
    """Return (table, row by column) of every printed row about a method on a data set."""
    return [
        (table, values)
        for table in published()
        for row in table["rows"]
        if (values := dict(zip(table["columns"], row)))["dataset"] == dataset and values["method"] == method
    ]


def training_settings(table: dict, values: dict) -> dict:
    """Return the training flags that tell a printed row from the others about its method and data set."""
    named = table.get("settings", {})
    own = {name: value for name, value in values.items() if name not in (*PRINTED, "dataset", "method")}
    return {**named.get("any", {}), **named.get(values["method"], {}), **own}


def beside_papers(evaluations: list[Evaluated]) -> list[page.Block]:
    """Each measured value beside the printed rows that it can be compared with."""
    rows, unknown = [], []
    for e in (e for e in evaluations if e.summary.get("split", "test") == "test"):
        unrecorded: dict[str, None] = {}
        for table, values in published_rows(e.summary.get("dataset"), e.summary.get("method")):
            names = [name for name in PRINTED if name in values and _same_measurement(table, values, e, name)]
            if not names or _excluded(table, e):
                continue
            needed = training_settings(table, values)
            missing = [flag for flag in needed if flag not in e.training]
            if missing:
                unrecorded[f"{table['paper']}, Table {table['table']} ({', '.join(missing)})"] = None
            elif all(equal(e.training[flag], value) for flag, value in needed.items()):
                rows += [_row(table, values, needed, e, name) for name in names]
        if unrecorded:
            unknown.append(
                f"{e.name} does not record the settings of its training that these have a row each for, so it is not "
                f"beside them: {'; '.join(unrecorded)}."
            )
    if not rows and not unknown:
        return []
    blocks = [page.heading("Beside the papers")]
    if rows:
        header = ["", "source", "value", "printed", "mean here", "median here", "attack here", "differs", "note"]
        blocks += [
            page.text(
                "What the papers print for the same data set, method and budget; where rows of a paper differ in a "
                "setting, the one with this network's. Images and training steps may differ beyond what is named."
            ),
            page.table(header, rows),
        ]
    return [*blocks, *map(page.text, unknown)]


def _same_measurement(table, values, e, name):
    """Whether a printed figure and the evaluation's are of the same maps, and of attacks with the same budget."""
    if measured(e, name) is None:
        return False
    if name in (*ATTACKED, "reference_spearman"):
        if e.summary.get("attribution", "integrated_gradients") != table.get("attribution", "integrated_gradients"):
            return False
        if setting_of(e.summary, "protocol") not in (None, table.get("protocol")):
            return False
    flag = "ifia_epsilon" if name in ATTACKED else "eval_pgd_epsilon" if name in ACCURACIES else None
    budget, printed = flag and setting_of(e.summary, flag), table.get("budget", {}).get(values["dataset"])
    return budget is None or printed is None or equal(budget, printed)


def _excluded(table, e):
    return any(equal(e.training.get(flag), value) for flag, value in table.get("except", {}).items())


def equal(value, printed) -> bool:
    """Whether a value is the printed one, numbers as far as the papers print their digits."""
    if isinstance(value, (int, float)) and isinstance(printed, (int, float)):
        return math.isclose(value, printed, rel_tol=1e-3)  # 8/255 is written with eight digits
    return value == printed


def measured(e: Evaluated, name: str):
    """Return an evaluation's value; of PGD with a number of steps also where it is the evaluation's own PGD."""
    value = e.summary.get(name)
    if value is None and name.startswith("adversarial_accuracy_pgd"):
        if name.removeprefix("adversarial_accuracy_pgd") == str(setting_of(e.summary, "eval_pgd_steps")):
            value = e.summary.get("adversarial_accuracy")
    return None if isinstance(value, dict) and value["mean"] is None else value


def _row(table, values, needed, e, name):
    source = f"{table['paper']}, Table {table['table']}"
    if needed:
        source += " (" + ", ".join(f"{flag} {value}" for flag, value in needed.items()) + ")"
    value, printed = measured(e, name), values[name]
    here = [f"{value['mean']:.4f}", f"{value['median']:.4f}"] if isinstance(value, dict) else [f"{value:.4f}", ""]
    differs = []
    if name in ATTACKED and not _same_protocol(table, e):
        differs.append(f"attack (printed: {table['evaluation_protocol']})")
    network, own = table.get("network", {}).get(values["dataset"]), e.training.get("model")
    if network and own and own != network:
        differs.append(f"network {own} (printed: {network})")
    return [
        e.name,
        source,
        name.replace("_", " "),
        "" if printed is None else f"{printed:.4f}",
        *here,
        _attack(e, name),
        ", ".join(differs),
        table.get("note", ""),
    ]


def _same_protocol(table, e):
    """Whether an evaluation attacks as the paper does; two papers may do the same and print other statistics."""
    own, printed = e.summary.get("evaluation_protocol"), table["evaluation_protocol"]
    known = EVALUATION_PROTOCOLS.get(own or "ours")
    return own == printed or (known is not None and known.flags == EVALUATION_PROTOCOLS[printed].flags)


def _attack(e, name):
    if name in ATTACKED:
        return attack_of(e.summary)
    if name not in ACCURACIES:
        return ""
    budget, steps = setting_of(e.summary, "eval_pgd_epsilon"), setting_of(e.summary, "eval_pgd_steps")
    kind = name.removeprefix("adversarial_accuracy").strip("_") or f"pgd, {steps} steps"
    return kind + (f", ε = {budget:.3g}" if budget else "")


def pairs(evaluations: list[Evaluated]) -> list[page.Block]:
    """Every other network beside the first model directory's, image by image."""
    blocks = []
    for other in evaluations:
        candidates = [e for e in evaluations if e.source == evaluations[0].source and _other_network(e, other)]
        if other.source == evaluations[0].source or not candidates:
            continue
        first = min(candidates, key=lambda e: len(_differing(e, other)))
        blocks += _pair(first, other)
    if not blocks:
        return []
    return [
        page.heading("Networks compared on the same images"),
        page.text(
            "Differences are the second network's value less the first's, image by image; above 0 the second is more "
            "robust. Scores: images that were attacked on both. The interval is the mean difference's 95 % bootstrap "
            "interval over images: one that holds 0 does not tell the networks apart. It says nothing about other "
            "seeds of the same training."
        ),
        *blocks,
    ]


def _other_network(first, second):
    digests = [e.summary.get("weights_digest") for e in (first, second)]
    return digests[0] is None or digests[0] != digests[1]


def _differing(first, second):
    names = dict.fromkeys([*first.settings, *second.settings])
    return [n for n in names if n not in _OWN and first.settings.get(n) != second.settings.get(n)]


def _pair(first, second):
    title = f"{second.name} less {first.name}"
    digests = [e.summary.get("images_digest") for e in (first, second)]
    if digests[0] != digests[1] or digests[0] is None:
        said = [f"{images_of(e.summary)} of {e.summary.get('dataset', 'unknown data')}" for e in (first, second)]
        return [page.text(f"{title}: no differences, since the images differ ({said[0]}, {said[1]}).")]
    rows = [row for column in _columns(first, second) if (row := _difference(first, second, *column))]
    attacks = dict.fromkeys(attack_of(e.summary) for e in (first, second))
    words = f"{title}; attack: {' against '.join(attacks)}."
    differing = _differing(first, second)
    if differing:
        words += " The settings differ, so this is not of the networks alone: " + "; ".join(
            f"{name} {second.settings.get(name)} against {first.settings.get(name)}" for name in differing
        )
    header = ["", "images", first.name, second.name, "mean difference", "95 % interval", "median difference"]
    return [page.text(words), page.table(header, rows)]


def _columns(first, second):
    """(label, column of examples.csv, whether all images have it) of what both can have."""
    yield "natural accuracy", "correct", True
    for key in accuracies(first.summary):
        name = key.removeprefix("adversarial_accuracy").strip("_") or "pgd"
        yield key.replace("_", " "), accuracy_column(name), True
    for name in SCORES:
        yield name.replace("_", " "), name, False


def _difference(first, second, label, column, all_images):
    values = [
        {row["index"]: row[column] for row in (e.rows if all_images else e.attacked) if column in row}
        for e in (first, second)
    ]
    shared = [index for index in values[0] if index in values[1]]
    if not shared:
        return None
    found = paired(*([each[index] for index in shared] for each in values))
    low, high = found.ci95
    median = "" if all_images else f"{found.median:+.4f}"
    return [
        label,
        found.images,
        f"{found.first:.4f}",
        f"{found.second:.4f}",
        f"{found.difference:+.4f}",
        f"{low:+.4f} … {high:+.4f}",
        median,
    ]
