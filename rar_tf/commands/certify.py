"""Bounds and certificates of attribution robustness.

python scripts/certify.py --method=uniform_smoothing --model_dir=runs/mnist_natural --dataset=mnist --radius=0.5,1,2,3.5

--method is upper_bound, uniform_smoothing, rank_smoothing, curvature or center_smoothing; a flag that is not given is
the certificate's own. The network comes from --model_dir, --keras_model or --saved_model. examples.csv, summary.json
and plots go to --output_dir; the same command goes on with a stopped run.
Several processes: --processes=4. Several machines: --shard=0/4 … --shard=3/4 into one --output_dir; the one that ends
last puts the parts together (or --merge).
What each number guarantees: docs/certification.md.
"""

from rar_tf.certification import CERTIFICATES
from rar_tf.certification.settings import RECORDS as CERTIFICATE_SETTINGS
from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import Work

READS = {
    "network, images and folder": ("method", Work),
    "data": (DataSettings,),
    "certificates (each reads some of these)": CERTIFICATE_SETTINGS,
}

OF_THE_RUN = ("dataset", "equalize", "pixel_range", "image_size", "data_dir")


def check(given):
    if given.get("method") not in CERTIFICATES:
        raise UsageError(f"give --method={'|'.join(CERTIFICATES)}, got {given.get('method') or 'none'}")
    given = {**data_of_run(flagfile.of_run(given.get("model_dir"))), **given}
    DataSettings.of(given)
    Work.of(given).check(given, f"certification/{given['method']}", "certify")


def reads(given):
    return "method", Work, DataSettings, CERTIFICATES[given["method"]].Settings


def main():
    from rar_tf import cli, export, results
    from rar_tf.certification import run as certification
    from rar_tf.data.datasets import load_data
    from rar_tf.data.pixels import to_pixels
    from rar_tf.progress import bar

    given = flagfile.given()
    method = given["method"]
    job = Work.of(given)
    folder = job.folder(f"certification/{method}")
    if job.processes > 1:
        cli.in_parts("certify", job.processes)
    if job.merge or job.processes > 1:
        return show(certification.merge(folder, None if job.merge else job.processes), folder)
    run = flagfile.of_run(job.model_dir)
    network = export.load_network(job.model_dir, job.keras_model, job.saved_model)
    data = job.data({**data_of_run(run), **given}, run)
    record, splits = load_data(data)
    network = export.preprocessed(network, job.preprocessing, record.bounds)
    split = splits.named(job.split)
    images = to_pixels(record, split.images[: job.num_examples])
    part = results.shard_slice(job.shard, len(images))
    with bar(part.stop - part.start, method) as counted:
        summary = certification.certify_into(
            folder,
            network,
            images,
            split.labels[: job.num_examples],
            method=method,
            settings=CERTIFICATES[method].Settings.of(given, bounds=record.bounds, image_shape=images.shape[1:]),
            sources={
                "dataset": record.name,
                "split": job.split,
                **({"preprocessing": job.preprocessing} if job.preprocessing else {}),
                "equalize": data.equalize,
                "num_examples": job.num_examples,
                "model_dir": job.model_dir,
                "keras_model": job.keras_model,
                "saved_model": job.saved_model,
            },
            shard=job.shard,
            progress=counted.update,
            overwrite=job.overwrite,
        )
    return show(summary, results.finished_folder(folder, job.shard))


def data_of_run(run):
    """What a run's flags say about its data, beside the command line's."""
    return {name: value for name, value in run.items() if name in OF_THE_RUN}


def show(summary, folder):
    shown = CERTIFICATES[summary["method"]].shown
    print(
        f"{folder}/summary.json: {summary['num_certifiable']} of {summary['num_examples']} images classified correctly"
    )
    for entry in summary["results"]:
        print(
            "; ".join(
                _said(name, value)
                for name, value in entry.items()
                if not isinstance(value, dict) or name.startswith(shown)
            )
        )
    print(summary["guarantee"])
    print(f"wrote summary.json, examples.csv and plots to {folder}")
    if not summary["num_certifiable"]:
        raise UsageError(
            "no image is classified as its label, so that nothing was certified: is --dataset the network's, and "
            "--pixel_range the one that it was trained on?"
        )


def _said(name, value):
    if not isinstance(value, dict):
        return f"{name} {value if isinstance(value, str) else format(value, 'g')}"
    if "share" in value:
        return f"{name} {value['count']} of {value['of']}"
    return f"{name} {value['mean']:.4g} ({value['count']} images)" if "mean" in value else f"{name} none"
