"""One JSON record a network: how it was trained, what that cost, and what every evaluation of it measured."""

import csv
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from scipy import stats

from rar_tf import files, results
from rar_tf.errors import UsageError
from rar_tf.evaluation.outcome import read_rows
from rar_tf.evaluation.summary import SCORES
from rar_tf.experiment import flagfile
from rar_tf.experiment.settings import Experiment
from rar_tf.reproduction.networks import Network
from rar_tf.reproduction.work import AUTO, Step

RESULTS, TABLES = "# Measured results", "# Tables and figures of the papers"  # how the pages about records begin
PLACES = ("data_dir", "model_dir", "keras_model", "saved_model", "init_from", "output_dir")
POINTS = 40  # of a loss curve


def of(network: Network, root: pathlib.Path, steps: Collection[Step]) -> dict[str, Any]:
    """Return the record of a trained network, and of those evaluations and certifications of it that are finished.

    Raises: UsageError where a file of the run is absent or cannot be read.
    """
    folder = network.folder(root)
    train = results.read_json(folder / "train.json")
    experiment = Experiment.of(flagfile.read(folder / "flags.cfg"))
    first = network.first_stage()
    flags = {**experiment.defining(), "steps": experiment.run.steps}
    return results.as_json(
        {
            "network": str(network),
            "recipe": network.recipe,
            "dataset": experiment.data.dataset,
            "method": experiment.run.method,
            "first_stage": None if first is None else str(first),
            "flags": {name: value for name, value in flags.items() if name not in PLACES},
            "seed": experiment.run.seed,
            "git_revision": train["git_revision"],
            "versions": train["versions"],
            "device": train.get("device", "CPU"),
            "threads": train.get("threads"),
            "cost": _cost(train, None if first is None else of(first, root, ())["cost"]),
            "history": _history(folder / "history.csv"),
            **{
                kind: {
                    step.name: measured(results.read_json(step.file), step.file.parent)
                    for step in steps
                    if step.command == command and step.file.is_file()
                }
                for kind, (command, measured) in _KINDS.items()
            },
        }
    )


def of_row(record: dict, steps: Mapping[str, Step]) -> dict:
    """Return a record with what it has of a row's steps alone, by their names there."""
    return {
        **record,
        **{
            kind: {name: record[kind][step.name] for name, step in steps.items() if step.name in record.get(kind, {})}
            for kind in _KINDS
        },
    }


def _cost(train, before):
    """Minutes of a training, and with those of `before`, the cost of the stage that it starts from."""
    own = {"minutes": train["wall_time_seconds"] / 60}
    if "cpu_seconds" in train:
        own["cpu_minutes"] = train["cpu_seconds"] / 60
    cost = {name: round(value, 2) for name, value in own.items()}
    for name, value in own.items():
        of_all = f"{name}_of_all_stages"
        if before is None or of_all in before:
            cost[of_all] = round(value + (before[of_all] if before else 0), 2)
    return {**cost, "resumed": bool(train["resumed_at_step"] or (before and before["resumed"]))}


