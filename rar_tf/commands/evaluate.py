"""Attack a network's predictions and attributions: python scripts/evaluate.py --model_dir=runs/digits_ig_sum_norm

The attack's settings are by default those of the model directory's flags.cfg; --keras_model=FILE or --saved_model=DIR
evaluates anybody's network with --dataset and the flags given. Writes summary.json, examples.csv (a row an image; the
same command goes on with an interrupted one) and maps.png to --output_dir. --attack=auto is the ensemble.
Several machines: --shard=0/4 … --shard=3/4 into one --output_dir; the one that ends last puts the parts together (or
--merge).
"""

from rar_tf import flagfile
from rar_tf.data.settings import DataSettings
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.jobs import JobSettings

flagfile.define_flags()

SHOWN = ("topk_intersection", "kendall", "kendall_support", "spearman", "cosine")


def main():
    from tqdm import tqdm

    from rar_tf import export, results
    from rar_tf.data.datasets import load_data
    from rar_tf.data.pixels import to_pixels
    from rar_tf.evaluation import files
    from rar_tf.evaluation.evaluator import Evaluator

    given = flagfile.given()
    given = {**flagfile.of_run(given.get("model_dir")), **given}
    job, chosen, data = JobSettings.of(given), EvaluationSettings.of(given), DataSettings.of(given)
    folder = job.folder("evaluation" if chosen.attack == "ifia" else "evaluation_auto")
    if job.merge:
        return show(files.merge(folder), folder)
    network = export.load_network(job.model_dir, job.keras_model, job.saved_model)
    record, splits = load_data(data)
    images = to_pixels(record, splits.test.images[: job.num_examples])
    part = results.shard_slice(job.shard, len(images))
    evaluator = Evaluator(network, chosen.replace(bounds=record.bounds), reference_network=reference(job))
    said = {name: given[name] for name in ("method", "equalize") if name in given}
    with tqdm(total=part.stop - part.start, unit="image", desc=chosen.attack) as bar:
        summary = files.evaluate_into(
            folder,
            evaluator,
            images,
            splits.test.labels[: job.num_examples],
            record={
                "dataset": record.name,
                **said,
                "num_examples": job.num_examples,
                **evaluator.settings.flags(),
            },
            shard=job.shard,
            batch_size=job.eval_batch_size,
            progress=bar.update,
        )
    return show(summary, results.finished_folder(folder, job.shard))


def reference(job):
    """The naturally trained network whose maps are compared, if one is given."""
    from rar_tf import export

    if job.reference_model is None:
        return None
    if job.reference_model.endswith(".keras"):
        return export.load_network(keras_model=job.reference_model)
    return export.load_network(model_dir=job.reference_model)


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
