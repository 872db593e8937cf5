"""Make a table or figure of a paper: python scripts/reproduce.py --table=chen2019:1 --recipe=fast --output_dir=runs

Trains the networks that are missing, evaluates them under the paper's protocol and under the ensemble, and shows
every figure beside the printed one; the same command goes on where it was stopped. --list names all tables and
figures. --network=NAME does the same for one network, a flag file's name with flags laid over it:
mnist_madry,model=tiny_cnn. --recipe=paper is the papers' settings, days of a GPU; fast those of flags/fast. Networks
lie in <output_dir>/<recipe>/<name>, so that tables share them. --results_dir=docs/results keeps a record of each
network there and writes the pages about them anew.
"""

import os
import pathlib

from absl import flags

from rar_tf import checks, files
from rar_tf.errors import UsageError
from rar_tf.reproduction import index, work
from rar_tf.reproduction.networks import Network

FLAGS = flags.FLAGS
flags.DEFINE_boolean("list", False, "name all tables and figures, and end")
flags.DEFINE_string("table", None, "PAPER:NAME, such as chen2019:1, chen2019:fig3 or panel:mnist")
flags.DEFINE_string("network", None, "one network, NAME[,flag=value…], instead of a table")
flags.DEFINE_enum(
    "recipe", "paper", ("paper", "fast"), "whose settings: the papers', or those of minutes in flags/fast"
)
flags.DEFINE_list(
    "rows", [], "only rows whose network's name begins with one of these, such as mnist,fashion_mnist_madry"
)
flags.DEFINE_integer(
    "examples",
    None,
    "first test images whose maps are attacked or certified; by default the flag files' number; 0 leaves the paper's "
    "protocol out",
    lower_bound=0,
)
flags.DEFINE_integer(
    "auto_examples", None, "the same under --attack=auto, by default as many; 0 leaves it out", lower_bound=0
)
flags.DEFINE_integer(
    "accuracy_examples", None, "first test images whose predictions are attacked; by default all", lower_bound=1
)
flags.DEFINE_integer("seeds", 1, "trainings of each network: with its own seed, then with 1, 2, …", lower_bound=1)
flags.DEFINE_string("shard", "0/1", "i/n: the i-th of n parts of the rows, counted from 0, for several machines")
flags.DEFINE_string("output_dir", "runs", "gets a model directory for each network, and a page for each table")
flags.DEFINE_string("results_dir", None, "folder of records; alone it writes the pages about them anew")
flags.DEFINE_string("zoo_dir", None, "also keep --network there with its record, as rar_tf.load reads it")
flags.DEFINE_string("data_dir", None, "where <dataset>/{train,test}.npz lie; by default RAR_TF_DATA_DIR")


EXTENTS = {"accuracies": "accuracy_examples", "maps": "examples", "auto": "auto_examples"}  # of what a table measures


def check(given):
    for name in ("output_dir", "results_dir", "zoo_dir", "data_dir"):
        if FLAGS[name].value is not None:
            setattr(FLAGS, name, checks.path(**{name: FLAGS[name].value}))
    asked = [f"--{name}" for name in ("list", "table", "network") if FLAGS[name].value]
    if len(asked) > 1:
        raise UsageError(f"give {' or '.join(asked)}, not both")
    if not asked and FLAGS.results_dir is None:
        raise UsageError("give --table=PAPER:NAME, --network=NAME or --list")
    if FLAGS.zoo_dir is not None and not FLAGS.network:
        raise UsageError("--zoo_dir keeps one network: give --network")
    if FLAGS.list:
        return
    if FLAGS.results_dir is not None:
        from rar_tf.reproduction import records

        if not records.require(pathlib.Path(FLAGS.results_dir)) and not asked:
            raise UsageError(
                f"{FLAGS.results_dir} holds no records: --table or --network with --results_dir makes them"
            )
    if asked:
        table, lines = wanted()
        if FLAGS.examples == 0 and certifies(lines):
            raise UsageError(f"--examples=0 leaves nothing of {table.key}, a table of certificates: give 1 or more")
        files.require(table.folder(pathlib.Path(FLAGS.output_dir)), "reproduce")


def reads(given):
    if FLAGS.list:
        return ("list",)
    if not (FLAGS.table or FLAGS.network):
        return ("results_dir",)
    table, lines = wanted()
    found = ["recipe", "seeds", "output_dir", "data_dir"]
    found += ["results_dir", *(["network", "zoo_dir"] if FLAGS.network else ["table", "rows", "shard"])]
    return [*found, *(["examples"] if certifies(lines) else map(EXTENTS.get, table.measures))]


def wanted():
    """Return the table that the flags ask for, and the (row, network)s of it."""
    if not FLAGS.network:
        table = index.find(FLAGS.table)
        if table.absent:
            raise UsageError(f"{table.key}: {table.absent}")
        return table, work.lines(table, FLAGS.recipe, FLAGS.seeds, FLAGS.shard, tuple(FLAGS.rows))
    network = Network.of(FLAGS.network, FLAGS.recipe)
    if FLAGS.seeds > 1 and "seed" in dict(network.overrides):
        raise UsageError(f"--seeds={FLAGS.seeds} lays seeds over the network: leave seed out of --network={network}")
    table = index.single(network.given().get("evaluation_protocol"))
    return table, [(index.Row(FLAGS.network), each) for each in work.with_seeds(network, FLAGS.seeds)]


def certifies(lines):
    return lines[0][0].certificate is not None


def main():
    from rar_tf import cli
    from rar_tf.reproduction import pages, tables

    if FLAGS.data_dir is not None:
        os.environ["RAR_TF_DATA_DIR"] = FLAGS.data_dir
    if FLAGS.list:
        return print(tables.listing())
    root = pathlib.Path(FLAGS.output_dir)
    results_dir = None if FLAGS.results_dir is None else pathlib.Path(FLAGS.results_dir)
    if not (FLAGS.table or FLAGS.network):
        return shown(pages.write(results_dir))
    table, lines = wanted()
    extent, done = work.Extent(FLAGS.examples, FLAGS.auto_examples, FLAGS.accuracy_examples), []
    for row, network in lines:
        steps = work.run(row, table, network, root, extent, cli.call)
        done.append((row, network, steps))
    print("\n" + pages.table(table, done, root, FLAGS.recipe, FLAGS.shard, results_dir))
    if FLAGS.zoo_dir is not None:
        keep(done[0], root, pathlib.Path(FLAGS.zoo_dir))
    if results_dir is not None:
        shown(pages.write(results_dir))


def keep(done, root, folder):
    """Put a network and its record among the small ones that come with the package."""
    from rar_tf import export, zoo
    from rar_tf.reproduction import records

    _, network, steps = done
    model = export.load_network(model_dir=network.folder(root))
    name = zoo.pack(model, records.of(network, root, steps.values()), folder)
    print(f"wrote {folder / name}.npz and its card: rar_tf.load({name!r})")


def shown(paths):
    for path in paths:
        print(f"wrote {path}")
