"""Attack a network's predictions and attributions: python scripts/evaluate.py --model_dir=runs/digits_ig_sum_norm

The attack's settings are by default those of the model directory's flags.cfg; --keras_model=FILE or --saved_model=DIR
evaluates anybody's network with --dataset and the flags given. Writes summary.json, examples.csv (a row an image; the
same command goes on with an interrupted one) and maps.png to --output_dir. --attack=auto is the ensemble.
Several machines: --shard=0/4 … --shard=3/4 into one --output_dir, then --merge.
"""

import pathlib

from rar_tf import cli

cli.define_flags()

SHOWN = ("topk_intersection", "kendall", "kendall_support", "spearman", "cosine")


def main():
    from tqdm import tqdm

    from rar_tf import checks, export, results
    from rar_tf.data.records import to_pixels
    from rar_tf.evaluation.evaluator import Evaluator
    from rar_tf.experiment import run as experiment

    settings = run_settings()
    folder = output_dir(settings)
    if settings.merge:
        return show(results.merge(folder), folder)
    checks.at_least_one(num_examples=settings.num_examples, eval_batch_size=settings.eval_batch_size)
    network = export.load_network(settings.model_dir, settings.keras_model, settings.saved_model)
    record, splits = experiment.load_data(settings)
    count = min(settings.num_examples, splits.test.count)
    part = results.shard_slice(settings.shard, count)
    images = to_pixels(record, splits.test.images[part])
    evaluator = Evaluator(
        network, results.evaluation_settings(settings, record.bounds), reference_network=reference(settings)
    )
    with tqdm(total=len(images), unit="image", desc=settings.attack) as bar:
        summary = results.evaluate_into(
            results.shard_folder(folder, settings.shard),
            evaluator,
            images,
            splits.test.labels[part],
            record=results.settings_record(settings),
            index=range(part.start, part.stop),
            batch_size=settings.eval_batch_size,
            progress=bar.update,
        )
    show(summary, results.shard_folder(folder, settings.shard))


def run_settings():
    """The flags given, over those of the model directory where there is one."""
    settings = cli.settings()
    if settings.model_dir is None or settings.merge:
        return settings
    flags = pathlib.Path(settings.model_dir) / "flags.cfg"
    return cli.read_settings(flags).replace(**{name: getattr(settings, name) for name in cli.given()})


def output_dir(settings):
    from rar_tf.errors import UsageError

    if settings.output_dir is not None:
        return pathlib.Path(settings.output_dir)
    if settings.model_dir is None:
        raise UsageError("give --output_dir, the directory that results are written to")
    return pathlib.Path(settings.model_dir) / ("evaluation" if settings.attack == "ifia" else "evaluation_auto")


def reference(settings):
    """The naturally trained network whose maps are compared, if one is given."""
    from rar_tf import export

    if settings.reference_model is None:
        return None
    if settings.reference_model.endswith(".keras"):
        return export.load_network(keras_model=settings.reference_model)
    return export.load_network(model_dir=settings.reference_model)


def show(summary, folder):
    print(
        f"natural accuracy {summary['natural_accuracy']:.4f}   adversarial accuracy "
        + ("-" if summary["adversarial_accuracy"] is None else f"{summary['adversarial_accuracy']:.4f}")
        + f"   images {summary['num_examples']}   fallbacks {summary['fallback_rate']:.1%}"
    )
    print(f"{'':18s} {'mean':>8s} {'median':>8s} {'std':>8s}  95 % interval of the mean")
    for name in SHOWN:
        s = summary[name]
        print(
            f"{name:18s} {s['mean']:8.4f} {s['median']:8.4f} {s['std']:8.4f}  {s['ci95'][0]:.4f} … {s['ci95'][1]:.4f}"
        )
    for name, member in summary.get("members", {}).items():
        print(
            f"  member {name:16s} Kendall {member['kendall']:.4f}, the lowest on {member['lowest_on']:.0%} of the images"
        )
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    print(f"wrote summary.json, examples.csv and maps.png to {folder}")


if __name__ == "__main__":
    cli.run(main)
