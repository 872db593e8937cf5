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


def main():
    from rar_tf import cli
    from rar_tf.errors import UsageError
    from rar_tf.reproduction import index, pages, tables, work
    from rar_tf.reproduction.networks import Network

    if FLAGS.data_dir is not None:
        os.environ["RAR_TF_DATA_DIR"] = FLAGS.data_dir
    if FLAGS.list:
        return print(tables.listing())
    root = pathlib.Path(FLAGS.output_dir)
    results_dir = None if FLAGS.results_dir is None else pathlib.Path(FLAGS.results_dir)
    extent = work.Extent(FLAGS.examples, FLAGS.auto_examples, FLAGS.accuracy_examples)
    if FLAGS.table is not None and FLAGS.network is not None:
        raise UsageError("give --table or --network, not both")
    if FLAGS.zoo_dir is not None and FLAGS.network is None:
        raise UsageError("--zoo_dir keeps one network: give --network")
    if FLAGS.network is not None:
        networks = pages.with_seeds(Network.of(FLAGS.network, FLAGS.recipe), FLAGS.seeds)
        table = index.single(Network.of(FLAGS.network, FLAGS.recipe).given().get("evaluation_protocol"))
        lines = [(index.Row(FLAGS.network), network) for network in networks]
    elif FLAGS.table is not None:
        table = index.find(FLAGS.table)
        if table.absent:
            raise UsageError(f"{table.key}: {table.absent}")
        lines = pages.lines(table, FLAGS.recipe, FLAGS.seeds, FLAGS.shard, tuple(FLAGS.rows))
    elif results_dir is not None:
        return shown(pages.write(results_dir))
    else:
        raise UsageError("give --table=PAPER:NAME, --network=NAME or --list")
    done = []
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
    from rar_tf.data.datasets import load_data
    from rar_tf.data.pixels import to_pixels
    from rar_tf.data.settings import DataSettings
    from rar_tf.reproduction import records

    _, network, steps = done
    record, splits = load_data(DataSettings.of(network.given()))
    model = export.load_network(model_dir=network.folder(root))
    name = zoo.pack(model, records.of(network, root, steps), to_pixels(record, splits.test.images), folder)
    print(f"wrote {folder / name}.npz and its card: rar_tf.load({name!r})")


def shown(paths):
    for path in paths:
        print(f"wrote {path}")
