"""Attack a network's predictions and attributions: python scripts/evaluate.py --model_dir=runs/digits_ig_sum_norm

The attack's settings are by default those of the model directory's flags.cfg; --keras_model=FILE or --saved_model=DIR
evaluates the user's own network with --dataset and the flags given. Writes summary.json, examples.csv (a row per image;
the same command goes on with an interrupted one) and maps.png to --output_dir. --attack=auto is the ensemble.
Several processes: --processes=4. Several machines: --shard=0/4 … --shard=3/4 into one --output_dir; the one that ends
last puts the parts together (or --merge).
"""

import pathlib

from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import JobSettings
from rar_tf.experiment.settings import Experiment
from rar_tf.models.settings import is_file

READS = {
    "network, images and folder": (JobSettings,),
    "data": (DataSettings,),
    "attacks and metrics": (EvaluationSettings,),
}

SHOWN = ("topk_intersection", "kendall", "kendall_support", "spearman", "cosine")
OF_MAPS = ("insertion", "deletion", "randomisation_spearman", "sparseness")


def check(given):
    given = {**flagfile.of_run(given.get("model_dir")), **given}
    chosen = EvaluationSettings.of(given)
    DataSettings.of(given)
    job = JobSettings.of(given)
    job.check(given, default_folder(chosen, job), "evaluate")
    return EvaluationSettings.odd(given)


def reads(given):
    return JobSettings, DataSettings, EvaluationSettings


def default_folder(chosen, job):
    parts = ["evaluation", *([] if chosen.attack == "ifia" else [chosen.attack])]
    return "_".join([*parts, *(["transferred"] if job.transfer_from else [])])


def main():
    from rar_tf import cli, export, results
    from rar_tf.data.datasets import load_data
    from rar_tf.data.pixels import to_pixels
    from rar_tf.evaluation import job as jobs
    from rar_tf.evaluation.evaluator import Evaluator
    from rar_tf.progress import bar

    given = flagfile.given()
    run = flagfile.of_run(given.get("model_dir"))
    given = {**run, **given}
    job, chosen = JobSettings.of(given), EvaluationSettings.of(given)
    folder = job.folder(default_folder(chosen, job))
    if job.processes > 1:
        cli.in_parts("evaluate", job.processes)
    if job.merge or job.processes > 1:
        return show(jobs.merge(folder, None if job.merge else job.processes), folder)
    network = export.load_network(job.model_dir, job.keras_model, job.saved_model)
    record, splits = load_data(job.data(given, run))
    network = export.preprocessed(network, job.preprocessing, record.bounds)
    num_examples = 0 if chosen.attack == "none" else job.num_examples
    count = max(num_examples, job.accuracy_examples or job.num_examples)
    split = splits.named(job.split)
    images = to_pixels(record, split.images[:count])
    part = results.shard_slice(job.shard, len(images))
    evaluator = Evaluator(
        network,
        chosen.replace(bounds=record.bounds),
        surrogate=other_network(job.transfer_from),
        reference_network=other_network(job.reference_model),
    )
    with bar(part.stop - part.start, f"attack {chosen.attack}") as counted:
        summary = jobs.evaluate_into(
            folder,
            evaluator,
            images,
            split.labels[:count],
            num_examples=num_examples,
            record={
                "dataset": record.name,
                "split": job.split,
                **({"preprocessing": job.preprocessing} if job.preprocessing else {}),
                **({"method": run["method"]} if "method" in run else {}),
                **({"equalize": given["equalize"]} if "equalize" in given else {}),
                **evaluator.settings.flags(),
                **training(job.model_dir),
            },
            shard=job.shard,
            batch_size=job.eval_batch_size,
            progress=counted.update,
            overwrite=job.overwrite,
        )
    return show(summary, results.finished_folder(folder, job.shard))


def training(model_dir):
    """What decided a run's weights, for comparisons with printed figures."""
    path = pathlib.Path(model_dir or "") / "flags.cfg"
    return {"training": Experiment.of(flagfile.read(path)).defining()} if model_dir and path.is_file() else {}


def other_network(path):
    """The network of a model directory or .keras file, if one is given."""
    from rar_tf import export

    if path is None:
        return None
    return export.load_network(**{"keras_model" if is_file(path) else "model_dir": path})


def show(summary, folder):
    fallbacks = "" if summary["fallback_rate"] is None else f"   fallbacks {summary['fallback_rate']:.1%}"
    print(
        f"natural accuracy {summary['natural_accuracy']:.4f}   adversarial accuracy "
        + ("-" if summary["adversarial_accuracy"] is None else f"{summary['adversarial_accuracy']:.4f}")
        + f"   images {summary['accuracy_examples']}{fallbacks}   evaluated as {summary['evaluation_protocol']}"
    )
    if summary["num_attacked"]:
        print(
            f"{'':18s} {'mean':>8s} {'median':>8s} {'std':>8s} {'attainable':>10s}  95 % interval of the mean, "
            f"{summary['num_attacked']} images"
        )
        for name in SHOWN:
            s = summary[name]
            reached = "" if s["attainable"] is None else f"{s['attainable']:.4f}"
            print(
                f"{name:18s} {s['mean']:8.4f} {s['median']:8.4f} {s['std']:8.4f} {reached:>10s}  "
                f"{s['ci95'][0]:.4f} … {s['ci95'][1]:.4f}"
            )
    of_maps = [f"{name} {summary[name]['mean']:.3f}" for name in OF_MAPS if name in summary]
    if of_maps:
        print(f"what the maps say: {', '.join(of_maps)}")
    for change, scores in summary.get("average_case_scores", {}).items():
        print(f"  under {change:16s} {', '.join(f'{name} {value:.3f}' for name, value in scores.items())}")
    for name, member in summary.get("members", {}).items():
        print(f"  member {name:40s} Kendall {member['kendall']:.4f}, lowest on {member['lowest_on']:.0%} of the images")
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    print(f"wrote summary.json, examples.csv{' and maps.png' if summary['num_attacked'] else ''} to {folder}")
    if not summary["natural_accuracy"]:
        raise UsageError(
            "no image is classified as its label, so that nothing was attacked: is --dataset the network's, and "
            "--pixel_range the one that it was trained on?"
        )