def _history(path):
    """At most POINTS rows of a loss curve, as columns."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    places = np.unique(np.linspace(0, len(rows) - 1, POINTS).round().astype(int)) if rows else []
    return {name: [float(f"{float(rows[i][name]):.5g}") for i in places] for name in (rows[0] if rows else ())}


def interval(share: float, count: int) -> list[float]:
    """Return the 95 % interval of Wilson (1927) of a share of `count` images."""
    found = stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]


def _evaluation(summary, folder):
    count = summary["accuracy_examples"]
    shares = {
        name: {"share": value, "ci95": interval(value, count)}
        for name, value in summary.items()
        if ("adversarial_accuracy" in name or name == "natural_accuracy") and isinstance(value, float)
    }
    scores = {name: _rounded(summary[name]) for name in (*SCORES, "reference_spearman") if _has(summary, name)}
    kept = ("ifia_", "eval_pgd_")
    return {
        "attack": summary["attack"],
        "evaluation_protocol": summary["evaluation_protocol"],
        "attribution": summary["attribution"],
        "protocol": summary["protocol"],
        "examples": summary["num_examples"],
        "attacked": summary["num_attacked"],
        "accuracy_examples": count,
        "accuracies": shares,
        "scores": scores,
        "by_image": _by_image(folder) if summary["attack"] == "auto" else {},
        "fallback_rate": summary["fallback_rate"],
        "settings": {name: value for name, value in summary.items() if name.startswith(kept)},
        "images_digest": summary["images_digest"],
        "weights_digest": summary["weights_digest"],
        "seconds": summary.get("seconds"),
        "device": summary.get("made", {}).get("device", "CPU"),
        "warnings": summary["warnings"] if summary["num_attacked"] else [],
    }


def _certification(summary, folder):
    kept = ("method", "num_examples", "num_certifiable", "results")
    settings = {name: value for name, value in summary["settings"].items() if name not in PLACES}
    return {
        **{name: summary[name] for name in kept},
        **{name: settings.pop(name) for name in ("images_digest", "weights_digest")},
        "settings": settings,
        "seconds": summary.get("seconds"),
        "device": summary.get("made", {}).get("device", "CPU"),
    }


_KINDS = {"evaluations": ("evaluate", _evaluation), "certifications": ("certify", _certification)}


def _by_image(folder):
    """The scores of the attacked images, each in a line: what paired differences are made of."""
    rows = [row for row in read_rows(folder / "examples.csv")[0] if row["correct"] and "kendall" in row]
    by_name = {name: " ".join(f"{row.get(name, np.nan):.4f}" for row in rows) for name in SCORES}
    return {"index": " ".join(str(row["index"]) for row in rows), **by_name}


def by_image(record: dict, name: str) -> dict[int, float]:
    """Return a score under the ensemble by image; empty where the record has none."""
    known = record["evaluations"].get(AUTO, {}).get("by_image", {})
    pairs = zip(known.get("index", "").split(), map(float, known.get(name, "").split()))
    return {int(index): value for index, value in pairs if not np.isnan(value)}


def _has(summary, name):
    return isinstance(summary.get(name), dict) and summary[name]["mean"] is not None


def _rounded(score):
    return {
        name: [round(v, 5) for v in value] if isinstance(value, list) else None if value is None else round(value, 5)
        for name, value in score.items()
    }


def write(record: dict, folder: pathlib.Path) -> pathlib.Path:
    """Write a record under its network's name, with what else its file has of the same weights."""
    path = folder / f"{record['recipe']}-{record['network']}.json"
    if path.is_file():
        known = _record(path)
        same = known["flags"] == record["flags"] and _weights(known) in (_weights(record), None)
        before = known if same else {}
        record = {**record, **{kind: {**before.get(kind, {}), **record.get(kind, {})} for kind in _KINDS}}
    results.write_json(path, record)
    return path


def _weights(record):
    return next((each["weights_digest"] for kind in _KINDS for each in record.get(kind, {}).values()), None)


def read(folder: pathlib.Path) -> list[dict]:
    """Return the records in a folder, by name."""
    return [_record(path) for path in sorted(folder.glob("*.json"))]


def _record(path):
    found = results.read_json(path)
    if not {"network", "recipe", "dataset", "method", "flags", "cost", "evaluations"} <= set(found):
        raise UsageError(f"{path}: no record of `rar_tf reproduce`: move it away, or give another --results_dir")
    return found


def pages(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Return where the pages about the records in a folder lie: that of results, and the list of all tables."""
    return folder.with_name(f"{folder.name}.md"), folder.parent / "reproduction.md"


def require(folder: pathlib.Path) -> list[dict]:
    """Return the records in a folder. Raises: UsageError where it, or a page about it, is somebody else's."""
    files.require(folder, "reproduce", option="--results_dir")
    for path, head in zip(pages(folder), (RESULTS, TABLES)):
        with files.guarded(path, "cannot be read"):
            if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(head):
                raise UsageError(
                    f"{path} is no page of `rar_tf reproduce`: move it away, or give another --results_dir"
                )
    return read(folder)
