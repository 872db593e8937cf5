"""Time training methods: python scripts/benchmark.py --flagfile=flags/mnist_ig_sum_norm.cfg --over=method=ig_norm,madry

Each measurement runs in a process of its own, so that its peak memory is its own. Without --over the flags' one method
is measured; --over=NAME=VALUES measures the growth with any setting; --ifia measures the attribution attack.
--output_dir gets benchmark.json, table.md and a plot; --compare=A.json,B.json shows two such files as ratios.
"""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags

from rar_tf import cli, files
from rar_tf.commands import train
from rar_tf.errors import UsageError, brief
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment import flagfile
from rar_tf.experiment.settings import Experiment, RunSettings

READS = {name: train.READS[name] for name in ("data", "network", "methods (each reads some of these)")} | {
    "what is measured": (RunSettings, EvaluationSettings),
    "folder": ("output_dir",),
}

flags.DEFINE_string("over", None, "NAME=VALUE,VALUE,…: the setting that grows, or method; method=all for every one")
flags.DEFINE_string("compare", None, "A.json,B.json: show A's times over B's instead of measuring")
flags.DEFINE_integer("repeats", 3, "timed calls of each function; their median counts", lower_bound=1)
flags.DEFINE_boolean("ifia", False, "measure an iteration of the attribution attack instead of training")
flags.DEFINE_boolean("one", False, "measure just this setting and print JSON (used for the processes)")

TIMES = ("attack_gradient_seconds", "attack_seconds", "step_seconds", "ifia_iteration_seconds")
SHOWN = (*TIMES, "examples_per_second", "peak_memory_gib", "attack_gradient_share", "step_share", "ifia_share")


def check(given):
    return EvaluationSettings.odd(given)


def reads(given):
    if flags.FLAGS.compare:
        return ()
    if (flags.FLAGS.over or "").startswith("method="):
        return [record for records in READS.values() for record in records]
    return [*map(type, Experiment.of(given).records), "output_dir"]


def main():
    if flags.FLAGS.compare:
        paths = flags.FLAGS.compare.split(",")
        if len(paths) != 2:
            raise UsageError("give --compare=A.json,B.json")
        return print(comparison(*map(read, paths)))
    if flags.FLAGS.one:
        from rar_tf import benchmark

        measure = benchmark.measure_ifia if flags.FLAGS.ifia else benchmark.measure
        return print(json.dumps(measure(Experiment.of(flagfile.given()), flags.FLAGS.repeats)))
    folder = flagfile.given().get("output_dir")
    if folder is not None:
        files.claim(folder, "benchmark")
    rows = [measured(*case) for case in cases()]
    table = markdown(rows)
    print(table)
    if folder is not None:
        for name, write in (
            ("benchmark.json", lambda path: path.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n")),
            ("table.md", lambda path: path.write_text(table + "\n", encoding="utf-8")),
            ("benchmark.png", lambda path: plot(rows).savefig(path, dpi=120)),
        ):
            with files.atomic_write(pathlib.Path(folder) / name) as temporary:
                write(temporary)
        print(f"wrote benchmark.json, table.md and benchmark.png to {folder}")


def cases():
    """The flag that each measurement adds, and the label of its row."""
    name, _, values = (flags.FLAGS.over or "").partition("=")
    if not flags.FLAGS.over:
        return [(None, RunSettings.of(flagfile.given()).method)]
    if name not in flagfile.all_items() or not values:
        raise UsageError("give --over=NAME=VALUE,VALUE,… with a setting's name")
    if values == "all" and name == "method":
        from rar_tf.objectives import METHODS

        values = ",".join(METHODS)
    return [(f"--{name}={value}", value if name == "method" else f"{name} {value}") for value in values.split(",")]


def measured(flag, label):
    done = subprocess.run(
        [sys.executable, "-m", "rar_tf", "benchmark", *sys.argv[1:], *([flag] if flag else []), "--one"],
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, cli.TOLD: "benchmark"},
    )
    if done.returncode:
        sys.exit(done.returncode)
    return {"label": label, **json.loads(done.stdout.splitlines()[-1])}


def read(path):
    try:
        return {row["label"]: row for row in json.loads(pathlib.Path(path).read_text())}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: not a benchmark.json ({brief(error)})") from error


def comparison(first, second):
    lines = [
        f"{'':<16}"
        + "".join(f"{name.removesuffix('_seconds'):>18}" for name in TIMES)
        + "   (times, first over second)"
    ]
    for label in first:
        if label in second:
            ratios = [
                f"{first[label][name] / second[label][name]:18.3f}"
                if name in first[label] and name in second[label]
                else f"{'-':>18}"
                for name in TIMES
            ]
            lines.append(f"{label:<16}" + "".join(ratios))
    return "\n".join(lines)


def markdown(rows):
    lines = ["| | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |", "| --- " * (len(SHOWN) + 1) + "|"]
    for row in rows:
        cells = [
            f"{row[name]:.1%}" if name.endswith("share") and name in row else f"{row[name]:.3g}" if name in row else "–"
            for name in SHOWN
        ]
        lines.append(f"| {row['label']} | " + " | ".join(cells) + " |")
    peak = max(row["peak_operations_per_second"] for row in rows)
    lines.append(
        f"\nMatrix products reached {peak / 1e9:.0f} GFLOP/s in the same run; shares are of each row's own peak."
    )
    return "\n".join(lines)


def plot(rows):
    from rar_tf.figures import Figure

    figure = Figure(figsize=(2 + 0.8 * len(rows), 3.2), layout="constrained")
    axis = figure.subplots()
    for offset, name in enumerate(TIMES):
        axis.bar(
            [i + 0.2 * (offset - 1.5) for i in range(len(rows))],
            [row.get(name, 0) for row in rows],
            0.19,
            label=name.removesuffix("_seconds").replace("_", " "),
        )
    axis.set_xticks(range(len(rows)), [row["label"] for row in rows], rotation=30, ha="right", fontsize=8)
    axis.set_yscale("log")
    axis.set_ylabel("seconds")
    axis.legend(fontsize=8)
    return figure
