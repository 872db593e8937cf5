"""Export a network as a SavedModel: python scripts/export.py --model_dir=runs/digits --output_dir=exported

The folder has to be new, empty, or an export of this command's, which --overwrite replaces.
"""

import pathlib

from rar_tf import files
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import Source

READS = {"network and folder": ("model_dir", "keras_model", "output_dir", "overwrite")}


def check(given):
    job = Source.of(given)
    if job.output_dir is None:
        raise UsageError("give --output_dir, the directory that the SavedModel is written to")
    if job.saved_model is not None:
        raise UsageError("--saved_model is exported already; give --model_dir or --keras_model")
    job.check_network()
    files.require(job.output_dir, "export")
    if (pathlib.Path(job.output_dir) / "saved_model.pb").exists() and not job.overwrite:
        raise UsageError(f"{job.output_dir} holds an export already: give another --output_dir, or --overwrite")


def reads(given):
    return READS["network and folder"]


def main():
    from rar_tf import export

    job = Source.of(flagfile.given())
    export.export_saved_model(export.load_network(job.model_dir, job.keras_model), job.output_dir)
    print(f"wrote the SavedModel {job.output_dir}, with the signatures serving_default and integrated_gradients")
