"""Train and evaluate once for each value of a setting, and show one table.

    python scripts/sweep.py --flagfile=flags/mnist_ig_norm.cfg --over=ig_steps=10,20,30 --output_dir=runs/table3
    python scripts/sweep.py --over=flagfile=flags/a.cfg,flags/b.cfg --attribution=saliency --output_dir=runs/table4

Every other flag goes to each training and evaluation. What is finished is not made again: the same command goes on with
an interrupted sweep, and a changed evaluation needs another --output_dir or removed evaluation folders.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import time

from absl import flags

from rar_tf import flagfile

flagfile.define_flags()
flags.DEFINE_string("over", None, "NAME=VALUE,VALUE,…: the setting, or flagfile, and the values that it takes")

FIGURES = (("topk_intersection", "top-k intersection"), ("kendall", "Kendall"))


def main():
    from rar_tf.errors import UsageError

    name, _, values = (flags.FLAGS.over or "").partition("=")
    if not values or (name != "flagfile" and name not in flagfile.all_items()):
        raise UsageError("give --over=NAME=VALUE,VALUE,… with a setting's name, or flagfile")
    if flags.FLAGS.output_dir is None:
        raise UsageError("give --output_dir, the directory that gets a model directory for each value")
    folder = pathlib.Path(flags.FLAGS.output_dir)
    shared = [argument for argument in sys.argv[1:] if not argument.startswith(("--over", "--output_dir"))]
    began, rows = time.monotonic(), []
    for value in values.split(","):
        model_dir = folder / pathlib.Path(value).stem.replace("/", "_")
        run("train", *order([*shared, f"--{name}={value}"]), f"--model_dir={model_dir}")
        run(
            "evaluate",
            *order([*shared, f"--{name}={value}"]),
            f"--model_dir={model_dir}",
            f"--output_dir={model_dir / 'evaluation'}",
        )
        rows.append((value, model_dir, json.loads((model_dir / "evaluation" / "summary.json").read_text())))
    table = markdown(name, rows)
    (folder / "table.md").write_text(table)
    print(f"\n{table}\n{time.monotonic() - began:.0f} s. Written to {folder}: table.md, and for each row")
    for what, where in (
        ("maps before and after the attack", "evaluation/maps.png"),
        ("scores by image", "evaluation/examples.csv"),
        ("TensorBoard events", "tensorboard"),
        ("SavedModel", "saved_model"),
    ):
        print(f"  {what:<32} " + "  ".join(str(model_dir / where) for _, model_dir, _ in rows))


def order(arguments):
    """Flag files first: the last value wins, and what the command line gives shall."""
    return sorted(arguments, key=lambda argument: not argument.startswith("--flagfile"))


def run(command, *arguments):
    """Run one of the commands and show its command; stop where it fails."""
    print(f"\n$ rar_tf {command} {shlex.join(arguments)}", flush=True)
    status = subprocess.call([sys.executable, "-m", "rar_tf", command, *arguments])
    if status:
        sys.exit(status)


def markdown(name, rows):
    """The table: accuracies, and means with their 95 % intervals."""
    header = [name, "natural accuracy", "adversarial accuracy", *(f"{title} [95 % interval]" for _, title in FIGURES)]
    cells = [header, ["---"] * len(header)]
    for value, _, summary in rows:
        figures = [
            f"{summary[key]['mean']:.3f} [{summary[key]['ci95'][0]:.3f}, {summary[key]['ci95'][1]:.3f}]"
            for key, _ in FIGURES
        ]
        cells.append(
            [
                pathlib.Path(value).stem,
                f"{summary['natural_accuracy']:.1%}",
                f"{summary['adversarial_accuracy']:.1%}",
                *figures,
            ]
        )
    widths = [max(len(row[i]) for row in cells if row[i] != "---") for i in range(len(header))]
    return "".join(
        "| "
        + " | ".join((cell if cell != "---" else "-" * width).ljust(width) for cell, width in zip(row, widths))
        + " |\n"
        for row in cells
    )
