"""Bounds and certificates of attribution robustness.

python scripts/certify.py --method=uniform_smoothing --model_dir=runs/mnist_natural --dataset=mnist --radius=0.5,1,2,3.5

--method is upper_bound, uniform_smoothing or center_smoothing; the network comes from --model_dir, --keras_model or
--saved_model. examples.csv, summary.json and plots go to --output_dir; a stopped run goes on where it was. What each number
guarantees: docs/certification.md.
"""
import cli

cli.define_flags()


def main():
    import pathlib

    import tqdm

    from rar_tf import experiment, export
    from rar_tf.certification import run
    from rar_tf.data import records
    from rar_tf.errors import UsageError

    settings = cli.settings()
    if settings.model_dir is not None and (pathlib.Path(settings.model_dir) / "flags.cfg").is_file():
        # The data set is the run's, unless the command line says another one.
        own = cli.read_settings(pathlib.Path(settings.model_dir) / "flags.cfg")
        names = {"dataset", "equalize", "pixel_range", "image_size", "data_dir"} - cli.given()
        settings = settings.replace(**{name: getattr(own, name) for name in names})
    if settings.num_examples < 1:
        raise UsageError(f"num_examples must be at least 1, got {settings.num_examples}")
    network = export.load_network(settings.model_dir, settings.keras_model, settings.saved_model)
    folder = settings.output_dir
    if folder is None:
        if settings.model_dir is None:
            raise UsageError("give --output_dir, the directory that the results are written to")
        folder = pathlib.Path(settings.model_dir) / "certification" / settings.method
    record, splits = experiment.load_data(settings)
    images = records.to_pixels(record, splits.test.images[:settings.num_examples])
    labels = splits.test.labels[:settings.num_examples]
    part = run.shard_slice(settings.shard, len(images))
    with tqdm.tqdm(total=part.stop - part.start, unit="image", smoothing=0) as bar:
        summary = run.certify(network, images, labels, settings, folder, bounds=record.bounds, progress=bar.update)
    print(f"{folder}/summary.json: {summary['num_certifiable']} of {summary['num_examples']} images classified correctly")
    print(summary["guarantee"])


if __name__ == "__main__":
    cli.run(main)
