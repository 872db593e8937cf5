"""Train and evaluate once for each value of a setting, or for all combinations of several, and show one table.

With --one_at_a_time the settings as they are come first, then each value alone, and a second table has the differences.

    python scripts/sweep.py --flagfile=flags/mnist_ig_norm.cfg --over=ig_steps=10,20,30 --output_dir=runs/table3
    python scripts/sweep.py --over=flagfile=flags/a.cfg,flags/b.cfg --over=seed=0,1,2 --output_dir=runs/methods
    python scripts/sweep.py --model_dir=runs/mnist --over=ifia_epsilon=0.05,0.1,0.2

Every other flag goes to each training and evaluation. Settings that only evaluation reads train nothing again, and with
--model_dir, --keras_model or --saved_model nothing is trained. Over seeds the table has means and standard deviations;
over numbers there is a picture of the scores. What is finished is not made again: the same command goes on with an
interrupted sweep.
"""

import pathlib
import sys
import time

from absl import flags, logging

from rar_tf import cli
from rar_tf.commands import evaluate, train
from rar_tf.experiment import flagfile

READS = {**train.READS, **evaluate.READS}

flags.DEFINE_multi_string(
    "over", [], "NAME=VALUE,VALUE,…: a setting, or flagfile, and the values that it takes; may be given several times"
)
flags.DEFINE_boolean(
    "one_at_a_time",
    False,
    "the settings as they are, then each value of --over alone, in place of all combinations; with every seed",
)


def reads(given):
    from rar_tf.sweeps import plan

    return plan.reads(*asked(), alone=flags.FLAGS.one_at_a_time)


def asked():
    """Return the axes, and the flags that each command gets."""
    from rar_tf.sweeps import plan

    axes = [plan.Axis.of(text) for text in flags.FLAGS.over]
    return axes, plan.own_arguments(sys.argv[1:], without=("over", "output_dir"), switches=("one_at_a_time",))


def main():
    from rar_tf import files
    from rar_tf.errors import UsageError
    from rar_tf.evaluation.outcome import read_rows
    from rar_tf.files import atomic_write
    from rar_tf.results import read_json
    from rar_tf.sweeps import plan, tables

    if not flags.FLAGS.over:
        raise UsageError("give --over=NAME=VALUE,VALUE,… with a setting's name, or flagfile")
    axes, arguments = asked()
    folder = output_dir(axes)
    rows = plan.plan(axes, arguments, folder, alone=flags.FLAGS.one_at_a_time)
    for sentence in plan.odd(rows):
        logging.warning("%s", sentence)
    if not flags.FLAGS.overwrite:
        plan.check_unchanged(rows)
    files.claim(folder, "sweep")
    began, trained, summaries = time.monotonic(), set(), []
    for row in rows:
        if row.model_dir is not None and row.model_dir not in trained:
            cli.call("train", *row.train)
            trained.add(row.model_dir)
        cli.call("evaluate", *row.evaluate)
        summaries.append(read_json(row.folder / "summary.json"))
    table = tables.table(axes, rows, summaries)
    if flags.FLAGS.one_at_a_time:
        table += "\n" + tables.differences(rows, [read_rows(row.folder / "examples.csv")[0] for row in rows])
    with atomic_write(folder / "table.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    picture = tables.curves(axes, rows, summaries)
    if picture is not None:
        with atomic_write(folder / "curves.png") as temporary:
            picture.savefig(temporary, dpi=110)
    files = "table.md" if picture is None else "table.md and curves.png"
    print(f"\n{table}\n{time.monotonic() - began:.0f} s. Written to {folder}: {files}, and for each row")
    show("maps before and after the attack", [row.folder / "maps.png" for row in rows])
    show("scores by image", [row.folder / "examples.csv" for row in rows])
    networks = list(dict.fromkeys(row.model_dir for row in rows if row.model_dir is not None))
    if networks:
        show("TensorBoard events", [model_dir / "tensorboard" for model_dir in networks])
        show("SavedModel", [model_dir / "saved_model" for model_dir in networks])


def output_dir(axes):
    """The directory of the sweep: by default inside the model directory that it evaluates."""
    from rar_tf.errors import UsageError

    given = flagfile.given()
    if given.get("shard") or given.get("merge"):
        raise UsageError("a sweep evaluates all images of each row: no --shard and no --merge")
    if given.get("output_dir"):
        return pathlib.Path(given["output_dir"])
    if given.get("model_dir") is None:
        raise UsageError("give --output_dir, the directory that gets a folder for each value")
    return pathlib.Path(given["model_dir"]) / f"sweep_{'_'.join(axis.name for axis in axes)}"


def show(what, paths):
    print(f"  {what:<32} " + "  ".join(map(str, paths)))
