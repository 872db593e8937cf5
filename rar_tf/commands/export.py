"""Export a network as a SavedModel: python scripts/export.py --model_dir=runs/digits --output_dir=exported"""

from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import JobSettings

flagfile.define_flags()


def main():
    from rar_tf import export

    job = JobSettings.of(flagfile.given())
    if job.output_dir is None:
        raise UsageError("give --output_dir, the directory that the SavedModel is written to")
    if job.saved_model is not None:
        raise UsageError("--saved_model is exported already; give --model_dir or --keras_model")
    export.export_saved_model(export.load_network(job.model_dir, job.keras_model), job.output_dir)
