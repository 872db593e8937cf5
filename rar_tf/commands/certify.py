"""Bounds and certificates of attribution robustness.

python scripts/certify.py --method=uniform_smoothing --model_dir=runs/mnist_natural --dataset=mnist --radius=0.5,1,2,3.5

--method is upper_bound, uniform_smoothing or center_smoothing; the network comes from --model_dir, --keras_model or
--saved_model. examples.csv, summary.json and plots go to --output_dir; the same command goes on with a stopped run.
Several machines: --shard=0/4 … --shard=3/4 into one --output_dir; the one that ends last puts the parts together (or
--merge).
What each number guarantees: docs/certification.md.
"""

import pathlib

from rar_tf import cli

cli.define_flags()

METHODS = ("upper_bound", "uniform_smoothing", "center_smoothing")
SHOWN = (
    "certified",
    "largest_epsilon",
    "smallest_radius",
    "violation",
    "bound",
    "angle",
    "observed",
    "exceeded",
    "cosine_distance",
    "abstained",
    "seconds",
)


def main():
    from rar_tf.errors import UsageError

    settings = run_settings()
    if settings.method not in METHODS:
        raise UsageError(f"give --method={'|'.join(METHODS)}, got {settings.method}")
    folder = output_dir(settings)
    import tqdm

    from rar_tf import checks, export
    from rar_tf.certification import run
    from rar_tf.data.datasets import load_data
    from rar_tf.data.pixels import to_pixels

    if settings.merge:
        return show(run.merge(folder), folder)
    checks.at_least_one(num_examples=settings.num_examples)
    network = export.load_network(settings.model_dir, settings.keras_model, settings.saved_model)
    record, splits = load_data(settings)
    images = to_pixels(record, splits.test.images[: settings.num_examples])
    labels = splits.test.labels[: settings.num_examples]
    part = run.shard_slice(settings.shard, len(images))
    with tqdm.tqdm(total=part.stop - part.start, unit="image", desc=settings.method, smoothing=0) as bar:
        summary = run.certify_into(folder, network, images, labels, settings, bounds=record.bounds, progress=bar.update)
    show(summary, folder)


def run_settings():
    """The flags given; the data set of the model directory, unless the command line says another one."""
    settings = cli.settings()
    if settings.model_dir is None or not (pathlib.Path(settings.model_dir) / "flags.cfg").is_file():
        return settings
    own = cli.read_settings(pathlib.Path(settings.model_dir) / "flags.cfg")
    names = {"dataset", "equalize", "pixel_range", "image_size", "data_dir"} - cli.given()
    return settings.replace(**{name: getattr(own, name) for name in names})


def output_dir(settings):
    from rar_tf.errors import UsageError

    if settings.output_dir is not None:
        return pathlib.Path(settings.output_dir)
    if settings.model_dir is None:
        raise UsageError("give --output_dir, the directory that the results are written to")
    return pathlib.Path(settings.model_dir) / "certification" / settings.method


def show(summary, folder):
    from rar_tf.errors import UsageError

    if summary is None:
        raise UsageError(f"{folder}: not all parts are finished")
    print(
        f"{folder}/summary.json: {summary['num_certifiable']} of {summary['num_examples']} images classified correctly"
    )
    for entry in summary["results"]:
        print(
            "; ".join(
                _said(name, value)
                for name, value in entry.items()
                if not isinstance(value, dict) or name.startswith(SHOWN)
            )
        )
    print(summary["guarantee"])


def _said(name, value):
    if not isinstance(value, dict):
        return f"{name} {value:g}"
    if "share" in value:
        return f"{name} {value['count']} of {value['of']}"
    return f"{name} {value['mean']:.4g} ({value['count']} images)" if "mean" in value else f"{name} none"
